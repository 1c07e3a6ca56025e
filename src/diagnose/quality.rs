//! What the capture is good for: every shortcoming that can make a verdict wrong, and the factor by
//! which the worst of them multiplies each score.
//!
//! Does not: know causes.

use crate::audit::Audit;
use crate::diagnose::clocks::Clocks;
use crate::diagnose::counted;
use crate::flow::Kind;
use crate::wire::Undecodable;

/// Percent where nothing is wrong with the capture.
const CLEAN: u32 = 100;
/// Percent with a minor shortcoming.
const MINOR: u32 = 70;
/// Percent where much of the capture is in doubt.
const POOR: u32 = 40;
/// Percent where nothing can be judged.
const NOTHING: u32 = 0;

/// Link types of captures on all interfaces at once: Linux cooked, versions 1 and 2.
const COOKED: [u16; 2] = [113, 276];
/// A step back of the clock from which on the order of all packets is in doubt: 1 s.
const CLOCK_JUMP_NS: i64 = 1_000_000_000;
/// Time without a frame from which on it is told: 5 minutes, what a tracker gives a connection with
/// unacknowledged data.
const LONG_SILENCE_NS: i64 = 300_000_000_000;

/// Something that makes verdicts doubtful.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shortcoming {
    /// The stable code.
    pub code: &'static str,
    /// Percent that it leaves of a score.
    pub percent: u32,
    /// What it is, with its numbers.
    pub what: String,
}

/// What the capture is good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quality {
    /// Percent that the worst shortcoming leaves of a score.
    pub percent: u32,
    /// The shortcomings, the worst first.
    pub shortcomings: Vec<Shortcoming>,
}

impl Quality {
    /// Looks for every shortcoming that the facts of a run show.
    pub(super) fn of(audit: &Audit, clocks: &Clocks) -> Self {
        let checks = [
            dropped(audit),
            one_sided(audit),
            filtered(audit),
            missed(audit),
            truncated(audit),
            duplicated(audit),
            seen_twice(audit),
            clocks_differ(audit, clocks),
            any_interface(audit),
            out_of_order(audit),
            silent(audit),
            resequenced(audit),
            superpackets(audit),
            unfinished(audit),
            mid_stream(audit),
            cut_short(audit),
        ];
        let mut shortcomings: Vec<_> = checks.into_iter().flatten().collect();
        shortcomings.sort_by_key(|shortcoming| shortcoming.percent);
        let percent = shortcomings.iter().map(|found| found.percent).min().unwrap_or(CLEAN);
        Self { percent, shortcomings }
    }

    /// Returns whether nothing can be judged.
    pub const fn cannot_judge(&self) -> bool {
        self.percent == NOTHING
    }
}

/// Returns `count` of `all` in thousandths, at least 1 where there is any.
const fn per_mille(count: u64, all: u64) -> u64 {
    if count == 0 {
        return 0;
    }
    let all = if all == 0 { 1 } else { all };
    let share = count.saturating_mul(1000) / all;
    if share == 0 { 1 } else { share }
}

/// Chooses the percent by a share in thousandths.
const fn graded(share: u64, minor: u64, poor: u64) -> u32 {
    if share >= poor {
        POOR
    } else if share >= minor {
        MINOR
    } else {
        CLEAN
    }
}

fn dropped(audit: &Audit) -> Option<Shortcoming> {
    let interfaces = audit.inputs.read.iter().flat_map(|input| &input.summary.interfaces);
    let counts = interfaces.flat_map(|i| [i.dropped_by_interface, i.dropped_by_host]);
    let lost: u64 = counts.flatten().sum();
    let percent = graded(per_mille(lost, audit.tally.frames()), 1, 10);
    let packets = counted(lost, "packet");
    (lost > 0).then(|| Shortcoming {
        code: "drops",
        percent,
        what: format!("{packets} lost while capturing, as the capture itself says"),
    })
}

/// The same direction is missing everywhere: the capture was taken on one way only, or filtered.
fn one_sided(audit: &Audit) -> Option<Shortcoming> {
    let totals = &audit.totals;
    let two_way = totals.flows.saturating_sub(totals.flows_one_way);
    let half_seen = totals.flows_half_seen;
    let flows = counted(half_seen, "connection");
    (half_seen > 0 && two_way.saturating_mul(9) <= half_seen).then(|| Shortcoming {
        code: "one_sided",
        percent: NOTHING,
        what: format!("one direction only in {flows}, both in {two_way}; capture both directions"),
    })
}

/// A filter on what segments carry left out those that carry nothing: SYNs, FINs, acknowledgements.
fn filtered(audit: &Audit) -> Option<Shortcoming> {
    let messages = filtered_flows(audit);
    let flows = audit.totals.flows;
    (messages > 0).then(|| Shortcoming {
        code: "filtered",
        percent: if messages == flows { NOTHING } else { CLEAN },
        what: format!(
            "nothing but segments with payload in {messages} of {}, without the SYNs and bare \
             acknowledgements that were due: a filter on content left these out; capture without it",
            counted(flows, "connection")
        ),
    })
}

/// Returns how many connections a filter on content has left nothing but segments with payload of: all
/// that have no beginning, or none of them.
///
/// Segments that are missing for another reason leave something else of the one or other; and in
/// one flow alone the capture may have lost what is missing.
pub(super) const fn filtered_flows(audit: &Audit) -> u64 {
    const LEAST_FLOWS: u64 = 2;
    let totals = &audit.totals;
    let (messages, lacking) = (totals.flows_of_messages, totals.flows_lacking_acks);
    let is_all = messages == totals.flows_picked_up;
    let is_due = lacking >= LEAST_FLOWS && lacking.saturating_mul(2) >= messages;
    if is_all && is_due { messages } else { 0 }
}

/// Returns how many connections began before the capture: of those without a beginning the ones that
/// neither a filter nor a missing direction has cut it from.
pub(super) const fn begun_before(audit: &Audit) -> u64 {
    let cut = filtered_flows(audit).saturating_add(audit.totals.flows_answering);
    audit.totals.flows_picked_up.saturating_sub(cut)
}

fn missed(audit: &Audit) -> Option<Shortcoming> {
    let flows = audit.totals.behaviour.flows.missed_bytes;
    let share = per_mille(flows, audit.totals.flows);
    let bytes = audit.totals.behaviour.missed_bytes;
    (flows > 0).then(|| Shortcoming {
        code: "missed_frames",
        percent: graded(share, 20, 200),
        what: format!(
            "{} acknowledged in {} but never captured",
            counted(bytes, "byte"),
            counted(flows, "connection")
        ),
    })
}

fn truncated(audit: &Audit) -> Option<Shortcoming> {
    let headers = audit.tally.undecodable.get(&Undecodable::TcpHeaderCut).copied().unwrap_or(0);
    let cut = audit.totals.options_cut + headers;
    (cut > 0).then(|| Shortcoming {
        code: "truncated",
        percent: graded(per_mille(cut, audit.tally.segments + headers), 1, 100),
        what: format!("{} cut inside the TCP header by the snap length", counted(cut, "packet")),
    })
}

/// Packets that came twice and could not be kept apart: what is judged is doubled.
fn duplicated(audit: &Audit) -> Option<Shortcoming> {
    let twice = audit.totals.behaviour.kinds.of(Kind::Duplicate).packets;
    let share = per_mille(twice, audit.tally.segments);
    (share >= 5).then(|| Shortcoming {
        code: "duplicates",
        percent: graded(share, 5, 200),
        what: format!(
            "{} there twice, now and then: copied by the network or the capture",
            counted(twice, "packet")
        ),
    })
}

/// Flows captured at several places, of which one is judged.
fn seen_twice(audit: &Audit) -> Option<Shortcoming> {
    let (flows, copies) = (audit.totals.flows_seen_twice, audit.totals.copies);
    (flows > 0).then(|| Shortcoming {
        code: "seen_twice",
        percent: CLEAN,
        what: format!(
            "{} captured at several places: judged from one, the nearest to the responder as far as \
             the clocks tell, {} of others left out",
            counted(flows, "connection"),
            counted(copies, "packet")
        ),
    })
}

/// Places whose clocks differ: what was captured there is not in the order in which it passed, unless
/// the difference was taken off.
fn clocks_differ(audit: &Audit, clocks: &Clocks) -> Option<Shortcoming> {
    let set_back = audit.inputs.read.iter().filter_map(|input| {
        let back = input.summary.set_back?;
        let words = if back.ahead_ns > 0 { "ahead" } else { "behind" };
        Some(format!(
            "the clock of {} is {} {words}, by {}: its times are corrected",
            input.summary.name,
            seconds(back.ahead_ns.saturating_abs()),
            counted(back.flows, "connection")
        ))
    });
    let sentences: Vec<_> = set_back.chain(clocks.sentences(audit)).collect();
    (!sentences.is_empty()).then(|| Shortcoming {
        code: "clocks_differ",
        percent: CLEAN,
        what: sentences.join("; "),
    })
}

/// A capture of all interfaces at once has each packet as often as it passes one of them.
fn any_interface(audit: &Audit) -> Option<Shortcoming> {
    let interfaces = || audit.inputs.read.iter().flat_map(|input| &input.summary.interfaces);
    let cooked = interfaces().any(|interface| COOKED.contains(&interface.link_type));
    let copies = audit.totals.copies;
    let twice = audit.totals.behaviour.kinds.of(Kind::Duplicate).packets;
    let told = if copies + twice > 0 {
        "some packets are there several times"
    } else {
        "no packet is there twice"
    };
    cooked.then(|| Shortcoming {
        code: "any_interface",
        percent: CLEAN,
        what: format!("captured on all interfaces at once (-i any): {told}"),
    })
}

fn out_of_order(audit: &Audit) -> Option<Shortcoming> {
    let back = audit.time_steps_back;
    let percent = if audit.longest_step_back >= CLOCK_JUMP_NS {
        POOR
    } else {
        graded(per_mille(back, audit.tally.frames()), 1, 50)
    };
    (back > 0).then(|| Shortcoming {
        code: "time_steps_back",
        percent,
        what: format!(
            "{} earlier than the frame before, by {} at most",
            counted(back, "frame"),
            seconds(audit.longest_step_back)
        ),
    })
}

/// Nothing at all for a long time: a hole in the capture, a jump of its clock, or silence.
fn silent(audit: &Audit) -> Option<Shortcoming> {
    (audit.longest_silence >= LONG_SILENCE_NS).then(|| Shortcoming {
        code: "time_jump",
        percent: CLEAN,
        what: format!(
            "no frame at all for {}: a silence, a hole, or a jump of the clock",
            seconds(audit.longest_silence)
        ),
    })
}

/// The capture itself exchanged packets: it has data after its acknowledgement.
fn resequenced(audit: &Audit) -> Option<Shortcoming> {
    let late = audit.totals.behaviour.data_after_ack;
    (late > 0).then(|| Shortcoming {
        code: "ack_before_data",
        percent: graded(per_mille(late, audit.tally.segments), 1, 20),
        what: format!(
            "{} captured after the acknowledgement of it: the capture exchanged packets",
            counted(late, "data packet")
        ),
    })
}

/// Packets larger than a segment: what a tracker behind the card sees as well.
fn superpackets(audit: &Audit) -> Option<Shortcoming> {
    let flows = audit.totals.behaviour.flows.superpackets;
    (flows > 0).then(|| Shortcoming {
        code: "superpackets",
        percent: CLEAN,
        what: format!(
            "packets larger than a segment in {}: captured where the card's offload has them \
             joined, as a tracker there sees them too",
            counted(flows, "connection")
        ),
    })
}

/// Checksums left to the network card: the capture was taken on an end, or on a hypervisor.
fn unfinished(audit: &Audit) -> Option<Shortcoming> {
    let sample = audit.tally.checksums;
    (sample.unfinished > 0).then(|| Shortcoming {
        code: "partial_checksums",
        percent: CLEAN,
        what: format!(
            "{} of {} sampled unfinished: captured on the sending host, before its card",
            sample.unfinished,
            counted(sample.looked_at, "TCP checksum")
        ),
    })
}

/// Writes a time in seconds, to the microsecond.
pub(super) fn seconds(nanos: i64) -> String {
    let micros = nanos / 1000;
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

fn mid_stream(audit: &Audit) -> Option<Shortcoming> {
    let (begun_before, flows) = (begun_before(audit), audit.totals.flows);
    let acked = audit.totals.behaviour.acked_before;
    let missing = match acked {
        0 => String::new(),
        _ => format!("; in them {} are acknowledged that it does not hold", counted(acked, "byte")),
    };
    (begun_before > 0).then(|| Shortcoming {
        code: "mid_stream",
        percent: CLEAN,
        what: format!(
            "{begun_before} of {} begun before the capture{missing}",
            counted(flows, "connection")
        ),
    })
}

fn cut_short(audit: &Audit) -> Option<Shortcoming> {
    (!audit.incomplete.is_empty()).then(|| Shortcoming {
        code: "incomplete",
        percent: CLEAN,
        what: "the capture was not read to its end".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_graded_by_its_bounds() {
        assert_eq!(graded(per_mille(0, 1000), 1, 10), CLEAN);
        assert_eq!(graded(per_mille(1, 1_000_000), 1, 10), MINOR);
        assert_eq!(graded(per_mille(10, 1000), 1, 10), POOR);
        assert_eq!(graded(per_mille(5, 0), 1, 10), POOR);
    }
}
