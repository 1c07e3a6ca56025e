//! Flows on which tracker and analysis agree, and where nothing is under way: the next segment of
//! such a flow is compared once for both.
//!
//! Does not: know more of the tracker than its numbers.

use std::hint::select_unpredictable;

use crate::conntrack::{Arrival, Entry, Next, Panel, Track};
use crate::flow::exchange::{
    Exchange, fits, is_in_sequence, is_read_as_agreed, may_be_blind, new_marks,
};
use crate::flow::half::{Half, Tick};
use crate::flow::history::Letter;
use crate::flow::vantage::Copies;
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// The flags that count of those which every next segment has, or has not.
const COUNT: u8 = Flags::SYN.0 | Flags::RST.0 | Flags::ACK.0;

impl FlowAudit {
    /// Finds out whether the analysis has the numbers that the tracker has, and neither has anything
    /// else to look for: [`FlowAudit::take_next`] is then to be asked first.
    pub fn step_with(&mut self, track: &Track, panel: &Panel) {
        self.is_in_step = self.agrees_with(track, panel);
    }

    /// Notes that one of both is to be changed.
    #[inline]
    pub const fn fall_out_of_step(&mut self) {
        self.is_in_step = false;
    }

    fn agrees_with(&self, track: &Track, panel: &Panel) -> bool {
        if self.exchange.is_on_alert() {
            return false;
        }
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
        if !self.is_in_step {
            return false;
        }
        let own = &self.exchange.halves[arrival.orientation];
        if is_usual(own, arrival.segment) && track.is_open() {
            self.take::<{ Next::USUAL }>(ts, arrival, track, panel)
        } else {
            self.take_unusual(ts, arrival, track, panel)
        }
    }

    /// Takes a segment that has a FIN or follows upon one, or is the first of its kind.
    #[inline(never)]
    fn take_unusual(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        self.take::<{ Next::ANY }>(ts, arrival, track, panel)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    fn take<const KIND: u8>(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let is_at_once = ts.nanos_since(self.last_ts) < LEAST_STALL_NS;
        if !(is_at_once && self.exchange.is_next::<KIND>(segment, orientation)) {
            return false;
        }
        let Segment { seq, ack, win, .. } = *segment;
        let is_fin = KIND != Next::USUAL && segment.has(Flags::FIN);
        let len = segment.len.wrapping_add(u32::from(is_fin));
        let shift = self.exchange.halves[orientation].shift;
        let next = Next { orientation, seq, len, is_fin, ack, win, shift, now };
        if !track.take_next::<KIND>(&next, panel) {
            return false;
        }
        self.last_ts = ts;
        self.last_seen = now;
        self.count(segment, orientation);
        let now = Tick::of(ts);
        if KIND == Next::USUAL {
            self.exchange.advance(segment, orientation, now);
        } else {
            self.exchange.carry_on(segment, orientation, now);
        }
        true
    }
}

impl Exchange {
    /// Returns whether every segment has to be looked at closely.
    const fn is_on_alert(&self) -> bool {
        let PerOrientation { low_to_high: low, high_to_low: high } = &self.halves;
        (low.marks | high.marks) & Half::ALERT != 0
    }

    fn is_in_step_with(&self, entry: &Entry) -> bool {
        let agrees = |way: Orientation| {
            let (half, peer) = (&self.halves[way], &self.halves[way.flip()]);
            let side = &entry.sides[entry.direction_of(way)];
            half.is(Half::SEQ | Half::ACK)
                && (half.max_end, half.ack) == (side.end, side.max_ack)
                && lets_letters_pass(half, peer)
        };
        agrees(Orientation::LowToHigh) && agrees(Orientation::HighToLow)
    }

    /// Returns whether a segment goes on where its sender stopped, in every respect but what the
    /// tracker compares as well. Next to no branches: few of them could be foretold.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "a branch that nobody could foretell costs more"
    )]
    fn is_next<const KIND: u8>(&self, segment: &Segment, sender: Orientation) -> bool {
        let (own, peer) = (&self.halves[sender], &self.halves[sender.flip()]);
        let is_usual = KIND == Next::USUAL;
        let fin = if is_usual { 0 } else { u32::from(segment.flags.0 & Flags::FIN.0) };
        let end = segment.seq.plus(segment.len).plus(fin);
        let more_acked = segment.ack.offset_from(own.ack);
        let brings_more = (more_acked > 0) | (more_acked == 0) & (end != segment.seq);
        let is_plain = (is_usual || segment.flags.0 & COUNT == Flags::ACK.0)
            & segment.fault.is_none()
            & !segment.options_cut
            & segment.options.sack.is_empty();
        // A letter more in the history is nothing to stop for, but the first one of a side is.
        let is_told =
            is_usual || own.has_spoken() & (self.detail.is_none() | (new_marks(own, segment) == 0));
        let window = u32::from(segment.win) << own.shift;
        let window_stays = !segment.ack.plus(window).is_before(own.edge())
            & (window >= u32::from(own.mss))
            & (window != 0);
        // Where something went wrong, the last segments are remembered until scaling is proven.
        let is_remembered = self.detail.is_some() & may_be_blind(own, peer);
        let data_fits = (segment.len == 0) | fits(own, peer, end) & !is_remembered;
        let is_next = brings_more & is_plain & is_told & (segment.seq == own.max_end);
        is_next & window_stays & data_fits && is_in_sequence(own, segment)
    }
}

/// Returns whether a segment is one of a kind that its sender has sent before, and of the flags that
/// count has ACK alone.
#[inline(always)]
#[expect(clippy::inline_always, reason = "asked for every packet")]
fn is_usual(own: &Half, segment: &Segment) -> bool {
    let letter = select_unpredictable(segment.len > 0, Letter::Data.mark(), Letter::Ack.mark());
    (segment.flags.0 & (COUNT | Flags::FIN.0) == Flags::ACK.0) && (own.marks & letter != 0)
}

/// Returns whether nothing but letters in the history sets the first segment of its kind apart from
/// those that follow, once its sender has spoken.
fn lets_letters_pass(half: &Half, peer: &Half) -> bool {
    let is_timed = !half.has_spoken() && half.min_rtt().is_none();
    !is_timed && (!half.has_spoken() || is_read_as_agreed(half, peer))
}
