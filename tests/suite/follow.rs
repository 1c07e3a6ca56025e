//! A file that grows is audited as it grows, and reported when the person has enough.
#![cfg(unix)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::program::{PROGRAM, STORY, Scratch, run, status, text};
use crate::scenario::testdata;

fn capture() -> Vec<u8> {
    std::fs::read(testdata().join("captures").join(STORY).join("capture.pcapng")).unwrap()
}

fn follow(scratch: &Scratch, arguments: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(["--follow", "live.pcapng"])
        .args(arguments)
        .current_dir(&scratch.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_growing_file_gives_the_verdicts_at_once_and_the_report_at_ctrl_c() {
    let scratch = Scratch::new("follow");
    let capture = capture();
    scratch.write("whole.pcapng", &capture);
    let whole = run(&scratch.0, &["--verdicts", "-", "whole.pcapng"]);
    let expected: Vec<_> = text(&whole.stdout).lines().map(str::to_owned).collect();
    // The file does not even have its header when the audit begins.
    scratch.write("live.pcapng", b"");
    let mut child = follow(&scratch, &["--verdicts", "-", "-o", "report.json"]);
    let mut file = OpenOptions::new().append(true).open(scratch.0.join("live.pcapng")).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut seen, mut written) = (0, 0);
    for piece in capture.chunks(capture.len() / 5 + 1) {
        file.write_all(piece).unwrap();
        written += piece.len();
        // What a piece completes comes without waiting for the next one.
        while seen < written * expected.len() / capture.len() / 2 {
            assert_eq!(lines.next().unwrap().unwrap(), expected[seen]);
            seen += 1;
        }
    }
    while seen < expected.len() {
        assert_eq!(lines.next().unwrap().unwrap(), expected[seen]);
        seen += 1;
    }
    // An end inside a record is no damage here.
    file.write_all(&[6, 0, 0, 0, 200, 0]).unwrap();
    interrupt(&child);
    assert_eq!(status(&child.wait_with_output().unwrap()), 1);
    let report = std::fs::read_to_string(scratch.0.join("report.json")).unwrap();
    assert!(report.contains("\"complete\": true") && report.contains("\"packets\": 879"));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let scratch = Scratch::new("follow-not");
    scratch.write("live.pcapng", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    let child = follow(&scratch, &[]).wait_with_output().unwrap();
    assert_eq!(status(&child), 2);
    assert!(text(&child.stderr).contains("--follow needs a plain capture file"));
    let several = follow(&scratch, &["live.pcapng"]).wait_with_output().unwrap();
    assert_eq!(status(&several), 2);
    assert!(text(&several.stderr).contains("--follow needs one file"));
}
