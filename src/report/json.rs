//! The report as one JSON document. The types are the report's own: what is not known is left out.

mod behaviour;
mod causes;
mod story;

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::audit::{Audit, Hits, Inputs, Place, Tally, Totals};
use crate::conntrack::{Margins, Policy, Setting};
use crate::diagnose::{Diagnoses, diagnose};
use crate::flow::{FlowFinding, KeyPacket, OneWay};
use crate::source::{FilterSummary, Interface, SourceSummary};
use crate::wire::Tunnels;
use behaviour::{Full, Tcp, Totals as BehaviourTotals, Troubled};

/// Name and version of the schema; additions do not change it.
const SCHEMA: &str = "tcp-window-audit/1";

/// Writes the report, indented, with a line feed at its end.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Report::of(audit))?;
    writeln!(out)
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    tool: Tool,
    complete: bool,
    problems: Vec<String>,
    verdict: Summary,
    /// Why it happened, the surest first.
    causes: Vec<causes::Cause>,
    quality: causes::Quality,
    capture: Capture,
    method: Method,
    /// What every kernel with every switch calls INVALID; only when something is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what_if: Vec<Judge>,
    flows: Vec<Flow>,
    #[serde(skip_serializing_if = "is_zero")]
    flows_not_kept: u64,
    endpoints: BehaviourTotals,
    /// The flows whose ends had the most trouble, the worst first.
    troubled: Vec<Troubled>,
    #[serde(skip_serializing_if = "is_zero")]
    troubled_not_kept: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Full>,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

/// The conclusion, and the counts that answer the question.
#[derive(Serialize)]
struct Summary {
    #[serde(flatten)]
    conclusion: causes::Conclusion,
    packets: u64,
    flows: u64,
    invalid: PacketsAndFlows,
    invalid_if_liberal: PacketsAndFlows,
    invalid_by_reason: BTreeMap<&'static str, u64>,
    passed_by_reason: BTreeMap<&'static str, u64>,
    ctstate: BTreeMap<&'static str, u64>,
    /// Datagrams of other protocols, by protocol number and by what rules would see.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    datagrams: BTreeMap<u8, BTreeMap<&'static str, u64>>,
    flows_picked_up: u64,
    flows_one_way: u64,
    flows_untracked: u64,
}

#[derive(Serialize)]
struct PacketsAndFlows {
    packets: u64,
    flows: u64,
}

#[derive(Serialize)]
struct Capture {
    files: Vec<File>,
    frames: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ts: Option<String>,
    time_steps_back: u64,
    tcp_segments: u64,
    tcp_errors: u64,
    fragments: u64,
    other_protocols: BTreeMap<String, u64>,
    undecodable: BTreeMap<String, u64>,
    options_cut: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filter>,
    /// Whether tunnels were opened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inner: bool,
}

/// What was left out on request, and is in no other count.
#[derive(Serialize)]
struct Filter {
    expression: String,
    frames_left_out: u64,
}

impl Filter {
    fn of(filter: &FilterSummary) -> Self {
        Self { expression: filter.expression.clone(), frames_left_out: filter.left_out }
    }
}

#[derive(Serialize)]
struct File {
    name: String,
    format: String,
    bytes_read: u64,
    interfaces: Vec<CaptureInterface>,
}

#[derive(Serialize)]
struct CaptureInterface {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    link_type: u16,
    snaplen: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    drops_if: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drops_os: Option<u64>,
}

/// What judged, and what it assumed.
#[derive(Serialize)]
struct Method {
    kernel_profile: &'static str,
    sysctl: BTreeMap<&'static str, u8>,
    /// Expressions that exempt packets from tracking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notrack: Vec<String>,
    assumption: &'static str,
}

/// One policy of the panel and what it calls INVALID.
#[derive(Serialize)]
struct Judge {
    profile: &'static str,
    be_liberal: u8,
    loose: u8,
    ignore_invalid_rst: u8,
    invalid_packets: u64,
    flows_hit: u64,
}

/// A flow with findings; field names as in Zeek's conn.log.
#[derive(Serialize)]
struct Flow {
    id: u64,
    #[serde(rename = "id.orig_h")]
    orig_h: String,
    #[serde(rename = "id.orig_p")]
    orig_p: u16,
    #[serde(rename = "id.resp_h")]
    resp_h: String,
    #[serde(rename = "id.resp_p")]
    resp_p: u16,
    first_ts: String,
    last_ts: String,
    orig_pkts: u64,
    resp_pkts: u64,
    orig_bytes: u64,
    resp_bytes: u64,
    syn_seen: [bool; 2],
    picked_up: bool,
    tcp: Tcp,
    invalid: FlowInvalid,
    evidence: Vec<Packet>,
}

#[derive(Serialize)]
struct FlowInvalid {
    strict: u64,
    liberal: u64,
    by_reason: BTreeMap<&'static str, u64>,
    passed_by_reason: BTreeMap<&'static str, u64>,
}

/// A key packet; numbers raw, and relative to the first of their side where that was seen.
#[derive(Serialize)]
struct Packet {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<usize>,
    frame: u64,
    ts: String,
    dir: &'static str,
    flags: String,
    seq_raw: u32,
    ack_raw: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sack_raw: Option<u32>,
    len: u32,
    win: u16,
    ctstate: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    liberal: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    margins: Option<Distances>,
    /// Bytes beyond the bound that the reason names.
    #[serde(skip_serializing_if = "Option::is_none")]
    excess: Option<u32>,
}

#[derive(Serialize)]
struct Distances {
    seq_upper: i32,
    seq_lower: i32,
    ack_upper: i32,
    ack_lower: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Report {
    fn of(audit: &Audit) -> Self {
        let diagnoses = diagnose(audit);
        Self {
            schema: SCHEMA,
            tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
            complete: audit.incomplete.is_empty(),
            problems: audit.incomplete.clone(),
            verdict: Summary::of(audit, &diagnoses),
            causes: causes::Cause::all(&diagnoses, &audit.inputs),
            quality: causes::Quality::of(&diagnoses.quality),
            capture: Capture::of(audit),
            method: Method::of(audit),
            what_if: Judge::all(audit),
            flows: audit.findings.iter().map(|finding| Flow::of(finding, &audit.inputs)).collect(),
            flows_not_kept: audit.findings_not_kept,
            endpoints: BehaviourTotals::of(&audit.totals.behaviour),
            troubled: Troubled::all(audit),
            troubled_not_kept: audit.troubled_not_kept,
            flow: audit.story.as_deref().map(Full::of),
        }
    }
}

impl From<Hits> for PacketsAndFlows {
    fn from(Hits { packets, flows }: Hits) -> Self {
        Self { packets, flows }
    }
}

impl Summary {
    fn of(audit: &Audit, diagnoses: &Diagnoses) -> Self {
        let totals: &Totals = &audit.totals;
        let by_code = |counts: &BTreeMap<crate::conntrack::Reason, u64>| {
            counts.iter().map(|(reason, count)| (reason.code(), *count)).collect()
        };
        let ctstate = [
            ("NEW", totals.new),
            ("ESTABLISHED", totals.established),
            ("INVALID", totals.invalid),
            ("UNTRACKED", totals.untracked),
            ("DROP", totals.dropped),
        ];
        Self {
            conclusion: causes::Conclusion::of(diagnoses),
            packets: audit.tally.segments,
            flows: totals.flows,
            invalid: audit.strict().into(),
            invalid_if_liberal: audit.liberal().into(),
            invalid_by_reason: by_code(&totals.invalid_by_reason),
            passed_by_reason: by_code(&totals.passed_by_reason),
            datagrams: datagrams(totals),
            ctstate: ctstate.into_iter().filter(|(_, count)| *count > 0).collect(),
            flows_picked_up: totals.flows_picked_up,
            flows_one_way: totals.flows_one_way,
            flows_untracked: totals.flows_untracked,
        }
    }
}

fn datagrams(totals: &Totals) -> BTreeMap<u8, BTreeMap<&'static str, u64>> {
    let mut by_protocol: BTreeMap<u8, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for ((protocol, ctstate), count) in &totals.datagrams {
        by_protocol.entry(*protocol).or_default().insert(ctstate.name(), *count);
    }
    by_protocol
}

impl Capture {
    fn of(audit: &Audit) -> Self {
        let tally: &Tally = &audit.tally;
        Self {
            files: audit.inputs.read.iter().map(|input| File::of(&input.summary)).collect(),
            frames: tally.frames(),
            first_ts: audit.first_ts.map(|ts| ts.to_string()),
            last_ts: audit.last_ts.map(|ts| ts.to_string()),
            time_steps_back: audit.time_steps_back,
            tcp_segments: tally.segments,
            tcp_errors: tally.tcp_errors,
            fragments: tally.fragments,
            other_protocols: tally.other.iter().map(|(p, count)| (p.to_string(), *count)).collect(),
            undecodable: tally.undecodable.iter().map(|(r, count)| (r.code(), *count)).collect(),
            options_cut: audit.totals.options_cut,
            filter: audit.inputs.filter.as_ref().map(Filter::of),
            inner: audit.tunnels == Tunnels::Opened,
        }
    }
}

impl File {
    fn of(input: &SourceSummary) -> Self {
        Self {
            name: input.name.clone(),
            format: input.format.clone(),
            bytes_read: input.bytes_read,
            interfaces: input.interfaces.iter().map(CaptureInterface::of).collect(),
        }
    }
}

impl CaptureInterface {
    fn of(interface: &Interface) -> Self {
        Self {
            name: interface.name.clone(),
            link_type: interface.link_type,
            snaplen: interface.snaplen,
            drops_if: interface.dropped_by_interface,
            drops_os: interface.dropped_by_host,
        }
    }
}

impl Method {
    fn of(audit: &Audit) -> Self {
        let sysctls = &audit.method.sysctls;
        let value = |setting| u8::from(setting == Setting::On);
        Self {
            kernel_profile: audit.method.policies.first().map_or("", |own| own.profile.name()),
            sysctl: BTreeMap::from([
                ("nf_conntrack_checksum", value(sysctls.checksum)),
                ("nf_conntrack_tcp_be_liberal", value(sysctls.be_liberal)),
                ("nf_conntrack_tcp_ignore_invalid_rst", value(sysctls.ignore_invalid_rst)),
                ("nf_conntrack_tcp_loose", value(sysctls.loose)),
                ("nf_conntrack_tcp_max_retrans", sysctls.limits.max_retrans),
                ("nf_conntrack_tcp_no_window_check", value(sysctls.no_window_check)),
            ]),
            notrack: audit.method.notrack.clone(),
            assumption: "the tracker sits at the capture point and sees every packet captured",
        }
    }
}

impl Judge {
    /// Returns the panel beyond the run's own policy and its twin, when anything is INVALID.
    fn all(audit: &Audit) -> Vec<Self> {
        if audit.strict().packets == 0 {
            return Vec::new();
        }
        let policies = audit.method.policies.iter().zip(&audit.totals.hits).skip(2);
        policies.map(|(policy, hits)| Self::of(*policy, *hits)).collect()
    }

    fn of(policy: Policy, hits: Hits) -> Self {
        let value = |setting| u8::from(setting == Setting::On);
        Self {
            profile: policy.profile.name(),
            be_liberal: value(policy.be_liberal),
            loose: value(policy.loose),
            ignore_invalid_rst: value(policy.ignore_invalid_rst),
            invalid_packets: hits.packets,
            flows_hit: hits.flows,
        }
    }
}

impl Flow {
    fn of(finding: &FlowFinding, inputs: &Inputs) -> Self {
        let FlowFinding { key, audit, evidence, summary } = finding;
        let (original, reply) = key.endpoints(audit.original);
        let directions = audit.directions();
        let OneWay { packets: orig_pkts, bytes: orig_bytes, .. } = directions.original;
        let OneWay { packets: resp_pkts, bytes: resp_bytes, .. } = directions.reply;
        Self {
            id: audit.first_frame,
            orig_h: original.addr.to_string(),
            orig_p: original.port,
            resp_h: reply.addr.to_string(),
            resp_p: reply.port,
            first_ts: audit.first_ts.to_string(),
            last_ts: audit.last_ts.to_string(),
            orig_pkts,
            resp_pkts,
            orig_bytes,
            resp_bytes,
            syn_seen: [directions.original.syn_seen, directions.reply.syn_seen],
            picked_up: audit.picked_up,
            tcp: Tcp::of(key, summary),
            invalid: FlowInvalid {
                strict: evidence.invalid_packets(),
                liberal: evidence.invalid_liberal,
                by_reason: evidence.invalid_by_reason().collect(),
                passed_by_reason: evidence.passed_by_reason().collect(),
            },
            evidence: evidence
                .key_packets
                .iter()
                .map(|packet| Packet::of(finding, packet, inputs.place(packet.frame)))
                .collect(),
        }
    }
}

impl Packet {
    fn of(finding: &FlowFinding, packet: &KeyPacket, place: Place) -> Self {
        let direction = finding.audit.direction_of(packet.orientation);
        let directions = finding.audit.directions();
        let first = directions[direction].first_seq;
        let peer_first = directions[direction.flip()].first_seq;
        let margin = packet.margins.and_then(|margins| margins.of(packet.reason));
        Self {
            file: place.file,
            frame: place.frame,
            ts: packet.ts.to_string(),
            dir: direction.name(),
            flags: packet.flags.letters(),
            seq_raw: packet.seq.0,
            ack_raw: packet.ack.0,
            seq: first.map(|first| packet.seq.offset_from(first)),
            ack: peer_first.map(|first| packet.ack.offset_from(first)),
            sack_raw: packet.sack.map(|edge| edge.0),
            len: packet.len,
            win: packet.win,
            ctstate: packet.ctstate.name(),
            reason: packet.reason.code(),
            state: packet.state.map(super::super::conntrack::state::TcpState::name),
            liberal: packet.liberal.name(),
            effect: packet.effect.code(),
            margins: packet.margins.map(Distances::from),
            excess: margin.filter(|&margin| margin < 0).map(i32::unsigned_abs),
        }
    }
}

impl From<Margins> for Distances {
    fn from(Margins { seq_upper, seq_lower, ack_upper, ack_lower }: Margins) -> Self {
        Self { seq_upper, seq_lower, ack_upper, ack_lower }
    }
}
