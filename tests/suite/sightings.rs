//! Captures that hold each packet twice: they are judged as if they held it once.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tcp_window_audit::frame::LinkType;
use tcp_window_audit::segment::{Direction, Flags, PerDirection};
use tcp_window_audit::tuple::Endpoint;

use crate::generate::cases::CASES;
use crate::generate::file::{Record, pcapng};
use crate::generate::frame::{Encapsulation, frame};
use crate::generate::simulator::{Captured, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-window-audit");
pub(crate) const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
/// How long a packet takes from one place to the other.
pub(crate) const BETWEEN_NS: i64 = 40_000;

/// What the place nearer to the originator sees of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Elsewhere {
    /// Routers between the two places.
    pub hops: u8,
    /// By how much numbers of each direction are higher there; SACK blocks are translated too.
    pub shift: PerDirection<u32>,
    /// The client's endpoint there.
    pub client: Option<Endpoint>,
    /// Whether the SYN still has its window scale there.
    pub keeps_wscale: bool,
}

pub(crate) const SAME: Elsewhere = Elsewhere {
    hops: 0,
    shift: PerDirection { original: 0, reply: 0 },
    client: None,
    keeps_wscale: true,
};

impl Elsewhere {
    pub(crate) fn sees(&self, captured: &Captured) -> Captured {
        let mut seen = *captured;
        let way = captured.direction;
        let segment = &mut seen.segment;
        match way {
            Direction::Original => {
                seen.time_ns -= BETWEEN_NS;
                segment.ttl += self.hops;
            }
            Direction::Reply => {
                seen.time_ns += BETWEEN_NS;
                segment.ttl -= self.hops;
            }
        }
        segment.seq = segment.seq.plus(self.shift[way]);
        if segment.has(Flags::ACK) {
            let shift = self.shift[way.flip()];
            segment.ack = segment.ack.plus(shift);
            let blocks = segment.options.sack;
            segment.options.sack = tcp_window_audit::segment::SackBlocks::default();
            for mut block in blocks.as_slice().iter().copied() {
                (block.left, block.right) = (block.left.plus(shift), block.right.plus(shift));
                segment.options.sack.push(block);
            }
        }
        if let Some(client) = self.client {
            seen.addresses.a = client;
        }
        if segment.has(Flags::SYN) && !self.keeps_wscale {
            segment.options.wscale = None;
        }
        seen
    }
}

/// The packets of a made case.
pub(crate) fn captured(case: &str) -> Vec<Captured> {
    let case = CASES.iter().find(|known| known.name == case).unwrap();
    (case.flows)().into_iter().flat_map(run).collect()
}

pub(crate) fn write(test: &str, mut packets: Vec<Captured>) -> PathBuf {
    packets.sort_by_key(|captured| captured.time_ns);
    let record = |captured: &Captured| {
        let Captured { time_ns, direction, addresses, segment, .. } = captured;
        let bytes = frame(Encapsulation::Ethernet, addresses, *direction, segment);
        Record { time_ns: BEGIN_NS + time_ns, bytes }
    };
    let records: Vec<_> = packets.iter().map(record).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("twice-{test}.pcapng"));
    std::fs::write(&path, pcapng(LinkType::ETHERNET, 128, &records)).unwrap();
    path
}

fn run_on(path: &Path, arguments: &[&str]) -> Vec<u8> {
    Command::new(PROGRAM).args(arguments).arg(path).output().unwrap().stdout
}

pub(crate) fn report(path: &Path) -> Value {
    serde_json::from_slice(&run_on(path, &["--format", "json"])).unwrap()
}

/// What must not depend on how often the packets were captured: frame numbers and times aside.
pub(crate) fn essence(report: &Value) -> Value {
    let causes = report["causes"].as_array().unwrap().iter().filter(|cause| cause["id"] != "C22");
    let causes: Vec<_> = causes
        .map(|cause| {
            serde_json::json!([
                cause["id"],
                cause["score"],
                cause["params"].as_object().unwrap().len()
            ])
        })
        .collect();
    let verdict = &report["verdict"];
    let segments = report["endpoints"]["segments"].as_object().unwrap().iter();
    let segments: Vec<_> = segments
        .map(|(kind, count)| serde_json::json!([kind, count["packets"], count["bytes"]]))
        .collect();
    serde_json::json!({
        "flows": verdict["flows"],
        "level": verdict["level"],
        "invalid": verdict["invalid"],
        "liberal": verdict["invalid_if_liberal"],
        "reasons": verdict["invalid_by_reason"],
        "ctstate": verdict["ctstate"],
        "causes": causes,
        "segments": segments,
    })
}

pub(crate) fn twice(case: &str, elsewhere: Elsewhere) -> Vec<Captured> {
    let once = captured(case);
    let again = once.iter().map(|captured| elsewhere.sees(captured));
    again.chain(once.iter().copied()).collect()
}

const MADE: [&str; 4] = [
    "clean_download",
    "sequence_randomiser_leaves_sack_alone",
    "window_scale_stripped_from_syn_ack",
    "ipv6_upload",
];

#[test]
fn two_hops_are_judged_as_one() {
    for case in MADE {
        let once = report(&write(&format!("{case}-once"), captured(case)));
        let packets = captured(case).len();
        let both =
            report(&write(&format!("{case}-hops"), twice(case, Elsewhere { hops: 1, ..SAME })));
        assert_eq!(essence(&both), essence(&once), "{case}");
        assert_eq!(both["capture"]["copies"], packets, "{case}");
        assert_eq!(both["capture"]["flows_seen_twice"], once["verdict"]["flows"], "{case}");
        assert_eq!(
            both["causes"].as_array().unwrap().iter().filter(|c| c["id"] == "C22").count(),
            1
        );
    }
}

#[test]
fn copies_that_are_too_few_to_tell_anything_are_named_beside_those_that_do() {
    let next_hop = Elsewhere { hops: 1, ..SAME };
    let mut packets = twice("clean_download", next_hop);
    let other = captured("ipv6_upload");
    packets.extend(other.iter().take(2).map(|captured| next_hop.sees(captured)));
    packets.extend(other);
    let report = report(&write("few-copies", packets));
    let causes = report["causes"].as_array().unwrap();
    let notes = causes.iter().find(|cause| cause["id"] == "C22").unwrap()["notes"].to_string();
    assert!(notes.contains("2 packets of 1 connection were left out as copies as well"), "{notes}");
}

#[test]
fn a_device_that_changes_numbers_between_two_places_makes_nothing_invalid() {
    for hops in [0, 1] {
        let shift = PerDirection { original: 3_000_000_000, reply: 77_000_000 };
        let elsewhere = Elsewhere { hops, shift, ..SAME };
        let path = write(&format!("numbers-{hops}"), twice("clean_download", elsewhere));
        let both = report(&path);
        let once = report(&write("numbers-once", captured("clean_download")));
        assert_eq!(essence(&both), essence(&once), "{hops} hops");
        let changes = both["seen_twice"][0]["changes"].to_string();
        assert!(changes.contains("SYN: sequence numbers -1294967296"), "{changes}");
        assert!(changes.contains("SYN-ACK: sequence numbers +77000000"), "{changes}");
    }
}

#[test]
fn what_a_device_took_out_of_the_syn_is_told() {
    let elsewhere = Elsewhere { hops: 2, keeps_wscale: false, ..SAME };
    let report = report(&write("options", twice("clean_download", elsewhere)));
    let changes = report["seen_twice"][0]["changes"].to_string();
    assert!(changes.contains("SYN: window scale 7 to none"), "{changes}");
    assert!(report["causes"].as_array().unwrap().iter().all(|cause| cause["id"] != "C22"));
}

#[test]
fn a_translated_connection_is_one_and_its_sights_are_joined() {
    let client = Endpoint { addr: IpAddr::from([10, 1, 2, 3]), port: 50_505 };
    let case = "sequence_randomiser_leaves_sack_alone";
    let once = report(&write("nat-once", captured(case)));
    let mut clients = client;
    let mut translated = Vec::new();
    let mut last = None;
    for captured in captured(case) {
        if last != Some(captured.addresses.a) {
            clients.port += 1;
            last = Some(captured.addresses.a);
        }
        let elsewhere = Elsewhere { hops: 1, client: Some(clients), ..SAME };
        translated.push(elsewhere.sees(&captured));
        translated.push(captured);
    }
    let both = report(&write("nat", translated));
    let flows = once["verdict"]["flows"].as_u64().unwrap();
    assert_eq!(both["verdict"]["flows"], 2 * flows);
    assert_eq!(both["seen_twice"].as_array().unwrap().len() as u64, flows);
    assert!(both["seen_twice"][0]["changes"][0].as_str().unwrap().contains("elsewhere 10.1.2.3:"));
    let c01 = |report: &Value| {
        let causes = report["causes"].as_array().unwrap().clone();
        causes.into_iter().find(|cause| cause["id"] == "C01").unwrap()["flow_count"].clone()
    };
    assert_eq!(c01(&both), c01(&once));
}

#[test]
fn verdicts_are_on_every_frame_and_do_not_depend_on_threads() {
    let shift = PerDirection { original: 3 << 30, reply: 1 << 28 };
    let elsewhere = Elsewhere { hops: 1, shift, ..SAME };
    let path = write("threads", twice("clean_download", elsewhere));
    let verdicts = path.with_extension("ndjson");
    let file = verdicts.to_str().unwrap();
    let of = |threads: &str| {
        let report = run_on(&path, &["--threads", threads, "--format", "json", "--verdicts", file]);
        (report, std::fs::read_to_string(&verdicts).unwrap())
    };
    let (report, one) = of("1");
    assert_eq!((report.clone(), one.clone()), of("3"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(one.lines().count() as u64, report["capture"]["tcp_segments"].as_u64().unwrap());
    // A tracker that met both sights would refuse one of them; the report does not.
    assert!(one.contains("\"ctstate\":\"INVALID\""));
    assert_eq!(report["verdict"]["invalid"]["packets"], 0);
}

#[test]
fn now_and_then_a_packet_twice_is_no_second_place() {
    let once = captured("clean_download");
    let again = once.iter().step_by(20).map(|captured| {
        let mut copy = *captured;
        copy.time_ns += 1_000;
        copy
    });
    let packets = again.chain(once.iter().copied()).collect();
    let report = report(&write("some", packets));
    assert_eq!(report["capture"]["flows_seen_twice"], Value::Null);
    assert_eq!(report["capture"]["copies"], Value::Null);
}
