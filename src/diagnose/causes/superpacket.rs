//! C23: segments larger than the path allows: merged by the host's card or kernel.
//!
//! Does not: take merged packets for an overrun window.

use std::collections::BTreeSet;

use crate::diagnose::case::{Case, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_NAMED_FLOWS, counted};
use crate::flow::{FlowSightings, Kept, SideSummary};
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C23",
    name: "superpackets",
    title: "packets merged beyond the MTU",
    blames_a_device: true,
    mechanism: "Receive offload merges segments and send offload hands over large ones; conntrack \
                and the capture see the merged packet alike, so that judging it as captured is \
                right. A router whose card merges what it must forward (LRO) cannot split it \
                again and drops it.",
    signature: "Segments longer than the MSS that both SYNs agreed upon, of which nothing arrives, not \
                even a part that SACK would report, while single ones get through; captured on both \
                sides of the router, they come in at one place and go out nowhere.",
    look_alikes: "Jumbo frames on a path that has them.",
    remedy: "None where they only appear; on a router that drops them: ethtool -K DEV lro off.",
    references: "Linux Documentation/networking/segmentation-offloads.rst; ethtool(8)",
    diagnose: Some(diagnose),
    remedies: |_| vec![lro_off()],
});

/// Timeouts of segments that had timed out before, from which on they are in vain: the third in a row
/// is the second of these.
const LEAST_TIMEOUTS: u32 = 2;
/// Joined packets of a flow that were sent again in vain, from which on it is no chance: of what a path
/// loses by chance some segments arrive.
const LEAST_IN_VAIN: u32 = 2;
/// Joined packets that had to be sent again one by one, from which on it is no chance.
const LEAST_KEPT: u32 = 3;
/// The most that TCP options take of a segment (RFC 9293, section 3.1: the header has 60 bytes).
const MOST_OPTIONS: u32 = 40;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let cases: Vec<_> = facts.cases.iter().filter(|case| stuck(case).is_some()).collect();
    let kept: Vec<_> = facts.audit.sightings.iter().flat_map(in_vain).collect();
    if cases.is_empty() && kept.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let of_cases = cases.iter().map(|case| case.audit.first_frame);
    let all: BTreeSet<u64> = of_cases.chain(kept.iter().map(|kept| kept.flow)).collect();
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let flows = counted(count, "connection");
    let finding = if kept.is_empty() {
        format!("packets larger than a segment do not get through in {flows}")
    } else {
        format!("packets larger than a segment come in at one place and go out nowhere in {flows}")
    };
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.flow_count = count;
    diagnosis.score = score(facts, &cases, &kept, count);
    diagnosis.flows = all.into_iter().take(MAX_NAMED_FLOWS).collect();
    diagnosis.notes.push(
        "The tracker sees the joined packet as the capture does, and does not call it INVALID: a \
         card that joined what it had to forward cannot send it on."
            .to_owned(),
    );
    let is_told = |flow| kept.iter().any(|found: &InVain| found.flow == flow);
    let told = |case: &&Case<'_>| {
        let (direction, side) = stuck(case).filter(|_| !is_told(case.audit.first_frame))?;
        let name = format!("flow {} {}", case.audit.first_frame, direction.name());
        let largest = side.stuck.largest.max(side.joined.largest);
        Some((name, format!("{largest} bytes in vain, segments of {}", mss(case, direction))))
    };
    let told_kept = |found: &InVain| {
        let Kept { segments, smallest, largest, .. } = found.kept;
        let name = format!("flow {} {}", found.flow, found.direction.name());
        let words = format!(
            "{segments} packets of {smallest} to {largest} bytes at one place only, segments of {}",
            found.mss
        );
        (name, words)
    };
    let parameters = kept.iter().map(told_kept).chain(cases.iter().filter_map(told));
    diagnosis.parameters = parameters.take(8).collect();
    let frame = |case: &&Case<'_>| {
        let (_, side) = stuck(case)?;
        Some(if side.joined.in_vain > 0 { side.joined.first_frame } else { side.stuck.first_frame })
    };
    let frames = kept.iter().map(|found| found.kept.first_frame);
    diagnosis.evidence = first_frames(frames.chain(cases.iter().filter_map(frame)));
    diagnosis.remedies = vec![lro_off()];
    Some(diagnosis)
}

fn score(facts: &Facts<'_>, cases: &[&Case<'_>], kept: &[InVain], flows: u64) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    if kept.is_empty() {
        // What the far end received is not in the capture.
        score.at_most = Level::Probable;
    } else {
        score.add("in at one place, out nowhere", 20);
    }
    if flows >= 2 {
        score.add("several flows", 15);
    }
    let passes =
        |case: &&&Case<'_>| stuck(case).is_some_and(|(_, side)| side.stuck.got_through > 0);
    if cases.iter().any(|case| passes(&case)) || kept.iter().any(|kept| kept.single_pass) {
        score.add("single segments get through", 20);
    }
    let arrived = |case: &Case<'_>| case.sides().any(|(_, side)| side.joined.arrived > 0);
    if facts.cases.iter().any(arrived) {
        score.add("joined packets of others arrive", -40);
    }
    score
}

/// Packets of several segments that only one of the places has where a flow was captured.
#[derive(Clone, Copy)]
struct InVain {
    flow: u64,
    direction: Direction,
    /// How many, and their sizes.
    kept: Kept,
    mss: u16,
    /// Whether single segments of this way passed both places.
    single_pass: bool,
}

/// Finds the ways of a flow on which all joined packets stop between two places: their bytes come
/// through when they are sent again one by one, or not at all.
fn in_vain(flow: &FlowSightings) -> impl Iterator<Item = InVain> {
    Direction::BOTH.into_iter().filter_map(|direction| {
        let orientation = match direction {
            Direction::Original => flow.original,
            Direction::Reply => flow.original.flip(),
        };
        let way = flow.sightings.way(orientation);
        let receiver = flow.sightings.way(orientation.flip());
        let mss = receiver.here.or(receiver.elsewhere)?.segment.options.mss?;
        let is_in_vain = |kept: &Kept| kept.segments >= LEAST_KEPT && kept.passed == 0;
        let kept = Some(way.kept()).filter(is_in_vain)?;
        let (flow, single_pass) = (flow.first_frame, way.has_passed());
        Some(InVain { flow, direction, kept, mss, single_pass })
    })
}

/// Returns the side of a flow whose packets of several segments are sent in vain.
pub(super) fn stuck<'a>(case: &Case<'a>) -> Option<(Direction, &'a SideSummary)> {
    let in_vain = |(direction, side): &(Direction, &SideSummary)| {
        let (stuck, joined) = (side.stuck, side.joined);
        let mss = u32::from(mss(case, *direction));
        let timed_out = stuck.timeouts >= LEAST_TIMEOUTS
            && stuck.smallest > mss
            && stuck.got_through < stuck.smallest;
        // Single segments of full size have to get through, or it is the size of packets (C17).
        let is_single = stuck.got_through <= mss && stuck.got_through + MOST_OPTIONS >= mss;
        timed_out || joined.in_vain >= LEAST_IN_VAIN && joined.arrived == 0 && is_single
    };
    let holds = case.all_invalid() == 0 && case.is_two_way();
    case.sides().find(in_vain).filter(|_| holds)
}

/// Returns the segment size that the receiver announced.
fn mss(case: &Case<'_>, direction: Direction) -> u16 {
    case.summary.sides[direction.flip()].mss.unwrap_or(u16::MAX)
}

/// Keeps a card from joining what it has to forward.
fn lro_off() -> Remedy {
    Remedy {
        id: "C23-lro",
        title: "on the router that drops them: no large receive offload",
        steps: vec![Step::new(Runner::Shell, "ethtool -K eth0 lro off")],
        persist: vec![Step::new(
            Runner::Shell,
            "printf '[Match]\\nOriginalName=eth0\\n[Link]\\nLargeReceiveOffload=no\\n' > \
             /etc/systemd/network/10-no-lro.link",
        )],
        risk: "more packets a second for its processor",
        check: "ethtool -k eth0 | grep large-receive; the transfer works",
        undo: "ethtool -K eth0 lro on",
    }
}
