//! The captures of `testdata/captures` that are made to order.

use std::fmt::Write as _;
use std::net::IpAddr;

use tcp_window_audit::segment::{Direction, PerDirection};
use tcp_window_audit::tuple::Endpoint;

use super::device::{
    OptionStripper, SequenceRandomiser, StrictFirewall, WscaleRestorer, WscaleStripper,
};
use super::endpoint::Offer;
use super::file::{Record, pcap, pcapng};
use super::frame::{Addresses, Encapsulation, frame};
use super::simulator::{Captured, Flow, Link, Tap, run};
use super::{MICROSECOND, MILLISECOND, Random};

/// When every case begins: 2023-11-14T22:13:20Z.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// All headers fit, payload hardly does: what `tcpdump -s 128` keeps.
const SNAP_LEN: u32 = 128;

/// A capture, and why it exists.
pub(crate) struct Case {
    /// Folder below `testdata/captures`.
    pub name: &'static str,
    pub file: &'static str,
    /// What the capture shows, in one sentence.
    pub purpose: &'static str,
    /// How the path was built and what is to be found, for README.md.
    pub story: &'static str,
    /// Why Linux 6.18 refuses segments of it.
    pub invalid: &'static [&'static str],
    pub encapsulation: Encapsulation,
    pub flows: fn() -> Vec<Flow>,
}

pub(crate) const CASES: [Case; 9] = [
    Case {
        name: "clean_download",
        file: "capture.pcapng",
        purpose: "Two downloads over a healthy path, one of them with lost segments: the control.",
        story: "\
The capture runs on the server. The second flow loses 2 % of its data behind the capture point, so
that SACK blocks, fast retransmissions and duplicate ACKs are there. A tracker has nothing to refuse.",
        invalid: &[],
        encapsulation: Encapsulation::Ethernet,
        flows: clean_download,
    },
    Case {
        name: "sequence_randomiser_leaves_sack_alone",
        file: "capture.pcapng",
        purpose: "A firewall shifts sequence numbers and forgets the SACK blocks; downloads die.",
        story: "\
The capture runs on the server, whose own strict firewall drops INVALID behind the capture point. Between
it and the internet a device adds a constant per flow and direction, as Cisco PIX and ASA do. Flows
0 to 3 lose 2 % of their data, flows 4 and 5 nothing. A shift up puts the SACK edges of the clients
above all data sent (ACK over): flows 0 and 2 stop at their first loss and only repeat themselves
until the capture ends. A shift down puts them below the ACK: flows 1 and 3 pass, but the server does
not believe the blocks and recovers by timeouts. Flows 4 and 5 never send a SACK block.",
        invalid: &["ack_over"],
        encapsulation: Encapsulation::Ethernet,
        flows: sequence_randomiser,
    },
    Case {
        name: "window_scale_stripped_from_syn_ack",
        file: "capture.pcapng",
        purpose: "The tracker does not see that windows are scaled and takes 502 for 502 bytes.",
        story: "\
One device between server and capture point removes the window scale option from the SYN-ACK, its twin
on the client's side puts it back: both ends scale by 7, the tracker by nothing. The first flow grows to
more than 64 kB in flight and leaves the window that the tracker believes in (SEQ over), and the ACKs of
data so refused are refused as well (ACK over). The second flow is too short for that.",
        invalid: &["ack_over", "seq_over"],
        encapsulation: Encapsulation::Ethernet,
        flows: wscale_stripped,
    },
    Case {
        name: "window_scale_lost_for_the_client",
        file: "capture.pcapng",
        purpose: "The server scales windows that the client means unscaled, and overruns them.",
        story: "\
A device between server and capture point removes the window scale option from the SYN-ACK. The client
therefore announces plain windows of 65535; the server takes them for 8 MB and soon has more in flight
than was announced (SEQ over). The client reads so fast that it takes and acknowledges all of it, and
the ACKs of data so refused are refused as well (ACK over).",
        invalid: &["ack_over", "seq_over"],
        encapsulation: Encapsulation::Ethernet,
        flows: wscale_lost,
    },
    Case {
        name: "capture_loss",
        file: "capture.pcapng",
        purpose: "A healthy path, but the capture misses three frames of a hundred.",
        story: "\
Nothing is lost between the ends. ACKs of data that is not in the capture look INVALID although no tracker
in the path would have said so; the gaps are the evidence. In the first two flows later data heals
that. The third one misses the request, after which the client sends no data any more: every segment of
the server acknowledges what was not seen, and nothing of the flow fits again.",
        invalid: &["ack_over", "seq_over"],
        encapsulation: Encapsulation::Ethernet,
        flows: capture_loss,
    },
    Case {
        name: "one_direction_only",
        file: "capture.pcapng",
        purpose: "Only what the server sends passes the capture point.",
        story: "\
With the requests on another route a tracker meets a SYN-ACK without a SYN and picks the flow up in the
middle, the server as the original side.",
        invalid: &["invalid_new"],
        encapsulation: Encapsulation::Ethernet,
        flows: one_direction_only,
    },
    Case {
        name: "ipv6_upload",
        file: "capture.pcapng",
        purpose: "Uploads over IPv6 whose lost segments never reach the capture point.",
        story: "\
The capture runs on the server, the loss of 1 % lies before it: holes, SACK blocks from the server and
late arrivals. A tracker has nothing to refuse.",
        invalid: &[],
        encapsulation: Encapsulation::Ethernet,
        flows: ipv6_upload,
    },
    Case {
        name: "vlan_tagged",
        file: "capture.pcap",
        purpose: "Downloads in VLAN 100 whose SYNs have lost all options but the segment size.",
        story: "\
A device removes the options from both SYNs, so both ends and the tracker agree that nothing is scaled and
no SACK is used. The file is a pcap with microseconds.",
        invalid: &[],
        encapsulation: Encapsulation::Vlan(100),
        flows: vlan_tagged,
    },
    Case {
        name: "cooked_any_interface",
        file: "capture.pcap",
        purpose: "A download and an upload as `tcpdump -i any` records them.",
        story: "The link type is Linux cooked capture, version 1; the file is a pcap with microseconds.",
        invalid: &[],
        encapsulation: Encapsulation::Cooked,
        flows: cooked,
    },
];

impl Case {
    /// Returns the capture file and its README.md.
    pub(crate) fn make(&self) -> (Vec<u8>, String) {
        let flows: Vec<Vec<Captured>> = (self.flows)().into_iter().map(run).collect();
        let mut all: Vec<&Captured> = flows.iter().flatten().collect();
        // Stable, so that flows keep their order where times are equal.
        all.sort_by_key(|captured| captured.time_ns);
        let records: Vec<Record> = all.iter().map(|captured| self.record(captured)).collect();
        let link = self.encapsulation.link_type();
        let write = if self.file.ends_with("ng") { pcapng } else { pcap };
        (write(link, SNAP_LEN, &records), self.readme(&flows))
    }

    fn record(&self, captured: &Captured) -> Record {
        let Captured { time_ns, direction, addresses, segment, .. } = captured;
        let bytes = frame(self.encapsulation, addresses, *direction, segment);
        Record { time_ns: BEGIN_NS + time_ns, bytes }
    }

    fn readme(&self, flows: &[Vec<Captured>]) -> String {
        let mut text = format!("# {}\n\n{}\n\n{}\n\n", self.name, self.purpose, self.story);
        text.push_str("| flow | from | to | frames |\n| --- | --- | --- | --- |\n");
        for (index, flow) in flows.iter().enumerate() {
            let Addresses { a, b } = flow[0].addresses;
            writeln!(text, "| {index} | {a} | {b} | {} |", flow.len()).unwrap();
        }
        let origin = "\
Origin: invented; two TCP ends simulated in virtual time by `tests/suite/generate`, frames cut to 128
bytes. `UPDATE_EXPECT=1 cargo test --test suite captures` makes the file again, byte for byte.";
        format!("{text}\n{origin}\n")
    }
}

/// A client on the internet asks a server that the capture runs on.
fn flow(number: u16, seed: u64, upload: u64, download: u64) -> Flow {
    let host = u8::try_from(10 + number).unwrap();
    let port = 40_000 + number * 7;
    Flow {
        addresses: Addresses {
            a: Endpoint { addr: IpAddr::from([203, 0, 113, host]), port },
            b: Endpoint { addr: IpAddr::from([192, 0, 2, 80]), port: 443 },
        },
        start_ns: i64::from(number) * 130 * MILLISECOND,
        stop_ns: 40_000 * MILLISECOND,
        seed,
        upload,
        download,
        offers: PerDirection { original: Offer::LINUX, reply: Offer::LINUX },
        near: Link::of(20 * MILLISECOND, 11),
        far: Link::of(20 * MICROSECOND, 0),
        tap: Tap::default(),
        rate: 100_000_000,
        least_cwnd: 0,
    }
}

fn clean_download() -> Vec<Flow> {
    let mut lossy = flow(1, 12, 400, 400_000);
    lossy.near.loss_permille = 20;
    vec![flow(0, 11, 400, 300_000), lossy]
}

fn sequence_randomiser() -> Vec<Flow> {
    let mut random = Random(20_150_505);
    let shifted = |number: u16| {
        let mut flow = flow(number, 103 + u64::from(number), 600, 160_000);
        // Far from zero and from half the circle: 2²⁸ to 2³⁰, up in even flows, down in odd ones.
        let shift = (1 << 28) + random.word() % (3 << 28);
        let reply = if number.is_multiple_of(2) { shift } else { shift.wrapping_neg() };
        let shift = PerDirection { original: random.word(), reply };
        flow.near.devices.push(Box::new(SequenceRandomiser { shift }));
        flow.near.loss_permille = if number < 4 { 20 } else { 0 };
        flow.far.devices.push(Box::new(StrictFirewall::default()));
        flow
    };
    (0..6).map(shifted).collect()
}

fn wscale_stripped() -> Vec<Flow> {
    let blind = |number, download| {
        let mut flow = flow(number, 31 + u64::from(number), 300, download);
        flow.near = Link::of(40 * MILLISECOND, 9);
        flow.near.devices.push(Box::new(WscaleRestorer(7)));
        flow.far = Link::of(5 * MILLISECOND, 2);
        flow.far.devices.push(Box::new(WscaleStripper));
        flow
    };
    vec![blind(0, 700_000), blind(1, 60_000)]
}

fn wscale_lost() -> Vec<Flow> {
    let mut flow = flow(0, 41, 300, 500_000);
    flow.near = Link::of(40 * MILLISECOND, 9);
    flow.far = Link::of(5 * MILLISECOND, 2);
    flow.far.devices.push(Box::new(WscaleStripper));
    vec![flow]
}

fn capture_loss() -> Vec<Flow> {
    let missed = |number| {
        let mut flow = flow(number, 50 + u64::from(number), 400, 200_000);
        flow.tap.loss_permille = 30;
        flow
    };
    vec![missed(0), missed(1), missed(2)]
}

fn one_direction_only() -> Vec<Flow> {
    let half = |number| {
        let mut flow = flow(number, 60 + u64::from(number), 400, 120_000);
        flow.tap.only = Some(Direction::Reply);
        flow
    };
    vec![half(0), half(1)]
}

fn ipv6_upload() -> Vec<Flow> {
    let upload = |number: u16| {
        let mut flow = flow(number, 70 + u64::from(number), 250_000, 200);
        flow.addresses.a.addr = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, 10 + number]);
        flow.addresses.b.addr = IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 0x80]);
        flow.near.loss_permille = 10;
        let offer = Offer { mss: 1440, ..Offer::LINUX };
        flow.offers = PerDirection { original: offer, reply: offer };
        flow
    };
    vec![upload(0), upload(1)]
}

fn vlan_tagged() -> Vec<Flow> {
    let stripped = |number| {
        let mut flow = flow(number, 80 + u64::from(number), 400, 150_000);
        flow.near.devices.push(Box::new(OptionStripper));
        flow.near.loss_permille = 5;
        flow
    };
    vec![stripped(0), stripped(1)]
}

fn cooked() -> Vec<Flow> {
    vec![flow(0, 90, 400, 100_000), flow(1, 91, 100_000, 300)]
}
