//! The program under a limit of memory and of time, on whatever there is that could break it.
//!
//! Those that take minutes are ignored here and run by
//! `cargo test --release --test suite confined -- --ignored --nocapture`.
#![cfg(unix)]

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter, PcapngWriter};
use crate::fuzz;
use crate::program::{PROGRAM, STORY, Scratch, text};
use crate::scenario::testdata;

/// The address space that the program may have, stacks of its threads and all: 512 MiB.
const MEMORY_KIB: u32 = 512 << 10;
/// What `timeout` ends with when the time is up.
const TIMED_OUT: i32 = 124;

fn confined(memory_kib: u32, seconds: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let words = format!("ulimit -v {memory_kib}; exec timeout {seconds} \"$0\" \"$@\"");
    command.args(["-c", &words, PROGRAM, "--threads", "2"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end, and fails unless the program ended by itself with a status of its own.
fn run(memory_kib: u32, seconds: u32, arguments: &[&str]) -> Output {
    checked(confined(memory_kib, seconds, arguments).output().unwrap(), arguments)
}

fn checked(output: Output, arguments: &[&str]) -> Output {
    let status = output.status;
    let told = text(&output.stderr);
    assert_eq!(status.signal(), None, "{arguments:?}: {told}");
    assert_ne!(status.code(), Some(TIMED_OUT), "{arguments:?} takes too long");
    assert!((0..=2).contains(&status.code().unwrap()), "{arguments:?}: {status} {told}");
    assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    output
}

/// Feeds a capture to the program as it is made, so that no test needs it whole.
fn feed(mut child: Child, write: impl FnOnce(&mut dyn Write)) -> Output {
    let mut input = std::io::BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    write(&mut input);
    drop(input);
    checked(child.wait_with_output().unwrap(), &["standard input"])
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

fn story() -> Vec<u8> {
    std::fs::read(testdata().join("captures").join(STORY).join("capture.pcapng")).unwrap()
}

#[test]
fn every_capture_at_hand_ends_by_itself_within_its_limits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let mut count = 0;
    for folder in ["dev", "malformed"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            eprintln!("skipped: no captures in {}", root.join(folder).display());
            return;
        };
        let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        for path in paths.iter().filter(|path| path.is_file()) {
            run(MEMORY_KIB, 20, &["--format", "json", path.to_str().unwrap()]);
            run(MEMORY_KIB, 20, &["--inner", "-v", path.to_str().unwrap()]);
            count += 1;
        }
    }
    assert!(count > 400, "{count} captures");
}

#[test]
fn a_capture_cut_at_every_byte_is_audited_up_to_the_cut() {
    let scratch = Scratch::new("cut-anywhere");
    let mut pcap = PcapWriter::new(Order::Little, MICROSECONDS, 101);
    let mut pcapng = PcapngWriter::new(Order::Big);
    pcapng.interface(101, 0, &[(2, b"eth0".to_vec())]);
    for number in 0..12 {
        let frame = syn(number);
        pcap.frame(u64::from(number) * 1_000_000, 40, &frame);
        pcapng.enhanced(0, u64::from(number), 40, &frame);
    }
    for bytes in [pcap.bytes, pcapng.bytes] {
        for len in 0..bytes.len() {
            fuzz::report(&bytes[..len]);
        }
        for len in (0..bytes.len()).step_by(29) {
            scratch.write("cut", &bytes[..len]);
            let path = scratch.0.join("cut");
            run(MEMORY_KIB, 20, &["-q", path.to_str().unwrap()]);
        }
    }
}

#[test]
fn random_bits_turned_change_an_audit_but_do_not_break_it() {
    turn_bits(300);
}

#[test]
#[ignore = "the same a hundred times longer"]
fn very_many_random_bits_turned_do_not_break_an_audit() {
    turn_bits(30_000);
}

fn turn_bits(rounds: u32) {
    let whole = story();
    let capture = &whole[..12_000];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        let mut turned = capture.to_vec();
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let bit = usize::try_from(random >> 8).unwrap() % (turned.len() * 8);
            turned[bit / 8] ^= 1 << (bit % 8);
        }
        fuzz::report(&turned);
    }
}

/// Writes `count` times 1 MiB of zeros, compressed.
fn zeros(head: &[u8], count: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(head).unwrap();
    for _ in 0..count {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn a_bomb_is_read_as_a_stream_and_takes_no_more_memory_than_any_capture() {
    let scratch = Scratch::new("bombs");
    let pcap = PcapWriter::new(Order::Little, MICROSECONDS, 1).bytes;
    let pcapng = PcapngWriter::new(Order::Little).bytes;
    // Records without bytes; blocks of no length; a record and a block of the largest size that is
    // believed; a bomb in a bomb, of which only the outer one is opened.
    let huge =
        |head: &[u8], words: [u32; 4]| [head, words.map(u32::to_le_bytes).as_flattened()].concat();
    let nested = zeros(&zeros(&pcap, 8), 1);
    let cases = [
        ("records", zeros(&pcap, 64), 0),
        ("blocks", zeros(&pcapng, 64), 2),
        ("record", zeros(&huge(&pcap, [0, 0, 16 << 20, 16 << 20]), 64), 0),
        ("block", zeros(&huge(&pcapng, [0x0bad_f00d, 16 << 20, 0, 0]), 64), 2),
        ("lengths", zeros(&huge(&pcap, [0, 0, u32::MAX, u32::MAX]), 64), 2),
        ("nested", nested, 2),
    ];
    for (name, bytes, expected) in cases {
        assert!(bytes.len() < 200_000, "{name} is no bomb: {} bytes", bytes.len());
        scratch.write(name, &bytes);
        let path = scratch.0.join(name);
        let output = run(MEMORY_KIB, 120, &["-q", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(expected), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn a_sparse_file_of_60_gb_is_left_at_its_first_hole() {
    let scratch = Scratch::new("sparse");
    scratch.write("sparse.pcapng", &story());
    sparse(&scratch, "sparse.pcapng");
    let path = scratch.0.join("sparse.pcapng");
    let output = run(MEMORY_KIB, 60, &["--format", "json", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let report = report(&output);
    assert_eq!(report["capture"]["frames"], 879);
    assert!(report["problems"][0].as_str().unwrap().contains("a block of 0 bytes"));
}

#[test]
#[ignore = "reads 60 GB of empty records: minutes"]
fn a_sparse_pcap_of_60_gb_is_read_in_bounded_memory() {
    let scratch = Scratch::new("sparse-pcap");
    scratch.write("sparse.pcap", &PcapWriter::new(Order::Little, MICROSECONDS, 1).bytes);
    sparse(&scratch, "sparse.pcap");
    let path = scratch.0.join("sparse.pcap");
    let output = run(MEMORY_KIB, 3600, &["--format", "json", path.to_str().unwrap()]);
    assert_eq!(report(&output)["capture"]["frames"], ((60_u64 << 30) - 24) / 16);
}

fn sparse(scratch: &Scratch, name: &str) {
    let file = File::options().write(true).open(scratch.0.join(name)).unwrap();
    file.set_len(60 << 30).unwrap();
}

/// A SYN of its own flow.
fn syn(number: u32) -> [u8; 40] {
    let [a, b, c, d] = number.to_be_bytes();
    let mut frame = [
        0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, a, b, c, 10, 0, 0, 1, 0x80, d, 0, 80, 0, 0, 0,
        1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    frame[20] |= a;
    frame
}

/// Audits that many flows of one packet each, so many in a second of capture time.
fn flows(count: u32, a_second: u32, memory_kib: u32, options: &[&str]) -> serde_json::Value {
    let arguments = [options, &["--format", "json", "-"]].concat();
    let child = confined(memory_kib, 900, &arguments).spawn().unwrap();
    let output = feed(child, |input| {
        let head = PcapWriter::new(Order::Little, MICROSECONDS, 101).bytes;
        input.write_all(&head).unwrap();
        for number in 0..count {
            let header = [number / a_second, number % a_second, 40, 40];
            input.write_all(header.map(u32::to_le_bytes).as_flattened()).unwrap();
            input.write_all(&syn(number)).unwrap();
        }
    });
    report(&output)
}

#[test]
fn memory_follows_the_flows_that_are_alive() {
    // 600,000 flows, of which 60 to 120 seconds' worth are remembered at one time.
    let report = flows(600_000, 500, 256 << 10, &[]);
    assert_eq!(report["verdict"]["flows"], 600_000);
}

#[test]
#[ignore = "ten million flows: a minute"]
fn ten_million_flows_of_one_packet_each_take_the_memory_of_those_alive() {
    let report = flows(10_000_000, 1000, 320 << 10, &[]);
    assert_eq!(report["verdict"]["flows"], 10_000_000);
}

#[test]
fn a_flood_at_one_instant_stays_within_the_memory_that_it_may_take() {
    let report = flows(600_000, u32::MAX, 256 << 10, &["--memory", "64M"]);
    assert_eq!(report["verdict"]["flows"], 600_000);
    assert!(report["problems"][0].as_str().unwrap().contains("forgotten early"));
}

#[test]
#[ignore = "ten million flows: a minute"]
fn ten_million_flows_at_one_instant_stay_within_the_memory_that_they_may_take() {
    for (memory, ulimit_kib) in [("5G", 6 << 20), ("512M", 800 << 10)] {
        let report = flows(10_000_000, u32::MAX, ulimit_kib, &["--memory", memory]);
        assert_eq!(report["verdict"]["flows"], 10_000_000);
        assert!(report["problems"][0].as_str().unwrap().contains("forgotten early"));
    }
}

#[test]
fn segments_of_the_largest_sizes_are_counted_whole() {
    let mut v4 = syn(1).to_vec();
    v4[2..4].copy_from_slice(&65_535_u16.to_be_bytes());
    v4[33] = 0x10;
    v4.resize(65_535, 0x55);
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 101);
    writer.frame(0, 65_535, &v4);
    let v6 = |len: u16, rest: &[u8]| {
        let fixed = [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[6, 64], &[0xfd; 32]].concat();
        [&fixed, &v4[20..40], rest].concat()
    };
    writer.frame(1000, 65_575, &v6(65_535, &vec![0; 65_515]));
    // Left to the network card: the length is that of the frame, here 200,000 bytes of payload.
    writer.frame(2000, 40 + 20 + 200_000, &v6(0, &[]));
    fuzz::report(&writer.bytes);
    let child = confined(MEMORY_KIB, 20, &["--format", "json", "-"]).spawn().unwrap();
    let output = feed(child, |input| input.write_all(&writer.bytes).unwrap());
    assert_eq!(report(&output)["capture"]["tcp_segments"], 3);
    fuzz::file(&writer.bytes);
}

#[test]
fn time_may_go_back_stand_at_zero_and_lie_centuries_ahead() {
    let whole = story();
    let times = [0, u64::MAX, 1, 1 << 63, (1 << 63) - 1, 5_000_000, 4_999_999, 0];
    for resolution in [0, 1, 6, 9, 10, 19, 28, 63, 127, 0x80, 0x81, 0x8a, 0xbf, 0xc0, 0xff] {
        for offset in [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1] {
            let mut writer = PcapngWriter::new(Order::Little);
            let offset = writer.number(14, offset);
            writer.interface(101, 0, &[(9, vec![resolution]), offset]);
            for (number, ticks) in (0..).zip(times) {
                writer.enhanced(0, ticks, 40, &syn(number / 2));
            }
            fuzz::report(&writer.bytes);
        }
    }
    fuzz::report(&whole[..20_000]);
}
