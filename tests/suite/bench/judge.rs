//! What the program says of a capture of the bench, and what it should say.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::kept::keep;
use super::scene::{Seen, wanted_folder};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");
/// All headers fit: what `tcpdump -s 128` keeps.
pub(super) const HEADERS: u32 = 128;
pub(super) const WHOLE: u32 = 2000;

/// What should be said of a capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub tap: &'static str,
    /// Whether a fault may be suspected that cannot be told from there.
    pub is_unsure: bool,
    /// The cause, and the levels that it may have; none when nothing may be found at fault.
    pub cause: Option<(&'static str, &'static [&'static str])>,
    pub snap_len: u32,
    /// Further options of the program.
    pub options: &'static [&'static str],
}

impl Expected {
    pub(super) const fn none(tap: &'static str) -> Self {
        Self { tap, is_unsure: false, cause: None, snap_len: HEADERS, options: &[] }
    }

    /// Nothing is confirmed; what can be seen from there allows several readings.
    pub(super) const fn unsure(tap: &'static str) -> Self {
        Self { is_unsure: true, ..Self::none(tap) }
    }

    pub(super) const fn confirmed(tap: &'static str, id: &'static str) -> Self {
        Self { cause: Some((id, &["confirmed"])), ..Self::none(tap) }
    }

    /// At least probable.
    pub(super) const fn probable(tap: &'static str, id: &'static str) -> Self {
        Self { cause: Some((id, &["confirmed", "probable"])), ..Self::none(tap) }
    }

    /// May be found, with luck: not every run shows it from there.
    pub(super) const fn allowed(tap: &'static str, id: &'static str) -> Self {
        let levels = &["confirmed", "probable", "possible", "none"];
        Self { cause: Some((id, levels)), ..Self::none(tap) }
    }

    /// Reported at all.
    pub(super) const fn named(tap: &'static str, id: &'static str) -> Self {
        Self { cause: Some((id, &["confirmed", "probable", "possible"])), ..Self::none(tap) }
    }
}

/// Leaves the captures where they are wanted, and compares what is said of them with what should be.
pub(super) fn check(case: &str, seen: &Seen, expected: &[Expected]) {
    let wanted = wanted_folder();
    let folder = wanted.clone().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    std::fs::create_dir_all(&folder).unwrap();
    println!(
        "{case}: {} of {} failed; kernels counted {:?} INVALID",
        seen.failed(),
        seen.outcomes.len(),
        seen.invalid
    );
    let mut wrong = Vec::new();
    let same_tap = |one: &Expected| -> Vec<Expected> {
        expected.iter().filter(|other| other.tap == one.tap).copied().collect()
    };
    for expected in expected {
        let file = folder.join(format!("{case}-{}.pcapng", expected.tap));
        std::fs::write(&file, seen.capture(expected.tap, expected.snap_len)).unwrap();
        wrong.extend(compare(&file, expected, &same_tap(expected), seen.counted_at(expected.tap)));
        wrong.extend(disagreement(&file));
        if expected.options.is_empty() {
            keep(case, expected.tap, &file);
        }
        if wanted.is_none() {
            std::fs::remove_file(&file).unwrap();
        }
    }
    if ["client", "server"].iter().all(|end| seen.taps().any(|tap| tap == *end)) {
        wrong.extend(two_clocks(case, seen, expected, &folder));
    }
    for tap in seen.taps() {
        assert!(expected.iter().any(|expected| expected.tap == tap), "{tap} is not looked at");
    }
    assert!(wrong.is_empty(), "{case}:\n{}", wrong.join("\n"));
}

/// By how much the clock beside the server is ahead where both ends are read as one.
const AHEAD_NS: i64 = 7_300_000_000;

/// Reads the captures of both ends together, with clocks that differ: nothing may be confirmed that
/// neither of them shows.
fn two_clocks(case: &str, seen: &Seen, expected: &[Expected], folder: &Path) -> Option<String> {
    let (client, server) = ("client", "server");
    let files = [(client, 0), (server, AHEAD_NS)].map(|(tap, ahead_ns)| {
        let file = folder.join(format!("{case}-clock-{tap}.pcapng"));
        std::fs::write(&file, seen.capture_ahead(tap, HEADERS, ahead_ns)).unwrap();
        file
    });
    let options = expected.iter().map(|one| one.options).max_by_key(|options| options.len());
    let output = Command::new(PROGRAM)
        .args(["--format", "json"])
        .args(options.unwrap_or_default())
        .args(&files)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for file in &files {
        std::fs::remove_file(file).unwrap();
    }
    let causes = report["causes"].as_array().expect("a report has causes");
    let found: Vec<String> = causes.iter().map(named).collect();
    let ahead = &report["capture"]["files"][1]["clock_ahead_ns"];
    let (twice, flows) = (&report["capture"]["flows_seen_twice"], &report["verdict"]["flows"]);
    println!(
        "  {case} by two clocks: {}; {}; clock {ahead}, {twice} of {flows} flows twice",
        text(&report["verdict"]["level"]),
        found.join(", "),
    );
    let is_known = |id: &str| expected.iter().any(|one| one.cause.is_some_and(|it| it.0 == id));
    let confirmed = causes.iter().filter(|cause| level_of(cause) == "confirmed");
    let stray = confirmed.map(|cause| text(&cause["id"])).find(|id| !is_known(id));
    if let Some(stray) = stray {
        return Some(format!("{case} by two clocks: {stray} confirmed"));
    }
    // A proxy makes a SYN of its own, which tells nothing of clocks.
    let is_set =
        ahead.as_i64().map_or(twice == flows, |ahead| (ahead - AHEAD_NS).abs() < 100_000_000);
    (!is_set).then(|| format!("{case} by two clocks: the clock is ahead by {ahead}"))
}

/// Has the running kernel judge the capture again; returns where it says otherwise than the model.
fn disagreement(file: &Path) -> Option<String> {
    let output = Command::new(PROGRAM).arg("verify").arg(file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code() == Some(1)).then_some(told)
}

/// Compares with what should be found, and with what the kernel at the capture point counted.
fn compare(
    file: &Path,
    expected: &Expected,
    all: &[Expected],
    counted: Option<u64>,
) -> Option<String> {
    let report = report(file, expected.options);
    let (level, cause) = (&report["verdict"]["level"], &report["verdict"]["cause"]);
    let causes = report["causes"].as_array().expect("a report has causes");
    let found: Vec<String> = causes.iter().map(named).collect();
    let name = file.file_stem().unwrap().to_string_lossy();
    let invalid = &report["verdict"]["invalid"];
    let (packets, flows) = (&invalid["packets"], &invalid["flows"]);
    let found_causes = found.join(", ");
    println!(
        "  {name}: {} {}; {found_causes}; INVALID {packets} ({flows})",
        text(level),
        text(cause)
    );
    println!("    {}", text(&report["verdict"]["sentence"]));
    let ours = packets.as_u64().unwrap_or(0);
    if let Some(counted) = counted.filter(|counted| counted.abs_diff(ours) > 1 + counted / 20) {
        return Some(format!("{name}: {ours} INVALID, and the kernel there counted {counted}"));
    }
    let is_confirmed = |cause: &&Value| level_of(cause) == "confirmed";
    let stray = causes.iter().filter(is_confirmed).find(|cause| {
        all.iter().all(|one| one.cause.is_none_or(|(id, _)| text(&cause["id"]) != id))
    });
    if let Some(stray) = stray {
        return Some(format!("{name}: {} confirmed", text(&stray["id"])));
    }
    let Some((id, levels)) = expected.cause else {
        let blamed =
            ["confirmed", "probable"].contains(&text(level)) && text(cause) != "capture_loss";
        return (blamed && !expected.is_unsure)
            .then(|| format!("{name}: blames {} as {}", text(cause), text(level)));
    };
    let there = causes.iter().find(|cause| text(&cause["id"]) == id);
    let is_right = levels.contains(&there.map_or("none", level_of));
    (!is_right).then(|| format!("{name}: {id} should be {levels:?}, found {found:?}"))
}

fn named(cause: &Value) -> String {
    format!("{} {} {}", text(&cause["id"]), level_of(cause), cause["score"])
}

fn level_of(cause: &Value) -> &'static str {
    match cause["score"].as_u64().unwrap_or(0) {
        80.. => "confirmed",
        50.. => "probable",
        25.. => "possible",
        _ => "none",
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn report(file: &Path, options: &[&str]) -> Value {
    let output =
        Command::new(PROGRAM).args(["--format", "json"]).args(options).arg(file).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Returns level and cause of the verdict on a capture.
pub(super) fn verdict(file: &Path) -> (String, Option<String>) {
    let verdict = &report(file, &[])["verdict"];
    let cause = verdict["cause"].as_str().map(str::to_owned);
    (text(&verdict["level"]).to_owned(), cause)
}

/// Returns the causes that are confirmed on a capture.
pub(super) fn confirmed(file: &Path) -> Vec<String> {
    let report = report(file, &[]);
    let causes = report["causes"].as_array().expect("a report has causes");
    let confirmed = causes.iter().filter(|cause| level_of(cause) == "confirmed");
    confirmed.map(|cause| text(&cause["id"]).to_owned()).collect()
}
