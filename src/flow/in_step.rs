//! Flows on which tracker and analysis agree, and where nothing is under way: the next segment of
//! such a flow is compared once for both.
//!
//! Does not: know more of the tracker than its numbers.

use crate::conntrack::{Arrival, Entry, Next, Panel, Track};
use crate::flow::exchange::{Exchange, fits, is_in_sequence, may_be_blind, new_marks};
use crate::flow::half::Half;
use crate::flow::scaling::{self, Scaling};
use crate::flow::vantage::Copies;
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// The flags that count of those which every next segment has, or has not.
const COUNT: u8 = Flags::SYN.0 | Flags::RST.0 | Flags::ACK.0;

impl FlowAudit {
    /// Returns whether the analysis has the numbers that the tracker has, and neither has anything
    /// else to look for: [`FlowAudit::take_next`] is then to be asked first.
    pub fn is_in_step_with(&self, track: &Track, panel: &Panel) -> bool {
        let Some(entry) = track.steady(panel) else { return false };
        matches!(self.copies, Copies::None)
            && !self.is_pausing()
            && self.exchange.is_in_step_with(entry)
    }

    /// Takes the next segment of a flow that is in step with its tracker, on both; returns whether it
    /// was one, and leaves both as they are when not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub fn take_next(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let is_at_once = ts.nanos_since(self.last_ts) < LEAST_STALL_NS;
        if !(is_at_once && self.exchange.is_next(segment, orientation)) {
            return false;
        }
        let Segment { seq, ack, win, .. } = *segment;
        let is_fin = segment.has(Flags::FIN);
        let len = segment.len.wrapping_add(u32::from(is_fin));
        let shift = self.exchange.halves[orientation].shift;
        if !track.take_next(&Next { orientation, seq, len, is_fin, ack, win, shift, now }, panel) {
            return false;
        }
        self.carry_on(ts, arrival);
        true
    }
}

impl Exchange {
    fn is_in_step_with(&self, entry: &Entry) -> bool {
        let PerOrientation { low_to_high: low, high_to_low: high } = &self.halves;
        let is_remembering =
            self.detail.is_some() && (may_be_blind(low, high) || may_be_blind(high, low));
        let agrees = |way: Orientation| {
            let (half, peer) = (&self.halves[way], &self.halves[way.flip()]);
            let side = &entry.sides[entry.direction_of(way)];
            half.is(Half::SEQ | Half::ACK)
                && half.marks & Half::ALERT == 0
                && (half.max_end, half.ack) == (side.end, side.max_ack)
                && lets_letters_pass(half, peer)
        };
        !is_remembering && agrees(Orientation::LowToHigh) && agrees(Orientation::HighToLow)
    }

    /// Returns whether a segment goes on where its sender stopped, in every respect but what the
    /// tracker compares as well. Next to no branches: few of them could be foretold.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    fn is_next(&self, segment: &Segment, sender: Orientation) -> bool {
        let (own, peer) = (&self.halves[sender], &self.halves[sender.flip()]);
        let end = segment.seq.plus(segment.len).plus(u32::from(segment.flags.0 & Flags::FIN.0));
        let more_acked = segment.ack.offset_from(own.ack);
        let brings_more = (more_acked > 0) | (more_acked == 0) & (end != segment.seq);
        let is_plain = (segment.flags.0 & COUNT == Flags::ACK.0)
            & segment.fault.is_none()
            & !segment.options_cut
            & segment.options.sack.is_empty();
        // A letter more in the history is nothing to stop for, but the first one of a side is.
        let is_told = own.has_spoken() & (self.detail.is_none() | (new_marks(own, segment) == 0));
        let window = u32::from(segment.win) << own.shift;
        let window_stays = !segment.ack.plus(window).is_before(own.edge())
            & (window >= u32::from(own.mss))
            & (window != 0);
        let data_fits = (segment.len == 0) | fits(own, peer, end);
        let is_next = brings_more & is_plain & is_told & (segment.seq == own.max_end);
        is_next & window_stays & data_fits && is_in_sequence(own, segment)
    }
}

/// Returns whether nothing but letters in the history sets the first segment of its kind apart from
/// those that follow, once its sender has spoken.
fn lets_letters_pass(half: &Half, peer: &Half) -> bool {
    let is_timed = !half.has_spoken() && half.min_rtt().is_none();
    let is_read = match scaling::of(half, peer) {
        Scaling::By(shift) => shift == half.shift || !half.has_spoken(),
        Scaling::Off | Scaling::Unknown => true,
    };
    !is_timed && is_read
}
