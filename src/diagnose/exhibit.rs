//! Which flows and packets of a run are worth showing in full.
//!
//! Does not: read them.

use std::collections::BTreeSet;

use crate::audit::{Audit, WantedFlow, Wish};
use crate::conntrack::CtState;
use crate::diagnose::Diagnoses;
use crate::flow::{FlowAudit, Summary};
use crate::tuple::FlowKey;

/// The flows shown in full.
pub const MAX_SHOWN_FLOWS: usize = 5;
/// The flows shown in full where no packet is INVALID: those whose ends had the most trouble.
const MAX_TROUBLED: usize = 2;

/// Chooses the flows with the most INVALID packets, and the packets that prove what is said of them.
///
/// Where nothing is INVALID, the flows are shown whose ends behaved as under a known fault, or had
/// the most trouble.
pub fn wish(audit: &Audit, diagnoses: &Diagnoses) -> Wish {
    let mut wish = Wish::default();
    for finding in audit.worst(MAX_SHOWN_FLOWS) {
        let packets = &finding.evidence.key_packets;
        let focus = packets.iter().find(|packet| packet.ctstate == CtState::Invalid);
        wish.flows.push(wanted(&finding.key, &finding.audit, focus.map(|packet| packet.frame)));
        wish.frames.extend(packets.iter().map(|packet| packet.frame));
    }
    if wish.flows.is_empty() {
        wish.flows = troubled(audit);
    }
    for cause in &diagnoses.causes {
        wish.frames.extend(&cause.evidence);
    }
    wish
}

/// Chooses flows without INVALID packets.
fn troubled(audit: &Audit) -> Vec<WantedFlow> {
    let mut seen = BTreeSet::new();
    let flows = audit.suspects.iter().chain(&audit.troubled);
    let flows =
        flows.filter(|flow| seen.insert((flow.audit.first_frame, flow.key))).take(MAX_TROUBLED);
    flows.map(|flow| wanted(&flow.key, &flow.audit, end_of_stall(&flow.summary))).collect()
}

fn end_of_stall(summary: &Summary) -> Option<u64> {
    summary.stall.map(|stall| stall.frame)
}

fn wanted(key: &FlowKey, audit: &FlowAudit, focus: Option<u64>) -> WantedFlow {
    let (first_frame, last_seen) = (audit.first_frame, audit.last_seen());
    WantedFlow { key: *key, first_frame, focus, last_seen }
}
