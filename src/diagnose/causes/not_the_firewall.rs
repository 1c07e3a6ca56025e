//! C24: trouble in which no tracker has a part: a slow reader, a lossy path.
//!
//! Does not: clear flows that have an INVALID packet.

use crate::diagnose::case::Case;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::causes::superpacket;
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::{Kind, SideSummary};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C24",
    name: "not_the_firewall",
    title: "not the firewall",
    blames_a_device: false,
    mechanism: "A receiver that does not read shuts its window, an application pauses, a path loses \
                packets and TCP repairs it. No tracker has a part in it.",
    signature: "Zero windows before the stall, or retransmissions that are answered, and no INVALID \
                packet in these connections.",
    look_alikes: "A firewall that drops by a rule other than ct state invalid.",
    remedy: "Look at the reading application, or at the lossy link. Neither be_liberal nor another \
             kernel changes anything.",
    references: "RFC 9293, section 3.8.6; RFC 6298",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// How long a window must be zero to be felt, in microseconds: 200 ms, the least retransmission
/// timeout of Linux.
const FELT_US: u32 = 200_000;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let is_clean = |case: &&Case<'_>| case.all_invalid() == 0;
    let clean: Vec<_> = facts.cases.iter().filter(is_clean).collect();
    let slow = clean.iter().filter(|case| reader_is_slow(case)).count();
    let lossy = clean.iter().filter(|case| loses(case)).count();
    let cases: Vec<_> =
        clean.into_iter().filter(|case| reader_is_slow(case) || loses(case)).collect();
    if cases.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let mut what = Vec::new();
    if slow > 0 {
        what.push(format!("a reader that shuts its window in {}", connections(slow)));
    }
    if lossy > 0 {
        what.push(format!("packets sent again in {}", connections(lossy)));
    }
    let finding = format!("{}, none of them with an INVALID packet", what.join(", "));
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    score.at_most = Level::Probable;
    if slow > 0 {
        score.add("zero windows", 20);
    }
    if facts.audit.strict().packets == 0 {
        score.add("nothing INVALID at all", 20);
    }
    diagnosis.score = score;
    let place = match (slow > 0, lossy > 0) {
        (true, false) => "the reading application",
        (false, _) => "the link that loses or reorders packets",
        (true, true) => "the reading application, and at the link that loses or reorders packets",
    };
    diagnosis.notes.push(format!(
        "Neither be_liberal nor another kernel changes anything for them: look at {place}."
    ));
    Some(diagnosis)
}

fn connections(count: usize) -> String {
    counted(u64::try_from(count).unwrap_or(u64::MAX), "connection")
}

fn reader_is_slow(case: &Case<'_>) -> bool {
    case.sides().any(|(_, side)| side.window.longest_zero_us >= FELT_US)
}

fn loses(case: &Case<'_>) -> bool {
    let is_shifted = case.sides().any(|(_, side)| side.sack.beyond + side.sack.below > 0);
    // What was sent again mid-stream may have another reason, which the tracker could have seen.
    !is_shifted
        && !case.audit.picked_up
        // Nobody can say from here what takes segments that are never answered.
        && case.is_two_way()
        && !case.repeats_unheard()
        // Loses by size, not by chance (C23).
        && superpacket::stuck(case).is_none()
        && case.sides().any(|(_, side)| repeats(side))
}

/// Returns whether a side sent more again than SYNs, which may have met a rule or a full table before one
/// of them was answered.
fn repeats(side: &SideSummary) -> bool {
    side.retransmitted.packets > side.packets(Kind::Syn)
}
