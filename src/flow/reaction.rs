//! A closer look at what a segment proves about INVALID packets.

use crate::flow::effect::{Pending, Reaction};
use crate::flow::half::Half;
use crate::flow::step::{Outcome, Step};
use crate::flow::story::Happening;
use crate::segment::Flags;
use crate::seq::SeqNum;

/// What a receiver may take longer than ever measured before its silence proves something: 1 ms.
const PATIENCE_US: u32 = 1_000;

impl Step<'_> {
    /// Describes an INVALID packet by what could prove its fate, before its numbers are taken.
    pub(super) fn pending(&self) -> Option<Pending> {
        let segment = self.look.segment;
        if !self.look.verdict.is_invalid() {
            return None;
        }
        let is_reset = segment.has(Flags::RST);
        // RFC 7323, section 4.3: a timestamp is taken over from a segment that begins at or below
        // what was acknowledged last.
        let starts_in_order =
            self.peer.is(Half::ACK) && !segment.seq.is_after(self.peer.ack) && !is_reset;
        let newer = segment.options.timestamps.filter(|timestamps| {
            self.own.is(Half::TIMESTAMPS)
                && timestamps.value.wrapping_sub(self.own.tsval).cast_signed() > 0
        });
        let is_new = self.own.is(Half::SEQ) && !segment.seq.is_before(self.own.max_end);
        let accepted = self.valid_ack().or_else(|| self.own.is(Half::ACK).then_some(self.own.ack));
        let acks_more = segment.has(Flags::ACK)
            && !is_reset
            && accepted.is_some_and(|accepted| segment.ack.is_after(accepted));
        Some(Pending {
            frame: self.look.frame,
            orientation: self.look.orientation,
            at: self.look.now,
            tsval: newer.filter(|_| starts_in_order).map(|timestamps| timestamps.value),
            ack: acks_more.then_some(segment.ack),
            data: (segment.len > 0 && is_new).then(|| (segment.seq, segment.end())),
        })
    }

    fn valid_ack(&self) -> Option<SeqNum> {
        self.detail_seen()?.effects.valid_ack[self.look.orientation]
    }

    /// Returns the highest acknowledgement of the other side in a packet that was not INVALID, once
    /// one was INVALID.
    pub(super) fn valid_ack_of_peer(&self) -> Option<SeqNum> {
        self.detail_seen()?.effects.valid_ack[self.look.orientation.flip()]
    }

    /// Draws the conclusions about INVALID packets; `pending` is this one, if it is INVALID.
    pub(super) fn take_effects(&mut self, outcome: &Outcome, pending: Option<Pending>) {
        let orientation = self.look.orientation;
        let patience = self.peer.min_rtt().unwrap_or(0).saturating_mul(2) + PATIENCE_US;
        let (segment, now, again) = (self.look.segment, self.look.now, outcome.again);
        let ack_before = self.ack_before;
        if let Some(detail) = self.detail_if_any()
            && detail.effects.is_waiting()
        {
            detail.effects.react(&Reaction { segment, orientation, now, again, patience });
            for (frame, effect) in detail.effects.resolved.clone() {
                self.tell(Happening::Effect { frame, effect });
            }
        }
        if let Some(pending) = pending {
            let effects = &mut self.detail().effects;
            let valid = &mut effects.valid_ack[orientation];
            *valid = valid.or(ack_before);
            effects.expect(pending);
        } else if segment.has(Flags::ACK)
            && let Some(detail) = self.detail_if_any()
            && let Some(valid) = &mut detail.effects.valid_ack[orientation]
        {
            *valid = valid.latest(segment.ack);
        }
    }
}
