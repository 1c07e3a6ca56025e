//! The capture lost frames that the tracker saw: INVALID packets that are artefacts.
//!
//! A device is never blamed for these. One lost frame can make a whole flow look INVALID, since
//! refused packets move no bound.
//!
//! Does not: know why frames were lost.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::causes::offload;
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::flow::Offer;
use crate::segment::Direction;
use crate::wire::Undecodable;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "capture_loss",
    name: "suspect_capture_loss",
    title: "suspect capture loss",
    blames_a_device: false,
    mechanism: "The capture misses frames that passed. An acknowledgement of data that is not in the \
                capture looks INVALID here (ACK over), and since refused packets move no bound, one \
                lost frame may make a whole connection look INVALID.",
    signature: "INVALID packets follow bytes that were acknowledged and never captured, or captured \
                late, and later \
                packets prove that they were processed, or nothing proves a drop.",
    look_alikes: "Hardware offload, which hides data from tracker and capture alike; loss before \
                  the capture point, after which the data comes again.",
    remedy: "Capture again with a larger buffer (tcpdump -B 65536), a snap length of 128, and a \
             filter, on a host that keeps up. Where fragments of datagrams are missing, capture where \
             all of them pass, without a filter on ports.",
    references: "pcapng isb_ifdrop, isb_osdrop; pcap_stats(3)",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// The rules that a missing frame violates, and those that follow; the last one is that of a SYN-ACK
/// whose SYN is missing.
const RULES: &[Reason] =
    &[Reason::AckOver, Reason::SeqOver, Reason::SeqOvershoot, Reason::InvalidNew];
/// The same where the SYN was captured.
const RULES_AFTER_SYN: &[Reason] = &[Reason::AckOver, Reason::SeqOver, Reason::SeqOvershoot];
/// How to capture what is all there, in another order.
const IN_ORDER: &str = "No frame is missing, and no larger buffer helps: packets of both directions were \
                        recorded in another order than they passed, as several queues of a card or a \
                        mirror port do. Capture where one queue takes both directions (ethtool -L with \
                        combined 1 for a while).";
/// INVALID packets from which on one gap is a cascade.
const CASCADE: u64 = 10;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let is_offload = offload::explains_gaps(facts);
    let is_lossy =
        |case: &&Case<'_>| is_explained(case) && !(is_offload && offload::is_hidden(case));
    let cases: Vec<_> = facts.cases.iter().filter(is_lossy).collect();
    if cases.is_empty() {
        return None;
    }
    let invalid: u64 = cases.iter().map(|case| explained(case)).sum();
    let flows = u64::try_from(cases.len()).unwrap_or(u64::MAX);
    let missed: u64 = cases.iter().map(|case| case.summary.missed_bytes()).sum();
    let why = if missed > 0 {
        "bytes that were acknowledged but never captured"
    } else {
        "acknowledgements that were captured before their data"
    };
    let finding = format!(
        "{} in {} follow{} {why}",
        counted(invalid, "INVALID packet"),
        counted(flows, "connection"),
        if invalid == 1 { "s" } else { "" }
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &cases);
    diagnosis.parameters = vec![("bytes never captured".to_owned(), missed.to_string())];
    let is_cascade =
        |case: &&&Case<'_>| case.summary.missed_bytes() > 0 && explained(case) >= CASCADE;
    let cascades = cases.iter().filter(is_cascade).count();
    if cascades > 0 {
        diagnosis.notes.push(format!(
            "In {cascades} of them a gap makes most of what follows look INVALID: refused packets \
             move no bound of the tracker."
        ));
    }
    diagnosis.notes.push(if missed > 0 { advice(facts) } else { IN_ORDER.to_owned() });
    diagnosis.against = against(&cases);
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    Some(diagnosis)
}

/// Says how to capture what is missing: where datagrams came in pieces of which some are there, it may
/// be the others.
fn advice(facts: &Facts<'_>) -> String {
    let tally = &facts.audit.tally;
    let pieces = tally.undecodable.get(&Undecodable::IncompleteDatagram).copied().unwrap_or(0);
    if pieces == 0 {
        return "Capture again with a larger buffer and a filter (tcpdump -B 65536 -s 128) before \
                anything is changed."
            .to_owned();
    }
    format!(
        "{} are there of datagrams whose other fragments are not: the bytes may be in those, and no \
         larger buffer brings them. Capture again where all fragments pass, without a filter on \
         ports, which later fragments do not have; else with a larger buffer (tcpdump -B 65536 -s 128).",
        counted(pieces, "fragment")
    )
}

/// Counts the INVALID packets of a flow that missing frames may explain.
fn explained(case: &Case<'_>) -> u64 {
    let has_syn = case.summary.sides[Direction::Original].offer != Offer::NotSeen;
    case.invalid(if has_syn { RULES_AFTER_SYN } else { RULES })
}

/// Returns whether gaps in the capture explain the INVALID packets of a flow.
fn is_explained(case: &Case<'_>) -> bool {
    let effects = case.summary.effects;
    case.misses_frames()
        && explained(case) > 0
        && case.is_two_way()
        && effects.dropped <= effects.not_dropped
}

fn score(facts: &Facts<'_>, cases: &[&Case<'_>]) -> Score {
    // The worse the capture the surer this is: its quality does not count against it.
    let mut score = Score::of_any_capture(40);
    score.at_most = Level::Probable;
    if cases.iter().any(|case| case.summary.effects.not_dropped > 0) {
        score.add("INVALID packets were processed", 20);
    }
    let reported = ["drops", "missed_frames"];
    let poor = facts.quality.shortcomings.iter();
    if poor.clone().any(|s| reported.contains(&s.code) && s.percent < 100) {
        score.add("frames missing elsewhere too", 15);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    score
}

fn against(cases: &[&Case<'_>]) -> Vec<String> {
    let dropped: u64 = cases.iter().map(|case| case.summary.effects.dropped).sum();
    if dropped == 0 {
        return Vec::new();
    }
    vec![format!("{} look dropped, by numbers in the same flows", counted(dropped, "packet"))]
}
