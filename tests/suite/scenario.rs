//! Conversations with recorded verdicts: the files of `testdata/scenarios` and `testdata/vectors`.
//!
//! The format is described in `testdata/scenarios/README.md`. [`for_each_expectation`] hands out
//! every conversation once for every kernel profile that it was recorded for.
//!
//! Does not: call the model.

mod header;
pub(crate) mod parse;
mod recording;
pub(crate) mod write;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use tcp_window_audit::segment::{Direction, HeaderFault, PerDirection, Segment};
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::Endpoint;

pub(crate) use header::Packet;

/// The kernels whose verdicts are recorded, oldest first; ranges in the files run along this list.
pub(crate) const PROFILES: [&str; 17] = [
    "2.6.32",
    "el6",
    "3.10",
    "el7",
    "4.19.0",
    "el8",
    "5.4",
    "5.10.0",
    "5.10.166+",
    "5.14/5.15.0",
    "5.15.100",
    "6.1.0",
    "6.1.192",
    "6.6.57",
    "6.18.0",
    "6.18.44",
    "6.12.117",
];

/// When the first packet of a conversation is sent, unless its line says later.
pub(crate) const START: Timestamp = Timestamp::from_parts(946_684_800, 0);

/// One file: a conversation and what each kernel said about each packet.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Path below `testdata`.
    pub name: String,
    /// What the file shows.
    pub purpose: String,
    /// Where the verdicts come from.
    pub origin: String,
    /// Name in the recording; empty for files written by hand.
    pub id: String,
    pub settings: Settings,
    /// Positions in [`PROFILES`] of the kernels that were asked; of the others the file says nothing.
    kernels: Vec<usize>,
    pub steps: Vec<Step>,
}

/// The sysctls `net.netfilter.nf_conntrack_*` that a conversation was recorded under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub loose: u32,
    pub be_liberal: u32,
    pub max_retrans: u32,
    pub ignore_invalid_rst: u32,
    pub checksum: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { loose: 1, be_liberal: 0, max_retrans: 3, ignore_invalid_rst: 0, checksum: 1 }
    }
}

/// One packet and the verdicts about it.
#[derive(Debug)]
pub(crate) struct Step {
    /// Line of the file, counted from 1.
    pub line: usize,
    pub time: Timestamp,
    pub from: Host,
    pub packet: Packet,
    /// One for each of [`PROFILES`].
    expected: Vec<Expected>,
}

/// The two ends of a conversation; whoever sends first opens the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    /// 192.0.2.1, port 1000; `>` in the files.
    A,
    /// 198.51.100.1, port 80; `<` in the files.
    B,
}

impl Host {
    pub(crate) const fn flip(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) const fn endpoint(self) -> Endpoint {
        match self {
            Self::A => Endpoint { addr: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port: 1000 },
            Self::B => Endpoint { addr: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), port: 80 },
        }
    }
}

/// What a kernel did with a packet, and its entry afterwards.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Expected {
    /// NEW, ESTABLISHED, INVALID or DROP.
    pub ctstate: String,
    /// Reason codes in lower case, in the order in which they arose.
    pub reasons: Vec<String>,
    /// The TCP state; `None` when there is no entry.
    pub state: Option<String>,
    /// The entry's remaining time in milliseconds.
    pub ttl_ms: Option<i64>,
    /// The entry's numbers; `None` when there is no entry, or when they were not recorded.
    pub mark: Option<Mark>,
    /// The kernel's log text; `None` when it was silent, or when it was not recorded.
    pub log: Option<String>,
}

/// An entry's numbers after a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Which way of the entry the packet went.
    pub pkt_dir: Direction,
    pub seen_reply: bool,
    pub assured: bool,
    pub sides: PerDirection<SideMark>,
    pub last: LastMark,
}

/// `struct ip_ct_tcp_state`, the numbers of one side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct SideMark {
    pub end: u32,
    pub max_end: u32,
    pub max_win: u32,
    pub max_ack: u32,
    pub scale: u8,
    pub flags: u8,
}

/// The part of `struct ip_ct_tcp` about the last segment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct LastMark {
    pub dir: Direction,
    pub index: u8,
    pub retrans: u8,
    pub seq: u32,
    pub ack: u32,
    pub end: u32,
    pub win: u16,
    pub wscale: u8,
    pub flags: u8,
}

/// One packet of a conversation, as one kernel judged it.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    /// Line of the file, for messages.
    pub line: usize,
    pub time: Timestamp,
    pub from: Host,
    /// Its `fault` is set as the settings of the conversation ask for.
    pub segment: Segment,
    pub expected: &'a Expected,
}

impl Scenario {
    /// Returns whether the kernel of this profile was asked.
    pub(crate) fn speaks_for(&self, profile: usize) -> bool {
        self.kernels.contains(&profile)
    }

    /// Returns the packets with what the kernel of this profile said about them.
    pub(crate) fn checks<'a>(&'a self, profile: usize) -> Vec<Check<'a>> {
        let check = |step: &'a Step| Check {
            line: step.line,
            time: step.time,
            from: step.from,
            segment: step.packet.segment(&self.settings),
            expected: &step.expected[profile],
        };
        self.steps.iter().map(check).collect()
    }
}

/// Returns all conversations of `testdata/scenarios`, in the order of their names.
pub(crate) fn scenarios() -> Vec<Scenario> {
    read_folder("scenarios")
}

/// Returns the random conversations of `testdata/vectors`, in the order of their names.
pub(crate) fn vectors() -> Vec<Scenario> {
    read_folder("vectors")
}

/// Calls `run` with every conversation and every profile that it speaks for: conversation, profile, packets.
pub(crate) fn for_each_expectation(
    conversations: &[Scenario],
    mut run: impl FnMut(&Scenario, &str, &[Check<'_>]),
) {
    for scenario in conversations {
        let asked = PROFILES.iter().enumerate().filter(|(index, _)| scenario.speaks_for(*index));
        for (index, profile) in asked {
            run(scenario, profile, &scenario.checks(index));
        }
    }
}

/// Returns the folder of test data.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn read_folder(folder: &str) -> Vec<Scenario> {
    let mut files = Vec::new();
    find_texts(&testdata().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no conversation in testdata/{folder}");
    files.iter().map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(testdata()).unwrap().display().to_string();
    parse::scenario(&name, &text).unwrap_or_else(|error| panic!("{name}:{error}"))
}

fn find_texts(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_texts(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

#[test]
fn every_profile_gets_every_packet_of_every_conversation() {
    let (mut conversations, mut packets) = (0, 0);
    for_each_expectation(&scenarios(), |scenario, profile, checks| {
        assert!(PROFILES.contains(&profile));
        assert_eq!(checks.len(), scenario.steps.len());
        assert!(checks.is_sorted_by_key(|check| check.time), "{}", scenario.name);
        assert!(checks.is_sorted_by_key(|check| check.line), "{}", scenario.name);
        conversations += 1;
        packets += checks.len();
    });
    assert!(conversations >= 103 * 17 && packets >= 769 * 17, "{conversations}, {packets}");
}

#[test]
fn a_segment_has_a_fault_exactly_where_the_kernel_found_one() {
    let conversations: Vec<Scenario> = scenarios().into_iter().chain(vectors()).collect();
    for_each_expectation(&conversations, |scenario, _, checks| {
        for check in checks {
            let reasons = &check.expected.reasons;
            let found = |code: &str| reasons.iter().any(|reason| reason == code);
            let agree = match check.segment.fault {
                None => !reasons.iter().any(|reason| reason.starts_with("tcp_")),
                // Newer kernels are silent about the first two.
                Some(HeaderFault::NotTrackable | HeaderFault::Short) => {
                    found("tcp_short") || reasons.is_empty()
                }
                Some(HeaderFault::Truncated) => found("tcp_truncated"),
                Some(HeaderFault::BadChecksum) => found("tcp_bad_csum"),
                Some(HeaderFault::BadFlags) => found("tcp_bad_flags"),
            };
            let ctstate = check.expected.ctstate == "INVALID" || check.segment.fault.is_none();
            assert!(agree && ctstate, "{}:{}: {check:?}", scenario.name, check.line);
        }
    });
}

#[test]
fn the_sender_of_a_new_packet_is_the_original_direction() {
    let conversations: Vec<Scenario> = scenarios().into_iter().chain(vectors()).collect();
    for_each_expectation(&conversations, |scenario, _, checks| {
        let mut opener = checks[0].from;
        for check in checks {
            if check.expected.ctstate == "NEW" {
                opener = check.from;
            }
            if let Some(mark) = check.expected.mark {
                let original = mark.pkt_dir == Direction::Original;
                assert_eq!(original, check.from == opener, "{}:{}", scenario.name, check.line);
            }
        }
    });
}

#[test]
fn every_file_says_its_purpose_and_its_origin() {
    for scenario in scenarios().iter().chain(&vectors()) {
        assert!(scenario.purpose.ends_with('.'), "{}: {}", scenario.name, scenario.purpose);
        assert!(!scenario.origin.is_empty(), "{}", scenario.name);
    }
}

#[test]
fn the_ends_answer_each_other() {
    assert_eq!(Host::A.flip(), Host::B);
    assert_eq!(Host::A.endpoint().to_string(), "192.0.2.1:1000");
    assert_eq!(Host::A.flip().endpoint().to_string(), "198.51.100.1:80");
}
