//! What the README says that other programs say of its capture, where they are installed.

use std::process::Command;

use super::pages::{page, root};
use super::{output, printed};
use crate::program::text;

const CAPTURE: &str = "testdata/captures/sequence_randomiser_leaves_sack_alone/capture.pcapng";

/// Runs another program; none, and says so, where it is not installed.
fn other(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok();
    if output.is_none() {
        eprintln!("skipped: {program} is not installed");
    }
    Some(text(&output?.stdout).to_owned())
}

/// The numbers of the frames that a tracker calls INVALID.
fn invalid() -> Vec<String> {
    let verdicts = printed(&format!("tcp-window-audit --verdicts - {CAPTURE}"));
    let lines = verdicts.lines().filter(|line| line.contains("\"ctstate\":\"INVALID\""));
    let frame = |line: &str| line.split(['{', ':', ',']).nth(2).map(str::to_owned);
    lines.filter_map(frame).collect()
}

#[test]
fn tshark_says_what_the_readme_says_that_it_says() {
    let readme = page("README.md");
    let invalid = invalid();
    assert!(output(&["-q", CAPTURE]).contains(&format!("INVALID: {} of", invalid.len())));
    let Some(version) = other("tshark", &["--version"]) else { return };
    if !version.contains("4.0.") {
        eprintln!("skipped: another tshark than that of the README");
        return;
    }
    let frames = format!("frame.number in {{{}}}", invalid.join(","));
    let fields = ["-T", "fields", "-e", "_ws.expert.message"];
    let of = |filter: &str| {
        let arguments = [&["-r", CAPTURE, "-Y", filter][..], &fields].concat();
        other("tshark", &arguments).unwrap_or_default()
    };
    let said = of(&frames);
    let duplicates = said.lines().filter(|line| line.starts_with("Duplicate ACK")).count();
    let nothing = said.lines().filter(|line| line.is_empty()).count();
    let warned = of("tcp").lines().filter(|line| line.contains("D-SACK Sequence")).count();
    let told = format!("| {duplicates} are duplicate ACKs, {nothing} nothing;");
    assert!(readme.contains(&told), "{told}");
    assert!(readme.contains(&format!("{warned} warnings of D-SACK")), "{warned}");
}

#[test]
fn tcptrace_says_what_the_readme_says_that_it_says() {
    let Some(said) = other("tcptrace", &["-n", "-l", CAPTURE]) else { return };
    let sum = |what: &str| -> u64 {
        let words = |line: &str| -> Vec<String> {
            line.split(what).skip(1).map(|rest| rest.trim().to_owned()).collect()
        };
        let first = |rest: &String| rest.split_whitespace().next()?.parse::<u64>().ok();
        said.lines().flat_map(words).filter_map(|rest| first(&rest)).sum()
    };
    // "dsack pkts sent:" holds the same words.
    let sack = sum("sack pkts sent:") - sum("dsack pkts sent:");
    let told =
        format!("counts {sack} packets with SACK and {} sent again", sum("rexmt data pkts:"));
    assert!(page("README.md").contains(&told), "{told}");
}
