//! Data that goes on as if nothing had happened, on a flow where something is under way: a hole that
//! waits to be filled, a recovery. Where much is in flight that is most of what comes meanwhile, and it
//! has nothing to do with it.
//!
//! Does not: differ in anything from what a [`Step`](crate::flow::step::Step) makes of such a segment.

use crate::flow::detail::Detail;
use crate::flow::exchange::{
    Exchange, fits, goes_on_in_window, is_in_sequence, is_read_as_agreed, new_marks,
};
use crate::flow::half::Half;
use crate::flow::history::Letter;
use crate::flow::scaling::{self, Scaling};
use crate::segment::{Flags, Segment};
use crate::tuple::Orientation;

impl Exchange {
    /// Returns whether a segment that comes without a stall, while something is under way, brings the
    /// next bytes and nothing else: [`Exchange::carry_on`] takes it as a closer look would.
    #[inline(never)]
    pub(super) fn brings_only_data(&self, segment: &Segment, sender: Orientation) -> bool {
        const COUNT: u8 = Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0 | Flags::ACK.0;
        const KNOWN: u8 = Half::SEQ | Half::ACK;
        let (own, peer) = (&self.halves[sender], &self.halves[sender.flip()]);
        let Some(detail) = &self.detail else { return false };
        let end = segment.end();
        segment.flags.0 & COUNT == Flags::ACK.0
            && segment.len > 0
            && segment.options.sack.is_empty()
            && own.is(KNOWN)
            && peer.is(KNOWN)
            && segment.seq == own.max_end
            && segment.ack == own.ack
            && !segment.ack.is_after(peer.max_end)
            && new_marks(own, segment) == 0
            && (own.marks | peer.marks) & Letter::Rst.mark() == 0
            && peer.has_spoken()
            && peer.win != 0
            && goes_on_in_window(own, segment)
            && fits(own, peer, end)
            && !end.is_after(peer.max_edge)
            && is_read_as_agreed(own, peer)
            && scaling::of(peer, own) != Scaling::Unknown
            && is_in_sequence(own, segment)
            && detail.waits_for_no_data(sender)
    }

    /// Remembers a segment that brought only data, to tell a copy from a repetition.
    pub(super) fn remember_data(&mut self, segment: &Segment, sender: Orientation) {
        let detail = self.detail.as_mut();
        if let Some(side) = detail.and_then(|detail| detail.sides[sender].as_mut()) {
            side.recent.push(segment);
        }
    }

    /// Returns whether something is under way on either side.
    #[inline]
    pub(super) const fn is_busy(&self) -> bool {
        (self.halves.low_to_high.marks | self.halves.high_to_low.marks) & Half::ALERT != 0
    }
}

impl Detail {
    /// Returns whether nothing that is under way ends with, or counts, the next bytes of a side.
    fn waits_for_no_data(&self, sender: Orientation) -> bool {
        let own = self.sides[sender].as_deref();
        let peer = self.sides[sender.flip()].as_deref();
        self.story.is_none()
            && !self.effects.is_waiting()
            && self.effects.valid_ack[sender].is_none()
            && self.handshake.other_end.is_none()
            && self.handshake.challenge.is_none()
            && own.is_none_or(|own| own.awaited.is_none() && own.window.zero_since.is_none())
            && peer.is_none_or(|peer| peer.joined.is_settled())
    }
}
