//! C23: segments larger than the path allows: merged by the host's card or kernel.
//!
//! Does not: take merged packets for an overrun window.

use crate::diagnose::case::Case;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::SideSummary;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C23",
    name: "superpackets",
    title: "packets merged beyond the MTU",
    blames_a_device: false,
    mechanism: "Receive offload merges segments and send offload hands over large ones; conntrack \
                and the capture see the merged packet alike, so that judging it as captured is \
                right. A router whose card merges what it must forward (LRO) cannot split it \
                again and drops it.",
    signature: "Segments longer than the MSS that both SYNs agreed upon.",
    look_alikes: "Jumbo frames on a path that has them.",
    remedy: "None where they only appear; on a router that drops them: ethtool -K DEV lro off.",
    references: "Linux Documentation/networking/segmentation-offloads.rst; ethtool(8)",
    diagnose: Some(diagnose),
    remedies: |_| vec![lro_off()],
});

/// Timeouts in vain that make the mechanism.
const LEAST_TIMEOUTS: u32 = 3;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let cases: Vec<_> = facts.cases.iter().filter(|case| stuck(case).is_some()).collect();
    if cases.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let flows = counted(u64::try_from(cases.len()).unwrap_or(u64::MAX), "connection");
    let finding = format!("packets larger than a segment do not get through in {flows}");
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    // What the far end received is not in the capture.
    score.at_most = Level::Probable;
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    let passes =
        |case: &&&Case<'_>| stuck(case).is_some_and(|(_, side)| side.stuck.got_through > 0);
    if cases.iter().any(|case| passes(&case)) {
        score.add("single segments get through", 20);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "The tracker sees the joined packet as the capture does, and does not call it INVALID: a \
         card that joined what it had to forward cannot send it on."
            .to_owned(),
    );
    let told = |case: &&Case<'_>| {
        let (direction, side) = stuck(case)?;
        let name = format!("flow {} {}", case.audit.first_frame, direction.name());
        Some((
            name,
            format!("{} bytes in vain, segments of {}", side.stuck.largest, mss(case, direction)),
        ))
    };
    diagnosis.parameters = cases.iter().filter_map(told).take(8).collect();
    let frame = |case: &&Case<'_>| stuck(case).map(|(_, side)| side.stuck.first_frame);
    diagnosis.evidence = cases.iter().filter_map(frame).take(8).collect();
    diagnosis.remedies = vec![lro_off()];
    Some(diagnosis)
}

/// Returns the side of a flow whose packets of several segments are sent in vain.
fn stuck<'a>(case: &Case<'a>) -> Option<(Direction, &'a SideSummary)> {
    let in_vain = |(direction, side): &(Direction, &SideSummary)| {
        let stuck = side.stuck;
        stuck.timeouts >= LEAST_TIMEOUTS
            && stuck.smallest > u32::from(mss(case, *direction))
            && stuck.got_through < stuck.smallest
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
