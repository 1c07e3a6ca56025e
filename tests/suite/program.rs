//! The program as its users call it: arguments in; text, files and an exit status out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter, PcapngWriter};
use crate::scenario::testdata;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");

/// The flow that the story of a sequence randomiser is told on.
pub const STORY: &str = "sequence_randomiser_leaves_sack_alone";

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).current_dir(folder).output().unwrap()
}

pub fn status(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every folder of testdata/captures with the name of its capture.
pub fn cases() -> Vec<(PathBuf, String)> {
    let folder = testdata().join("captures");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|folder| {
            let name = |name: &str| folder.join(name).is_file().then(|| name.to_owned());
            let file = name("capture.pcap").or_else(|| name("capture.pcapng")).unwrap();
            (folder, file)
        })
        .collect();
    cases.sort();
    assert!(cases.len() >= 9, "the captures are missing");
    cases
}

/// A folder for one test, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn expect_text(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}

#[test]
fn reports_on_the_captures_at_hand_are_as_kept() {
    for (folder, file) in cases() {
        let report = run(&folder, &[&file]);
        expect_text(&folder.join("report.txt"), text(&report.stdout));
        assert_eq!(text(&report.stderr), "", "{}", folder.display());
        let json = run(&folder, &["--format", "json", &file]);
        expect_text(&folder.join("report.json"), text(&json.stdout));
        assert_eq!(status(&report), status(&json), "{}", folder.display());
    }
}

/// How lines begin that are to be copied.
const TO_COPY: [&str; 5] = ["ip", "printf ", "echo ", "aws ", "az "];

#[test]
fn lines_of_a_report_fit_a_hundred_columns() {
    for (folder, file) in cases() {
        for line in text(&run(&folder, &["-v", &file]).stdout).lines() {
            // A filter or a command to copy is one line, however long it is.
            let is_copied = TO_COPY.iter().any(|word| line.trim_start().starts_with(word));
            assert!(is_copied || line.chars().count() <= 100, "{}: {line}", folder.display());
        }
    }
}

#[test]
fn the_exit_status_tells_clean_from_invalid() {
    let captures = testdata().join("captures");
    let clean = run(&captures.join("clean_download"), &["capture.pcapng"]);
    assert_eq!(status(&clean), 0);
    assert!(text(&clean.stdout).starts_with("Nothing INVALID: "));
    let story = run(&captures.join(STORY), &["capture.pcapng"]);
    assert_eq!(status(&story), 1);
    assert!(text(&story.stdout).starts_with("INVALID: "));
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for (folder, file) in cases() {
        let outputs = |threads: &str| {
            let verdicts = run(&folder, &["--threads", threads, "--verdicts", "-", &file]);
            let json = run(&folder, &["--threads", threads, "--format", "json", &file]);
            (verdicts.stdout, json.stdout)
        };
        let single = outputs("1");
        assert!(!single.0.is_empty());
        for threads in ["2", "7"] {
            assert!(outputs(threads) == single, "{} with {threads}", folder.display());
        }
    }
}

#[test]
fn standard_input_is_audited_like_a_file() {
    let folder = testdata().join("captures").join(STORY);
    let capture = std::fs::read(folder.join("capture.pcapng")).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["-q", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&capture).unwrap();
    let piped = child.wait_with_output().unwrap();
    let file = run(&folder, &["-q", "capture.pcapng"]);
    assert_eq!(text(&piped.stdout), text(&file.stdout));
    assert_eq!(status(&piped), status(&file));
}

#[test]
fn verdicts_have_one_line_a_packet_in_capture_order() {
    let folder = testdata().join("captures").join(STORY);
    let output = run(&folder, &["--verdicts", "-", "capture.pcapng"]);
    let frames: Vec<u64> = text(&output.stdout)
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line.as_object().unwrap().len(), 9, "{line}");
            line["frame"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(frames, (1..=frames.len() as u64).collect::<Vec<_>>());
    assert_eq!(frames.len(), 879);
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let scratch = Scratch::new("outputs");
    let capture = testdata().join("captures").join(STORY).join("capture.pcapng");
    let capture = capture.to_str().unwrap();
    let output =
        run(&scratch.0, &["-q", "-o", "r.json", "-o", "r.txt", "--verdicts", "v.ndjson", capture]);
    assert_eq!(status(&output), 1);
    for name in ["r.json", "r.txt", "v.ndjson"] {
        assert!(scratch.0.join(name).metadata().unwrap().len() > 1000, "{name}");
    }
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 3, "something was left behind");
    let refused = run(&scratch.0, &["-o", "missing/r.json", capture]);
    assert_eq!(status(&refused), 2);
    assert!(text(&refused.stderr).contains("missing/r.json: cannot write"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = testdata().join("captures").join(STORY);
    let mut child = Command::new(PROGRAM)
        .args(["--verdicts", "-", "capture.pcapng"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(status(&output), 1);
}

#[test]
fn what_cannot_be_read_is_one_line_that_says_what_and_where() {
    let scratch = Scratch::new("bad-inputs");
    scratch.write("empty.pcap", b"");
    scratch.write("text.pcap", b"hello, world, this is no capture");
    scratch.write("short.pcap", &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    for (file, words) in [
        ("absent.pcap", "absent.pcap: cannot open: No such file"),
        ("empty.pcap", "empty.pcap: empty file"),
        ("text.pcap", "text.pcap: not a capture file"),
        ("short.pcap", "short.pcap: cut short"),
    ] {
        let output = run(&scratch.0, &[file]);
        let error = text(&output.stderr);
        assert_eq!(status(&output), 2, "{file}");
        assert!(error.starts_with("tcp-window-audit: ") && error.contains(words), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_cut_file_is_audited_up_to_the_cut() {
    let scratch = Scratch::new("cut");
    let folder = testdata().join("captures").join(STORY);
    let capture = std::fs::read(folder.join("capture.pcapng")).unwrap();
    scratch.write("cut.pcapng", &capture[..capture.len() / 2]);
    let output = run(&scratch.0, &["cut.pcapng"]);
    assert_eq!(status(&output), 2);
    let report = text(&output.stdout);
    assert!(report.starts_with("INVALID: "), "{report}");
    assert!(report.contains("INCOMPLETE: cut.pcapng: cut short in frame "), "{report}");
}

#[test]
fn a_capture_of_an_unknown_link_type_is_refused_by_its_number() {
    let scratch = Scratch::new("link-type");
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 147);
    writer.frame(1_000_000_000, 60, &[0; 60]);
    scratch.write("user.pcap", &writer.bytes);
    let output = run(&scratch.0, &["user.pcap"]);
    assert_eq!(status(&output), 2);
    let error = text(&output.stderr);
    assert!(error.contains("user.pcap: frame 1: link type 147 is not supported"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn frames_of_an_unknown_link_type_among_others_are_counted_by_it() {
    let scratch = Scratch::new("link-types");
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(147, 0, &[]);
    writer.interface(101, 0, &[]);
    writer.enhanced(0, 1, 60, &[0; 60]);
    writer.enhanced(1, 2, 60, &[0; 60]);
    scratch.write("mixed.pcapng", &writer.bytes);
    let output = run(&scratch.0, &["mixed.pcapng"]);
    assert_eq!(status(&output), 0);
    assert!(text(&output.stdout).contains("of link type 147"), "{}", text(&output.stdout));
}

#[test]
fn settings_that_are_not_known_list_those_that_are() {
    let output = run(&testdata(), &["--sysctl", "nf_conntrack_tcp_be_librel=1", "x.pcap"]);
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("nf_conntrack_tcp_be_liberal"));
    let output = run(&testdata(), &["--kernel", "banana", "x.pcap"]);
    assert_eq!(status(&output), 2);
    assert!(text(&output.stderr).contains("6.18.44"));
}
