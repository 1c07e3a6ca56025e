//! The report as one JSON object a line, in the manner of Suricata's EVE log, for SIEM, jq and `DuckDB`:
//! a line for the verdict, one for each finding (a cause), one for each flow with something to tell.
//!
//! All lines have `event_type` and `kind`; fields common with EVE have its names (`flow_id`,
//! `community_id`, `src_ip`, `pcap_cnt` and so on), those of Zeek's conn.log theirs. Objects are flat,
//! so that columns are. What is not known is absent. The guide documents every field, and a test
//! compares.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use crate::audit::{Audit, Place};
use crate::conntrack::CtState;
use crate::diagnose::{Cause, Diagnoses, Diagnosis, Level, diagnose};
use crate::flow::{EffectCounts, Evidence, FlowAudit, KeyPacket, OneWay, Summary};
use crate::report::json::{Escaping, SCHEMA};
use crate::report::view::{community, seconds};
use crate::segment::PerDirection;
use crate::tuple::FlowKey;

/// What all lines are about, as EVE calls it.
const EVENT_TYPE: &str = "tcp_window_audit";

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let diagnoses = diagnose(audit);
    write_line(&Verdict::of(audit, &diagnoses), out)?;
    for found in &diagnoses.causes {
        write_line(&Finding::of(found, audit), out)?;
    }
    let causes = causes_by_flow(&diagnoses);
    for told in flows(audit).values() {
        write_line(&Flow::of(told, audit, &causes), out)?;
    }
    Ok(())
}

fn write_line(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(Escaping(out), line)?;
    writeln!(out)
}

/// What stands in front of every line.
#[derive(Serialize)]
struct Head {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    event_type: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Option<String>,
    /// The frame that the line is about, or the first of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_cnt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<String>,
}

impl Head {
    /// Describes a line about this place, or about the whole capture.
    fn of(kind: &'static str, place: Option<Place>, audit: &Audit) -> Self {
        let inputs = &audit.inputs.read;
        let file = match (place.and_then(|place| place.file), inputs.as_slice()) {
            (Some(file), inputs) => inputs.get(file),
            (None, [input]) => Some(input),
            (None, _) => None,
        };
        let interface = file.and_then(|input| match input.summary.interfaces.as_slice() {
            [only] => only.name.clone(),
            _ => None,
        });
        Self {
            timestamp: audit.first_ts.map(|ts| ts.to_string()),
            event_type: EVENT_TYPE,
            kind,
            pcap_filename: file.map(|input| input.summary.name.clone()),
            pcap_cnt: place.map(|place| place.frame),
            in_iface: interface,
        }
    }
}

#[derive(Serialize)]
struct Verdict {
    #[serde(flatten)]
    head: Head,
    schema: &'static str,
    version: &'static str,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<u32>,
    sentence: String,
    complete: bool,
    quality_percent: u32,
    kernel_profile: &'static str,
    packets: u64,
    flows: u64,
    invalid: u64,
    invalid_if_liberal: u64,
    invalid_flows: u64,
    by_reason: BTreeMap<&'static str, u64>,
}

impl Verdict {
    fn of(audit: &Audit, diagnoses: &Diagnoses) -> Self {
        let conclusion = &diagnoses.conclusion;
        let by_reason = audit.totals.invalid_by_reason.iter();
        Self {
            head: Head::of("verdict", None, audit),
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            level: conclusion.level.code(),
            cause: conclusion.cause.map(Cause::id),
            score: conclusion.cause.map(|_| conclusion.score),
            sentence: conclusion.sentence.clone(),
            complete: audit.incomplete.is_empty(),
            quality_percent: diagnoses.quality.percent,
            kernel_profile: audit.method.policies.first().map_or("", |own| own.profile.name()),
            packets: audit.tally.segments,
            flows: audit.totals.flows,
            invalid: audit.strict().packets,
            invalid_if_liberal: audit.liberal().packets,
            invalid_flows: audit.strict().flows,
            by_reason: by_reason.map(|(reason, count)| (reason.code(), *count)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Finding {
    #[serde(flatten)]
    head: Head,
    level: &'static str,
    cause: &'static str,
    cause_name: &'static str,
    score: u32,
    sentence: String,
    flows: u64,
    flow_ids: Vec<u64>,
}

impl Finding {
    fn of(found: &Diagnosis, audit: &Audit) -> Self {
        let place = found.evidence.first().map(|frame| audit.inputs.place(*frame));
        Self {
            head: Head::of("finding", place, audit),
            level: found.score.level().map_or("none", Level::code),
            cause: found.cause.id(),
            cause_name: found.cause.name(),
            score: found.score.total(),
            sentence: found.finding.clone(),
            flows: found.flow_count,
            flow_ids: found.flows.clone(),
        }
    }
}

/// A flow with something to tell.
struct Told<'a> {
    key: &'a FlowKey,
    flow: &'a FlowAudit,
    summary: &'a Summary,
    /// What a rule spoke of.
    evidence: Option<&'a Evidence>,
}

/// Collects the flows with findings and those whose ends had trouble, each once, by their ids.
fn flows(audit: &Audit) -> BTreeMap<(u64, &FlowKey), Told<'_>> {
    let others = audit.suspects.iter().chain(&audit.troubled).map(|flow| Told {
        key: &flow.key,
        flow: &flow.audit,
        summary: &flow.summary,
        evidence: None,
    });
    let findings = audit.findings.iter().map(|flow| Told {
        key: &flow.key,
        flow: &flow.audit,
        summary: &flow.summary,
        evidence: Some(&flow.evidence),
    });
    others.chain(findings).map(|told| ((told.flow.first_frame, told.key), told)).collect()
}

/// Lists the causes that name a flow, by the flow's id.
fn causes_by_flow(diagnoses: &Diagnoses) -> BTreeMap<u64, BTreeSet<&'static str>> {
    let mut causes: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
    for found in &diagnoses.causes {
        for flow in &found.flows {
            causes.entry(*flow).or_default().insert(found.cause.id());
        }
    }
    causes
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of EVE")]
struct Flow {
    #[serde(flatten)]
    head: Head,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    proto: &'static str,
    end: String,
    duration: f64,
    pkts_toserver: u64,
    pkts_toclient: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_toserver: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_toclient: Option<u64>,
    conn_state: &'static str,
    history: String,
    missed_bytes: u64,
    picked_up: bool,
    invalid: u64,
    invalid_if_liberal: u64,
    by_reason: BTreeMap<&'static str, u64>,
    /// Its first INVALID frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_frame: Option<u64>,
    /// By how many bytes that one violates the bound of its rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    excess: Option<u32>,
    dropped: u64,
    not_dropped: u64,
    retransmitted: u64,
    stalls: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_stall_us: Option<u32>,
    causes: BTreeSet<&'static str>,
}

impl Flow {
    fn of(told: &Told<'_>, audit: &Audit, causes: &BTreeMap<u64, BTreeSet<&'static str>>) -> Self {
        let Told { key, flow, summary, evidence } = told;
        let (original, reply) = key.endpoints(flow.original);
        let PerDirection { original: sent, reply: received } = flow.directions();
        let bytes = |way: OneWay| (way.packets > 0).then_some(way.bytes);
        let place = audit.inputs.place(flow.first_frame);
        let head = Head::of("flow", Some(place), audit);
        let EffectCounts { dropped, not_dropped, .. } = summary.effects;
        let first = evidence.and_then(first_invalid);
        let sides = [&summary.sides.original, &summary.sides.reply];
        Self {
            head: Head { timestamp: Some(flow.first_ts.to_string()), ..head },
            flow_id: flow.first_frame,
            community_id: community(key, audit),
            src_ip: original.addr.to_string(),
            src_port: original.port,
            dest_ip: reply.addr.to_string(),
            dest_port: reply.port,
            proto: "TCP",
            end: flow.last_ts.to_string(),
            duration: seconds(flow.first_ts, flow.last_ts),
            pkts_toserver: sent.packets,
            pkts_toclient: received.packets,
            bytes_toserver: bytes(sent),
            bytes_toclient: bytes(received),
            conn_state: summary.conn_state.name(),
            history: summary.history(),
            missed_bytes: summary.missed_bytes(),
            picked_up: flow.picked_up,
            invalid: evidence.map_or(0, Evidence::invalid_packets),
            invalid_if_liberal: evidence.map_or(0, |evidence| evidence.invalid_liberal),
            by_reason: evidence.iter().flat_map(|found| found.invalid_by_reason()).collect(),
            invalid_frame: first.map(|packet| audit.inputs.place(packet.frame).frame),
            excess: first.and_then(|packet| packet.margins?.excess(packet.reason)),
            dropped,
            not_dropped,
            retransmitted: sides.into_iter().map(|side| side.retransmitted.packets).sum(),
            stalls: summary.stalls,
            longest_stall_us: summary.stall.map(|stall| stall.micros),
            causes: causes.get(&flow.first_frame).cloned().unwrap_or_default(),
        }
    }
}

fn first_invalid(evidence: &Evidence) -> Option<&KeyPacket> {
    evidence.key_packets.iter().find(|packet| packet.ctstate == CtState::Invalid)
}
