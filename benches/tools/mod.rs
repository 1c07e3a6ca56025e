//! What several measurements share: the limit reader, CPU time, commands, places.

pub mod command;
pub mod limit;

use std::path::{Path, PathBuf};

use crate::traffic::{Case, Recipe, generate};

/// Returns the CPU time of this process so far, in nanoseconds.
pub fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the arguments of a bench, without the one that cargo adds.
pub fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| argument != "--bench").collect()
}

/// Returns a generated capture of this case and size, which is made once and kept beside the build.
pub fn capture(name: &str, bytes: u64, flows: Option<u64>) -> PathBuf {
    let case = Case::of_name(name).expect("a known case");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("captures");
    std::fs::create_dir_all(&folder).expect("the build directory should be writable");
    let flows_part = flows.map(|flows| format!("-{flows}")).unwrap_or_default();
    let path = folder.join(format!("{name}-{bytes}{flows_part}.pcap"));
    if !path.exists() {
        let unfinished = path.with_extension("part");
        let file = std::fs::File::create(&unfinished).expect("the folder should be writable");
        let recipe = Recipe { case, bytes, flows, seed: 1 };
        let out = std::io::BufWriter::with_capacity(1 << 20, file);
        generate(&recipe, out).expect("there should be room for the capture");
        std::fs::rename(&unfinished, &path).expect("the capture should keep its place");
    }
    path
}

/// Returns the middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
