//! A capture of which the truth is known: what was sent again, and what was overtaken.
//!
//! Several fat flows lose 1 % of their data, half of it before the capture point and half behind, and
//! some segments are held up. The truth about each data packet stands in its IP TOS byte (4: sent
//! again, 8: overtaken), which the analysis does not read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use tcp_window_audit::audit::{Audit, Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Profile, Sysctls};
use tcp_window_audit::flow::{Happening, Kind};
use tcp_window_audit::frame::LinkType;
use tcp_window_audit::pipeline::{Observer, Plan, Run};
use tcp_window_audit::segment::PerDirection;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::tuple::Endpoint;

use crate::generate::endpoint::Offer;
use crate::generate::file::{Record, pcapng};
use crate::generate::frame::{Addresses, Encapsulation, frame};
use crate::generate::simulator::{Captured, Flow, Link, Tap, run};
use crate::generate::{MICROSECOND, MILLISECOND};

const FLOWS: u16 = 6;
const DOWNLOAD: u64 = 12_000_000;
const SENT_AGAIN: u8 = 4;
const OVERTAKEN: u8 = 8;
/// The TOS byte behind an Ethernet header.
const TOS_AT: usize = 15;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stamps {
    All,
    /// IPv6 has no identification.
    TimestampsOnly,
    IdOnly,
    /// IPv6 without timestamps: only time and acknowledgements tell.
    None,
}

impl Stamps {
    const ALL: [Self; 4] = [Self::All, Self::TimestampsOnly, Self::IdOnly, Self::None];

    const fn is_ipv6(self) -> bool {
        matches!(self, Self::TimestampsOnly | Self::None)
    }
}

fn flow(number: u16, stamps: Stamps) -> Flow {
    let timestamps = matches!(stamps, Stamps::All | Stamps::TimestampsOnly);
    let offer = Offer { buffer: 2_000_000, wscale: Some(8), timestamps, ..Offer::LINUX };
    let host = u8::try_from(number + 1).unwrap();
    let addr = |net: u8, host: u8| {
        if stamps.is_ipv6() {
            let last = u16::from(net) << 8 | u16::from(host);
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])
        } else {
            IpAddr::from([192, 0, net, host])
        }
    };
    let lossy = |delay_ns, held_up_ns| Link {
        loss_permille: 5,
        reorder_permille: 2,
        held_up_ns,
        ..Link::of(delay_ns, 1)
    };
    let rtt = i64::from(number + 1) * 4 * MILLISECOND;
    Flow {
        addresses: Addresses {
            a: Endpoint { addr: addr(2, host), port: 50_000 + number },
            b: Endpoint { addr: addr(3, 80), port: 443 },
        },
        start_ns: i64::from(number) * 3 * MILLISECOND,
        stop_ns: 60_000 * MILLISECOND,
        seed: 77 + u64::from(number),
        upload: 500,
        download: DOWNLOAD,
        offers: PerDirection { original: offer, reply: offer },
        near: lossy(rtt / 4, 1),
        far: lossy(rtt / 4, 400 * MICROSECOND as u64),
        tap: Tap::default(),
        rate: 1_000_000_000,
        least_cwnd: 400_000,
    }
}

/// Writes the capture and returns the truth by frame number.
fn write(path: &Path, stamps: Stamps) -> BTreeMap<u64, u8> {
    let mut all: Vec<Captured> = (0..FLOWS).flat_map(|n| run(flow(n, stamps))).collect();
    all.sort_by_key(|captured| captured.time_ns);
    let mut truth = BTreeMap::new();
    let records: Vec<Record> = (1..)
        .zip(&all)
        .map(|(number, captured)| {
            let Captured { time_ns, direction, addresses, segment, .. } = captured;
            let mut bytes = frame(Encapsulation::Ethernet, addresses, *direction, segment);
            let mark = if segment.len == 0 {
                0
            } else {
                u8::from(captured.sent_again) * SENT_AGAIN
                    + u8::from(captured.overtaken) * OVERTAKEN
            };
            truth.insert(number, mark);
            if !stamps.is_ipv6() {
                bytes[TOS_AT] = mark;
            }
            Record { time_ns: 1_700_000_000_000_000_000 + time_ns, bytes }
        })
        .collect();
    std::fs::write(path, pcapng(LinkType::ETHERNET, 128, &records)).unwrap();
    truth
}

struct Nobody;

impl Observer for Nobody {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

pub(crate) fn audit(path: &Path, flows: Vec<u64>) -> Audit {
    let method = Method::new(Profile::DEFAULT, Sysctls::default());
    let mut run = Run::new(&Plan { flows, ..Plan::new(method) });
    run.read(&mut source::open(path, Timeline::default()).unwrap(), &mut Nobody);
    run.finish()
}

/// Returns what the analysis says of each frame below the highest number, over all flows.
pub(crate) fn kinds(path: &Path, flows: &BTreeSet<u64>) -> BTreeMap<u64, Kind> {
    let mut kinds = BTreeMap::new();
    let wanted: Vec<_> = flows.iter().copied().collect();
    let stories = audit(path, wanted).stories;
    assert_eq!(stories.len(), flows.len());
    for told in stories {
        assert_eq!(told.story.events_not_kept, 0);
        for event in &told.story.events {
            if let Happening::Again { kind, .. } = event.what {
                kinds.insert(event.frame, kind);
            }
        }
    }
    kinds
}

/// Precision and recall, each in hundred thousandths.
fn score(flagged: &BTreeSet<u64>, wanted: &BTreeSet<u64>) -> (usize, usize) {
    let both = flagged.intersection(wanted).count();
    (both * 100_000 / flagged.len().max(1), both * 100_000 / wanted.len().max(1))
}

#[test]
fn what_was_sent_again_and_what_was_overtaken_are_found() {
    for stamps in Stamps::ALL {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("truth-{stamps:?}.pcapng"));
        let truth = write(&path, stamps);
        let ids: BTreeSet<u64> = flow_ids(&path);
        assert_eq!(ids.len(), usize::from(FLOWS));
        let kinds = kinds(&path, &ids);
        let frames = |holds: &dyn Fn(u8) -> bool| -> BTreeSet<u64> {
            truth.iter().filter(|(_, mark)| holds(**mark)).map(|(frame, _)| *frame).collect()
        };
        let said = |holds: &dyn Fn(Kind) -> bool| -> BTreeSet<u64> {
            kinds.iter().filter(|(_, kind)| holds(**kind)).map(|(frame, _)| *frame).collect()
        };
        let again = frames(&|mark| mark & SENT_AGAIN != 0);
        let late = frames(&|mark| mark == OVERTAKEN);
        let again_score = score(&said(&Kind::is_retransmission), &again);
        let late_score = score(&said(&|kind| kind == Kind::Reordered), &late);
        let found = format!(
            "{stamps:?}: {} frames, {} sent again {again_score:?}, {} overtaken {late_score:?}",
            truth.len(),
            again.len(),
            late.len()
        );
        println!("{found}");
        assert!(again.len() > 500 && late.len() > 70, "{found}");
        assert!(again_score.0 >= 99_900 && again_score.1 >= 99_900, "{found}");
        assert!(late_score.0 >= 99_000 && late_score.1 >= 99_000, "{found}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// The flows are found by their numbers: those of their SYNs.
fn flow_ids(path: &Path) -> BTreeSet<u64> {
    audit(path, Vec::new()).troubled.iter().map(|flow| flow.audit.first_frame).collect()
}
