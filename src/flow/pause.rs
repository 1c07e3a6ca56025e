//! Pauses: times in which a flow had nothing to say, and whether it could go on afterwards.
//!
//! A pause ends with a segment of one side, and is survived once the other side answers it. What is
//! kept of it on the hot path is a count of seconds each way.
//!
//! Does not: take a stall for a pause: in a stall something was due.

use crate::flow::detail::Detail;
use crate::flow::exchange::Look;
use crate::flow::signs::Pause;
use crate::flow::way::{Counts, Facts};
use crate::segment::Flags;
use crate::time::NANOS_PER_SEC;
use crate::tuple::{Orientation, PerOrientation};

/// The least silence that counts as a pause, in nanoseconds: 2 s, beyond what a reader of a page
/// or a slow answer takes, and below every idle timeout in use.
pub(super) const LEAST_PAUSE_NS: i64 = 2 * NANOS_PER_SEC;

/// What there is to know of a segment that may end a pause.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// Time since the packet before, in nanoseconds.
    pub(super) silence_ns: i64,
    /// Whether that was a pause: long enough, and nothing was due.
    pub(super) was_idle: bool,
    /// Whether it sends something again, or only keeps the flow alive.
    pub(super) is_again: bool,
}

/// Takes a segment that ends a pause, or that comes while nobody has answered since one ended.
#[cold]
pub(super) fn watch(
    (counts, facts): (&mut PerOrientation<Counts>, &mut PerOrientation<Facts>),
    detail: &mut Option<Box<Detail>>,
    look: &Look<'_>,
    packet: Packet,
) {
    let Look { orientation, segment, frame, .. } = *look;
    let ends = segment.has(Flags::RST) || segment.has(Flags::FIN);
    let is_high = orientation == Orientation::HighToLow;
    let other = orientation.flip();
    if let Some(seconds) = facts[other].pause_s(counts[other]) {
        Facts::resume(&mut counts[other]);
        if segment.has(Flags::RST) {
            failed(detail, frame, seconds, !is_high).reset_frame.get_or_insert(frame);
        } else {
            facts[other].survived_s = facts[other].survived_s.max(seconds);
            answered(detail);
        }
    } else if let Some(seconds) = facts[orientation].pause_s(counts[orientation]) {
        if packet.is_again {
            failed(detail, frame, seconds, is_high).repeats += 1;
        }
    } else if packet.was_idle && !ends {
        let seconds = u16::try_from(packet.silence_ns / NANOS_PER_SEC).unwrap_or(u16::MAX);
        facts[orientation].pause(&mut counts[orientation], seconds);
    }
}

/// Returns the pause after which the flow does not go on.
fn failed(
    detail: &mut Option<Box<Detail>>,
    frame: u64,
    seconds: u16,
    from_high: bool,
) -> &mut Pause {
    let signs = detail.get_or_insert_default().signs.get_or_insert_default();
    let fresh = Pause { frame, seconds, from_high, ..Pause::default() };
    let pause = signs.pause.get_or_insert(fresh);
    if pause.answered {
        *pause = fresh;
    }
    pause
}

fn answered(detail: &mut Option<Box<Detail>>) {
    let signs = detail.as_mut().and_then(|detail| detail.signs.as_mut());
    if let Some(pause) = signs.and_then(|signs| signs.pause.as_mut()) {
        pause.answered = true;
    }
}
