//! What cannot be written is told, leaves no half report, and keeps no other report from being
//! written.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{PROGRAM, STORY, Scratch, status, text};
use crate::scenario::testdata;

/// Runs the program behind shell words that limit it or lead its output elsewhere.
pub fn shell(scratch: &Scratch, words: &str, arguments: &[&str]) -> Output {
    let capture = testdata().join("captures").join(STORY).join("capture.pcapng");
    let output = Command::new("sh")
        .args(["-c", words, PROGRAM])
        .args(arguments)
        .arg(capture)
        .current_dir(&scratch.0)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), None, "{words}");
    output
}

/// Files larger than 512 bytes cannot be written, as on a disk that is nearly full.
pub const FULL: &str = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";

pub fn files(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(&scratch.0).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half_report() {
    let scratch = Scratch::new("full-disk");
    for arguments in [&["-o", "r.json"][..], &["-o", "r.txt"], &["--verdicts", "v.ndjson"]] {
        let output = shell(&scratch, FULL, arguments);
        let told = text(&output.stderr).to_owned() + text(&output.stdout);
        assert_eq!(status(&output), 2, "{told}");
        assert!(told.contains("too large") || told.contains("verdicts are not complete"), "{told}");
        assert_eq!(files(&scratch), [""; 0], "{arguments:?}");
        assert!(text(&output.stdout).starts_with("INVALID: "), "the answer is there all the same");
    }
    let limited = shell(&scratch, FULL, &["-o", "r.json", "-o", "/dev/null"]);
    assert_eq!(status(&limited), 2);
}

#[test]
fn a_report_that_was_there_stays_when_the_new_one_cannot_be_written() {
    let scratch = Scratch::new("old-report");
    scratch.write("r.json", b"the old one");
    assert_eq!(status(&shell(&scratch, FULL, &["-o", "r.json"])), 2);
    assert_eq!(std::fs::read(scratch.0.join("r.json")).unwrap(), b"the old one");
    assert_eq!(files(&scratch), ["r.json"]);
}

#[test]
fn a_full_standard_output_is_told() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let scratch = Scratch::new("full-stdout");
    for arguments in [&["-q"][..], &["-v"], &["--format", "json"], &["--verdicts", "-"]] {
        let output = shell(&scratch, "exec \"$0\" \"$@\" >/dev/full", arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains("standard output: cannot write: No space left"), "{told}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure_for_any_format() {
    let scratch = Scratch::new("closed-pipe");
    for arguments in [&["-v"][..], &["--format", "json"], &["--verdicts", "-"]] {
        let words = "(\"$0\" \"$@\"; echo $? >status) | head -c 10 >/dev/null; cat status";
        let output = shell(&scratch, words, arguments);
        assert_eq!(text(&output.stdout).trim(), "1", "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_the_audit() {
    let scratch = Scratch::new("no-place");
    scratch.write("file", b"no folder");
    for place in ["missing/r.json", "file/r.json", "/proc/r.json", "."] {
        for option in ["-o", "--verdicts"] {
            if option == "-o" && place == "." {
                continue;
            }
            let output = shell(&scratch, "exec \"$0\" \"$@\"", &[option, place]);
            assert_eq!(status(&output), 2, "{option} {place}");
            assert!(text(&output.stderr).contains("cannot write"), "{}", text(&output.stderr));
            assert!(output.stdout.is_empty(), "{option} {place}");
        }
    }
    assert_eq!(files(&scratch), ["file"]);
}

#[test]
fn devices_pipes_and_links_are_written_through_and_not_replaced() {
    let scratch = Scratch::new("devices");
    let made = Command::new("mkfifo").arg(scratch.0.join("pipe.json")).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    let words = "cat pipe.json >copy.json & \"$0\" \"$@\"; status=$?; wait; exit $status";
    let output = shell(&scratch, words, &["-o", "pipe.json"]);
    assert_eq!(status(&output), 1, "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(scratch.0.join("copy.json")).unwrap().ends_with("}\n"));
    std::os::unix::fs::symlink("copy.json", scratch.0.join("link.json")).unwrap();
    std::fs::write(scratch.0.join("copy.json"), b"old").unwrap();
    let output = shell(&scratch, "exec \"$0\" \"$@\"", &["-o", "link.json"]);
    assert_eq!(status(&output), 1);
    assert!(scratch.0.join("link.json").is_symlink());
    assert!(std::fs::read(scratch.0.join("copy.json")).unwrap().len() > 1000);
    let output = shell(&scratch, "exec \"$0\" \"$@\"", &["-q", "--verdicts", "/dev/stdout"]);
    // A line a packet, and the answer: counts, two lines of verdict, and what judged.
    assert_eq!(text(&output.stdout).lines().count(), 879 + 4);
}
