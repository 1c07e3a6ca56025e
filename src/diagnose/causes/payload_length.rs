//! C02: a device changes the length of payload, and with it all sequence numbers that follow.
//!
//! Does not: say more than probable: a few bytes have many explanations.

use std::collections::BTreeSet;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, each_once, evidence, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, MAX_NAMED_FLOWS, counted};
use crate::flow::{FlowSightings, Plateau, SideSummary};
use crate::segment::Direction;
use crate::tuple::{FlowKey, Orientation};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C02",
    name: "alg_changes_payload_length",
    title: "an inspection engine changes the length of payload",
    blames_a_device: true,
    mechanism: "An application gateway (SMTP, FTP, SIP inspection, a fixup) rewrites payload to \
                another length and moves the sequence numbers that follow by the difference. \
                Where it forgets SACK blocks, or what is sent again, the two sides disagree by \
                some bytes.",
    signature: "SACK edges or repeated data are off by a small constant, below 4096 bytes, which \
                changes in steps after certain payloads within one flow; captured on both sides, \
                the numbers of the two sights move apart by as much at those packets.",
    look_alikes: "C01 (one large constant per flow); frames lost while capturing. Linux's own NAT \
                  helpers do adjust SACK.",
    remedy: "Switch the inspection off: no inspect esmtp, no inspect sip; on Linux \
             nf_conntrack_helper=0.",
    references: "RFC 2018, section 3; tcp_sack() (nf_conntrack_proto_tcp.c); nf_ct_seq_adjust() \
                 (nf_conntrack_seqadj.c)",
    diagnose: Some(diagnose),
    remedies: |_| vec![inspection_off()],
});

/// The rule by which the tracker refuses a SACK edge above the data.
const RULE: &[Reason] = &[Reason::AckOver];
/// The most that an inspection engine adds to or takes from payload, in bytes.
const MOST: i32 = 1 << 12;
/// Blocks that make the mechanism.
const LEAST_BLOCKS: u32 = 3;
/// The ways whose numbers are listed.
const LISTED: usize = 8;
/// Ports of the protocols that inspection engines rewrite: FTP, SMTP, RTSP, submission, H.323,
/// SCCP, SIP.
const INSPECTED: [u16; 8] = [21, 25, 554, 587, 1720, 2000, 5060, 5061];

/// A side of a flow whose SACK blocks are off by a little.
#[derive(Clone, Copy)]
struct Off<'a> {
    case: &'a Case<'a>,
    direction: Direction,
    side: &'a SideSummary,
    low: i32,
    high: i32,
}

/// A way of a flow whose numbers move apart between two places.
#[derive(Clone, Copy)]
struct Moved<'a> {
    flow: u64,
    key: &'a FlowKey,
    direction: Direction,
    plateaus: &'a [Plateau],
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let off: Vec<_> = if is_out_of_order(facts) {
        Vec::new()
    } else {
        facts.cases.iter().flat_map(find).collect()
    };
    let moved: Vec<_> = facts.audit.sightings.iter().flat_map(moves).collect();
    if off.is_empty() && moved.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let cases = each_once(off.iter().map(|found| found.case));
    let mut diagnosis = Diagnosis::of(CAUSE, finding(&cases, &moved), &cases);
    diagnosis.score = score(facts, &off, &moved, &cases);
    name_moved(&mut diagnosis, &moved);
    if !off.is_empty() {
        diagnosis.against.push("frames lost while capturing move edges by as little".to_owned());
    }
    if off.is_empty() {
        diagnosis.notes.push(
            "Nothing that was not adjusted is seen here: Linux's own helpers do it as well. Where \
             SACK or repetitions are forgotten, the two ends disagree by these bytes."
                .to_owned(),
        );
    }
    diagnosis.parameters = off.iter().map(told_off).chain(moved.iter().map(told_move)).collect();
    diagnosis.parameters.truncate(LISTED);
    diagnosis.evidence = evidence(&cases, RULE, MAX_EVIDENCE);
    let steps = off.iter().flat_map(|found| found.side.sack_over.plateaus());
    let steps = steps.chain(moved.iter().flat_map(|found| found.plateaus.iter().skip(1)));
    diagnosis.evidence.extend(steps.map(|step| step.first_frame));
    diagnosis.evidence = first_frames(diagnosis.evidence.into_iter());
    diagnosis.remedies = vec![inspection_off()];
    Some(diagnosis)
}

fn finding(cases: &[&Case<'_>], moved: &[Moved<'_>]) -> String {
    if cases.is_empty() {
        let flows: BTreeSet<u64> = moved.iter().map(|found| found.flow).collect();
        let count = u64::try_from(flows.len()).unwrap_or(u64::MAX);
        return format!(
            "something between two places where it was captured changes the length of payload of {}",
            counted(count, "connection")
        );
    }
    format!(
        "SACK blocks off by some bytes in {}: something changes the length of payload and forgets \
         them",
        counted(count(cases), "connection")
    )
}

fn score(facts: &Facts<'_>, off: &[Off<'_>], moved: &[Moved<'_>], cases: &[&Case<'_>]) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    // Frames that the capture lost look much the same; and what is adjusted well harms nobody.
    score.at_most = if off.is_empty() { Level::Possible } else { Level::Probable };
    if cases.iter().any(|case| case.drop_is_proven() && case.invalid(RULE) > 0) {
        score.add("drop proven", 20);
    }
    if off.iter().any(|found| found.side.sack_over.plateaus().len() > 1) {
        score.add("in steps within a flow", 15);
    }
    if !moved.is_empty() {
        score.add("numbers move between two places", 20);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    let on_inspected = cases.iter().any(|case| is_inspected(case.key))
        || moved.iter().any(|found| is_inspected(found.key));
    if on_inspected {
        score.add("port of an inspected protocol", 10);
    } else {
        score.add("no port of an inspected protocol", -10);
    }
    score
}

/// Names the flows whose numbers move, where there are no others.
fn name_moved(diagnosis: &mut Diagnosis, moved: &[Moved<'_>]) {
    if diagnosis.flow_count == 0 {
        let flows: BTreeSet<u64> = moved.iter().map(|found| found.flow).collect();
        diagnosis.flow_count = u64::try_from(flows.len()).unwrap_or(u64::MAX);
        diagnosis.flows = flows.into_iter().take(MAX_NAMED_FLOWS).collect();
    }
}

fn told_off(found: &Off<'_>) -> (String, String) {
    let name = format!("flow {} {}", found.case.audit.first_frame, found.direction.name());
    let blocks = found.side.sack.beyond + found.side.sack.below;
    let bounds = format!("off by {:+} to {:+} bytes, {blocks} blocks", found.low, found.high);
    let steps = found.side.sack_over.plateaus();
    if steps.len() < 2 {
        return (name, bounds);
    }
    (name, format!("{bounds}; {}", told_steps(steps)))
}

fn told_move(found: &Moved<'_>) -> (String, String) {
    let name = format!("flow {} {}", found.flow, found.direction.name());
    (name, format!("numbers elsewhere {}", told_steps(found.plateaus)))
}

/// Says where a constant moves, and by how many bytes each time.
fn told_steps(plateaus: &[Plateau]) -> String {
    let steps = plateaus.windows(2).filter_map(|pair| match pair {
        [before, after] => {
            let by = after.bytes - before.bytes;
            Some(format!("{by:+} bytes from frame {}", after.first_frame))
        }
        _ => None,
    });
    let steps: Vec<_> = steps.collect();
    format!("move by {}", steps.join(", "))
}

/// Finds the ways of a flow whose numbers move apart between two places where it was captured.
fn moves(flow: &FlowSightings) -> impl Iterator<Item = Moved<'_>> {
    Direction::BOTH.into_iter().filter_map(|direction| {
        let way = match direction {
            Direction::Original => flow.original,
            Direction::Reply => flow.original.flip(),
        };
        let plateaus = flow.sightings.way(way).moved().plateaus();
        let (flow, key) = (flow.first_frame, &flow.key);
        (plateaus.len() > 1).then_some(Moved { flow, key, direction, plateaus })
    })
}

/// Returns whether the capture has packets in another order than they passed: a SACK before its data
/// looks just so.
const fn is_out_of_order(facts: &Facts<'_>) -> bool {
    facts.audit.time_steps_back > 0 || facts.audit.totals.behaviour.data_after_ack > 0
}

/// Finds the sides of a flow whose blocks a small constant, and not 0, explains.
fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Off<'a>> {
    case.sides().filter_map(move |(direction, side)| {
        let (low, high) = side.sack.shift()?;
        let outside = side.sack.beyond + side.sack.below;
        let is_off = low > 0 && low < MOST || high < 0 && high > -MOST;
        let holds = outside >= LEAST_BLOCKS
            && is_off
            && case.is_two_way()
            && !case.audit.picked_up
            && !case.misses_frames();
        holds.then_some(Off { case, direction, side, low, high })
    })
}

fn is_inspected(key: &FlowKey) -> bool {
    let (from, to) = key.endpoints(Orientation::LowToHigh);
    INSPECTED.contains(&from.port) || INSPECTED.contains(&to.port)
}

/// Switches the inspection off.
fn inspection_off() -> Remedy {
    let lines = "policy-map global_policy\n class inspection_default\n  no inspect esmtp\n  \
                 no inspect sip\n  no inspect ftp";
    Remedy {
        id: "C02-inspection",
        title: "switch the inspection of that protocol off (Cisco ASA)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "protocols that carry addresses (FTP, SIP) no longer work through its translation",
        check: COUNT_INVALID,
        undo: "inspect esmtp, inspect sip, inspect ftp in the same class",
    }
}
