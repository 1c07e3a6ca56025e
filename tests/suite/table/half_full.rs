//! A table that gets half full while a file is read: that reading is left, and the file is begun again.

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use serde_json::Value;
use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Profile, Sysctls};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::pipeline::{Observer, Plan, Run, TableView};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Error, FrameSource, SourceSummary, Timeline};
use tcp_window_audit::tuple::FlowKey;

use super::dns::BEGIN_NS;
use super::traffic::{Connection, End, MILLIS, Timed, in_order, pcap, tcp};
use crate::program::{PROGRAM, Scratch, run, status, text};

const SECOND: u64 = 1000 * MILLIS;
const TCP: u8 = 6;
const SERVER: End = ([192, 0, 2, 80], 443);
const SHARDS: usize = 2;

/// Clients of a shard, each with an address of its own.
fn clients(shard: usize) -> impl Iterator<Item = End> + Clone {
    let server = (u32::from_be_bytes(SERVER.0), SERVER.1);
    let is_there =
        move |address: &u32| FlowKey::of_v4(TCP, (*address, 1024), server).0.shard(SHARDS) == shard;
    let addresses = (u32::from_be_bytes([10, 0, 0, 1])..).filter(is_there);
    addresses.map(|address| (address.to_be_bytes(), 1024))
}

/// Returns a segment from each of these clients, all at one time.
fn sent(time: u64, flags: &str, clients: impl Iterator<Item = End>) -> Vec<Timed> {
    clients.map(|client| (time, tcp(client, SERVER, flags, (1, 0), 0))).collect()
}

/// Later than any entry lives that a SYN makes which nobody answers.
const LATER: u64 = 300 * SECOND;

/// What one shard has before the table is half full, what the other has then, and what makes the first
/// count again when all that it had has expired: RSTs, which make no entry. All that is later is one batch.
struct Rise {
    before: Vec<Timed>,
    other: Vec<Timed>,
    fallen: Vec<Timed>,
}

impl Rise {
    /// More than half of this table is full with `before` and `other`, and with neither alone.
    const MAX: u64 = 3600;

    fn new() -> Self {
        let mut first = clients(0);
        Self {
            before: sent(0, "S", first.by_ref().take(1500)),
            other: sent(LATER, "S", clients(1).take(1100)),
            fallen: sent(LATER, "R", first.take(2600)),
        }
    }
}

/// A source whose batches are these.
struct Batches {
    files: Vec<FileSource>,
    current: usize,
}

impl Batches {
    fn new(batches: impl IntoIterator<Item = Vec<Timed>>) -> Self {
        let mut timeline = Timeline::default();
        let mut open = |packets: Vec<Timed>| {
            let input = Box::new(Cursor::new(pcap(BEGIN_NS, &packets)));
            let file = FileSource::from_reader("a".to_owned(), input, timeline).unwrap();
            timeline.next_number += packets.len() as u64;
            file
        };
        Self { files: batches.into_iter().map(&mut open).collect(), current: 0 }
    }
}

impl FrameSource for Batches {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        while let Some(file) = self.files.get_mut(self.current) {
            if file.fill(batch)? {
                return Ok(true);
            }
            self.current += 1;
        }
        Ok(false)
    }

    fn summary(&self) -> SourceSummary {
        self.files[0].summary()
    }
}

struct Nobody;

impl Observer for Nobody {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

/// Prepares a run that is left when more than half of a table of this size is full.
fn run_until_half_full(max: u64, threads: usize) -> Run {
    let mut sysctls = Sysctls::default();
    sysctls.set("nf_conntrack_max", &max.to_string()).unwrap();
    let method = Method::new(Profile::DEFAULT, sysctls);
    Run::new(&Plan { threads, table: TableView::UntilHalfFull, ..Plan::new(method) })
}

/// The packets of a small batch.
const SIP: u64 = 100;

/// Returns a batch of one client alone: after eight of them other workers are called.
fn sip(time: u64) -> Vec<Timed> {
    sent(time, "S", clients(0).take(1).cycle().take(SIP as usize))
}

/// Returns how many frames a run has taken, and whether it was left.
fn taken(run: Run) -> (u64, bool) {
    let (said, is_left) = (run.frames(), run.is_left_half_full());
    let frames = run.finish().tally.frames();
    assert_eq!(said, frames, "the run knows how many frames it has taken");
    (frames, is_left)
}

#[test]
fn entries_that_expire_later_do_not_take_back_that_the_table_was_half_full() {
    let Rise { before, other, fallen } = Rise::new();
    let mut run = run_until_half_full(Rise::MAX, SHARDS);
    let mut source = Batches::new([before, other, fallen]);
    let mut batch = Batch::default();
    let mut told = Vec::new();
    while run.step(&mut source, &mut batch, &mut Nobody).unwrap() {
        told.push((run.frames(), run.is_left_half_full()));
    }
    assert_eq!(told, [(1500, false), (2600, true), (5200, true)]);
}

/// The shards take their parts of one slice in any order: the first may have lost what it had when the
/// second has what fills the table, and the other way round.
#[test]
fn workers_agree_that_the_table_was_half_full_in_whatever_order_they_count() {
    let Rise { before, other, fallen } = Rise::new();
    let mut run = run_until_half_full(Rise::MAX, SHARDS);
    let sips = (0..8).map(sip);
    let together = [other, fallen].concat();
    run.read(&mut Batches::new(sips.chain([before, together])), &mut Nobody);
    assert_eq!(taken(run), (8 * SIP + 5200, true));
}

#[test]
fn a_reading_ends_soon_after_the_table_is_half_full_and_else_with_the_input() {
    for threads in [1, 2, 3] {
        let read = |max: u64| {
            let sips = (0..100).map(sip);
            let crowd = sent(8, "S", clients(0).take(7000));
            let batches = sips.clone().take(8).chain([crowd]).chain(sips.skip(8));
            let mut run = run_until_half_full(max, threads);
            run.read(&mut Batches::new(batches), &mut Nobody);
            taken(run)
        };
        let all = 7000 + 100 * SIP;
        assert_eq!(read(20_000), (all, false), "{threads} threads");
        let (frames, is_left) = read(4000);
        assert!(is_left && frames < all, "{frames} of {all} frames, {threads} threads");
    }
}

// ---- the program --------------------------------------------------------------------------------

/// Connections that are all there at the end: enough for every one of seven workers to count its own.
const CROWD: u16 = 9000;
const SMALL: [&str; 2] = ["--sysctl", "nf_conntrack_max=8000"];

fn crowd() -> Vec<u8> {
    let mut packets = Vec::new();
    for n in 0..CROWD {
        let [high, low] = n.to_be_bytes();
        let mut connection =
            Connection::new(([10, 0, high, low], 5000), SERVER, u64::from(n) * MILLIS);
        packets.append(&mut connection.handshake().exchange().packets);
    }
    pcap(BEGIN_NS, &in_order(packets))
}

fn folder(test: &str) -> Scratch {
    let scratch = Scratch::new(test);
    scratch.write("a.pcap", &crowd());
    scratch
}

fn json(scratch: &Scratch, arguments: &[&str]) -> Value {
    let output = run(&scratch.0, &[&["--format", "json"], arguments].concat());
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_reading_that_is_begun_again_reports_what_one_reading_does() {
    let scratch = folder("half_full_again");
    let asked = json(&scratch, &[&SMALL[..], &["--table", "--threads", "1", "a.pcap"]].concat());
    assert_eq!(asked["capture"]["frames"], 6 * u64::from(CROWD));
    assert_eq!(asked["table"]["overflow"]["would_overflow"], true);
    for threads in ["1", "2", "7"] {
        let found = json(&scratch, &[&SMALL[..], &["--threads", threads, "a.pcap"]].concat());
        assert!(found == asked, "{threads} threads");
        let roomy = ["--sysctl", "nf_conntrack_max=18000", "--threads", threads, "a.pcap"];
        assert!(json(&scratch, &roomy)["table"].is_null(), "{threads} threads: just half full");
        let asked = json(&scratch, &[&["--table"], &roomy[..]].concat());
        assert_eq!(asked["table"]["entries_made"], CROWD);
    }
}

#[test]
fn counts_of_different_times_make_no_table_that_is_half_full() {
    let Rise { before, other, .. } = Rise::new();
    let scratch = Scratch::new("half_full_never");
    scratch.write("a.pcap", &pcap(BEGIN_NS, &[before, other].concat()));
    let of = |threads: &str, table: &[&str]| {
        let arguments = ["--sysctl", "nf_conntrack_max=3000", "--threads", threads, "a.pcap"];
        json(&scratch, &[table, &arguments].concat())
    };
    let single = of("1", &[]);
    assert!(single["table"].is_null(), "1500 at one time: just half full");
    assert!(of("2", &[]) == single);
    assert!(of("2", &["--table=never"]) == single);
}

#[test]
fn verdicts_are_told_once_where_the_table_gets_half_full() {
    let scratch = folder("half_full_verdicts");
    let arguments = ["--verdicts", "-", "-o", "a.json", "--threads", "2", "a.pcap"];
    let output = run(&scratch.0, &[&SMALL[..], &arguments].concat());
    assert_eq!(text(&output.stdout).lines().count(), 6 * usize::from(CROWD));
    let kept = std::fs::read(scratch.0.join("a.json")).unwrap();
    let report: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(report["table"]["entries_made"], CROWD, "by another reading, at its end");
}

#[test]
fn a_problem_is_told_once_however_often_inputs_are_read() {
    let scratch = folder("half_full_problem");
    scratch.write("bad.pcap", b"hello, world, this is no capture");
    for options in [&[][..], &SMALL[..], &["--shard", "0/1", "--partial", "a.part"]] {
        let output = run(&scratch.0, &[options, &["-q", "a.pcap", "bad.pcap"]].concat());
        let told = text(&output.stderr);
        assert_eq!(told.matches("bad.pcap: not a capture file").count(), 1, "{options:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{options:?}: {told}");
    }
}

/// Runs the program over what is there, and returns the lines that it tells.
fn told(scratch: &Scratch, arguments: &[&str]) -> Vec<String> {
    let output = run(&scratch.0, arguments);
    assert_eq!(status(&output), 2 * i32::from(arguments[0] == "merge"), "{arguments:?}");
    text(&output.stderr).lines().map(str::to_owned).collect()
}

/// What keeps captures from being read is met by those who split them or audit a shard, kept in what they
/// make, and met again by `merge`: which reads pieces once more for the table, and captures as well.
#[test]
fn problems_of_captures_split_and_merged_again_are_told_once_by_each_command() {
    let scratch = folder("half_full_split");
    let mut capture = std::fs::read(scratch.0.join("a.pcap")).unwrap();
    capture.truncate(capture.len() - 3);
    scratch.write("a.pcap", &capture);
    scratch.write("bad.pcap", b"hello, world, this is no capture");
    let frames = 6 * u32::from(CROWD);
    let problems = [
        "tcp-window-audit: bad.pcap: not a capture file".to_owned(),
        format!("tcp-window-audit: a.pcap: cut short in frame {frames}, at byte"),
    ];
    let holds = |arguments: &[&str]| {
        let told = told(&scratch, arguments);
        let are_all = problems.iter().zip(&told).all(|(problem, line)| line.starts_with(problem));
        assert!(are_all && told.len() == problems.len(), "{arguments:?}: {told:?}");
    };
    let inputs = ["a.pcap", "bad.pcap"];
    holds(&[&["split", "-n", "2", "-o", "pieces"], &inputs[..]].concat());
    let pieces = ["pieces/a.pcap.0-of-2.pcapng", "pieces/a.pcap.1-of-2.pcapng"];
    for (how, of_share) in [("pieces", [&pieces[..1], &pieces[1..]]), ("captures", [&inputs; 2])] {
        let parts = [0, 1].map(|share| format!("{how}.{share}"));
        for (share, files) in of_share.into_iter().enumerate() {
            let (part, share) = (&parts[share], format!("{share}/2"));
            let make = ["--shard", &share, "--partial", part];
            holds(&[&make, &SMALL[..], files].concat());
        }
        holds(&["merge", "-q", &parts[0], &parts[1]]);
        let json = run(&scratch.0, &["merge", "--format", "json", &parts[0], &parts[1]]);
        let report: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(report["table"]["entries_made"], CROWD, "{how}");
        assert_eq!(report["capture"]["frames"], frames - 1, "{how}");
    }
}

/// Audits the capture as it comes through a pipe.
fn piped(scratch: &Scratch, arguments: &[&str]) -> Vec<u8> {
    let mut child = Command::new(PROGRAM)
        .args([&SMALL[..], arguments, &["-"]].concat())
        .current_dir(&scratch.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let capture = std::fs::read(scratch.0.join("a.pcap")).unwrap();
    input.write_all(&capture).unwrap();
    drop(input);
    child.wait_with_output().unwrap().stdout
}

#[test]
fn standard_input_cannot_be_begun_again_and_gives_the_counts() {
    let scratch = folder("half_full_piped");
    let of_file =
        |table: &str| json(&scratch, &[&SMALL[..], &[table, "a.pcap"]].concat())["table"].clone();
    let table = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap()["table"].clone();
    let counts = piped(&scratch, &["--format", "json"]);
    assert_eq!(table(&counts)["peak"]["entries"], CROWD);
    assert_eq!(table(&counts), of_file("--table=never"));
    let asked = piped(&scratch, &["--format", "json", "--table"]);
    assert_eq!(table(&asked), of_file("--table"));
    let advice = "with --table, or with files that can be read twice";
    let words = text(&piped(&scratch, &[])).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(advice), "{words}");
    // A file of that name is not what is read.
    scratch.write("-", b"hello, world, this is no capture");
    assert!(piped(&scratch, &["--format", "json"]) == counts);
}
