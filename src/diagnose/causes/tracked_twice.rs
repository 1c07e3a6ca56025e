//! C22: the same packets pass the tracker or the capture more than once.
//!
//! Does not: take what is sent again for a copy.

use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_NAMED_FLOWS, counted};
use crate::flow::{FlowSightings, Mark};
use crate::tuple::Orientation;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C22",
    name: "tracked_or_captured_twice",
    title: "packets are tracked or captured twice",
    blames_a_device: false,
    mechanism: "Bridges with bridge-nf-call-iptables, VRFs and chains of veth pass one packet \
                through conntrack several times, and a capture on any interface records it as \
                often. What is there twice looks sent again.",
    signature: "Identical packets less than 200 us apart, with the same TTL or one less, on \
                another interface or with other link addresses.",
    look_alikes: "Retransmissions, which have an IP id of their own; C06, where the copy comes \
                  much later.",
    remedy: "Capture on one interface; net.bridge.bridge-nf-call-iptables=0, or conntrack zones, \
             where the tracker itself meets them twice.",
    references: "bridge-nf-call-iptables (ip-sysctl.rst); nft(8), ct zone",
    diagnose: Some(diagnose),
    remedies: |_| vec![track_once()],
});

/// Copies of one connection that make the mechanism.
const LEAST_COPIES: u64 = 5;
/// The ways of a connection, each of which may show a change of numbers or options.
const BOTH: [Orientation; 2] = [Orientation::LowToHigh, Orientation::HighToLow];

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let is_same = |flow: &&FlowSightings| {
        flow.sightings.copies() >= LEAST_COPIES
            && BOTH.iter().all(|way| is_unchanged(flow, *way) && is_of_one_file(flow, *way))
    };
    let flows: Vec<_> = facts.audit.sightings.iter().filter(is_same).collect();
    let first = flows.first()?;
    let copies: u64 = flows.iter().map(|flow| flow.sightings.copies()).sum();
    let count = u64::try_from(flows.len()).unwrap_or(u64::MAX);
    let finding = format!(
        "the packets of {} pass here several times, {} left out as copies",
        counted(count, "connection"),
        counted(copies, "packet")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.flow_count = count;
    diagnosis.flows = flows.iter().take(MAX_NAMED_FLOWS).map(|flow| flow.first_frame).collect();
    let mut score = Score::of_any_capture(40);
    // The capture shows that packets pass two places, not whether both track them.
    score.at_most = Level::Possible;
    if flows.len() >= 2 {
        score.add("several flows", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "They are judged from one of the places. A tracker that meets them at both counts each as \
         sent again, and after three of those gives the connection 5 minutes instead of 5 days."
            .to_owned(),
    );
    diagnosis.notes.extend(others(facts, count, copies));
    diagnosis.parameters = vec![("places".to_owned(), places(first))];
    diagnosis.remedies = vec![track_once()];
    Some(diagnosis)
}

/// Says what else was left out, given of how many connections how many copies are told.
fn others(facts: &Facts<'_>, told: u64, told_copies: u64) -> Option<String> {
    let copies = facts.audit.sightings.iter().map(|flow| flow.sightings.copies());
    let copies: Vec<_> = copies.filter(|copies| *copies > 0).collect();
    let flows = u64::try_from(copies.len()).unwrap_or(u64::MAX).saturating_sub(told);
    let rest = copies.iter().sum::<u64>().saturating_sub(told_copies);
    let be = if rest == 1 { "was" } else { "were" };
    (flows > 0).then(|| {
        format!(
            "{} of {} {be} left out as copies as well, which does not show this: fewer than \
             {LEAST_COPIES} of a connection, or with other numbers, options or in other files.",
            counted(rest, "packet"),
            counted(flows, "connection"),
        )
    })
}

/// Returns whether a way of a flow has the same numbers and options at all places.
fn is_unchanged(flow: &FlowSightings, orientation: Orientation) -> bool {
    let way = flow.sightings.way(orientation);
    let offers = match (way.here, way.elsewhere) {
        (Some(here), Some(there)) => crate::flow::offers_the_same(&here.segment, &there.segment),
        _ => true,
    };
    way.offset() == 0 && offers
}

/// Returns whether all sights of a way are from one file: several are those of several hosts.
fn is_of_one_file(flow: &FlowSightings, orientation: Orientation) -> bool {
    let way = flow.sightings.way(orientation);
    let (judged, others) = way.marks();
    let sights = [way.here, way.elsewhere].into_iter().flatten().map(|sight| sight.mark);
    let mut files = judged.into_iter().chain(others.iter().copied()).chain(sights);
    let first = files.next().map(|mark| mark.vantage.file);
    files.all(|mark| Some(mark.vantage.file) == first)
}

fn places(flow: &FlowSightings) -> String {
    let told = |orientation: Orientation| {
        let (judged, others) = flow.sightings.way(orientation).marks();
        let of = |mark: &Mark| format!("TTL {}", mark.ttl);
        let others: Vec<_> = others.iter().map(of).collect();
        let judged = judged.as_ref().map_or_else(String::new, of);
        if others.is_empty() {
            format!("{judged}, and the same again")
        } else {
            format!("{judged}, elsewhere {}", others.join(", "))
        }
    };
    let (original, reply) = (told(flow.original), told(flow.original.flip()));
    format!("flow {}: {original}; the other way {reply}", flow.first_frame)
}

/// Has a bridge not pass its packets through the tracker of IP.
fn track_once() -> Remedy {
    Remedy {
        id: "C22-bridge",
        title: "where a bridge tracks them as well: keep bridged packets from the IP rules",
        steps: vec![Step::new(
            Runner::Shell,
            "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=0",
        )],
        persist: vec![Step::new(
            Runner::Shell,
            "echo br_netfilter > /etc/modules-load.d/br_netfilter.conf\n\
             echo net.bridge.bridge-nf-call-iptables = 0 > /etc/sysctl.d/90-bridge.conf",
        )],
        risk: "rules that were meant for bridged packets (Docker, Kubernetes) no longer see them",
        check: "conntrack -L shows each connection once, and without [UNREPLIED]",
        undo: "sysctl -w net.bridge.bridge-nf-call-iptables=1",
    }
}
