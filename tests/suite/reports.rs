//! Reports for people: as kept, within their limits, coloured where that is wanted, and reproducible.

use std::fmt::Write as _;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};
use crate::conversation::{From, Line, capture, handshake};
use crate::program::{PROGRAM, STORY, Scratch, cases, expect_text, run, status, text};
use crate::scenario::testdata;

#[test]
fn reports_in_every_text_format_are_as_kept() {
    for (folder, file) in cases() {
        for (format, name) in [("markdown", "report.md"), ("ndjson", "report.ndjson")] {
            let report = run(&folder, &["--format", format, &file]);
            assert_eq!(text(&report.stderr), "", "{}", folder.display());
            expect_text(&folder.join(name), text(&report.stdout));
        }
    }
}

#[test]
fn the_answer_stands_in_the_first_three_lines() {
    for (folder, file) in cases() {
        let report = run(&folder, &[&file]).stdout;
        let lines: Vec<_> = text(&report).lines().take(3).collect();
        let starts = ["INVALID: ", "Nothing INVALID: "];
        assert!(starts.iter().any(|start| lines[0].starts_with(start)), "{lines:?}");
        let verdicts = ["Confirmed", "Probable", "Possible", "Cannot", "Not", "No", "Nothing"];
        assert!(verdicts.iter().any(|word| lines[1].starts_with(word)), "{lines:?}");
    }
}

/// Many connections of many hosts with INVALID packets, in captures with long names.
fn crowded(scratch: &Scratch) -> Vec<String> {
    let far = |seq| Line {
        millis: 30,
        from: From::Server,
        seq,
        ack: 1,
        win: 1000,
        len: 100,
        ..Line::PLAIN
    };
    let mut lines = handshake(1000);
    lines.extend((0..40).map(|n| far(500_000 + n * 5000)));
    let bytes = capture(&vec![lines; 200]);
    let names: Vec<_> = (0..30).map(|n| format!("{n}-{}.pcap", "`long|name`".repeat(22))).collect();
    for name in &names {
        scratch.write(name, &bytes);
    }
    names
}

#[test]
fn markdown_keeps_its_limits_however_much_there_is_to_tell() {
    let scratch = Scratch::new("markdown-limits");
    let names = crowded(&scratch);
    let mut arguments = vec!["--format", "markdown"];
    arguments.extend(names.iter().map(String::as_str));
    let crowded = run(&scratch.0, &arguments);
    assert_eq!(status(&crowded), 1, "{}", text(&crowded.stderr));
    let mut reports = vec![text(&crowded.stdout).to_owned()];
    assert!(reports[0].contains("see the JSON report"), "{}", reports[0]);
    for (folder, file) in cases() {
        reports.push(text(&run(&folder, &["--format", "markdown", &file]).stdout).to_owned());
    }
    for report in reports {
        assert!(report.chars().count() <= 30_000, "{} characters", report.chars().count());
        assert_eq!(report.matches("\n```").count() % 2, 0, "a fence is open");
        let mut rows = 0;
        for line in report.lines() {
            rows = if line.starts_with('|') { rows + 1 } else { 0 };
            // A head, a rule, and twelve rows.
            assert!(rows <= 14, "{line}");
        }
    }
}

#[test]
fn what_was_read_can_be_read_again_and_says_the_same() {
    let folder = testdata().join("captures").join(STORY);
    let options = ["--sysctl", "nf_conntrack_tcp_loose=0", "--kernel", "5.10.218"];
    let options = [&options[..], &["--format", "markdown", "capture.pcapng"]].concat();
    let report = run(&folder, &options).stdout;
    let capture = std::fs::read(folder.join("capture.pcapng")).unwrap();
    let hash = Sha256::digest(&capture).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    assert!(text(&report).contains(&hash), "{}", text(&report));
    let section = text(&report).split("### Reproduce").nth(1).unwrap();
    let command = section.split("```sh\n").nth(1).unwrap().split("\n```").next().unwrap();
    let arguments = command.strip_prefix("tcp-window-audit ").expect(command);
    let again = Command::new("sh")
        .args(["-c", &format!("exec {PROGRAM} --format markdown {arguments}")])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(text(&again.stdout), text(&report));
}

#[test]
fn what_cannot_be_read_twice_has_no_hash() {
    let folder = testdata().join("captures").join(STORY);
    let piped = Command::new("sh")
        .args(["-c", &format!("cat capture.pcapng | {PROGRAM} --format json -")])
        .current_dir(&folder)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    let file = &report["capture"]["files"][0];
    assert_eq!(file["name"], "-");
    assert!(file.get("sha256").is_none() && file["bytes_read"].as_u64() > Some(0), "{file}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let folder = testdata().join("captures").join(STORY);
    let with = |when: &str| run(&folder, &["--color", when, "capture.pcapng"]).stdout;
    let (plain, coloured) = (with("never"), with("always"));
    assert!(!plain.contains(&0x1b), "colours without asking");
    assert_eq!(run(&folder, &["capture.pcapng"]).stdout, plain, "a pipe is no terminal");
    let stripped = anstream::adapter::strip_bytes(&coloured).into_vec();
    assert!(coloured.len() > plain.len());
    assert_eq!(text(&stripped), text(&plain));
    let scratch = Scratch::new("colours");
    let capture = folder.join("capture.pcapng");
    run(&scratch.0, &["--color", "always", "-q", "-o", "r.txt", capture.to_str().unwrap()]);
    assert!(!std::fs::read(scratch.0.join("r.txt")).unwrap().contains(&0x1b), "a file has none");
}

#[test]
fn a_terminal_has_colours_unless_it_is_asked_for_none() {
    let folder = testdata().join("captures").join(STORY);
    // `script` gives the program a terminal of its own.
    let on_a_terminal = |environment: &str| {
        let command = format!("{environment} {PROGRAM} -q capture.pcapng");
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(&folder)
            // What else colours depend on is as on a person's own terminal.
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("CI")
            .env("TERM", "xterm-256color")
            .output()
            .ok()?;
        (status(&output) == 1).then(|| output.stdout.contains(&0x1b))
    };
    let Some(is_coloured) = on_a_terminal("env") else {
        eprintln!("skipped: no script(1) to make a terminal");
        return;
    };
    assert!(is_coloured);
    assert_eq!(on_a_terminal("env NO_COLOR=1"), Some(false));
    assert_eq!(on_a_terminal("env TERM=dumb"), Some(false));
}

#[test]
fn a_capture_without_frames_gives_every_report() {
    let scratch = Scratch::new("no-frames");
    scratch.write("a.pcap", &PcapWriter::new(Order::Little, MICROSECONDS, 1).bytes);
    for format in ["text", "json", "markdown", "ndjson", "html"] {
        let output = run(&scratch.0, &["-v", "--relative-times", "--format", format, "a.pcap"]);
        assert_eq!(status(&output), 0, "{format}");
        assert!(text(&output.stdout).len() > 50, "{format}");
    }
}

/// A report in one line, however its lines were broken.
fn unwrapped(report: &str) -> String {
    report.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A client whose second segment comes alone, and whose first comes when a timer has run out.
fn late_first_segment() -> Vec<Line> {
    let mut lines = handshake(64_000);
    let segment = |millis, seq| Line { millis, seq, ack: 1, win: 64_000, len: 1000, ..Line::PLAIN };
    let answer =
        |millis, ack| Line { millis, from: From::Server, seq: 1, ack, win: 64_000, ..Line::PLAIN };
    lines.extend([segment(30, 1001), answer(40, 1), segment(840, 1), answer(850, 2001)]);
    lines
}

#[test]
fn reports_for_people_name_what_was_sent_again_in_words() {
    let scratch = Scratch::new("kinds-in-words");
    scratch.write("a.pcap", &capture(&[late_first_segment()]));
    let report = |options: &[&str]| {
        unwrapped(text(&run(&scratch.0, &[options, &["a.pcap"]].concat()).stdout))
    };
    let words = "retransmission of a loss before the capture point";
    for format in ["text", "markdown", "html"] {
        let report = report(&["--format", format]);
        assert!(report.contains("sent again"), "{report}");
        assert!(!report.contains("ended by lost"), "{report}");
        assert!(report.contains(words), "{format}: {report}");
    }
    let in_full = report(&["--flow", "1"]);
    let (_, in_full) = in_full.split_once("Flow 1 in full").unwrap();
    assert!(in_full.contains(&format!("(1,000 bytes), {words} 1")), "{in_full}");
    assert!(
        in_full.contains(&format!("original {words}: 1000 bytes, 810.000 ms after")),
        "{in_full}"
    );
    assert!(in_full.contains(&format!("ended by {words}")), "{in_full}");
    assert!(!in_full.contains("lost_upstream"), "{in_full}");
    assert!(report(&["--format", "json"]).contains("lost_upstream"));
}

#[test]
fn a_round_trip_between_equal_time_stamps_is_too_short_to_tell_of_one_flow_too() {
    let scratch = Scratch::new("no-time-between");
    let in_full = |millis: [u64; 3]| {
        let mut lines = handshake(64_000);
        for (line, millis) in lines.iter_mut().zip(millis) {
            line.millis = millis;
        }
        scratch.write("a.pcap", &capture(&[lines]));
        let report = run(&scratch.0, &["--flow", "1", "a.pcap"]).stdout;
        unwrapped(text(&report)).split_once("Flow 1 in full").unwrap().1.to_owned()
    };
    let untold = in_full([0, 0, 0]);
    assert_eq!(untold.matches("answered within a time too short to tell").count(), 2, "{untold}");
    assert!(!untold.contains("usually") && !untold.contains("0.000 ms"), "{untold}");
    let told = in_full([0, 10, 10]);
    assert!(told.contains("answered within 10.000 ms, usually 10.000 ms"), "{told}");
    assert_eq!(told.matches("too short to tell").count(), 1, "{told}");
}
