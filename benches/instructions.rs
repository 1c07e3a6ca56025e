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
//! Counts the instructions that each stage takes for a packet, with valgrind, and compares them with
//! those recorded in `benches/instructions.txt`: `cargo bench --bench instructions`. They do not
//! depend on what else the machine does. `-- --record` records them anew.
//!
//! Counted are one worker's instructions on captures of two sizes; the difference is what packets
//! cost, without what starting costs. What the kernel does is not counted. A stage that costs
//! nothing in `b` is an error: its function has been renamed, or is inlined.

mod tools;
mod traffic;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tools::{arguments, capture, command, limit};

const SMALL: u64 = 1_000_000;
const LARGE: u64 = 4_000_000;
/// A regression: so many percent more than recorded.
const TOLERANCE_PERCENT: f64 = 3.0;
/// The first is the one in which every stage has something to do.
const CASES: [&str; 6] = [HAS_ALL, "a", "bb", "c", "h", "i"];

/// The stages, and the end of the name of the function that each stays within.
///
/// Each stands alone in the program, inlined nowhere. *Walk* is a part of *read*. *Pass* is what nearly
/// all packets go through, *track and analyse* those of which there is something to say.
const STAGES: [(&str, &str); 8] = [
    ("read", "FileSource as tcp_window_audit::source::FrameSource>::fill"),
    ("read: walk", "source::pcap::Pcap::walk_in"),
    ("decode and route", "pipeline::slice::Slice::decode_run"),
    ("look ahead", "pipeline::shard::Shard>::look_ahead"),
    ("pass", "pipeline::shard::Desk::let_pass"),
    ("track and analyse", "pipeline::shard::Desk::take"),
    ("settle", "pipeline::shard::account::settle"),
    ("all", TOTALS),
];

/// The capture in which every stage has something to do.
const HAS_ALL: &str = "b";

/// The line of a profile that has the sum of all.
const TOTALS: &str = "totals";

type Counts = BTreeMap<&'static str, f64>;

fn main() -> ExitCode {
    if command::find("valgrind").is_none() {
        println!("skipped, not installed: valgrind");
        return ExitCode::SUCCESS;
    }
    let record = arguments().iter().any(|argument| argument == "--record");
    let mut table = String::from("# Instructions for a packet, by capture and stage.\n");
    for case in CASES {
        for (stage, count) in per_packet(case) {
            let _ = writeln!(table, "{case}\t{stage}\t{:.0}", count.round() + 0.0);
        }
    }
    print!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    if record {
        std::fs::write(&path, table).expect("the record should be writable");
        return ExitCode::SUCCESS;
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    if compare(&table, &recorded) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Names what has become slower; returns whether nothing has.
fn compare(table: &str, recorded: &str) -> bool {
    let read = |text: &str| -> BTreeMap<String, f64> {
        let rows = text.lines().filter_map(|line| line.rsplit_once('\t'));
        rows.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
    };
    let (now, before) = (read(table), read(recorded));
    let mut is_good = true;
    for (name, count) in &now {
        let Some(was) = before.get(name) else {
            println!("not recorded: {name}");
            continue;
        };
        let more_percent = (count - was) / was * 100.0;
        if more_percent > TOLERANCE_PERCENT && count - was > 2.0 {
            println!("slower: {name}: {count:.0} instructions, recorded {was:.0}");
            is_good = false;
        }
    }
    is_good
}

fn per_packet(case: &str) -> Counts {
    let [small, large] = [SMALL, LARGE].map(|bytes| capture(case, bytes, None));
    let packets = limit::read(&large).0 - limit::read(&small).0;
    let (less, more) = (count(&small), count(&large));
    let mut counts = Counts::new();
    for (stage, function) in STAGES {
        let difference = (more[stage] - less[stage]) / packets as f64;
        assert!(
            case != HAS_ALL || difference > 0.0,
            "{stage}: no function {function} is in the profile, or it does nothing"
        );
        counts.insert(stage, difference);
    }
    counts
}

/// Runs the audit under callgrind, and returns the instructions within each stage.
fn count(capture: &Path) -> Counts {
    let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("callgrind.out");
    let _ = std::fs::remove_file(&profile);
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env!("CARGO_BIN_EXE_tcp-window-audit"))
        // A second reading of the file would be counted as part of the first.
        .args(["--threads", "1", "--progress", "never", "--table=never"])
        .arg(capture)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "valgrind should run");
    let text = std::fs::read_to_string(&profile).expect("callgrind should write a profile");
    let inclusive = inclusive(&text);
    STAGES.into_iter().map(|(stage, function)| (stage, of_stage(&inclusive, function))).collect()
}

/// Returns the instructions of the function whose name ends so; 0 when it was never called.
fn of_stage(inclusive: &BTreeMap<&str, u64>, function: &str) -> f64 {
    let is_it = |name: &str| {
        name == function
            || name.strip_suffix(function).is_some_and(|rest| rest.ends_with("::"))
            || (name.starts_with('<') && name.ends_with(function))
    };
    inclusive.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| *count as f64).sum()
}

/// Sums a profile up by function, with the functions that each calls.
///
/// A profile has `fn=` lines, lines of a position and a count, and after each `calls=` line one
/// with the count of the called function.
fn inclusive(profile: &str) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    let mut function = "";
    for line in profile.lines() {
        if let Some(count) = line.strip_prefix("totals: ") {
            counts.insert(TOTALS, count.trim().parse().unwrap_or(0));
        } else if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with(|first: char| first.is_ascii_digit())
            && let Some((_, count)) = line.split_once(' ')
        {
            *counts.entry(function).or_default() += count.trim().parse::<u64>().unwrap_or(0);
        }
    }
    counts
}
