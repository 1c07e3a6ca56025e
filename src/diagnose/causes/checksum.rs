//! C18: segments arrive damaged.
//!
//! Does not: take checksums that a card has yet to write for damage.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C18",
    name: "bad_checksum",
    title: "bad checksums",
    blames_a_device: true,
    mechanism: "A damaged packet is INVALID in PREROUTING while nf_conntrack_checksum=1, and \
                discarded by its receiver in any case. Packets that the capturing host sends \
                itself may not have their checksum yet, which means nothing.",
    signature: "The same bytes are sent again after a segment with a wrong checksum that nobody \
                acknowledged.",
    look_alikes: "Checksum offload: only packets sent by the capturing host, and the field holds \
                  the sum of the pseudo header.",
    remedy: "Look for the hop that damages packets; nf_conntrack_checksum=0 only moves where they \
             are dropped.",
    references: "RFC 9293, section 3.1; nf_conntrack_checksum (nf_conntrack-sysctl.rst)",
    diagnose: Some(diagnose),
    remedies: |_| vec![look_for_damage()],
});

const RULES: &[Reason] = &[Reason::TcpBadCsum];
/// From this share on, in percent, wrong checksums are the work of a tool or of offload: a path that
/// damages every third packet carries no connection.
const ARTEFACT_PERCENT: u64 = 33;
/// Damaged packets that make the mechanism.
const LEAST_WRONG: u64 = 3;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let invalid = facts.audit.totals.invalid_by_reason.get(&Reason::TcpBadCsum).copied();
    match invalid {
        Some(wrong) => judged(facts, wrong),
        None => sampled(facts),
    }
}

/// Speaks of checksums that were judged, packet by packet.
fn judged(facts: &Facts<'_>, wrong: u64) -> Option<Diagnosis> {
    let of_wrong = |case: &&Case<'_>| case.invalid(RULES) > 0;
    let cases: Vec<_> = facts.cases.iter().filter(of_wrong).collect();
    let segments = facts.audit.tally.segments.max(1);
    if wrong < LEAST_WRONG || cases.is_empty() {
        return None;
    }
    let finding = format!(
        "{} with a wrong checksum in {}",
        counted(wrong, "packet"),
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    // What is wrong on the wire and what a tool or a card left wrong cannot be told apart here.
    score.at_most = Level::Probable;
    let repairs = |case: &&Case<'_>| case.sides().any(|(_, side)| side.retransmitted.packets > 0);
    if cases.iter().any(repairs) {
        score.add("sent again afterwards", 20);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if wrong * 100 >= segments * ARTEFACT_PERCENT {
        score.add("most packets are wrong: a tool or a card", -40);
        diagnosis.against.push(
            "so many wrong checksums are the work of a tool that rewrote the capture, or of \
             offload"
                .to_owned(),
        );
    }
    diagnosis.score = score;
    diagnosis.parameters = vec![("wrong".to_owned(), format!("{wrong} of {segments} segments"))];
    diagnosis.notes.push(
        "Their receivers discard them whatever a tracker says: be_liberal=1 changes nothing."
            .to_owned(),
    );
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    diagnosis.remedies = vec![look_for_damage()];
    Some(diagnosis)
}

/// Speaks of a sample, where checksums are not judged.
fn sampled(facts: &Facts<'_>) -> Option<Diagnosis> {
    let sample = facts.audit.tally.checksums;
    let is_artefact = sample.wrong * 100 >= sample.looked_at.max(1) * ARTEFACT_PERCENT;
    let is_offload = sample.unfinished > 0;
    if sample.wrong < LEAST_WRONG || is_artefact || is_offload {
        return None;
    }
    let finding = format!(
        "{} of {} sampled are wrong",
        sample.wrong,
        counted(sample.looked_at, "TCP checksum")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.score = Score { at_most: Level::Possible, ..Score::new(40, facts.quality.percent) };
    diagnosis.notes.push(
        "Checksums were not judged: --sysctl nf_conntrack_checksum=1 tells which packets, and \
         whether they were sent again."
            .to_owned(),
    );
    diagnosis.remedies = vec![look_for_damage()];
    Some(diagnosis)
}

/// Counts damage on the interfaces of a host.
fn look_for_damage() -> Remedy {
    Remedy {
        id: "C18-count",
        title: "find the hop that damages packets: counters of cards and hosts, before and after",
        steps: vec![Step::new(
            Runner::Shell,
            "nstat -az TcpInCsumErrors IcmpInCsumErrors\nip -s -s link show",
        )],
        persist: Vec::new(),
        risk: "none",
        check: "the counters stop growing once the cable, card or hop is replaced",
        undo: "nothing to undo",
    }
}
