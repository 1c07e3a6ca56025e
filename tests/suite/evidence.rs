//! The packets of the evidence as a capture file: read back by the program itself, and by tshark and
//! capinfos where they are installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::wire::{self, Decoded, Packet, Tunnels};

use crate::program::{STORY, Scratch, cases, run, status, text};
use crate::scenario::testdata;

fn evidence(scratch: &Scratch, folder: &Path, arguments: &[&str]) -> PathBuf {
    let target = scratch.0.join("evidence.pcapng");
    let options = ["-q", "-o", target.to_str().unwrap()];
    let output = run(folder, &[&options[..], arguments].concat());
    assert!(status(&output) < 2, "{}", text(&output.stderr));
    target
}

/// The segments of a capture, by frame; headers only are asked for.
fn segments(path: &Path, only: Option<&BTreeSet<u64>>) -> Vec<(u64, i64, Packet)> {
    let mut file = source::open(path, Timeline::default()).unwrap();
    let (mut batch, mut segments) = (Batch::default(), Vec::new());
    while file.fill(&mut batch).unwrap() {
        for frame in batch.frames(0..batch.len()) {
            if only.is_some_and(|only| !only.contains(&frame.number)) {
                continue;
            }
            let Decoded::Segment(packet) = wire::decode(&frame) else {
                panic!("{}: frame {} is no segment", path.display(), frame.number);
            };
            if only.is_none() {
                let headers = wire::headers(&frame, Tunnels::Closed).unwrap();
                assert_eq!(headers, 0..frame.bytes.len(), "headers, and nothing but headers");
            }
            segments.push((frame.number, frame.ts.0, packet));
        }
    }
    segments
}

/// The comments of a capture's packets, found as the blocks have them.
fn comments(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let starts = text.match_indices("twa ").filter(|(_, _)| true).map(|(start, _)| start);
    let comment = |start: usize| text[start..].split('\0').next().unwrap().to_owned();
    // The first is that of the section.
    starts.map(comment).skip(1).collect()
}

/// The frame that a comment says its packet was.
fn original_frame(comment: &str) -> u64 {
    let (_, end) = comment.rsplit_once("; frame ").unwrap_or_else(|| panic!("{comment}"));
    end.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn evidence_holds_the_headers_of_the_packets_it_names_and_nothing_else() {
    let scratch = Scratch::new("evidence-headers");
    for (folder, file) in cases() {
        let path = evidence(&scratch, &folder, &[&file]);
        let kept = segments(&path, None);
        let comments = comments(&path);
        assert_eq!(kept.len(), comments.len(), "{}", folder.display());
        let frames: BTreeSet<_> = comments.iter().map(|comment| original_frame(comment)).collect();
        let originals = segments(&folder.join(&file), Some(&frames));
        assert_eq!(originals.len(), kept.len(), "{}", folder.display());
        for ((_, ts, packet), (_, original_ts, original)) in kept.iter().zip(&originals) {
            assert_eq!((ts, packet), (original_ts, original));
        }
    }
}

#[test]
fn a_comment_tells_cause_rule_excess_and_effect() {
    let scratch = Scratch::new("evidence-comments");
    let folder = testdata().join("captures").join(STORY);
    let path = evidence(&scratch, &folder, &["capture.pcapng"]);
    let comments = comments(&path);
    let of = |frame| comments.iter().find(|comment| original_frame(comment) == frame).unwrap();
    assert_eq!(
        of(57),
        "twa C01 INVALID III: ack_over, acknowledges data that the tracker has not seen: 575,834,921 \
         bytes beyond the highest byte seen from the other side; effect: dropped, as later packets \
         prove; passes with be_liberal=1; flow 1 original; frame 57 of the original"
    );
    assert!(of(1).starts_with("twa flow 1 original: SYN with MSS 1460, window scale 7, SACK"));
    let bytes = std::fs::read(&path).unwrap();
    let section = String::from_utf8_lossy(&bytes[..2000]).into_owned();
    assert!(section.contains("twa verdict: Confirmed C01 (100/100)"), "{section}");
    assert!(section.contains("Original: capture.pcapng"), "{section}");
}

#[test]
fn evidence_is_the_same_for_any_number_of_threads_and_of_several_files() {
    let scratch = Scratch::new("evidence-threads");
    let folder = testdata().join("captures");
    let story = format!("{STORY}/capture.pcapng");
    let files = [story.as_str(), "capture_loss/capture.pcapng"];
    let bytes = |threads| {
        let arguments = [&["--threads", threads][..], &files].concat();
        std::fs::read(evidence(&scratch, &folder, &arguments)).unwrap()
    };
    let one = bytes("1");
    assert!(one == bytes("3"));
    let text = String::from_utf8_lossy(&one);
    assert!(text.contains("file 0 frame 55 of the original"));
    assert!(text.contains("; file 1 frame "));
}

#[test]
fn evidence_of_a_filtered_run_is_that_of_the_first_reading() {
    let scratch = Scratch::new("evidence-filter");
    let folder = testdata().join("captures").join(STORY);
    let output = run(&folder, &["-q", "--filter", "tcp", "capture.pcapng"]);
    if status(&output) == 2 {
        eprintln!("skipped: no libpcap");
        return;
    }
    let all = std::fs::read(evidence(&scratch, &folder, &["capture.pcapng"])).unwrap();
    let filter = ["--filter", "tcp port 443", "capture.pcapng"];
    let filtered = std::fs::read(evidence(&scratch, &folder, &filter)).unwrap();
    assert!(all == filtered);
}

#[test]
fn tshark_and_capinfos_read_the_evidence() {
    let scratch = Scratch::new("evidence-tshark");
    let folder = testdata().join("captures").join(STORY);
    let path = evidence(&scratch, &folder, &["capture.pcapng"]);
    let tshark = |arguments: &[&str]| {
        let output = Command::new("tshark").arg("-r").arg(&path).args(arguments).output();
        output.ok().filter(|output| output.status.success())
    };
    let filter = "frame.comment contains \"twa C01 INVALID III\"";
    let fields = ["-T", "fields", "-e", "tcp.seq_raw", "-e", "tcp.options.sack_re"];
    let Some(found) = tshark(&[&["-Y", filter][..], &fields].concat()) else {
        eprintln!("skipped: no tshark");
        return;
    };
    let lines: Vec<_> = text(&found.stdout).lines().collect();
    assert_eq!(lines.len(), 20, "ten of each of the two flows");
    assert!(lines[0].starts_with("952844998\t"), "{}", lines[0]);
    let malformed = tshark(&["-Y", "_ws.malformed || tcp.payload || eth"]).unwrap();
    assert_eq!(text(&malformed.stdout), "");
    let commented = tshark(&["-Y", "frame.comment contains \"twa\""]).unwrap();
    assert_eq!(text(&commented.stdout).lines().count(), segments(&path, None).len());

    let output = Command::new("capinfos").arg(&path).output().unwrap();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}");
    for fact in
        ["Raw IP", "nanoseconds (9)", "twa verdict: Confirmed C01", "Number of packets:   24"]
    {
        assert!(told.contains(fact), "{fact}: {told}");
    }
}

#[test]
fn mapped_addresses_leave_none_in_page_and_evidence() {
    let scratch = Scratch::new("evidence-mapped");
    scratch.write("key", b"a key of the tests, 32 bytes long");
    let folder = testdata().join("captures");
    let key = scratch.0.join("key");
    for case in [STORY, "ipv6_upload", "window_scale_stripped_from_syn_ack"] {
        let page = scratch.0.join("page.html");
        let file = format!("{case}/capture.pcapng");
        let options = ["--anonymize", "--anonymize-key", key.to_str().unwrap(), "--relative-times"];
        let outputs = ["-o", page.to_str().unwrap(), &file];
        let path = evidence(&scratch, &folder, &[&options[..], &outputs].concat());
        let mapped = segments(&path, None);
        let mut written = std::fs::read(&page).unwrap();
        written.extend(std::fs::read(&path).unwrap());
        let written = String::from_utf8_lossy(&written);
        for address in ["192.0.2.", "203.0.113.", "2001:db8"] {
            assert!(!written.contains(address), "{case}: {address}");
        }
        assert!(!written.contains("2023-11-14"), "{case}: times are relative");
        let plain = segments(&evidence(&scratch, &folder, &[&file]), None);
        assert_eq!(mapped.len(), plain.len());
        for ((_, ts, mapped), (_, original_ts, original)) in mapped.iter().zip(&plain) {
            assert_eq!(mapped.segment, original.segment, "nothing but addresses is mapped");
            assert_ne!(mapped.key, original.key);
            assert!(*ts < 60_000_000_000 && *original_ts > 1_600_000_000_000_000_000);
        }
    }
}
