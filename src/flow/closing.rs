//! The shortest way through the end of a connection on which tracker and analysis are in step: a FIN, and
//! what follows upon it, where nothing is under way.
//!
//! Of the tracker's entry only the sides fall behind here, as they do before the end: its state, its timer
//! and what it remembers of the last segment do not follow from what the analysis knows.
//!
//! Does not: know which state follows upon which.

use crate::conntrack::{Arrival, Next, Panel, Track};
use crate::flow::exchange::{IRREGULAR_FLAGS, advance, new_marks, pair};
use crate::flow::half::Tick;
use crate::flow::in_step::{Pace, is_acknowledgement_seen, runs_on};
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::Orientation;

impl FlowAudit {
    /// Returns whether a segment has FIN, or comes after one, and goes on where its sender stopped, in every
    /// respect that the tracker compares as well but what state follows, where its entry may fall behind.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub(super) fn closes(&self, ts: Timestamp, arrival: &Arrival<'_>, track: &Track) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let halves = &self.exchange.halves;
        let (own, peer) = (&halves[orientation], &halves[orientation.flip()]);
        let counts = &self.counts[orientation];
        let is_fin = segment.has(Flags::FIN);
        let is_ending = is_fin && self.may_run() || self.pace == Pace::Closing;
        let end = end_of(segment);
        let silence = ts.0.wrapping_sub(self.last_ts.0).cast_unsigned();
        let is_at_once = silence < LEAST_STALL_NS.cast_unsigned();
        let is_cut = (u32::from(segment.win) << own.shift).is_multiple_of(1 << 16);
        is_ending
            && is_at_once
            && segment.flags.0 & IRREGULAR_FLAGS == Flags::ACK.0
            && self.exchange.detail.is_none()
            && track.lives_at(now)
            && counts.stays_in_stretch(segment)
            && runs_on(own, peer, (segment, end), false)
            && is_acknowledgement_seen(own, peer, counts, segment)
            && !is_cut
    }

    /// Takes a segment that [`Self::closes`], on both, if no closer look is needed; returns whether it took
    /// it, and leaves both as they are when not. Stands alone, as the other needs none of its numbers.
    #[inline(never)]
    pub(super) fn close(
        &mut self,
        ts: Timestamp,
        arrival: Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = arrival;
        if self.pace == Pace::Ahead {
            track.remember_latest(&self.latest());
        }
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let next = Next::of(&arrival, own.shift);
        let end = next.end();
        let is_due = end != peer.ack || peer.max_end != segment.ack;
        if !track.close(&next, is_due, panel) {
            return self.take_on_both(ts, arrival, track, panel);
        }
        let letters = new_marks(own, segment);
        if letters != 0 {
            own.marks |= letters;
            self.exchange.history.push_marks(letters, orientation == Orientation::HighToLow);
        }
        advance(own, peer, (segment, end), Tick::of(ts));
        let counts = &mut self.counts[orientation];
        counts.add_within(segment);
        counts.keep_window(segment);
        self.last_ts = ts;
        self.last_seen = now;
        self.pace = Pace::Closing;
        true
    }
}

/// Returns the number after the last byte or FIN of a segment, which has no SYN.
#[inline]
fn end_of(segment: &Segment) -> SeqNum {
    segment.seq.plus(segment.len).plus(u32::from(segment.has(Flags::FIN)))
}
