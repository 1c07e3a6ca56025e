//! C08: only one direction of some flows passes the tracker.
//!
//! Does not: speak where the whole capture is one-sided, which says nothing of the path.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C08",
    name: "asymmetric_routing",
    title: "only one direction passes the tracker",
    blames_a_device: true,
    mechanism: "With asymmetric routes the tracker meets one direction: without the SYN-ACK the \
                entry stays in SYN_SENT and every further segment is INVALID; without the SYN the \
                SYN-ACK is INVALID and the rest is picked up mid-stream.",
    signature: "Some flows have packets one way only and go on, while others at the same point have \
                both.",
    look_alikes: "A capture of one direction: a mirror port, a filter on the source, one link of a \
                  bond. Then every flow misses its other half and nothing can be judged.",
    remedy: "Mend the routing, share state with conntrackd, or leave these hosts untracked. \
             be_liberal=1 does not help: it is the state, not the window.",
    references: "tcp_conntracks (nf_conntrack_proto_tcp.c)",
    diagnose: Some(diagnose),
    remedies: |hosts| vec![mend_routing(hosts)],
});

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

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
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
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    // A filter or a mirror port cannot be told from a route.
    let mut score = Score::new(40, facts.quality.percent);
    score.at_most = Level::Probable;
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(&cases) > 0 {
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
    let ends = cases.first().map(|case| ends(case)).unwrap_or_default();
    diagnosis.remedies = vec![mend_routing(&ends), remedy::no_tracking(&peers)];
    Some(diagnosis)
}

/// Returns whether a flow goes on one way, as if the other way were there, and is refused.
fn is_half_seen(case: &Case<'_>) -> bool {
    let directions = case.audit.directions();
    let packets = directions.original.packets + directions.reply.packets;
    let carries = directions.original.bytes + directions.reply.bytes > 0;
    !case.is_two_way() && packets >= LEAST_INVALID && carries && case.invalid(RULES) > 0
}

/// Returns both ends of a flow, first the one to which no packets go here.
fn ends(case: &Case<'_>) -> Vec<IpAddr> {
    let (client, server) = (case.address(Direction::Original), case.address(Direction::Reply));
    let lacks_answers = case.audit.directions().reply.packets == 0;
    if lacks_answers { vec![client, server] } else { vec![server, client] }
}

/// Mends the way that the packets to these hosts take.
fn mend_routing(hosts: &[IpAddr]) -> Remedy {
    let routes: Vec<_> = hosts.iter().map(|host| format!("ip route get {host}")).collect();
    Remedy {
        id: "C08-routing",
        title: "route both directions through the same tracker",
        steps: vec![Step::new(Runner::Shell, &routes.join("\n"))],
        persist: Vec::new(),
        risk: "routes of others may follow; clusters need conntrackd to share their state",
        check: "capture again at this point: both directions are there",
        undo: "the route as it was",
    }
}
