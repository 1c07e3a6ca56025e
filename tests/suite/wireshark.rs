//! What tshark 4.0 says of each frame, beside what the analysis says of it.
//!
//! Needs tshark and the captures at hand; says so and is skipped otherwise. The table
//! `testdata/flow/tshark.md` holds the counts over all captures, class by class, with the reason for
//! each pair of classes that are not the same. `UPDATE_EXPECT=1` writes it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_window_audit::conntrack::entry::judge;
use tcp_window_audit::conntrack::{
    Arrival, Choices, CtState, Entry, Limits, Members, Policy, Profile, Sysctls,
};
use tcp_window_audit::flow::{FlowAudit, Happening, Kind, Observation};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::tuple::FlowKey;
use tcp_window_audit::wire::{self, Decoded};

use crate::scenario::testdata;

/// What was said of the frames of one capture.
type Said = BTreeMap<u64, BTreeSet<&'static str>>;

/// The classes that are compared, as tshark's fields name them, and ours for the same.
const CLASSES: [(&str, &str); 9] = [
    ("retransmission", "repeated"),
    ("fast_retransmission", "repeated"),
    ("spurious_retransmission", "repeated"),
    ("out_of_order", "reordered"),
    ("keep_alive", "keepalive"),
    ("zero_window_probe", "zero_window_probe"),
    ("window_full", "window_full"),
    ("lost_segment", "gap"),
    ("ack_lost_segment", "acked_unseen"),
];

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().is_some_and(|name| name.contains(".pcap")));
    files.sort();
    files
}

/// Asks tshark; none when it cannot read the capture.
fn tshark(path: &Path) -> Option<Said> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-Y", "tcp.analysis.flags", "-T", "fields"]);
    command.args(["-e", "frame.number"]);
    for (class, _) in CLASSES {
        command.arg("-e").arg(format!("tcp.analysis.{class}"));
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut said = Said::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let frame = fields.next()?.parse().ok()?;
        let classes = fields.zip(CLASSES).filter(|(value, _)| !value.is_empty());
        let classes: BTreeSet<_> = classes.map(|(_, (class, _))| class).collect();
        if !classes.is_empty() {
            said.insert(frame, classes);
        }
    }
    Some(said)
}

/// Analyses every flow of a capture in full; says whether all that happened found room.
fn ours(path: &Path) -> Option<(Said, bool)> {
    let policy = Policy::new(Profile::DEFAULT, &Sysctls::default());
    let limits = Limits::default();
    let mut flows: BTreeMap<FlowKey, (FlowAudit, Option<Entry>)> = BTreeMap::new();
    let (mut said, mut complete) = (Said::new(), true);
    let mut file = source::open(path, Timeline::default()).ok()?;
    let mut batch = Batch::default();
    while file.fill(&mut batch).ok()? {
        for frame in batch.frames(0..batch.len()) {
            let Decoded::Segment(packet) = wire::decode(&frame) else { continue };
            let wire::Packet { key, orientation, segment } = packet;
            let arrival = Arrival { segment: &segment, orientation, now: frame.clock };
            let fresh = || {
                let mut audit = FlowAudit::new(frame.number, frame.ts, &arrival);
                audit.tell_all();
                audit
            };
            let (audit, slot) = flows.entry(key).or_insert_with(|| (fresh(), None));
            let verdict = judge(slot, &arrival, &limits, &mut Choices::new(policy.features()));
            if audit.ends_before(&segment, &verdict) {
                complete &= collect(std::mem::replace(audit, fresh()), &mut said);
            }
            audit.observe(&Observation {
                frame: frame.number,
                ts: frame.ts,
                arrival,
                verdict,
                liberal: CtState::Established,
                invalid_for: Members::default(),
            });
        }
    }
    for (audit, _) in flows.into_values() {
        complete &= collect(audit, &mut said);
    }
    Some((said, complete))
}

fn collect(mut audit: FlowAudit, said: &mut Said) -> bool {
    let story = audit.take_story().unwrap();
    for event in &story.events {
        let class = match event.what {
            Happening::Again { kind: Kind::Reordered, .. } => "reordered",
            Happening::Again { kind: Kind::Duplicate, .. } => "duplicate",
            Happening::Again { kind: Kind::KeepAlive, .. } => "keepalive",
            Happening::Again { kind: Kind::WindowProbe, .. } => "zero_window_probe",
            Happening::Again { .. } => "repeated",
            Happening::WindowFull => "window_full",
            Happening::Gap { .. } => "gap",
            Happening::AckedUnseen { .. } => "acked_unseen",
            _ => continue,
        };
        said.entry(event.frame).or_default().insert(class);
    }
    story.events_not_kept == 0
}

/// What a pair of classes is about: classes of different groups can stand on one frame.
const GROUPS: [(&str, &[&str], &[&str]); 4] = [
    (
        "repetition or order",
        &[
            "fast_retransmission",
            "spurious_retransmission",
            "retransmission",
            "out_of_order",
            "keep_alive",
            "zero_window_probe",
        ],
        &["repeated", "reordered", "duplicate", "keepalive", "zero_window_probe"],
    ),
    ("window", &["window_full"], &["window_full"]),
    ("missing data", &["lost_segment"], &["gap"]),
    ("missing data, by its acknowledgement", &["ack_lost_segment"], &["acked_unseen"]),
];

/// The reason for each pair of classes that are not the same: tshark, ours, reason.
const REASONS: &[(&str, &str, &str)] = &[
    ("fast_retransmission", "duplicate", "same IP identification as a segment before: a copy"),
    (
        "retransmission",
        "duplicate",
        "same IP identification as a segment before: a copy, most often \
     of a capture on two interfaces",
    ),
    ("spurious_retransmission", "duplicate", "same IP identification as a segment before: a copy"),
    ("out_of_order", "duplicate", "same IP identification as a segment before: a copy"),
    ("keep_alive", "duplicate", "same IP identification as a segment before: a copy"),
    (
        "-",
        "duplicate",
        "a copy of a segment without data, which tshark at most calls a duplicate ACK",
    ),
    (
        "out_of_order",
        "repeated",
        "tshark 4.0 goes by the time since the highest number: within the \
     first round trip every repetition is out of order to it",
    ),
    (
        "retransmission",
        "reordered",
        "timestamp or identification say that it left before segments \
     already seen",
    ),
    (
        "fast_retransmission",
        "reordered",
        "identification says that it left before segments already \
     seen",
    ),
    (
        "spurious_retransmission",
        "reordered",
        "left before segments already seen, though it was \
     recorded after its acknowledgement",
    ),
    (
        "-",
        "reordered",
        "timestamp or identification say that a later segment overtook it, without a \
     gap in the numbers",
    ),
    (
        "retransmission",
        "-",
        "a SYN after a RST begins a new connection here; and merged captures \
     replay whole connections",
    ),
    (
        "spurious_retransmission",
        "-",
        "the data was recorded after its acknowledgement, or belongs to \
     another number space behind the same addresses (both sides of a device)",
    ),
    (
        "fast_retransmission",
        "-",
        "two number spaces behind the same addresses (both sides of a device)",
    ),
    ("out_of_order", "-", "two number spaces behind the same addresses (both sides of a device)"),
    ("-", "repeated", "a FIN without data sent again"),
    (
        "keep_alive",
        "-",
        "a segment without data one below the highest number, but no second of \
     silence before it",
    ),
    (
        "keep_alive",
        "repeated",
        "one byte below the highest number, but no second of silence before it",
    ),
    ("keep_alive", "zero_window_probe", "the window of the other side is zero: Linux probes it so"),
    ("zero_window_probe", "-", "the window had been opened in between"),
    ("window_full", "-", "the window was opened in between, or the data was seen before"),
    ("-", "window_full", "tshark asks for equality: data beyond the window is not full to it"),
    (
        "lost_segment",
        "-",
        "segments without data do not open a gap here; where the frame is shorter \
     than the IP length says, the IP length counts here; and number spaces as above",
    ),
    ("-", "gap", "tshark takes the first number after a gap in an acknowledgement as seen"),
    (
        "ack_lost_segment",
        "-",
        "each is flagged there, the first beyond the data seen is told here; and \
     number spaces as above",
    ),
    ("-", "acked_unseen", "told here also where the data is recorded after its acknowledgement"),
];

fn agree(theirs: &str, ours: &str) -> bool {
    CLASSES.contains(&(theirs, ours))
}

/// Counts of pairs of classes, a group each: what tshark says, what we say.
type Table = BTreeMap<(usize, &'static str, &'static str), u64>;

/// Adds what was said of the frames of one capture.
fn add(table: &mut Table, theirs: &Said, ours: &Said) {
    let frames: BTreeSet<u64> = theirs.keys().chain(ours.keys()).copied().collect();
    for frame in frames {
        for (group, (_, their_classes, our_classes)) in GROUPS.iter().enumerate() {
            // The first of the list is the most telling one.
            let first = |said: &Said, classes: &[&'static str]| {
                let said = said.get(&frame);
                let holds = |class: &&&str| said.is_some_and(|said| said.contains(**class));
                classes.iter().find(holds).copied().unwrap_or("-")
            };
            let pair = (first(theirs, their_classes), first(ours, our_classes));
            if pair != ("-", "-") {
                *table.entry((group, pair.0, pair.1)).or_default() += 1;
            }
        }
    }
}

const HEAD: &str = "\
# What tshark 4.0.17 says of each frame, and what is said here

Frames of all captures at hand, by the class that tshark gives and the one given here, the most telling
class where there are several. `-` is none. `repeated` are all classes of segments sent again.

`UPDATE_EXPECT=1 cargo test --test suite -- --ignored wireshark` makes this table again.
";

fn report(table: &Table, captures: usize) -> String {
    let mut text = format!("{HEAD}\nCaptures: {captures}.\n");
    for (group, (title, ..)) in GROUPS.iter().enumerate() {
        writeln!(text, "\n## {title}\n\n| tshark | here | frames | why |").unwrap();
        writeln!(text, "| --- | --- | --- | --- |").unwrap();
        for ((_, theirs, ours), count) in table.iter().filter(|(key, _)| key.0 == group) {
            let why = if agree(theirs, ours) {
                "the same"
            } else {
                let known = REASONS.iter().find(|(t, o, _)| t == theirs && o == ours);
                known.map_or_else(|| panic!("no reason for {theirs} / {ours}"), |(.., why)| why)
            };
            writeln!(text, "| {theirs} | {ours} | {count} | {why} |").unwrap();
        }
    }
    text
}

/// The captures of a normal run: small ones, with something of each class.
const FEW: [&str; 9] = [
    "cnp3-trace_10pc_100ms.pcap",
    "csand-tcp_zerowindowdead.pcapng",
    "jnetpcap-test-l2tp.pcap",
    "ndpi-aimini-http.pcapng",
    "ndpi-weibo.pcap",
    "sf-SF20_Trace1.pcapng",
    "tcprs-comp018.pcap",
    "tcprs-fack023.pcap",
    "tcptrace-dsack.pcap.gz",
];

#[test]
fn frames_of_a_few_captures_are_classed_as_tshark_classes_them_except_for_known_reasons() {
    let (table, compared) = compare(|name| FEW.contains(&name));
    if compared > 0 {
        assert_eq!(compared, FEW.len());
        report(&table, compared);
    }
}

#[test]
#[ignore = "asks tshark about 125 captures, which takes a minute"]
fn frames_are_classed_as_tshark_classes_them_except_for_known_reasons() {
    let (table, compared) = compare(|_| true);
    if compared == 0 {
        return;
    }
    let found = report(&table, compared);
    let file = testdata().join("flow").join("tshark.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&file).unwrap_or_default());
}

/// Compares the captures of these names, and says how many there were.
fn compare(wanted: impl Fn(&str) -> bool) -> (Table, usize) {
    let version = Command::new("tshark").arg("--version").output();
    let is_known = version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("4.0."));
    let mut captures = captures();
    captures.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted));
    if captures.is_empty() || !is_known {
        println!("skipped: no tshark 4.0, or no captures to compare");
        return (Table::new(), 0);
    }
    let (mut table, mut compared) = (Table::new(), 0);
    // tshark takes most of the time, and one thread only.
    let answers = std::thread::scope(|scope| {
        let halves = captures.chunks(captures.len().div_ceil(2));
        let ask = |half: &[PathBuf]| half.iter().map(|path| tshark(path)).collect::<Vec<_>>();
        let workers: Vec<_> = halves.map(|half| scope.spawn(move || ask(half))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (path, theirs) in captures.iter().zip(answers) {
        let (Some(theirs), Some((ours, complete))) = (theirs, ours(path)) else { continue };
        if complete {
            add(&mut table, &theirs, &ours);
            compared += 1;
        }
    }
    (table, compared)
}
