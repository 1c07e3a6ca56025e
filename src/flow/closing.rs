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
use crate::segment::Flags;
use crate::time::Timestamp;
use crate::tuple::Orientation;

impl FlowAudit {
    /// Takes a segment with FIN, or one after a FIN, on both, where the tracker's entry may fall behind;
    /// returns whether it was one, and leaves both as they are when not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub(super) fn close(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let is_fin = segment.has(Flags::FIN);
        let is_ending = is_fin && self.may_run() || self.pace == Pace::Closing;
        let len = segment.len.wrapping_add(u32::from(is_fin));
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let counts = &mut self.counts[orientation];
        let shift = own.shift;
        let next = Next {
            orientation,
            seq: segment.seq,
            len,
            is_fin,
            ack: segment.ack,
            win: segment.win,
            shift,
            now,
        };
        let silence = ts.0.wrapping_sub(self.last_ts.0).cast_unsigned();
        let is_at_once = silence < LEAST_STALL_NS.cast_unsigned();
        if !(is_ending
            && is_at_once
            && segment.flags.0 & IRREGULAR_FLAGS == Flags::ACK.0
            && self.exchange.detail.is_none()
            && track.lives_at(now)
            && counts.stays_in_stretch(segment)
            && runs_on(own, peer, (segment, next.end()), false)
            && is_acknowledgement_seen(own, peer, counts, segment)
            && !next.is_cut())
        {
            return false;
        }
        let is_due = next.end() != peer.ack || peer.max_end != segment.ack;
        if self.pace == Pace::Ahead {
            track.remember_latest(&self.latest());
        }
        if !track.close(&next, is_due, panel) {
            return false;
        }
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let letters = new_marks(own, segment);
        if letters != 0 {
            own.marks |= letters;
            self.exchange.history.push_marks(letters, orientation == Orientation::HighToLow);
        }
        advance(own, peer, (segment, next.end()), Tick::of(ts));
        let counts = &mut self.counts[orientation];
        counts.add_within(segment);
        counts.keep_window(segment);
        self.last_ts = ts;
        self.last_seen = now;
        self.pace = Pace::Closing;
        true
    }
}
