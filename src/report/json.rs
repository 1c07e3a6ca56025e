//! The report as one JSON document. The types are the report's own: what is not known is left out,
//! and zero is a count.
//!
//! `json/schema.json` is derived from these types and their comments by a test; a comment on a field
//! is what users of the schema read.

mod behaviour;
mod capture;
mod causes;
mod escape;
mod flow;
mod method;
#[cfg(test)]
mod schema;
mod story;
mod table;

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::audit::{Audit, Hits, Totals};
use crate::diagnose::{Diagnoses, diagnose};
use crate::report::view::Affected as Peers;
use behaviour::{Full, Totals as BehaviourTotals, Troubled};
use capture::Capture;
pub(super) use escape::Escaping;
use flow::Flow;
use method::{Judge, Method, Privacy, Tool};

/// Name and version of the schema; additions do not change it.
pub(super) const SCHEMA: &str = "tcp-window-audit/1";

/// The JSON Schema of the report.
pub(super) const JSON_SCHEMA: &str = include_str!("json/schema.json");

/// Writes the report, indented, with a line feed at its end.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(Escaping(out), &Report::of(audit))?;
    writeln!(out)
}

/// The report of tcp-window-audit on one or several captures. What is not known is absent; further
/// fields may come without a new version.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Report {
    /// Name and version of this schema.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    schema: &'static str,
    /// What wrote the report.
    tool: Tool,
    /// Whether the inputs were read to their end.
    complete: bool,
    /// What kept them from being read, or the report from being complete.
    problems: Vec<String>,
    /// The conclusion, and the counts that answer the question.
    verdict: Summary,
    /// Who is affected; absent when nobody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<Affected>,
    /// Why it happened, the surest first.
    causes: Vec<causes::Cause>,
    /// What an upgrade of the kernel would change; only where the run was judged as by a kernel
    /// before Linux 6.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade: Option<String>,
    /// What the capture is good for.
    quality: causes::Quality,
    /// What was captured.
    capture: Capture,
    /// What judged, and what it assumed.
    method: Method,
    /// What the report gives away of the capture.
    privacy: Privacy,
    /// What every kernel with every switch calls INVALID; only when something is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what_if: Vec<Judge>,
    /// The flows with findings, by their first frames.
    flows: Vec<Flow>,
    /// Flows with findings beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    flows_not_kept: u64,
    /// What the ends of all flows did.
    endpoints: BehaviourTotals,
    /// The flows whose ends had the most trouble, the worst first.
    troubled: Vec<Troubled>,
    /// Flows whose ends had trouble beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    troubled_not_kept: u64,
    /// The flow that was asked for in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Full>,
    /// How full the connection table would be; only when that is of interest.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<table::Table>,
}

/// The conclusion, and the counts that answer the question.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Summary {
    #[serde(flatten)]
    conclusion: causes::Conclusion,
    /// TCP segments judged.
    packets: u64,
    /// TCP connections.
    flows: u64,
    /// What is INVALID under the kernel and settings that judged.
    invalid: PacketsAndFlows,
    /// What would be with `nf_conntrack_tcp_be_liberal` = 1.
    invalid_if_liberal: PacketsAndFlows,
    /// INVALID packets by rule.
    invalid_by_reason: BTreeMap<&'static str, u64>,
    /// Packets that pass although a rule speaks of them, by rule.
    passed_by_reason: BTreeMap<&'static str, u64>,
    /// Packets by what rules would see.
    ctstate: BTreeMap<&'static str, u64>,
    /// Datagrams of other protocols, by protocol number and by what rules would see.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    datagrams: BTreeMap<u8, BTreeMap<&'static str, u64>>,
    /// Flows picked up mid-stream, whose windows are not judged strictly.
    flows_picked_up: u64,
    /// Flows with packets in one direction only.
    flows_one_way: u64,
    /// Flows that the tracker never had an entry for.
    flows_untracked: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PacketsAndFlows {
    packets: u64,
    /// Flows with at least one of them.
    flows: u64,
}

/// The connections with INVALID packets, and those in which a cause shows otherwise.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Affected {
    flows: u64,
    /// All connections of the run.
    flows_total: u64,
    /// Payload bytes of the affected connections, both ways.
    bytes: u64,
    first_seen: String,
    last_seen: String,
    /// Who opened them, by network, those with most connections first.
    originators: Vec<Peer>,
    /// Networks beyond those.
    #[serde(skip_serializing_if = "no_more")]
    originators_not_named: usize,
    /// Who answered.
    responders: Vec<Peer>,
    /// Networks beyond those.
    #[serde(skip_serializing_if = "no_more")]
    responders_not_named: usize,
    /// Ports of the responders, those with most connections first.
    ports: Vec<Port>,
    /// Ports beyond those.
    #[serde(skip_serializing_if = "no_more")]
    ports_not_named: usize,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Peer {
    /// A network in CIDR notation, or an address.
    prefix: String,
    /// Hosts seen of it.
    hosts: u64,
    /// Affected connections.
    flows: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Port {
    port: u16,
    /// Affected connections.
    flows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn no_more(count: &usize) -> bool {
    *count == 0
}

impl Report {
    fn of(audit: &Audit) -> Self {
        let diagnoses = diagnose(audit);
        Self {
            schema: SCHEMA,
            tool: Tool::of(audit),
            complete: audit.incomplete.is_empty(),
            problems: audit.incomplete.clone(),
            verdict: Summary::of(audit, &diagnoses),
            affected: Peers::of(audit, &diagnoses).map(Affected::from),
            causes: causes::Cause::all(&diagnoses, &audit.inputs),
            quality: causes::Quality::of(&diagnoses.quality),
            upgrade: diagnoses.upgrade,
            capture: Capture::of(audit),
            method: Method::of(audit),
            privacy: Privacy::of(audit),
            what_if: Judge::all(audit),
            flows: audit.findings.iter().map(|finding| Flow::of(finding, audit)).collect(),
            flows_not_kept: audit.findings_not_kept,
            endpoints: BehaviourTotals::of(&audit.totals.behaviour),
            troubled: audit.troubled.iter().map(|flow| Troubled::of(flow, audit)).collect(),
            troubled_not_kept: audit.troubled_not_kept,
            flow: audit.stories.first().map(|told| Full::of(told, audit)),
            table: table::Table::of(audit),
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

impl From<Peers> for Affected {
    fn from(peers: Peers) -> Self {
        let named = |peers: Vec<crate::report::view::Peer>| {
            let peer = |peer: crate::report::view::Peer| Peer {
                prefix: peer.prefix,
                hosts: peer.hosts,
                flows: peer.flows,
            };
            peers.into_iter().map(peer).collect()
        };
        let ports = peers.ports.into_iter().map(|(port, flows)| Port { port, flows });
        Self {
            flows: peers.flows_in_all,
            flows_total: peers.flows_total,
            bytes: peers.bytes,
            first_seen: peers.first_seen.to_string(),
            last_seen: peers.last_seen.to_string(),
            originators: named(peers.originators),
            originators_not_named: peers.originators_not_named,
            responders: named(peers.responders),
            responders_not_named: peers.responders_not_named,
            ports: ports.collect(),
            ports_not_named: peers.ports_not_named,
        }
    }
}
