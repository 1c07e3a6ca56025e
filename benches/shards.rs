#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for measuring, in which a panic is a failed measurement"
)]
//! Prints what an audit in several parts costs, with and without a split before it, and that the report
//! is the same: `cargo bench --bench shards [-- [--bytes N] [--shards N,N,...] [CASE...]]`.
//!
//! CPU time is user and system time of all processes: of the jobs together, of the split before them,
//! of the merge after them.

mod tools;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::Command;

use tools::command::{self, Cost};
use tools::{arguments, capture, limit};

/// Seconds after which a command is given up.
const LIMIT_S: u32 = 600;

struct Options {
    bytes: u64,
    shards: Vec<u16>,
    cases: Vec<String>,
}

fn main() {
    let arguments = arguments();
    if let Some((flag, rest)) = arguments.split_first()
        && flag == "--measure"
    {
        return command::measure(rest);
    }
    let options = parse(&arguments);
    println!("CPU seconds; one run each, one thread a job; files in the page cache");
    for case in &options.cases {
        measure(case, &options);
    }
}

fn parse(arguments: &[String]) -> Options {
    let shards = vec![1, 2, 8, 64];
    let mut options = Options { bytes: 400_000_000, shards, cases: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bytes" => {
                options.bytes = rest.next().and_then(|n| n.parse().ok()).expect("a number");
            }
            "--shards" => {
                let list = rest.next().expect("numbers with commas between them");
                options.shards = list.split(',').map(|n| n.parse().expect("a number")).collect();
            }
            case => options.cases.push(case.to_owned()),
        }
    }
    if options.cases.is_empty() {
        options.cases = ["a", "b"].map(str::to_owned).to_vec();
    }
    options
}

fn measure(case: &str, options: &Options) {
    let path = capture(case, options.bytes, None);
    let (packets, _) = limit::read(&path);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shards");
    let report = folder.join("single.json");
    empty(&folder);
    // What the first run finds in no cache is not counted.
    cpu(&["--threads", "1", "-q", text(&path)]);
    let single = cpu(&["--threads", "1", "-q", "-o", text(&report), text(&path)]);
    println!(
        "\ncase {case}: {} MB, {packets} packets; single run {single:.2}",
        options.bytes / 1_000_000
    );
    println!("{:>7}{:>22}{:>34}", "", "without split", "with split");
    println!(
        "{:>7}{:>8}{:>7}{:>7}{:>9}{:>8}{:>7}{:>7}{:>11}",
        "shards", "jobs", "merge", "sum", "split", "jobs", "merge", "sum", "pieces MB"
    );
    for &count in &options.shards {
        let (jobs, merge) = parts(&folder, count, |_| path.clone());
        check(&folder, &report);
        let pieces = folder.join("pieces");
        let number = count.to_string();
        let split = cpu(&["split", "-n", &number, "-o", text(&pieces), text(&path)]);
        let megabytes = bytes_in(&pieces) / 1_000_000;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let piece = |index: u16| pieces.join(format!("{name}.{index}-of-{count}.pcapng"));
        let (split_jobs, split_merge) = parts(&folder, count, piece);
        check(&folder, &report);
        println!(
            "{count:>7}{jobs:>8.2}{merge:>7.2}{:>7.2}{split:>9.2}{split_jobs:>8.2}{split_merge:>7.2}{:>7.2}{megabytes:>11}",
            jobs + merge,
            split + split_jobs + split_merge,
        );
        std::fs::remove_dir_all(&pieces).expect("the pieces");
    }
    empty(&folder);
}

/// Makes and merges the parts of a run; returns the CPU seconds of both.
fn parts(folder: &Path, count: u16, input: impl Fn(u16) -> PathBuf) -> (f64, f64) {
    let part = |index: u16| folder.join(format!("part-{index}"));
    let mut jobs = 0.0;
    for index in 0..count {
        let _ = std::fs::remove_file(part(index));
        let share = format!("{index}/{count}");
        let (part, input) = (part(index), input(index));
        let job = ["--threads", "1", "--shard", &share, "--partial", text(&part), text(&input)];
        jobs += cpu(&job);
    }
    let merged = folder.join("merged.json");
    let parts: Vec<_> = (0..count).map(part).collect();
    let parts = parts.iter().map(|part| text(part));
    let merge = ["merge", "-q", "-o", text(&merged)].into_iter().chain(parts);
    (jobs, cpu(&merge.collect::<Vec<_>>()))
}

/// Holds that the merged report is that of the single run.
fn check(folder: &Path, report: &Path) {
    let read = |path: &Path| std::fs::read(path).expect("a report");
    assert!(read(&folder.join("merged.json")) == read(report), "the reports differ");
}

fn cpu(arguments: &[&str]) -> f64 {
    let program = env!("CARGO_BIN_EXE_tcp-window-audit");
    let command: Vec<_> =
        [program].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    let Some(Cost { cpu_s, .. }) = command::run(&command, LIMIT_S) else {
        let told = Command::new(program).args(arguments).output();
        panic!("{arguments:?}: {told:?}");
    };
    cpu_s
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the build directory has a plain name")
}

fn empty(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("the build directory should be writable");
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the pieces");
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
