//! A flow with findings, as JSON: what it was, by the names of Zeek's conn.log, and its key packets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Audit, Place};
use crate::conntrack::{Margins, TcpState};
use crate::flow::{FlowAudit, FlowFinding, KeyPacket, OneWay, Summary};
use crate::report::json::behaviour::Tcp;
use crate::report::view::{community, seconds};
use crate::segment::{Flags, PerDirection};
use crate::tuple::FlowKey;

/// What a flow was; field names as in Zeek's conn.log.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Record {
    /// The number of the flow's first frame; with several files, position of the file times 10^12
    /// more.
    id: u64,
    /// Capture time of the first packet.
    ts: String,
    /// Address of the originator: who opened the flow.
    #[serde(rename = "id.orig_h")]
    orig_h: String,
    #[serde(rename = "id.orig_p")]
    orig_p: u16,
    /// Address of the responder.
    #[serde(rename = "id.resp_h")]
    resp_h: String,
    #[serde(rename = "id.resp_p")]
    resp_p: u16,
    proto: &'static str,
    /// Seconds from the first packet to the last.
    duration: f64,
    /// Payload bytes of the originator; absent when no packet of it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    orig_bytes: Option<u64>,
    /// Payload bytes of the responder; absent when no packet of it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_bytes: Option<u64>,
    /// How the flow ended, in the words of Zeek.
    conn_state: &'static str,
    /// Payload bytes that were acknowledged and never seen.
    missed_bytes: u64,
    /// What happened, a letter each, in the words of Zeek: capitals for the originator.
    history: String,
    orig_pkts: u64,
    resp_pkts: u64,
    /// Community id, version 1, seed 0; absent when addresses are mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
}

/// A flow with findings.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Flow {
    #[serde(flatten)]
    record: Record,
    /// Capture time of the last packet.
    last_ts: String,
    /// Whether the SYN was seen, and whether the SYN-ACK was.
    syn_seen: [bool; 2],
    /// Whether it was picked up mid-stream: its windows are then not judged strictly.
    picked_up: bool,
    tcp: Tcp,
    invalid: FlowInvalid,
    /// The first packets that a rule spoke of.
    evidence: Vec<Packet>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FlowInvalid {
    /// INVALID packets under the kernel and settings that judged.
    strict: u64,
    /// Those with `nf_conntrack_tcp_be_liberal` = 1.
    liberal: u64,
    /// INVALID packets by rule.
    by_reason: BTreeMap<&'static str, u64>,
    /// Packets that pass although a rule speaks of them, by rule.
    passed_by_reason: BTreeMap<&'static str, u64>,
}

/// A key packet; numbers raw, and relative to the first of their side where that was seen.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Packet {
    /// Position of its file, when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<usize>,
    /// The number of the frame in its file, from 1.
    frame: u64,
    ts: String,
    /// `original` or `reply`.
    dir: &'static str,
    flags: String,
    seq_raw: u32,
    /// Absent without the flag ACK.
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_raw: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<i32>,
    /// The highest SACK edge beyond the acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    sack_raw: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sack: Option<i32>,
    /// Payload bytes.
    len: u32,
    /// The window field as sent.
    win: u16,
    /// What rules would see.
    ctstate: &'static str,
    /// The rule that spoke.
    reason: &'static str,
    /// State of the tracker's entry afterwards; absent without an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// What rules would see with `nf_conntrack_tcp_be_liberal` = 1.
    liberal: &'static str,
    /// What became of it behind the capture point: `dropped`, `not_dropped` or `unknown`.
    effect: &'static str,
    /// Signed distances to the four bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    margins: Option<Distances>,
    /// Bytes beyond the bound that the reason names.
    #[serde(skip_serializing_if = "Option::is_none")]
    excess: Option<u32>,
}

/// Signed distances in bytes to the four bounds, negative when violated.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Distances {
    /// Bound I.
    seq_upper: i32,
    /// Bound II.
    seq_lower: i32,
    /// Bound III.
    ack_upper: i32,
    /// Bound IV.
    ack_lower: i32,
}

impl Record {
    pub(super) fn of(key: &FlowKey, flow: &FlowAudit, summary: &Summary, audit: &Audit) -> Self {
        let (original, reply) = key.endpoints(flow.original);
        let PerDirection { original: sent, reply: received } = flow.directions();
        let bytes = |way: OneWay| (way.packets > 0).then_some(way.bytes);
        Self {
            id: flow.first_frame,
            ts: flow.first_ts.to_string(),
            orig_h: original.addr.to_string(),
            orig_p: original.port,
            resp_h: reply.addr.to_string(),
            resp_p: reply.port,
            proto: "tcp",
            duration: seconds(flow.first_ts, flow.last_ts),
            orig_bytes: bytes(sent),
            resp_bytes: bytes(received),
            conn_state: summary.conn_state.name(),
            missed_bytes: summary.missed_bytes(),
            history: summary.history(),
            orig_pkts: sent.packets,
            resp_pkts: received.packets,
            community_id: community(key, audit),
        }
    }
}

impl Flow {
    pub(super) fn of(finding: &FlowFinding, audit: &Audit) -> Self {
        let FlowFinding { key, audit: flow, evidence, summary } = finding;
        let directions = flow.directions();
        let packet =
            |packet: &KeyPacket| Packet::of(finding, packet, audit.inputs.place(packet.frame));
        Self {
            record: Record::of(key, flow, summary, audit),
            last_ts: flow.last_ts.to_string(),
            syn_seen: [directions.original.syn_seen, directions.reply.syn_seen],
            picked_up: flow.picked_up,
            tcp: Tcp::of(summary),
            invalid: FlowInvalid {
                strict: evidence.invalid_packets(),
                liberal: evidence.invalid_liberal,
                by_reason: evidence.invalid_by_reason().collect(),
                passed_by_reason: evidence.passed_by_reason().collect(),
            },
            evidence: evidence.key_packets.iter().map(packet).collect(),
        }
    }
}

impl Packet {
    fn of(finding: &FlowFinding, packet: &KeyPacket, place: Place) -> Self {
        let direction = finding.audit.direction_of(packet.orientation);
        let directions = finding.audit.directions();
        let first = directions[direction].first_seq;
        let peer_first = directions[direction.flip()].first_seq;
        let ack = packet.flags.contains(Flags::ACK).then_some(packet.ack);
        Self {
            file: place.file,
            frame: place.frame,
            ts: packet.ts.to_string(),
            dir: direction.name(),
            flags: packet.flags.letters(),
            seq_raw: packet.seq.0,
            ack_raw: ack.map(|ack| ack.0),
            seq: first.map(|first| packet.seq.offset_from(first)),
            ack: ack.zip(peer_first).map(|(ack, first)| ack.offset_from(first)),
            sack_raw: packet.sack.map(|edge| edge.0),
            sack: packet.sack.zip(peer_first).map(|(edge, first)| edge.offset_from(first)),
            len: packet.len,
            win: packet.win,
            ctstate: packet.ctstate.name(),
            reason: packet.reason.code(),
            state: packet.state.map(TcpState::name),
            liberal: packet.liberal.name(),
            effect: packet.effect.code(),
            margins: packet.margins.map(Distances::from),
            excess: packet.margins.and_then(|margins| margins.excess(packet.reason)),
        }
    }
}

impl From<Margins> for Distances {
    fn from(Margins { seq_upper, seq_lower, ack_upper, ack_lower }: Margins) -> Self {
        Self { seq_upper, seq_lower, ack_upper, ack_lower }
    }
}
