//! The table of compatibility: for each capture at hand, how many packets and TCP segments there are
//! by this program, by tshark and by capinfos.
//!
//! `cargo test --release --test suite compatibility -- --ignored --nocapture` prints it. Every
//! difference has a reason in `testdata/compatibility.txt`, and a reason without a difference
//! fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::PROGRAM;

/// Counts of one tool: packets and TCP segments, where it tells them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Counts {
    packets: Option<u64>,
    segments: Option<u64>,
}

#[test]
#[ignore = "asks two other programs about every capture: a minute"]
fn counts_agree_with_other_programs_or_the_difference_has_a_reason() {
    let Some(files) = captures() else { return };
    let reasons = reasons();
    let mut table = String::from("capture\tpackets\ttshark\tcapinfos\tTCP\ttshark\tsame\n");
    let (mut unexplained, mut unused) = (Vec::new(), reasons.clone());
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(theirs) = tshark(path) else { return };
        let (ours, capinfos) = (ours(path), capinfos(path));
        let is_same = ours == theirs && ours.packets == capinfos;
        let row = [ours.packets, theirs.packets, capinfos, ours.segments, theirs.segments];
        let row = row.map(|count| count.map_or("-".to_owned(), |count| count.to_string()));
        let reason = reasons.get(name);
        let verdict = match (is_same, reason) {
            (true, _) => "yes",
            (false, Some(reason)) => reason,
            (false, None) => "NO",
        };
        writeln!(table, "{name}\t{}\t{verdict}", row.join("\t")).unwrap();
        if !is_same {
            unused.remove(name);
        }
        if !is_same && reason.is_none() {
            unexplained.push(name.to_owned());
        }
    }
    println!("{table}");
    println!("{} captures, {} unexplained differences", files.len(), unexplained.len());
    assert!(unexplained.is_empty(), "no reason for {unexplained:?}");
    assert!(unused.is_empty(), "no difference any more in {unused:?}");
}

fn ours(path: &Path) -> Counts {
    let output = Command::new(PROGRAM).args(["--format", "json"]).arg(path).output().unwrap();
    let Ok(report) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
        return Counts::default();
    };
    let capture = &report["capture"];
    Counts { packets: capture["frames"].as_u64(), segments: capture["tcp_segments"].as_u64() }
}

/// Counts the frames, and those whose outermost datagram is TCP; with reassembly, so that a
/// datagram in fragments counts once.
fn tshark(path: &Path) -> Option<Counts> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(path)
        .args(["-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-e", "frame.protocols"])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: tshark is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() && !output.status.success() {
        return Some(Counts::default());
    }
    let segments = text.lines().filter(|protocols| outermost_is_tcp(protocols)).count();
    Some(Counts { packets: Some(text.lines().count() as u64), segments: Some(segments as u64) })
}

/// Returns whether the first IP header of the frame carries TCP, extension headers aside.
fn outermost_is_tcp(protocols: &str) -> bool {
    let mut names = protocols.split(':').skip_while(|name| !matches!(*name, "ip" | "ipv6"));
    let is_v4 = names.next() == Some("ip");
    let extension = |name: &&str| !is_v4 && (name.starts_with("ipv6.") || *name == "ah");
    names.find(|name| !extension(name)) == Some("tcp")
}

fn capinfos(path: &Path) -> Option<u64> {
    let output = Command::new("capinfos").args(["-TMrc"]).arg(path).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(count) = text.lines().next().and_then(|line| line.rsplit('\t').next()) {
        return count.parse().ok();
    }
    // Of a damaged file the count is in the message.
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = told.split_once("after reading ")?;
    rest.split(' ').next()?.parse().ok()
}

/// The reasons kept, by the name of the capture.
fn reasons() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/compatibility.txt");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let row =
        |line: &str| line.split_once('\t').map(|(name, why)| (name.to_owned(), why.to_owned()));
    lines.map(|line| row(line).unwrap_or_else(|| panic!("no tab in {line}"))).collect()
}

pub(crate) fn captures() -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/dev");
    let Ok(entries) = root.read_dir() else {
        eprintln!("skipped: no captures in {}", root.display());
        return None;
    };
    let is_capture = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && !matches!(extension, Some("tsv" | "txt" | "json"))
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_capture).collect();
    files.sort();
    Some(files)
}
