//! C25: a box in the path speaks TCP for the ends.
//!
//! Does not: blame it where the tracker has no fault to show.

use std::collections::BTreeSet;

use crate::audit::{Early, Server};
use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, MAX_NAMED_FLOWS, counted};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C25",
    name: "wan_optimiser_or_proxy",
    title: "a WAN optimiser or proxy in the path",
    blames_a_device: true,
    mechanism: "WAN optimisers find one another by options of their own in the SYN, acknowledge \
                locally and send on as they see fit. Traffic that passes one of them and not the \
                other, or goes beyond the window that the far end offered, meets a tracker that \
                knows only one of the legs.",
    signature: "SYNs with TCP option 76 or 78, or one pair of hosts with two fingerprints or two \
                TTLs, or acknowledgements sooner than the far end could send them.",
    look_alikes: "Load balancers (C04); several hosts behind one translated address.",
    remedy: "Route both legs through it (C08), or have it keep to the window (C05).",
    references: "IANA TCP option kinds 76 and 78 (Riverbed)",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// What a tracker says when one leg passes it by, or is sent more than the far end asked for.
const RULES: &[Reason] = &[
    Reason::SeqOver,
    Reason::SeqOvershoot,
    Reason::AckOver,
    Reason::StateInvalid,
    Reason::InvalidNew,
];

/// The servers that are listed.
const LISTED: usize = 8;
/// Connections to one server from which on early acknowledgements are no first packet that was slow.
const LEAST_EARLY: u64 = 3;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let probed = facts
        .audit
        .openings
        .iter()
        .filter(|opening| opening.segment.options.layout.has_optimiser());
    let flows: BTreeSet<u64> = probed.clone().map(|opening| opening.flow).collect();
    let early = early(facts);
    if flows.is_empty() && early.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let is_refused =
        |case: &&Case<'_>| flows.contains(&case.audit.first_frame) && case.invalid(RULES) > 0;
    let refused: Vec<_> = facts.cases.iter().filter(is_refused).collect();
    let mut diagnosis = Diagnosis::of(CAUSE, finding(&flows, &refused, &early), &refused);
    diagnosis.flow_count = if flows.is_empty() { flows_of(&early) } else { number(flows.len()) };
    diagnosis.flows = flows.iter().copied().take(MAX_NAMED_FLOWS).collect();
    diagnosis.score = score(facts, &flows, &refused, &early);
    diagnosis.notes.push(
        "Such boxes acknowledge locally and send on as they see fit: compare with connections that \
         they leave alone, and have both legs of each pass the tracker, or none."
            .to_owned(),
    );
    diagnosis.parameters = early.iter().map(|server| told(server)).take(LISTED).collect();
    if flows.is_empty() {
        diagnosis.against.push(
            "a first packet that is slow, for a cache to be filled or a radio to wake up, makes \
             handshakes long as well"
                .to_owned(),
        );
    }
    diagnosis.evidence = evidence(&refused, RULES, MAX_EVIDENCE);
    if diagnosis.evidence.is_empty() {
        // Of those without the option only the first of each server is known by its frame.
        let first = early.iter().map(|server| server.early.flows.first_frame);
        let first = first.filter(|_| flows.is_empty());
        diagnosis.evidence = first_frames(probed.map(|opening| opening.frame).chain(first));
    }
    Some(diagnosis)
}

/// Finds the servers whose data is acknowledged far sooner than they answer SYNs, in most of their
/// connections, while they answer all SYNs alike.
fn early<'a>(facts: &Facts<'a>) -> Vec<&'a Server> {
    let is_early = |server: &&Server| {
        let Early { flows, handshake_us: (least, most), .. } = server.early;
        let is_steady = most <= least.saturating_add(least / 2);
        flows.flows >= LEAST_EARLY && flows.flows * 2 > server.answered.flows && is_steady
    };
    facts.audit.totals.peers.servers().filter(is_early).collect()
}

fn finding(flows: &BTreeSet<u64>, refused: &[&Case<'_>], early: &[&Server]) -> String {
    if flows.is_empty() {
        let connections = counted(flows_of(early), "connection");
        return format!(
            "data is acknowledged sooner than the far end could, in {connections}: something on the \
             path acknowledges for it"
        );
    }
    let also = if early.is_empty() { "" } else { ", and acknowledge for the far end" };
    format!(
        "WAN optimisers announce themselves by TCP options 76 to 78 in {}, {} with INVALID packets{also}",
        counted(number(flows.len()), "connection"),
        refused.len()
    )
}

fn score(
    facts: &Facts<'_>,
    flows: &BTreeSet<u64>,
    refused: &[&Case<'_>],
    early: &[&Server],
) -> Score {
    let points = if flows.is_empty() { 30 } else { 40 };
    let mut score = Score::new(points, facts.quality.percent);
    // That one is there is certain; that it is the reason for anything is not.
    score.at_most = if refused.is_empty() { Level::Possible } else { Level::Probable };
    if flows.len() >= 2 {
        score.add("several flows", 15);
    }
    if !early.is_empty() {
        score.add("acknowledged sooner than the far end could", 15);
        if facts.cases.iter().any(comes_from_nearer) {
            score.add("from nearer than the SYN-ACK", 10);
        }
    }
    if !refused.is_empty() {
        score.add("packets INVALID in them", 20);
    }
    let others = facts.audit.strict().flows > number(refused.len());
    if others && !flows.is_empty() {
        score.add("others without the option have INVALID packets too", -20);
    }
    score
}

/// Returns whether the first packet after the SYN-ACK made fewer hops than that.
fn comes_from_nearer(case: &Case<'_>) -> bool {
    let stand_in = case.summary.signs.as_ref().and_then(|signs| signs.stand_in);
    stand_in.is_some_and(|stand_in| !stand_in.is_before_server())
}

fn told(server: &Server) -> (String, String) {
    let Early { flows, handshake_us: (least, most), soonest_us } = server.early;
    let name = format!("server {}", server.endpoint);
    let words = format!(
        "SYN answered after {} to {}, data acknowledged after {}, in {}",
        millis(least),
        millis(most),
        millis(soonest_us),
        counted(flows.flows, "connection")
    );
    (name, words)
}

fn millis(micros: u32) -> String {
    format!("{}.{:01} ms", micros / 1000, micros % 1000 / 100)
}

fn flows_of(early: &[&Server]) -> u64 {
    early.iter().map(|server| server.early.flows.flows).sum()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
