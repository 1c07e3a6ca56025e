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
//! cost, without what starting costs.

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
const CASES: [&str; 6] = ["a", "b", "bb", "c", "h", "i"];

/// The stages, and a part of the name of the function that each stays within.
const STAGES: [(&str, &str); 6] = [
    ("read", "FileSource as tcp_window_audit::source::FrameSource>::fill"),
    ("decode and route", "pipeline::slice::Slice::decode"),
    ("look ahead", "conntrack::table::Table<T>::fetch"),
    ("track and analyse", "pipeline::shard::Shard::take"),
    ("bury", "pipeline::shard::settle_accounts"),
    ("all", TOTALS),
];

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
            let _ = writeln!(table, "{case}\t{stage}\t{count:.0}");
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
        let Some(was) = before.get(name) else { continue };
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
    for (stage, _) in STAGES {
        let difference = more.get(stage).copied().unwrap_or(0.0) - less.get(stage).unwrap_or(&0.0);
        counts.insert(stage, difference / packets as f64);
    }
    counts
}

/// Runs the audit under callgrind, and returns the instructions within each stage.
fn count(capture: &PathBuf) -> Counts {
    let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("callgrind.out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env!("CARGO_BIN_EXE_tcp-window-audit"))
        .args(["--threads", "1", "--progress", "never"])
        .arg(capture)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "valgrind should run");
    let text = std::fs::read_to_string(&profile).expect("callgrind should write a profile");
    let inclusive = inclusive(&text);
    STAGES
        .into_iter()
        .map(|(stage, part)| {
            let of_stage = inclusive.iter().filter(|(name, _)| name.contains(part));
            (stage, of_stage.map(|(_, count)| *count as f64).sum())
        })
        .collect()
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
