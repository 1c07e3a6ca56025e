//! C08: only one direction of some flows passes the tracker.
//!
//! Does not: speak where the whole capture is one-sided, which says nothing of the path.

use std::collections::BTreeSet;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Cause, Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::segment::Direction;

/// The rules that half a flow violates.
const RULES: &[Reason] = &[
    Reason::StateInvalid,
    Reason::InvalidNew,
    Reason::PickupDisabled,
    Reason::AckOver,
    Reason::SeqOver,
];
/// INVALID packets that make the mechanism.
const LEAST_INVALID: u64 = 3;

pub(super) fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    if facts.quality.cannot_judge() {
        return None;
    }
    let cases: Vec<_> = facts.cases.iter().filter(|case| is_half_seen(case)).collect();
    let invalid: u64 = cases.iter().map(|case| case.all_invalid()).sum();
    if invalid < LEAST_INVALID {
        return None;
    }
    let flows = u64::try_from(cases.len()).unwrap_or(u64::MAX);
    let finding = format!("only one direction of {} passes here", counted(flows, "connection"));
    let mut diagnosis = Diagnosis::of(Cause::OneWay, finding, &cases);
    // A filter or a mirror port cannot be told from a route.
    let mut score = Score::new(40, facts.quality.percent);
    score.at_most = Level::Probable;
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(0) > 0 {
        score.add("flows with both directions", 15);
    }
    if facts.audit.strict().packets > 2 * invalid {
        score.add("most INVALID packets are of other flows", -20);
    }
    diagnosis.score = score;
    diagnosis.notes.push(format!(
        "{} of them are INVALID; be_liberal=1 does not help, for it is the state and not the \
         window.",
        counted(invalid, "packet")
    ));
    diagnosis.against =
        vec!["a capture filter or a mirror port of one direction would look the same".to_owned()];
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    let peers: BTreeSet<_> = cases.iter().map(|case| case.address(Direction::Reply)).collect();
    let peers: Vec<_> = peers.into_iter().collect();
    diagnosis.remedies =
        vec![remedy::mend_routing(peers.first().copied()), remedy::no_tracking(&peers)];
    Some(diagnosis)
}

/// Returns whether a flow goes on one way, as if the other way were there, and is refused.
fn is_half_seen(case: &Case<'_>) -> bool {
    let directions = case.audit.directions();
    let packets = directions.original.packets + directions.reply.packets;
    let carries = directions.original.bytes + directions.reply.bytes > 0;
    !case.is_two_way() && packets >= LEAST_INVALID && carries && case.invalid(RULES) > 0
}
