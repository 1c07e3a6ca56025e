//! What several measurements share: the limit reader, audits, commands, CPU time, memory, places.

pub mod audit;
pub mod command;
pub mod limit;
pub mod memory;

use std::path::{Path, PathBuf};

use crate::traffic::{Case, Recipe, generate};

/// Returns the CPU time of this process so far, in nanoseconds.
pub fn cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the CPU time of this thread so far, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which outlives the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(failed, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Describes the machine, and how busy it is.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let meminfo = read("/proc/meminfo");
    let memory = meminfo.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    format!(
        "{}, {cores} cores, {} GB, Linux {}, load {}",
        model.unwrap_or("processor unknown").trim(),
        memory.unwrap_or(0).div_ceil(1_000_000),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
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
