//! The oracle against verdicts that were recorded from the same kernel by other means.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::kernel::{EntryState, KernelVerdict, Oracle, OracleSettings, replay};
use tcp_window_audit::segment::Direction;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{self, FrameSource as _, Timeline};
use tcp_window_audit::wire;

use super::oracle;

/// What is compared of a packet: verdict, direction, state, scales, flags, texts, changes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Line {
    verdict: String,
    direction: Option<String>,
    state: Option<String>,
    wscale: Option<[u64; 2]>,
    flags: Option<[u64; 2]>,
    timeout_s: Option<u64>,
    reasons: Vec<String>,
    changes: String,
}

/// Captures whose recording followed another clock, and the reason.
const OTHER_CLOCK: [&str; 1] = [
    // Its time goes back by years; the recording's clock went with it, a kernel's cannot.
    "ipfixprobe-tls.pcap",
];

/// The recording did not find an IP packet in the frame; it knew fewer link types.
const NOT_FED: &str = "not-ip";

/// The size in bytes up to which captures are replayed in every run of the tests.
const EVERYDAY: u64 = 100_000;

#[test]
fn the_oracle_says_what_was_recorded() {
    replay_captures(0..EVERYDAY);
}

#[test]
#[ignore = "takes half a minute"]
fn the_oracle_says_what_was_recorded_of_large_captures() {
    replay_captures(EVERYDAY..u64::MAX);
}

fn replay_captures(sizes: Range<u64>) {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let Some(verdicts) = recorded_from_this_kernel(&shared) else {
        return println!("skipped: no verdicts recorded from this kernel");
    };
    let mut compared = 0;
    let mut differences = Vec::new();
    for (mode, be_liberal) in [("strict", false), ("liberal", true)] {
        let settings = OracleSettings { be_liberal, ..OracleSettings::default() };
        let Some(mut oracle) = oracle(&settings) else { return };
        for path in captures(&shared.join("captures/dev"), &sizes) {
            let name = path.file_name().unwrap().to_string_lossy();
            let name = format!("{}.{mode}", name.trim_end_matches(".gz"));
            if OTHER_CLOCK.iter().any(|other| name.starts_with(other)) {
                continue;
            }
            let recorded = read_lines(&verdicts.join(format!("{name}.jsonl.gz")));
            let Some(lines) = recorded else { continue };
            let Ok(capture) = source::open(&path, Timeline::default()) else { continue };
            oracle.clear().unwrap();
            compared += lines.iter().filter(|line| line.verdict != NOT_FED).count();
            differences.extend(compare(&mut oracle, &name, capture, &lines));
        }
    }
    println!("{compared} packets compared");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Returns the folder of verdicts that were recorded from the kernel that runs here.
fn recorded_from_this_kernel(shared: &Path) -> Option<PathBuf> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let verdicts = shared.join("verdicts").join(release.split('-').next()?.trim());
    verdicts.is_dir().then_some(verdicts)
}

fn compare(
    oracle: &mut Oracle,
    name: &str,
    mut capture: FileSource,
    lines: &[Line],
) -> Vec<String> {
    let mut buffer = Vec::new();
    let mut differences = Vec::new();
    let mut batch = Batch::default();
    while capture.fill(&mut batch).unwrap() {
        for frame in batch.frames(0..batch.len()) {
            let Some(line) = lines.get(frame.number as usize - 1) else {
                println!("{name}: the recording knows fewer frames of this file");
                return Vec::new();
            };
            if line.verdict == NOT_FED {
                continue;
            }
            let judged = judge(oracle, &frame, &mut buffer, line);
            if judged != *line && !is_shortened_in_vain(&judged, line) {
                let number = frame.number;
                differences.push(format!("{name} {number}: {judged:?} instead of {line:?}"));
            }
        }
    }
    differences
}

/// Whether the recording says that a FIN outside the window shortened the life of an entry that had
/// no more than that left: the recording kept all entries parked far in the future.
fn is_shortened_in_vain(judged: &Line, recorded: &Line) -> bool {
    let is_shortened = recorded.reasons.last().is_some_and(|text| text.ends_with("lower timeout"));
    let mut without = recorded.clone();
    without.reasons.pop();
    without.timeout_s = judged.timeout_s;
    is_shortened && without == *judged
}

fn captures(folder: &Path, sizes: &Range<u64>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let wanted = entries.map(Result::unwrap).filter(|entry| {
        let metadata = entry.metadata().unwrap();
        metadata.is_file() && sizes.contains(&metadata.len())
    });
    let mut paths: Vec<PathBuf> = wanted.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn judge(oracle: &mut Oracle, frame: &Frame<'_>, buffer: &mut Vec<u8>, recorded: &Line) -> Line {
    let Ok((captured, wire_len)) = wire::ip_packet(frame) else {
        return Line::default();
    };
    let prepared = replay::prepare(captured, wire_len, buffer);
    let verdict = oracle.judge(prepared.bytes, frame.clock.0).unwrap();
    let mut line = Line::of(&verdict, prepared.changes.letters());
    // A timeout is recorded of TCP entries only where it was given; of others not when it is given
    // by the kernel's own clock.
    if recorded.timeout_s.is_none() || line.state.is_none() {
        line.timeout_s = recorded.timeout_s;
    }
    line
}

impl Line {
    fn of(verdict: &KernelVerdict, changes: String) -> Self {
        let tcp = verdict.entry.and_then(|entry| entry.tcp);
        let side = |direction| if direction == Direction::Original { "o" } else { "r" };
        Self {
            verdict: verdict.state.name().to_owned(),
            direction: verdict.direction.map(|direction| side(direction).to_owned()),
            state: tcp.map(|tcp| tcp.state.name().to_owned()),
            wscale: tcp.map(|tcp| [tcp.wscale.original.into(), tcp.wscale.reply.into()]),
            flags: tcp.map(|tcp| [tcp.flags.original.into(), tcp.flags.reply.into()]),
            timeout_s: verdict
                .entry
                .and_then(|EntryState { timeout_s, .. }| timeout_s.map(u64::from)),
            reasons: verdict.reasons.iter().map(|text| without_jiffies(text)).collect(),
            changes,
        }
    }

    fn recorded(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let pair = |key: &str| {
            let numbers = value.get(key)?.as_array()?;
            Some([numbers[0].as_u64()?, numbers[1].as_u64()?])
        };
        let reasons = value.get("why").and_then(Value::as_array).into_iter().flatten();
        Self {
            verdict: text("v").unwrap(),
            direction: text("d"),
            state: text("st"),
            wscale: pair("ws"),
            flags: pair("fl"),
            timeout_s: value.get("to").and_then(Value::as_u64),
            reasons: reasons.map(|text| without_jiffies(text.as_str().unwrap())).collect(),
            changes: text("rw").unwrap_or_default(),
        }
    }
}

/// Cuts the number of jiffies off a text, which depends on how timeouts are coded.
fn without_jiffies(text: &str) -> String {
    match text.split_once("lower timeout to ") {
        Some((before, _)) => format!("{before}lower timeout"),
        None => text.to_owned(),
    }
}

fn read_lines(path: &Path) -> Option<Vec<Line>> {
    let reader = BufReader::new(GzDecoder::new(File::open(path).ok()?));
    let values = reader.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    Some(values.skip(1).map(|value| Line::recorded(&value)).collect())
}
