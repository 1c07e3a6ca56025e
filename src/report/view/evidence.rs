//! The worst flows with the packets that a rule spoke of, in words and numbers.

use std::collections::BTreeSet;

use crate::audit::{Addresses, Audit, Inputs, Place};
use crate::conntrack::{CtState, Reason, TcpState};
use crate::flow::community_id::community_id;
use crate::flow::{EffectCounts, Evidence, FlowFinding, KeyPacket, Summary};
use crate::report::view::Extent;
use crate::report::{counted, grouped};
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Endpoint, FlowKey};

/// A flow with INVALID packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceFlow<'a> {
    /// What is known of it.
    pub finding: &'a FlowFinding,
    /// The number of its first frame within the run.
    pub id: u64,
    /// Who opened it.
    pub original: Endpoint,
    /// Who answered.
    pub reply: Endpoint,
    /// Packets, how long, bytes each way, in one line.
    pub summary: String,
    /// How it ended, and what became of its INVALID packets: a sentence each.
    pub notes: Vec<String>,
    /// Its key packets, by their frames.
    pub packets: Vec<EvidencePacket<'a>>,
    /// Wireshark display filter for these packets.
    pub frame_filter: String,
    /// Wireshark display filter for the whole flow.
    pub flow_filter: String,
}

/// A packet that a rule spoke of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidencePacket<'a> {
    /// What is known of it.
    pub packet: &'a KeyPacket,
    /// Where it stands.
    pub place: Place,
    /// Where it stands, in words.
    pub place_name: String,
    /// Time since the first packet of the flow, such as `+0.121935 s`.
    pub offset: String,
    /// `original` or `reply`.
    pub direction: &'static str,
    /// Flags as letters.
    pub flags: String,
    /// Sequence number relative to the first of its side, raw in brackets.
    pub seq: String,
    /// Acknowledgement, where the flag is set.
    pub ack: Option<String>,
    /// The highest SACK edge beyond it.
    pub sack: Option<String>,
    /// State of the tracker's entry afterwards, or `no entry`.
    pub state: &'static str,
    /// Whether `nf_conntrack_tcp_be_liberal` = 1 lets it pass.
    pub passes_if_liberal: bool,
    /// By how much it violates which bound.
    pub excess: Option<Excess>,
}

/// By how much a bound is violated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Excess {
    /// Bytes beyond the bound.
    pub bytes: u32,
    /// The bound's number, I to IV, as in the kernel's `tcp_in_window()`.
    pub bound: &'static str,
    /// What the bound is.
    pub words: &'static str,
}

/// Collects the worst flows.
pub(super) fn all(audit: &Audit, extent: Extent) -> Vec<EvidenceFlow<'_>> {
    let worst = audit.worst(extent.flows).into_iter();
    worst.map(|finding| EvidenceFlow::of(finding, &audit.inputs, extent.packets)).collect()
}

/// Collects the flows that hold any of these frames among their key packets, with all of those.
pub(in crate::report) fn holding<'a>(
    audit: &'a Audit,
    frames: &BTreeSet<u64>,
) -> Vec<EvidenceFlow<'a>> {
    let holds = |finding: &&FlowFinding| {
        finding.evidence.key_packets.iter().any(|packet| frames.contains(&packet.frame))
    };
    let holding = audit.findings.iter().filter(holds);
    holding.map(|finding| EvidenceFlow::of(finding, &audit.inputs, usize::MAX)).collect()
}

impl<'a> EvidenceFlow<'a> {
    fn of(finding: &'a FlowFinding, inputs: &Inputs, most: usize) -> Self {
        let FlowFinding { key, audit, evidence, .. } = finding;
        let (original, reply) = key.endpoints(audit.original);
        let directions = audit.directions();
        let packets = directions.original.packets + directions.reply.packets;
        let summary = format!(
            "{} of {} INVALID, {} with be_liberal=1; {}, {} original, {} reply",
            grouped(evidence.invalid_packets()),
            counted(packets, "packet"),
            grouped(evidence.invalid_liberal),
            span(audit.first_ts, audit.last_ts),
            counted(directions.original.bytes, "byte"),
            grouped(directions.reply.bytes),
        );
        let packet =
            |packet: &'a KeyPacket| EvidencePacket::of(finding, packet, inputs.place(packet.frame));
        let packets: Vec<_> = key_packets(evidence, most).into_iter().map(packet).collect();
        let frames: Vec<_> = packets.iter().map(|packet| packet.place.frame.to_string()).collect();
        Self {
            finding,
            id: audit.first_frame,
            original,
            reply,
            summary,
            notes: notes(finding),
            packets,
            frame_filter: format!("frame.number in {{{}}}", frames.join(",")),
            flow_filter: flow_filter(original, reply),
        }
    }
}

/// Chooses key packets, those that are INVALID first, and puts them in the order of the capture.
fn key_packets(evidence: &Evidence, most: usize) -> Vec<&KeyPacket> {
    let mut packets: Vec<_> = evidence.key_packets.iter().collect();
    packets.sort_by_key(|packet| (packet.ctstate != CtState::Invalid, packet.frame));
    packets.truncate(most);
    packets.sort_by_key(|packet| packet.frame);
    packets
}

/// Says what a reader should know before looking at the packets.
fn notes(finding: &FlowFinding) -> Vec<String> {
    let mut notes = Vec::new();
    if finding.audit.picked_up {
        notes.push("picked up mid-stream: its windows are not judged strictly".to_owned());
    }
    let EffectCounts { dropped, not_dropped, .. } = finding.summary.effects;
    for (count, what) in [
        (dropped, "provably dropped behind the capture point"),
        (not_dropped, "provably processed all the same"),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", counted(count, "INVALID packet")));
        }
    }
    notes.push(ending(&finding.summary));
    if let Some(stall) = finding.summary.stall {
        let (waiting, longest) = (stall.waiting.code(), millis(u64::from(stall.micros)));
        let waiting = format!("{waiting}, ended by {} in frame {}", stall.end.words(), stall.frame);
        notes.push(match finding.summary.stalls {
            1 => format!("1 stall of {longest} waiting for {waiting}"),
            stalls => format!("{stalls} stalls, the longest {longest} waiting for {waiting}"),
        });
    }
    notes
}

/// Says how a flow went and ended, in the words of Zeek.
pub(in crate::report) fn ending(summary: &Summary) -> String {
    let missed = match summary.missed_bytes() {
        0 => String::new(),
        missed => format!(", missed {}", counted(missed, "byte")),
    };
    let (state, history) = (summary.conn_state.name(), summary.history());
    format!("conn_state {state}, history {history}{missed} (as in Zeek's conn.log)")
}

/// Writes a time in milliseconds with microseconds behind the point.
pub(in crate::report) fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

impl<'a> EvidencePacket<'a> {
    fn of(finding: &FlowFinding, packet: &'a KeyPacket, place: Place) -> Self {
        let audit = &finding.audit;
        let direction = audit.direction_of(packet.orientation);
        let directions = audit.directions();
        let own_first = directions[direction].first_seq;
        let peer_first = directions[direction.flip()].first_seq;
        let has_ack = packet.flags.contains(Flags::ACK);
        Self {
            packet,
            place,
            place_name: place_name(place),
            offset: offset(packet.ts, audit.first_ts),
            direction: direction.name(),
            flags: packet.flags.letters(),
            seq: number(packet.seq, own_first),
            ack: has_ack.then(|| number(packet.ack, peer_first)),
            sack: packet.sack.map(|edge| number(edge, peer_first)),
            state: packet.state.map_or("no entry", TcpState::name),
            passes_if_liberal: packet.ctstate == CtState::Invalid
                && packet.liberal != CtState::Invalid,
            excess: Excess::of(packet),
        }
    }
}

impl Excess {
    fn of(packet: &KeyPacket) -> Option<Self> {
        let (bound, words) = match packet.reason {
            Reason::SeqOver | Reason::SeqOvershoot => {
                ("I", "the highest byte that the receiver allowed")
            }
            Reason::SeqUnder => ("II", "one window below the highest byte sent"),
            Reason::AckOver => ("III", "the highest byte seen from the other side"),
            Reason::AckUnder => {
                ("IV", "one window below the highest byte seen from the other side")
            }
            _ => return None,
        };
        let margin = packet.margins?.of(packet.reason)?;
        Some(Self { bytes: margin.unsigned_abs(), bound, words })
    }
}

/// Names a frame, and its file when there are several.
pub(in crate::report) fn place_name(place: Place) -> String {
    match place.file {
        Some(file) => format!("file {file} frame {}", place.frame),
        None => format!("frame {}", place.frame),
    }
}

/// Writes a number relative to the first one of its side, and raw in brackets.
fn number(number: SeqNum, first: Option<SeqNum>) -> String {
    match first {
        Some(first) => format!("{} ({number})", number.offset_from(first)),
        None => format!("({number})"),
    }
}

/// Writes a Wireshark display filter that shows the whole flow.
fn flow_filter(a: Endpoint, b: Endpoint) -> String {
    let ip = if a.addr.is_ipv4() { "ip" } else { "ipv6" };
    format!(
        "{ip}.addr=={} && {ip}.addr=={} && tcp.port=={} && tcp.port=={}",
        a.addr, b.addr, a.port, b.port,
    )
}

/// Writes how long a flow or capture lasted; long ones in larger units as well.
pub(in crate::report) fn span(first: Timestamp, last: Timestamp) -> String {
    let micros = last.nanos_since(first) / 1000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (minutes, days) = (seconds / 60, seconds / 86_400);
    let about = if days > 1 {
        format!(" ({} days)", grouped(days.unsigned_abs()))
    } else if minutes >= 60 {
        format!(" ({} min)", grouped(minutes.unsigned_abs()))
    } else {
        String::new()
    };
    format!("{seconds}.{micros:06} s{about}")
}

/// Writes a time relative to the start of the flow.
pub(in crate::report) fn offset(ts: Timestamp, start: Timestamp) -> String {
    let micros = ts.nanos_since(start) / 1000;
    let sign = if micros < 0 { '-' } else { '+' };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

/// Returns how long a flow lasted, in seconds, as Zeek writes an interval.
#[expect(clippy::cast_precision_loss, reason = "a double is what readers of the field expect")]
pub(in crate::report) fn seconds(first: Timestamp, last: Timestamp) -> f64 {
    last.nanos_since(first) as f64 / 1e9
}

/// Returns the community id of a flow; none where it would give mapped addresses away.
pub(in crate::report) fn community(key: &FlowKey, audit: &Audit) -> Option<String> {
    (audit.provenance.addresses == Addresses::Plain).then(|| community_id(key))
}
