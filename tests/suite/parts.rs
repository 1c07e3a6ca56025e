//! One audit in several parts gives the report of a single run, byte for byte; parts that do not make
//! one run are refused by name; a part is whole or not there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::capture_writer::{MICROSECONDS, NANOSECONDS, Order, PcapWriter};
use crate::hostile::Hostile;
use crate::program::{PROGRAM, STORY, Scratch, cases, run, status, text};
use crate::scenario::testdata;

const FORMATS: [&str; 6] = ["txt", "json", "ndjson", "md", "html", "pcapng"];
/// Raw IP.
const RAW: u32 = 101;

/// Everything that a run writes: standard output, all reports, the verdicts, and its status.
#[derive(PartialEq, Eq)]
pub struct Everything {
    status: i32,
    stdout: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

impl Everything {
    /// Says what differs, by name.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        if self.status != other.status {
            names.push(format!("status {} and {}", self.status, other.status));
        }
        if self.stdout != other.stdout {
            names.push("standard output".to_owned());
        }
        for ((name, mine), (_, others)) in self.files.iter().zip(&other.files) {
            if mine != others {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Runs the program so that it writes everything, into `out`.
pub fn everything(folder: &Path, out: &Path, arguments: &[&str]) -> Everything {
    std::fs::create_dir_all(out).unwrap();
    let names: Vec<_> = FORMATS.iter().map(|format| format!("report.{format}")).collect();
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder);
    for name in &names {
        command.arg("-o").arg(out.join(name));
    }
    let verdicts = out.join("verdicts.ndjson");
    let output = command.arg("--verdicts").arg(&verdicts).output().unwrap();
    let read = |name: &str| std::fs::read(out.join(name)).unwrap_or_default();
    let names = names.iter().map(String::as_str).chain(["verdicts.ndjson"]);
    let files = names.map(|name| (name.to_owned(), read(name))).collect();
    Everything { status: status(&output), stdout: output.stdout, files }
}

/// Makes one part.
pub fn part(folder: &Path, path: &Path, share: &str, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["--shard", share, "--keep-verdicts", "--partial"])
        .arg(path)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Makes all parts of a run.
pub fn parts(folder: &Path, out: &Path, count: usize, arguments: &[&str]) -> Vec<String> {
    std::fs::create_dir_all(out).unwrap();
    let make = |index: usize| {
        let path = out.join(format!("part-{index}"));
        let made = part(folder, &path, &format!("{index}/{count}"), arguments);
        assert_eq!(status(&made), 0, "{}", text(&made.stderr));
        assert_eq!(text(&made.stdout), "");
        path.to_str().unwrap().to_owned()
    };
    (0..count).map(make).collect()
}

/// Merges parts, the last one first, and returns everything that is written.
pub fn merged(folder: &Path, out: &Path, parts: &[String]) -> Everything {
    let parts = parts.iter().rev().map(String::as_str);
    let arguments: Vec<_> = ["merge"].into_iter().chain(parts).collect();
    everything(folder, out, &arguments)
}

/// Holds that any of these numbers of shards gives what a single run gives.
fn assert_same(scratch: &Scratch, folder: &Path, counts: &[usize], arguments: &[&str]) {
    let single = everything(folder, &scratch.0.join("single"), arguments);
    for count in counts {
        let out = scratch.0.join("parts");
        let parts = parts(folder, &out, *count, arguments);
        let merged = merged(folder, &scratch.0.join("merged"), &parts);
        let differences = single.differences(&merged);
        assert_eq!(differences, [""; 0], "{count} shards of {arguments:?}");
        std::fs::remove_dir_all(out).unwrap();
    }
    assert!(!single.files[0].1.is_empty() || single.status == 2, "{arguments:?}");
}

/// Writes hostile traffic, in which everything goes wrong that can.
fn hostile(path: &Path, seed: u64, packets: usize) {
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    for (ns, packet) in Hostile::new(seed).take(packets) {
        writer.frame(ns.unsigned_abs(), packet.len() as u32, &packet);
    }
    std::fs::write(path, writer.bytes).unwrap();
}

/// The public captures beside the project, where they are.
pub fn public_captures() -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/dev");
    let entries = std::fs::read_dir(root).ok()?;
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.is_file() && !path.extension().is_some_and(|e| e == "tsv" || e == "txt")
    });
    files.sort();
    Some(files)
}

#[test]
fn any_number_of_shards_gives_the_report_of_a_single_run() {
    let scratch = Scratch::new("parts-captures");
    for (place, (folder, file)) in cases().into_iter().enumerate() {
        assert_same(&scratch, &folder, &[[1, 2, 8, 64][place % 4]], &[&file]);
    }
}

#[test]
fn shards_of_hostile_traffic_give_the_report_of_a_single_run() {
    let scratch = Scratch::new("parts-hostile");
    hostile(&scratch.0.join("hostile.pcap"), 8, 20_000);
    for count in [1, 2, 8, 64] {
        assert_same(&scratch, &scratch.0, &[count], &["hostile.pcap"]);
    }
}

#[test]
fn options_that_judge_go_with_the_parts_and_several_files_are_one_time_line() {
    let scratch = Scratch::new("parts-options");
    hostile(&scratch.0.join("one.pcap"), 1, 3000);
    hostile(&scratch.0.join("two.pcap"), 2, 3000);
    let files = ["one.pcap", "two.pcap"];
    for options in [
        &["--kernel", "5.10.218", "--sysctl", "nf_conntrack_tcp_loose=0"][..],
        &["--sysctl", "nf_conntrack_checksum=1", "--inner"],
        &["--table=always", "--flow", "17", "--memory", "64M"],
    ] {
        assert_same(&scratch, &scratch.0, &[3], &[options, &files].concat());
    }
}

#[test]
fn shards_of_random_captures_give_the_report_of_a_single_run() {
    use proptest::prelude::*;
    let scratch = Scratch::new("parts-random");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (any::<u64>(), 1..1500_usize, 1..40_usize);
    runner
        .run(&strategy, |(seed, packets, count)| {
            hostile(&scratch.0.join("random.pcap"), seed, packets);
            assert_same(&scratch, &scratch.0, &[count], &["random.pcap"]);
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "minutes: every public capture in 1, 2, 8 and 64 shards"]
fn shards_of_public_captures_give_the_reports_of_single_runs() {
    let Some(captures) = public_captures() else {
        eprintln!("skipped: the public captures are not there");
        return;
    };
    let scratch = Scratch::new("parts-public");
    for capture in &captures {
        let (folder, name) = (capture.parent().unwrap(), capture.file_name().unwrap());
        let name = name.to_str().unwrap();
        let single = run(folder, &["-q", name]);
        if text(&single.stderr).contains("not a capture")
            || text(&single.stderr).contains("convert")
        {
            continue;
        }
        assert_same(&scratch, folder, &[1, 2, 8, 64], &[name]);
    }
}

#[test]
fn what_is_kept_from_readers_is_said_to_merge() {
    let scratch = Scratch::new("parts-privacy");
    let folder = testdata().join("captures").join(STORY);
    scratch.write("key", &[7; 32]);
    let key = scratch.0.join("key");
    let key = key.to_str().unwrap();
    let made = parts(&folder, &scratch.0, 2, &["capture.pcapng"]);
    for options in [&["--anonymize-key", key][..], &["--relative-times"], &["-v"], &["-q"]] {
        let single = run(&folder, &[options, &["--format", "json", "capture.pcapng"]].concat());
        let parts = made.iter().map(String::as_str).collect::<Vec<_>>();
        let merged = run(&folder, &[&["merge", "--format", "json"], options, &parts].concat());
        assert!(single.stdout == merged.stdout, "{options:?}");
    }
    let refused = part(&folder, &scratch.0.join("p"), "0/2", &["--anonymize", "capture.pcapng"]);
    assert_eq!(status(&refused), 2);
    assert!(text(&refused.stderr).contains("--anonymize: a part is no report"));
}

/// A second look is not taken at what is no longer there, and a report says so.
#[test]
fn an_input_that_is_gone_or_has_grown_is_missed_in_reports_that_show_packets() {
    let scratch = Scratch::new("parts-gone");
    hostile(&scratch.0.join("a.pcap"), 12, 400);
    assert_eq!(status(&part(&scratch.0, &scratch.0.join("p"), "0/1", &["a.pcap"])), 0);
    let page = || {
        let merged = run(&scratch.0, &["merge", "--format", "html", "p"]);
        assert_eq!(status(&merged), 1, "{}", text(&merged.stderr));
        text(&merged.stdout).to_owned()
    };
    assert!(!page().contains("the input has changed"));
    hostile(&scratch.0.join("a.pcap"), 12, 500);
    assert!(page().contains("the input has changed since it was first read"));
    std::fs::remove_file(scratch.0.join("a.pcap")).unwrap();
    assert!(page().contains("an input that is no file cannot be read a second time"));
}

/// Merges parts, expects that it is refused, and returns why.
fn refusal(folder: &Path, parts: &[&str]) -> String {
    let output = run(folder, &[&["merge"], parts].concat());
    assert_eq!((status(&output), text(&output.stdout)), (2, ""), "{parts:?}");
    let told = text(&output.stderr).to_owned();
    assert_eq!(told.lines().count(), 1, "{told}");
    told
}

#[test]
fn parts_that_do_not_make_one_run_are_refused_by_name() {
    let scratch = Scratch::new("parts-refused");
    hostile(&scratch.0.join("a.pcap"), 3, 500);
    hostile(&scratch.0.join("b.pcap"), 4, 500);
    let make = |name: &str, share: &str, arguments: &[&str]| {
        let made = part(&scratch.0, &scratch.0.join(name), share, arguments);
        assert_eq!(status(&made), 0, "{}", text(&made.stderr));
    };
    make("p0", "0/3", &["a.pcap"]);
    make("p1", "1/3", &["a.pcap"]);
    make("p2", "3/3", &["a.pcap"]);
    make("other-input", "1/3", &["b.pcap"]);
    make("other-options", "1/3", &["--sysctl", "nf_conntrack_tcp_loose=0", "a.pcap"]);
    make("other-count", "1/4", &["a.pcap"]);
    let refused = |parts: &[&str]| refusal(&scratch.0, parts);
    assert!(refused(&["p0"]).ends_with("missing: shard 1/3, 2/3\n"), "{}", refused(&["p0"]));
    assert!(refused(&["p0", "p1", "p0"]).contains("p0: is shard 0/3, as p0 is"));
    assert!(refused(&["p0", "p2", "p1"]).contains("p2: is shard 0/3, as p0 is"));
    let told = refused(&["p0", "other-input"]);
    assert!(told.contains("other-input: was made from other input than p0"), "{told}");
    let told = refused(&["p0", "other-options"]);
    assert!(told.contains("other-options: was made with other options than p0"), "{told}");
    assert!(told.contains("nf_conntrack_tcp_loose=0"), "{told}");
    let told = refused(&["p0", "other-count"]);
    assert!(told.contains("other-count: is shard 1/4, while p0 is one of 3"), "{told}");
    assert!(refused(&["a.pcap"]).contains("a.pcap: not a partial result"));
    assert!(refused(&["nowhere"]).contains("nowhere: cannot read"));
    // The same name, and one byte of a packet's content changed.
    let mut changed = std::fs::read(scratch.0.join("a.pcap")).unwrap();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(scratch.0.join("a.pcap"), changed).unwrap();
    make("other-bytes", "1/3", &["a.pcap"]);
    let told = refused(&["p0", "other-bytes"]);
    assert!(
        told.contains("other-bytes: was made from other input than p0: a.pcap holds"),
        "{told}"
    );
}

/// Returns a part with a byte string in it replaced, and the checksum that fits.
fn forged(part: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    let (body, _) = part.split_at(part.len() - 32);
    let at = body.windows(from.len()).position(|window| window == from).unwrap();
    let body = [&body[..at], to, &body[at + from.len()..]].concat();
    let digest = sha2::Sha256::digest(&body);
    [&body[..], &digest[..]].concat()
}

#[test]
fn a_part_of_another_version_or_with_impossible_lengths_is_refused() {
    let scratch = Scratch::new("parts-forged");
    hostile(&scratch.0.join("a.pcap"), 5, 60);
    assert_eq!(status(&part(&scratch.0, &scratch.0.join("p"), "0/1", &["a.pcap"])), 0);
    let whole = std::fs::read(scratch.0.join("p")).unwrap();
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let other = vec![b'9'; version.len()];
    scratch.write("other", &forged(&whole, version, &other));
    let told = refusal(&scratch.0, &["other"]);
    assert!(told.contains("other: written by another version of tcp-window-audit"), "{told}");
    // The length of a record, and the number of things in it, beyond all that is there.
    let header = whole.windows(version.len()).position(|window| window == version).unwrap();
    let record = &whole[header - 10..header + version.len()];
    assert_eq!(record[0], b'H');
    let mut endless = record.to_vec();
    endless[1..9].fill(0xff);
    scratch.write("endless", &forged(&whole, record, &endless));
    assert!(refusal(&scratch.0, &["endless"]).contains("endless: damaged"));
    let name = [&[6_u8][..], b"a.pcap"].concat();
    let many = [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..]].concat();
    scratch.write("many", &forged(&whole, &name, &many));
    assert!(refusal(&scratch.0, &["many"]).contains("many: "));
}

#[test]
fn a_damaged_part_is_refused_wherever_the_damage_is() {
    let scratch = Scratch::new("parts-damaged");
    hostile(&scratch.0.join("a.pcap"), 5, 60);
    let made = part(&scratch.0, &scratch.0.join("p"), "0/1", &["a.pcap"]);
    assert_eq!(status(&made), 0);
    let whole = std::fs::read(scratch.0.join("p")).unwrap();
    assert_eq!(status(&run(&scratch.0, &["merge", "-q", "p"])), 1);
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        scratch.write("cut", &whole[..at]);
        let mut turned = whole.clone();
        turned[at] ^= 0x10;
        scratch.write("turned", &turned);
        for name in ["cut", "turned"] {
            let told = refusal(&scratch.0, &[name]);
            let is_named = told.contains(&format!("{name}: damaged"))
                || told.contains(&format!("{name}: not a partial result"));
            assert!(is_named, "{at}: {told}");
        }
    }
}

#[test]
fn a_part_that_is_there_is_kept_and_one_that_is_not_whole_is_made_again() {
    let scratch = Scratch::new("parts-restart");
    hostile(&scratch.0.join("a.pcap"), 6, 500);
    let path = scratch.0.join("p");
    let make = |arguments: &[&str]| {
        let made = part(&scratch.0, &path, "0/2", arguments);
        assert_eq!(status(&made), 0);
        text(&made.stderr).to_owned()
    };
    let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(make(&["a.pcap"]), "");
    let first = modified();
    assert!(make(&["a.pcap"]).contains("p: is there, whole and made alike: kept"));
    assert_eq!(modified(), first);
    // Damage, other options and another input each make it anew.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(make(&["a.pcap"]), "");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert_eq!(make(&["--inner", "a.pcap"]), "");
    assert_eq!(make(&["a.pcap"]), "");
    hostile(&scratch.0.join("a.pcap"), 7, 500);
    assert_eq!(make(&["a.pcap"]), "");
    assert_ne!(std::fs::read(&path).unwrap(), whole);
}

/// A job is killed at several moments: there is no part, or a whole one, and what is left beside it is
/// hidden.
#[test]
#[expect(clippy::disallowed_methods, reason = "a moment of the job's own work is waited for")]
fn a_killed_job_leaves_no_half_part() {
    let scratch = Scratch::new("parts-killed");
    hostile(&scratch.0.join("a.pcap"), 9, 40_000);
    let start = || {
        Command::new(PROGRAM)
            .args(["--partial", "p", "--keep-verdicts", "a.pcap"])
            .current_dir(&scratch.0)
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut killed = 0;
    for ms in [0, 5, 10, 20, 40, 80, 160] {
        let mut job = start();
        std::thread::sleep(Duration::from_millis(ms));
        let _ = job.kill();
        killed += u32::from(job.wait().unwrap().code().is_none());
        let names = std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name());
        for name in names.map(|name| name.into_string().unwrap()) {
            let is_whole = || status(&run(&scratch.0, &["merge", "-q", &name])) < 2;
            assert!(name == "a.pcap" || name.starts_with('.') || is_whole(), "{name} at {ms} ms");
        }
        let _ = std::fs::remove_file(scratch.0.join("p"));
    }
    assert!(killed > 0, "no job was killed in time");
    assert!(start().wait().unwrap().success());
    assert!(status(&run(&scratch.0, &["merge", "-q", "p"])) < 2);
}

#[test]
fn what_a_part_cannot_be_is_refused() {
    let scratch = Scratch::new("parts-usage");
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, RAW);
    writer.frame(0, 1, &[0]);
    scratch.write("a.pcap", &writer.bytes);
    for arguments in [
        &["--shard", "0/2", "a.pcap"][..],
        &["--shard", "3/2", "--partial", "p", "a.pcap"],
        &["--shard", "0/0", "--partial", "p", "a.pcap"],
        &["--shard", "0/1025", "--partial", "p", "a.pcap"],
        &["--partial", "p", "-o", "r.txt", "a.pcap"],
        &["--partial", "p", "--follow", "a.pcap"],
        &["--partial", "p", "nowhere.pcap"],
        &["--partial", "nowhere/p", "a.pcap"],
        &["--keep-verdicts", "a.pcap"],
        &["merge"],
    ] {
        assert_eq!(status(&run(&scratch.0, arguments)), 2, "{arguments:?}");
        assert!(!scratch.0.join("p").exists(), "{arguments:?}");
    }
}
