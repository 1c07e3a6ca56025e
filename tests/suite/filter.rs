//! A filter leaves what tcpdump leaves, and says what it left out.

use std::process::Command;

use serde_json::Value;

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter, PcapngWriter};
use crate::program::{PROGRAM, STORY, Scratch, run, status, text};
use crate::scenario::testdata;

/// Returns whether libpcap is there.
fn has_libpcap(scratch: &Scratch) -> bool {
    let output = run(&scratch.0, &["--filter", "tcp", "absent.pcap"]);
    let is_there = !text(&output.stderr).contains("libpcap");
    if !is_there {
        eprintln!("skipped: libpcap is not installed");
    }
    is_there
}

fn report(scratch: &Scratch, arguments: &[&str]) -> Value {
    let output = run(&scratch.0, &[&["--format", "json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_filter_leaves_what_tcpdump_leaves_under_their_own_numbers() {
    let scratch = Scratch::new("filter");
    if !has_libpcap(&scratch) {
        return;
    }
    let capture = testdata().join("captures").join(STORY).join("capture.pcapng");
    let capture = capture.to_str().unwrap();
    let all = run(&scratch.0, &["--verdicts", "-", capture]);
    let all = text(&all.stdout);
    for expression in
        ["src port 443", "tcp[tcpflags] & tcp-syn != 0", "host 192.0.2.80 and less 100"]
    {
        let found = report(&scratch, &["--filter", expression, capture]);
        let kept = found["capture"]["frames"].as_u64().unwrap();
        let left_out = found["capture"]["filter"]["frames_left_out"].as_u64().unwrap();
        assert_eq!(kept + left_out, 879, "{expression}");
        let lines = run(&scratch.0, &["--verdicts", "-", "--filter", expression, capture]);
        let place = |line: &str| line.split(",\"flow\"").next().unwrap().to_owned();
        let places: Vec<_> = all.lines().map(place).collect();
        for line in text(&lines.stdout).lines() {
            assert!(places.contains(&place(line)), "{line} has another number or time");
        }
        let Ok(tcpdump) = Command::new("tcpdump").args(["-nr", capture, expression]).output()
        else {
            eprintln!("skipped: tcpdump is not installed");
            continue;
        };
        assert_eq!(kept, text(&tcpdump.stdout).lines().count() as u64, "{expression}");
    }
    let text_report = run(&scratch.0, &["--filter", "src port 443", capture]);
    assert!(text(&text_report.stdout).contains("left out by --filter src port 443"));
}

#[test]
fn each_link_type_has_its_own_program_and_several_files_are_filtered_alike() {
    let scratch = Scratch::new("filter-links");
    if !has_libpcap(&scratch) {
        return;
    }
    let packet = |port: u8| {
        let tcp = [0x9c, 0x40, 0, port, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 1, 0, 0, 0, 0];
        let ip = [0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [ip, tcp].concat()
    };
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(101, 0, &[]);
    writer.interface(1, 0, &[]);
    writer.interface(147, 0, &[]);
    let ethernet = |port| [&[0; 12][..], &[8, 0], &packet(port)].concat();
    for (interface, bytes) in
        [(0, packet(80)), (1, ethernet(80)), (0, packet(81)), (1, ethernet(81)), (2, packet(80))]
    {
        writer.enhanced(interface, 1, u32::try_from(bytes.len()).unwrap(), &bytes);
    }
    scratch.write("mixed.pcapng", &writer.bytes);
    let found = report(&scratch, &["--filter", "port 80", "mixed.pcapng"]);
    assert_eq!(found["capture"]["frames"], 2);
    assert!(found["problems"][0].as_str().unwrap().contains("link type 147"), "{found}");
    let twice = report(&scratch, &["--filter", "port 80", "mixed.pcapng", "mixed.pcapng"]);
    assert_eq!(twice["capture"]["frames"], 4);
    assert_eq!(twice["capture"]["filter"]["frames_left_out"], 6);
}

#[test]
fn a_wrong_expression_ends_the_run_with_what_libpcap_says() {
    let scratch = Scratch::new("filter-wrong");
    if !has_libpcap(&scratch) {
        return;
    }
    scratch.write("a.pcap", &PcapWriter::new(Order::Little, MICROSECONDS, 1).bytes);
    for expression in ["no such words", "tcp port 99999999", ")", "\u{1b}["] {
        let output = run(&scratch.0, &["--filter", expression, "a.pcap"]);
        assert_eq!(status(&output), 2, "{expression}");
        assert!(text(&output.stderr).contains("--filter"), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_libpcap_the_package_is_named_and_everything_else_works() {
    let scratch = Scratch::new("no-libpcap");
    scratch.write("libpcap.so.0.8", b"this is no library");
    // A library of that name that cannot be loaded stands in front of the real one.
    let hidden = ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so", "libpcap.dylib"];
    for name in hidden {
        scratch.write(name, b"this is no library");
    }
    let capture = testdata().join("captures").join(STORY).join("capture.pcapng");
    let with = |arguments: &[&str]| {
        Command::new(PROGRAM)
            .args(arguments)
            .arg(&capture)
            .env("LD_LIBRARY_PATH", &scratch.0)
            .output()
            .unwrap()
    };
    assert_eq!(status(&with(&["-q"])), 1);
    let output = with(&["--filter", "tcp"]);
    if status(&output) != 2 {
        eprintln!("skipped: this system finds libpcap although it is hidden");
        return;
    }
    assert!(text(&output.stderr).contains("install the package libpcap0.8"));
    assert!(output.stdout.is_empty());
}
