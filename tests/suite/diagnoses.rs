//! The table of diagnoses: what is said of each capture at hand, and whether a person who looked at
//! the packets found it right, how it is explained, or what is wrong: never with a device that is blamed.
//!
//! `UPDATE_EXPECT=1` writes `testdata/diagnoses.txt` anew: what is said as before keeps its word, and
//! what is new has none, which fails until somebody has looked at it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tcp_window_audit::diagnose::Cause;

use crate::compatibility::captures;
use crate::program::PROGRAM;

const HEAD: &str = "\
# What is said of each capture at hand: name, verdict, causes with level and score, and what a person
# says who looked at its packets: right, how it is explained, or what is still wrong with it. Made
# anew by UPDATE_EXPECT=1.
";
/// What stands where nobody has looked.
const UNSEEN: &str = "not looked at";

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/diagnoses.txt")
}

/// What is said of a capture; none where it cannot be read.
fn said(path: &Path) -> Option<String> {
    let output = Command::new(PROGRAM).args(["--format", "json"]).arg(path).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).ok()?;
    let verdict = &report["verdict"];
    let level = verdict["level"].as_str().unwrap();
    let of = verdict["cause"].as_str().map_or_else(String::new, |cause| format!(" {cause}"));
    let named = |cause: &Value| {
        let word = |name: &str| cause[name].as_str().unwrap().to_owned();
        format!("{} {} {}", word("id"), word("level"), cause["score"])
    };
    let causes: Vec<_> = report["causes"].as_array().unwrap().iter().map(named).collect();
    let causes = if causes.is_empty() { "-".to_owned() } else { causes.join(", ") };
    Some(format!("{level}{of}\t{causes}"))
}

/// Splits a line into what is said, and the word on it.
fn row(line: &str) -> (String, String) {
    let (said, word) = line.rsplit_once('\t').unwrap_or_else(|| panic!("no tab in {line}"));
    (said.to_owned(), word.to_owned())
}

#[test]
fn diagnoses_of_the_captures_at_hand_are_those_that_were_looked_at() {
    let Some(files) = captures() else { return };
    let kept = std::fs::read_to_string(table()).unwrap_or_default();
    let lines = kept.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let words: BTreeMap<_, _> = lines.map(row).collect();
    let mut found = HEAD.to_owned();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(said) = said(path) else { continue };
        let said = format!("{name}\t{said}");
        let word = words.get(&said).map_or(UNSEEN, String::as_str);
        writeln!(found, "{said}\t{word}").unwrap();
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(table(), &found).unwrap();
    }
    assert_eq!(found, kept, "UPDATE_EXPECT=1 writes it anew; then look at what is new");
}

#[test]
fn each_diagnosis_was_looked_at_and_no_healthy_capture_is_blamed() {
    let kept = std::fs::read_to_string(table()).unwrap();
    let blamed: Vec<_> =
        Cause::all().filter(|cause| cause.blames_a_device()).map(Cause::id).collect();
    let mut rows = 0;
    for line in kept.lines().filter(|line| !line.starts_with('#')) {
        let (said, word) = row(line);
        let is_word = word == "right"
            || ["right: ", "explained: ", "wrong: "].iter().any(|lead| word.starts_with(lead));
        assert!(is_word, "{line}");
        let causes = said.rsplit('\t').next().unwrap();
        let confirmed = causes.split(", ").filter(|cause| cause.contains(" confirmed "));
        for cause in confirmed {
            let id = cause.split(' ').next().unwrap();
            let is_explained = word.starts_with("right: ");
            assert!(is_explained || !blamed.contains(&id), "{line}");
        }
        rows += 1;
    }
    assert!(rows > 100, "{rows}");
}
