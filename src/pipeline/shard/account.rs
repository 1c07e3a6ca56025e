//! What a finished flow adds to the totals and findings of its shard.
//!
//! Does not: decide when a flow is finished.

use crate::audit::{Findings, Totals};
use crate::flow::{
    ConnState, FlowAudit, FlowFinding, FlowSightings, FlowStory, FlowTrouble, Messages,
};
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// Packets of one direction from which on a flow goes on as if the other were there: a SYN or a RST
/// alone may have had no answer.
const HALF_SEEN_PACKETS: u64 = 3;

/// Adds a flow that is finished at `end` to the totals, and to the findings if a policy called it
/// INVALID.
#[inline(never)]
pub(super) fn settle(
    (key, end): (FlowKey, Timestamp),
    audit: &mut FlowAudit,
    totals: &mut Totals,
    findings: &mut Findings,
) {
    let directions = audit.directions();
    totals.flows += 1;
    totals.flows_picked_up += u64::from(audit.picked_up);
    totals.flows_untracked += u64::from(!audit.tracked);
    let one_way = directions.original.packets == 0 || directions.reply.packets == 0;
    totals.flows_one_way += u64::from(one_way);
    if audit.picked_up {
        count_beginning(audit, end, totals);
    }
    let packets = directions.original.packets + directions.reply.packets;
    totals.payload_bytes += directions.original.bytes + directions.reply.bytes;
    let of_clean = audit.gist();
    let conn_state = match &of_clean {
        Some(gist) => {
            totals.behaviour.count_gist(gist);
            totals.peers.count_flow(&key, audit, gist, 0);
            gist.conn_state
        }
        None => settle_in_full(key, audit, totals, findings),
    };
    let goes_on = packets >= HALF_SEEN_PACKETS && conn_state != ConnState::S0;
    totals.flows_half_seen += u64::from(one_way && goes_on);
}

/// Adds a flow of which more is known than its numbers; returns how it ended.
#[inline(never)]
fn settle_in_full(
    key: FlowKey,
    audit: &mut FlowAudit,
    totals: &mut Totals,
    findings: &mut Findings,
) -> ConnState {
    let summary = audit.summary();
    let retries = summary.handshake.syn_retries_us.len();
    totals.behaviour.count_flow(&summary);
    totals.peers.count_flow(&key, audit, &summary.gist(), retries);
    if let Some(story) = audit.take_story() {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.tell(FlowStory { key, audit, summary, story });
    }
    if let Some(sightings) = audit.take_sightings() {
        totals.flows_seen_twice += 1;
        let (first_frame, original) = (audit.first_frame, audit.original);
        findings.push_sightings(FlowSightings { key, first_frame, original, sightings });
    }
    audit.forget_details();
    if summary.is_suspect() {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.push_suspect(FlowTrouble { key, audit, summary });
    }
    if summary.weight() > 0 {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.push_troubled(FlowTrouble { key, audit, summary });
    }
    let conn_state = summary.conn_state;
    if let Some(evidence) = audit.evidence.take()
        && !evidence.hit_under.is_empty()
    {
        totals.count_flow_hits(evidence.hit_under);
        if evidence.invalid_packets() > 0 || evidence.invalid_liberal > 0 {
            let (audit, summary) = (audit.clone(), Box::new(summary));
            findings.push(FlowFinding { key, audit, evidence: *evidence, summary });
        }
    }
    conn_state
}

/// Counts what is there in the place of the beginning of a flow that was picked up.
fn count_beginning(audit: &FlowAudit, end: Timestamp, totals: &mut Totals) {
    let messages = audit.messages(end);
    totals.flows_of_messages += u64::from(messages.is_some());
    totals.flows_lacking_acks += u64::from(messages == Some(Messages::LackingAck));
    let directions = audit.directions();
    let ways = [directions.original, directions.reply];
    let is_one_way = ways.iter().any(|way| way.packets == 0);
    let opens = ways.iter().any(|way| way.syn_seen);
    totals.flows_answering += u64::from(is_one_way && opens);
}
