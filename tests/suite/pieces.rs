//! Captures that are split first give the report of a single run as well, byte for byte; pieces are
//! captures for every tool, and refused where they are not those of the run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::capture_writer::{NANOSECONDS, Order, PcapWriter, PcapngWriter};
use crate::hostile::Hostile;
use crate::parts::{everything, merged, part, public_captures};
use crate::program::{PROGRAM, Scratch, cases, run, status, text};

/// Raw IP.
const RAW: u32 = 101;

/// Splits captures into pieces in a folder of their own.
fn split(folder: &Path, out: &Path, count: usize, arguments: &[&str]) {
    let output = Command::new(PROGRAM)
        .args(["split", "-n", &count.to_string(), "-o"])
        .arg(out)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

/// Returns the pieces of one shard, in the order of their names.
fn pieces(out: &Path, index: usize, count: usize) -> Vec<String> {
    let suffix = format!(".{index}-of-{count}.pcapng");
    let entries = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.to_str().unwrap().ends_with(&suffix)).collect();
    paths.sort();
    paths.into_iter().map(|path| path.into_os_string().into_string().unwrap()).collect()
}

/// Audits the pieces of all shards.
fn parts_of_pieces(scratch: &Path, out: &Path, count: usize, options: &[&str]) -> Vec<String> {
    let make = |index: usize| {
        // A job picks its own among all pieces.
        let few = if count <= 4 { 0..count } else { index..index + 1 };
        let pieces: Vec<_> = few.flat_map(|index| pieces(out, index, count)).collect();
        let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
        let path = scratch.join(format!("part-{index}"));
        let _ = std::fs::remove_file(&path);
        let made = part(scratch, &path, &format!("{index}/{count}"), &[options, &pieces].concat());
        assert_eq!(status(&made), 0, "{}", text(&made.stderr));
        path.into_os_string().into_string().unwrap()
    };
    (0..count).map(make).collect()
}

/// How an audit is told to read.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// By those who split and by those who audit.
    decoding: &'a [&'a str],
    /// By those who audit.
    judging: &'a [&'a str],
    /// By those who split.
    splitting: &'a [&'a str],
}

/// Holds that pieces, made by a run over each of these groups of files, give what a single run over
/// all files gives.
pub fn assert_same(
    scratch: &Scratch,
    folder: &Path,
    count: usize,
    groups: &[&[&str]],
    how: Options<'_>,
) {
    let out = scratch.0.join("pieces");
    let _ = std::fs::remove_dir_all(&out);
    let files = groups.concat();
    let audit = [how.decoding, how.judging, &files].concat();
    let single = everything(folder, &scratch.0.join("single"), &audit);
    for group in groups {
        split(folder, &out, count, &[how.decoding, how.splitting, group].concat());
    }
    let parts = parts_of_pieces(&scratch.0, &out, count, &[how.decoding, how.judging].concat());
    let merged = merged(folder, &scratch.0.join("merged"), &parts);
    let differences = single.differences(&merged);
    assert_eq!(differences, [""; 0], "{count} pieces of {audit:?}");
}

/// Writes hostile traffic; `set_back` makes the clock of the capture go back now and then.
fn hostile(path: &Path, seed: u64, packets: std::ops::Range<usize>, set_back: bool) {
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    let stream = Hostile::new(seed).skip(packets.start).take(packets.len());
    for (place, (ns, packet)) in stream.enumerate() {
        let back = if set_back && place % 97 == 0 { 1_000_000 << (place % 15) } else { 0 };
        writer.frame(ns.unsigned_abs() - back, packet.len() as u32, &packet);
    }
    std::fs::write(path, writer.bytes).unwrap();
}

#[test]
fn pieces_give_the_report_of_a_single_run() {
    let scratch = Scratch::new("pieces-captures");
    for (place, (folder, file)) in cases().into_iter().enumerate() {
        let count = [8, 1, 2, 64][place % 4];
        assert_same(&scratch, &folder, count, &[&[&file]], Options::default());
    }
}

#[test]
fn pieces_of_hostile_traffic_give_the_report_of_a_single_run() {
    let scratch = Scratch::new("pieces-hostile");
    hostile(&scratch.0.join("a.pcap"), 21, 0..12_000, true);
    for (count, judging, splitting) in [
        (1, &["--table=always"][..], &["--snap", "64"][..]),
        (2, &["--sysctl", "nf_conntrack_tcp_loose=0", "--flow", "3"], &["--snap", "2000"]),
        (8, &["--memory", "64M"], &[]),
        (64, &[], &["--snap", "160"]),
    ] {
        let how = Options { judging, splitting, ..Options::default() };
        assert_same(&scratch, &scratch.0, count, &[&["a.pcap"]], how);
    }
}

/// The memory holds a part of the connections only: which are forgotten, and when, is the same.
#[test]
fn what_is_forgotten_early_does_not_depend_on_shards_or_pieces() {
    let scratch = Scratch::new("pieces-forgotten");
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    for flow in 0..220_000_u32 {
        let [_, high, middle, low] = flow.to_be_bytes();
        let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, high, middle, low];
        packet.extend([
            192, 0, 2, 1, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0,
        ]);
        writer.frame(1_500_000_000_000_000_000 + u64::from(flow) * 1000, 40, &packet);
    }
    std::fs::write(scratch.0.join("flood.pcap"), writer.bytes).unwrap();
    let how = Options { judging: &["--memory", "64M"], ..Options::default() };
    let single = run(&scratch.0, &["--memory", "64M", "flood.pcap"]);
    assert!(text(&single.stderr).contains("were forgotten early"), "{}", text(&single.stderr));
    assert_same(&scratch, &scratch.0, 5, &[&["flood.pcap"]], how);
}

#[test]
fn files_split_together_or_one_after_another_are_one_time_line() {
    let scratch = Scratch::new("pieces-files");
    hostile(&scratch.0.join("one.pcap"), 5, 0..3000, true);
    hostile(&scratch.0.join("two.pcap"), 6, 0..3000, false);
    let overlapping: &[&str] = &["one.pcap", "two.pcap"];
    assert_same(&scratch, &scratch.0, 3, &[overlapping], Options::default());
    // Rotated files of one capture, with datagrams whose fragments are in two of them.
    for (name, range) in [("r1.pcap", 0..2500), ("r2.pcap", 2500..5001), ("r3.pcap", 5001..7000)] {
        hostile(&scratch.0.join(name), 7, range, false);
    }
    let apart: &[&[&str]] = &[&["r2.pcap"], &["r1.pcap"], &["r3.pcap"]];
    let together: &[&[&str]] = &[&["r1.pcap", "r2.pcap"], &["r3.pcap"]];
    // The pieces are given in the order of their names, and so must the files be.
    assert_same(&scratch, &scratch.0, 4, &[apart[1], apart[0], apart[2]], Options::default());
    assert_same(&scratch, &scratch.0, 4, together, Options::default());
}

#[test]
fn what_decides_how_frames_are_decoded_is_said_to_both() {
    let scratch = Scratch::new("pieces-decoding");
    let tunnels = cases().into_iter().find(|(folder, _)| folder.ends_with("vlan_tagged")).unwrap();
    let inner = Options { decoding: &["--inner"], ..Options::default() };
    assert_same(&scratch, &tunnels.0, 2, &[&[&tunnels.1]], inner);
    hostile(&scratch.0.join("a.pcap"), 31, 0..3000, false);
    let rules: &[&str] = &["--filter", "ip", "--notrack", "tcp[13] & 2 != 0 and len > 60"];
    let probe = run(&scratch.0, &[rules, &["-q", "a.pcap"]].concat());
    if text(&probe.stderr).contains("libpcap") {
        eprintln!("skipped: filters (libpcap is not installed)");
        return;
    }
    let how = Options { decoding: rules, ..Options::default() };
    assert_same(&scratch, &scratch.0, 3, &[&["a.pcap"]], how);
}

#[test]
fn pieces_of_random_captures_give_the_report_of_a_single_run() {
    use proptest::prelude::*;
    let scratch = Scratch::new("pieces-random");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (any::<u64>(), 1..1500_usize, 1..40_usize, any::<bool>(), 0..300_u32);
    runner
        .run(&strategy, |(seed, packets, count, set_back, snap)| {
            hostile(&scratch.0.join("random.pcap"), seed, 0..packets, set_back);
            let snap = snap.to_string();
            let how = Options { splitting: &["--snap", &snap], ..Options::default() };
            assert_same(&scratch, &scratch.0, count, &[&["random.pcap"]], how);
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "minutes: every public capture in 1, 2, 8 and 64 pieces"]
fn pieces_of_public_captures_give_the_reports_of_single_runs() {
    let Some(captures) = public_captures() else {
        eprintln!("skipped: the public captures are not there");
        return;
    };
    let scratch = Scratch::new("pieces-public");
    for capture in &captures {
        let (folder, name) = (capture.parent().unwrap(), capture.file_name().unwrap());
        let name = name.to_str().unwrap();
        let single = run(folder, &["-q", name]);
        if text(&single.stderr).contains("not a capture")
            || text(&single.stderr).contains("convert")
        {
            continue;
        }
        for count in [1, 2, 8, 64] {
            assert_same(&scratch, folder, count, &[&[name]], Options::default());
        }
    }
}

#[test]
fn pieces_are_captures_without_payload_for_every_tool() {
    let scratch = Scratch::new("pieces-tools");
    let mut writer = PcapngWriter::new(Order::Big);
    // if_name 2, if_tsresol 9: nanoseconds.
    writer.interface(RAW as u16, 0, &[(2, b"eth7".to_vec()), (9, vec![9])]);
    for (ns, packet) in Hostile::new(1).take(400) {
        writer.enhanced(0, ns.unsigned_abs(), packet.len() as u32, &packet);
    }
    scratch.write("a.pcapng", &writer.bytes);
    split(&scratch.0, &scratch.0.join("pieces"), 2, &["a.pcapng"]);
    let piece = &pieces(&scratch.0.join("pieces"), 1, 2)[0];
    let alone = run(&scratch.0, &["--format", "json", piece]);
    assert!(status(&alone) < 2, "{}", text(&alone.stderr));
    assert!(text(&alone.stdout).contains("\"eth7\""));
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not installed");
        return;
    }
    let fields = ["frame.packet_id", "frame.len", "frame.interface_name", "tcp.options"];
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let read = |file: &str, filter: &str| {
        let output = Command::new("tshark")
            .args(["-n", "-r", file, "-Y", filter, "-T", "fields"])
            .args(fields.clone())
            .current_dir(&scratch.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let lines = read(piece, "tcp");
    assert!(lines.lines().count() > 50, "{lines}");
    for line in lines.lines() {
        let (number, rest) = line.split_once('\t').unwrap();
        // Newer versions of Wireshark write it in hexadecimal digits.
        let number = match number.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
            None => number.parse().unwrap(),
        };
        let whole = read("a.pcapng", &format!("frame.number == {number}"));
        assert_eq!(whole.trim_end().split_once('\t').unwrap().1, rest.trim_end(), "{number}");
        if number > 120 {
            break;
        }
    }
}

#[test]
fn parts_of_pieces_and_of_whole_captures_make_one_run() {
    let scratch = Scratch::new("pieces-mixed");
    hostile(&scratch.0.join("a.pcap"), 41, 0..2000, true);
    let single = everything(&scratch.0, &scratch.0.join("single"), &["a.pcap"]);
    split(&scratch.0, &scratch.0.join("pieces"), 3, &["a.pcap"]);
    let mut parts = parts_of_pieces(&scratch.0, &scratch.0.join("pieces"), 3, &[]);
    let whole = scratch.0.join("whole");
    assert_eq!(status(&part(&scratch.0, &whole, "1/3", &["a.pcap"])), 0);
    parts[1] = whole.into_os_string().into_string().unwrap();
    let merged = merged(&scratch.0, &scratch.0.join("merged"), &parts);
    assert_eq!(single.differences(&merged), [""; 0]);
}

#[test]
fn pieces_that_are_not_those_of_the_run_are_refused_by_name() {
    let scratch = Scratch::new("pieces-refused");
    hostile(&scratch.0.join("a.pcap"), 3, 0..600, false);
    hostile(&scratch.0.join("b.pcap"), 4, 0..600, false);
    let out = scratch.0.join("pieces");
    split(&scratch.0, &out, 2, &["a.pcap"]);
    split(&scratch.0, &out, 2, &["b.pcap"]);
    let [a, b] = &pieces(&out, 0, 2)[..] else { panic!("two pieces of shard 0") };
    let refused = |share: &str, arguments: &[&str]| {
        let path = scratch.0.join("part");
        let output = part(&scratch.0, &path, share, arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(!path.exists());
        text(&output.stderr).to_owned()
    };
    let told = refused("1/2", &[a]);
    assert!(
        told.contains("a.pcap.0-of-2.pcapng: is piece 0/2, and no file is one of shard 1/2"),
        "{told}"
    );
    let told = refused("0/2", &["--inner", a]);
    assert!(
        told.contains("0-of-2.pcapng: was split without options, and this run is with --inner")
    );
    assert!(refused("0/2", &["--sysctl", "nf_conntrack_checksum=1", a]).contains("no payload"));
    assert!(refused("0/2", &[a, b]).contains("captures that overlap are to be split in one run"));
    assert!(refused("0/2", &[a, "b.pcap"]).contains("b.pcap: not a piece"));
    let whole = std::fs::read(a).unwrap();
    for at in (200..whole.len()).step_by(whole.len() / 30) {
        scratch.write("cut.pcapng", &whole[..at]);
        let mut turned = whole.clone();
        turned[at] ^= 4;
        scratch.write("turned.pcapng", &turned);
        for name in ["cut.pcapng", "turned.pcapng"] {
            let told = refused("0/2", &[name]);
            assert!(told.contains(name), "{at}: {told}");
        }
    }
}

#[test]
fn pieces_that_are_there_are_kept() {
    let scratch = Scratch::new("pieces-restart");
    hostile(&scratch.0.join("a.pcap"), 6, 0..500, false);
    let out = scratch.0.join("pieces");
    let again = |arguments: &[&str]| {
        let all = [&["split", "-n", "3", "-o", "pieces"], arguments].concat();
        let output = run(&scratch.0, &all);
        assert_eq!(status(&output), 0);
        text(&output.stderr).to_owned()
    };
    assert_eq!(again(&["a.pcap"]), "");
    assert!(again(&["a.pcap"]).contains("pieces: all pieces are there, made alike: kept"));
    assert_eq!(again(&["--snap", "99", "a.pcap"]), "");
    std::fs::remove_file(&pieces(&out, 2, 3)[0]).unwrap();
    assert_eq!(again(&["--snap", "99", "a.pcap"]), "");
    assert_eq!(pieces(&out, 2, 3).len(), 1);
}
