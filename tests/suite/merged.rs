//! Several files as one time line: rotated, overlapping, in any order, damaged.

use serde_json::Value;

use crate::capture_writer::{NANOSECONDS, Order, PcapWriter};
use crate::program::{STORY, Scratch, run, status, text};
use crate::scenario::testdata;
use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};

/// Time, link type, original length and bytes of a frame.
#[derive(Clone)]
struct Frame {
    ts: u64,
    original_len: u32,
    bytes: Vec<u8>,
}

const DAY: u64 = 86_400_000_000_000;

/// The frames of a capture of Ethernet with faults that are INVALID.
fn frames() -> Vec<Frame> {
    let path = testdata().join("captures").join(STORY).join("capture.pcapng");
    let mut source = source::open(&path, Timeline::default()).unwrap();
    let (mut frames, mut batch) = (Vec::new(), Batch::default());
    while source.fill(&mut batch).unwrap() {
        frames.extend(batch.frames(0..batch.len()).map(|frame| Frame {
            ts: u64::try_from(frame.ts.0).unwrap(),
            original_len: frame.original_len,
            bytes: frame.bytes.to_vec(),
        }));
    }
    frames
}

fn pcap<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, 1);
    for Frame { ts, original_len, bytes } in frames {
        writer.frame(*ts, *original_len, bytes);
    }
    writer.bytes
}

/// The verdicts on files, with file and frame, and all else without the flow's name.
fn verdicts(scratch: &Scratch, files: &[&str]) -> Vec<((u64, u64), String)> {
    let output = run(&scratch.0, &[&["--verdicts", "-"], files].concat());
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout).lines().map(verdict).collect()
}

fn verdict(line: &str) -> ((u64, u64), String) {
    let mut line: Value = serde_json::from_str(line).unwrap();
    let fields = line.as_object_mut().unwrap();
    fields.remove("flow");
    let file = fields.remove("file").map_or(0, |file| file.as_u64().unwrap());
    let frame = fields.remove("frame").unwrap().as_u64().unwrap();
    ((file, frame), line.to_string())
}

fn judged(verdicts: &[((u64, u64), String)]) -> Vec<&str> {
    verdicts.iter().map(|(_, judged)| judged.as_str()).collect()
}

#[test]
fn rotated_files_in_any_order_are_judged_as_the_whole() {
    let scratch = Scratch::new("rotated");
    let frames = frames();
    scratch.write("whole.pcap", &pcap(&frames));
    let parts: Vec<_> = frames.chunks(200).collect();
    let names: Vec<_> = (0..parts.len()).map(|part| format!("part{part}.pcap")).collect();
    for (name, part) in names.iter().zip(&parts) {
        scratch.write(name, &pcap(*part));
    }
    let whole = verdicts(&scratch, &["whole.pcap"]);
    for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
        let files = order.map(|part: usize| names[part].as_str());
        let found = verdicts(&scratch, &files);
        assert_eq!(judged(&found), judged(&whole), "{files:?}");
        for (((file, frame), _), ((_, alone), _)) in found.iter().zip(&whole) {
            let part = order[usize::try_from(*file).unwrap()] as u64;
            assert_eq!((part * 200 + frame), *alone, "{files:?}");
        }
    }
}

#[test]
fn files_of_two_taps_are_merged_by_time_and_so_are_any_number_of_threads() {
    let scratch = Scratch::new("taps");
    let frames = frames();
    let tap = |reply: bool| {
        // The port of the server tells the way.
        let is_reply = move |frame: &&Frame| frame.bytes[34..36] == [1, 187];
        frames.iter().filter(move |frame| is_reply(frame) == reply)
    };
    scratch.write("whole.pcap", &pcap(&frames));
    scratch.write("original.pcap", &pcap(tap(false)));
    scratch.write("reply.pcap", &pcap(tap(true)));
    let whole = verdicts(&scratch, &["whole.pcap"]);
    let found = verdicts(&scratch, &["reply.pcap", "original.pcap"]);
    assert_eq!(judged(&found), judged(&whole));
    assert!(found.iter().any(|((file, _), _)| *file == 0));
    for file in [0, 1] {
        let numbers: Vec<_> = found.iter().filter(|((f, _), _)| *f == file).collect();
        let counted: Vec<_> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers.iter().map(|((_, frame), _)| *frame).collect::<Vec<_>>(), counted);
    }
    let with = |threads| {
        let files = ["reply.pcap", "original.pcap"];
        let json =
            run(&scratch.0, &[&["--format", "json", "--threads", threads], &files[..]].concat());
        let lines =
            run(&scratch.0, &[&["--verdicts", "-", "--threads", threads], &files[..]].concat());
        (json.stdout, lines.stdout)
    };
    assert!(with("1") == with("3"));
}

#[test]
fn frames_in_disorder_stay_so_and_are_counted() {
    let scratch = Scratch::new("disorder");
    let mut frames = frames();
    // Not the same packets: those would be two taps with two clocks.
    let late = frames.split_off(frames.len() / 2);
    let late: Vec<_> =
        late.into_iter().map(|frame| Frame { ts: frame.ts + DAY, ..frame }).collect();
    frames.swap(5, 6);
    scratch.write("a.pcap", &pcap(&late));
    scratch.write("b.pcap", &pcap(&frames));
    let report = run(&scratch.0, &["--format", "json", "a.pcap", "b.pcap"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["capture"]["time_steps_back"], 1);
    assert_eq!(report["capture"]["frames"], late.len() + frames.len());
    assert_eq!(report["capture"]["files"][1]["name"], "b.pcap");
    let found = verdicts(&scratch, &["a.pcap", "b.pcap"]);
    assert_eq!(found[0].0, (1, 1), "the earlier file comes first, by its own name");
    assert_eq!(found.last().unwrap().0, (0, late.len() as u64));
}

#[test]
fn a_damaged_file_among_others_is_told_and_the_others_are_read() {
    let scratch = Scratch::new("damaged-among");
    let frames = frames();
    let cut = pcap(&frames[300..600]);
    scratch.write("a.pcap", &pcap(&frames[..300]));
    scratch.write("b.pcap", &cut[..cut.len() - 10]);
    scratch.write("c.pcap", &pcap(&frames[600..]));
    scratch.write("none.pcap", &pcap(&[]));
    scratch.write("bad.pcap", b"not a capture at all");
    let files = ["a.pcap", "absent.pcap", "b.pcap", "bad.pcap", "c.pcap", "none.pcap"];
    let output = run(&scratch.0, &[&["--format", "json"], &files[..]].concat());
    assert_eq!(status(&output), 2);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["capture"]["frames"], frames.len() - 1);
    let problems = report["problems"].to_string();
    for words in ["absent.pcap: cannot open", "bad.pcap: not a capture", "b.pcap: cut short"] {
        assert!(problems.contains(words), "{problems}");
    }
    assert_eq!(report["problems"].as_array().unwrap().len(), 3, "{problems}");
    let names: Vec<_> = report["capture"]["files"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 4);
}

#[test]
fn more_overlapping_files_than_are_read_at_one_time_lose_nothing() {
    let scratch = Scratch::new("many-files");
    let frames = frames();
    let names: Vec<_> = (0..300).map(|file| format!("{file:03}.pcap")).collect();
    for (file, name) in names.iter().enumerate() {
        scratch.write(name, &pcap(frames.iter().skip(file).step_by(300)));
    }
    let files: Vec<_> = names.iter().map(String::as_str).collect();
    let output = run(&scratch.0, &[&["--format", "json"], &files[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["capture"]["frames"], frames.len());
    assert_eq!(report["complete"], true);
}
