//! A closer look at a segment for [signs](super::signs) of a fault on the path.

use crate::conntrack::Reason;
use crate::flow::exchange::LEAST_STALL_US;
use crate::flow::half::Half;
use crate::flow::history::Letter;
use crate::flow::ranges::MAX_ID_STEP;
use crate::flow::signs::{
    ChallengedSyn, Leap, SecondSynAck, ShutSynAck, SideSigns, Signs, StandIn,
};
use crate::flow::step::Step;
use crate::segment::Flags;
use crate::tuple::Orientation;

/// Hops by which packets of one host may differ: paths of equal cost are about as long.
const SAME_PATH_HOPS: u8 = 1;
/// How far a number must be ahead of everything captured to be more than a gap: 64 KiB.
const LEAST_LEAP: u32 = 1 << 16;
/// How long after a stale segment a RST may come from it: 1 s.
const DRAWN_US: u32 = 1_000_000;

/// Returns whether two packets took ways of different length; 0 stands for no packet.
pub(super) const fn differ(ttl: u8, other: u8) -> bool {
    ttl != 0 && other != 0 && ttl.abs_diff(other) > SAME_PATH_HOPS
}

impl Step<'_> {
    /// Returns whether the segment is worth a look, by little more than its flags: most are not.
    #[inline]
    pub(super) fn may_hold_a_sign(&self) -> bool {
        let segment = self.look.segment;
        let agreed = Half::SYN | Half::TIMESTAMPS;
        let is_bare = segment.options.timestamps.is_none() && self.own.is(agreed);
        let opens = segment.flags.0 & Flags::SYN.0 != 0 || self.is_opening;
        segment.flags.0 & Flags::RST.0 != 0
            || self.own.marks & Letter::Rst.mark() != 0
            || self.look.verdict.reason.is_some()
            || is_bare
            || opens && self.opens_strangely()
    }

    /// Returns whether a SYN, or the first segment after it, is worth a look.
    #[inline]
    fn opens_strangely(&self) -> bool {
        let segment = self.look.segment;
        let is_shut = segment.win == 0 && segment.has(Flags::SYN);
        let has_signs = self.detail_seen().is_some_and(|detail| detail.signs.is_some());
        is_shut || has_signs || differ(segment.ttl, self.look.ttl_before)
    }

    /// Looks for signs, before the segment's letters and numbers are taken.
    #[cold]
    pub(super) fn watch(&mut self) {
        let segment = self.look.segment;
        if segment.has(Flags::RST) {
            self.watch_reset();
            self.watch_leap();
        } else {
            self.watch_after_reset();
            self.watch_stamp();
            self.watch_age();
            self.watch_opening();
        }
    }

    /// Returns the signs of the flow, and makes room for them if need be.
    pub(super) fn signs(&mut self) -> &mut Signs {
        self.detail().signs.get_or_insert_default()
    }

    /// Returns the signs of the flow, if there are any.
    fn signs_if_any(&mut self) -> Option<&mut Signs> {
        self.detail_if_any()?.signs.as_deref_mut()
    }

    fn own_signs(&mut self) -> &mut SideSigns {
        let orientation = self.look.orientation;
        self.signs().of(orientation)
    }

    const fn is_high(&self) -> bool {
        matches!(self.look.orientation, Orientation::HighToLow)
    }

    // ---- resets -------------------------------------------------------------------------------

    fn watch_reset(&mut self) {
        let (frame, now, segment) = (self.look.frame, self.look.now, self.look.segment);
        let (orientation, is_high) = (self.look.orientation, self.is_high());
        let idle_s = u16::try_from(self.look.silence / 1_000_000).unwrap_or(u16::MAX);
        let mut host_ttl = self.look.ttl_before;
        if let Some(signs) = self.signs_if_any() {
            let stale = &mut signs.of(orientation.flip()).stale;
            let is_drawn = stale.seen.packets > 0
                && stale.ack == segment.seq
                && now.since(stale.at) <= DRAWN_US;
            if is_drawn {
                stale.drew_resets.add(frame);
            }
            if let Some(challenged) = &mut signs.challenged_syn
                && challenged.from_high != is_high
                && challenged.ack == segment.seq
            {
                challenged.reset_frame.get_or_insert(frame);
            }
            let resets = &signs.of(orientation).foreign_resets;
            if resets.seen.packets > 0 {
                host_ttl = resets.host_ttl;
            }
        }
        // A SYN may come from a scanner, which builds it by hand; and after a FIN all is said.
        let is_open = !self.is_opening && self.own.marks & Letter::Fin.mark() == 0;
        if !differ(segment.ttl, host_ttl) || !is_open {
            return;
        }
        let resets = &mut self.own_signs().foreign_resets;
        if resets.seen.packets == 0 {
            (resets.ttl, resets.host_ttl, resets.idle_s) = (segment.ttl, host_ttl, idle_s);
        }
        resets.seen.add(frame);
    }

    /// Looks whether a side goes on after a RST in its name, which ends every connection.
    fn watch_after_reset(&mut self) {
        let segment = self.look.segment;
        if self.own.marks & Letter::Rst.mark() == 0 {
            return;
        }
        if segment.has(Flags::SYN) {
            self.watch_answer_after_reset();
            return;
        }
        let is_known = self.own.is(Half::SEQ | Half::ACK);
        let brings_more = is_known
            && (segment.end().is_after(self.own.max_end)
                || segment.has(Flags::ACK) && segment.ack.is_after(self.own.ack));
        let is_later = self.look.now.since(self.own.last_at) >= LEAST_STALL_US;
        let had_spoken = self.has_spoken_before_its_reset();
        // After its FIN a side has said all; what still comes tells nothing of who sent the RST.
        let is_open = self.own.marks & Letter::Fin.mark() == 0;
        let frame = self.look.frame;
        if is_known && is_open && (brings_more || is_later) && had_spoken {
            self.own_signs().after_reset.add(frame);
        }
    }

    /// Looks whether a SYN is answered by a RST first and by a SYN-ACK then, without being sent again.
    fn watch_answer_after_reset(&mut self) {
        let (frame, now, segment) = (self.look.frame, self.look.now, self.look.segment);
        let (ttl, host_ttl) = (self.look.ttl_before, segment.ttl);
        let asked_again = now.since(self.peer.last_at) <= now.since(self.own.last_at);
        if !segment.has(Flags::ACK) || asked_again || !self.is_opening {
            return;
        }
        let signs = self.own_signs();
        signs.after_reset.add(frame);
        if differ(ttl, host_ttl) {
            let resets = &mut signs.foreign_resets;
            (resets.ttl, resets.host_ttl) = (ttl, host_ttl);
            resets.seen.add(frame);
        }
    }

    // ---- numbers and clocks -------------------------------------------------------------------

    /// Looks for a segment without the timestamp that both SYNs agreed upon.
    fn watch_stamp(&mut self) {
        let segment = self.look.segment;
        let agreed = Half::SYN | Half::TIMESTAMPS;
        let is_announced = self.detail_seen().is_none_or(|detail| !detail.stamps_unannounced);
        let is_due = self.own.is(agreed) && self.peer.is(agreed) && is_announced;
        let is_bare = segment.options.timestamps.is_none() && !segment.options_cut;
        let frame = self.look.frame;
        if is_due && is_bare && !segment.has(Flags::SYN) {
            self.own_signs().unstamped.add(frame);
        }
    }

    /// Looks for a segment that is below the window and older than its neighbours.
    fn watch_age(&mut self) {
        let reason = self.look.verdict.reason;
        let is_low = matches!(reason, Some(Reason::SeqUnder | Reason::AckUnder));
        if !is_low || !self.own.is(Half::SEQ) || !self.is_older() {
            return;
        }
        let (frame, now, segment) = (self.look.frame, self.look.now, self.look.segment);
        let behind = self.own.max_end.offset_from(segment.end());
        let stale = &mut self.own_signs().stale;
        if stale.seen.packets == 0 {
            stale.behind = u32::try_from(behind).unwrap_or(0);
        }
        stale.seen.add(frame);
        (stale.ack, stale.at) = (segment.ack, now);
    }

    /// Returns whether the sender's own clock or counter says that the segment left long ago.
    fn is_older(&self) -> bool {
        let segment = self.look.segment;
        if let Some(timestamps) = segment.options.timestamps
            && self.own.is(Half::TIMESTAMPS)
        {
            return timestamps.value.wrapping_sub(self.own.tsval).cast_signed() < 0;
        }
        let back = self.own.ip_id.wrapping_sub(segment.ip_id).cast_signed();
        !self.own.is(Half::RANDOM_ID) && segment.ip_id != 0 && back > 0 && back < MAX_ID_STEP
    }

    /// Notes numbers far ahead of everything captured.
    pub(super) fn watch_leap(&mut self) {
        let (frame, segment) = (self.look.frame, self.look.segment);
        if !self.own.is(Half::SEQ) || !self.peer.is(Half::SEQ | Half::ACK) {
            return;
        }
        let ahead = |bytes: i32| u32::try_from(bytes).unwrap_or(0);
        let acked = if segment.has(Flags::ACK) { segment.ack } else { self.peer.max_end };
        let seq_bytes = ahead(segment.seq.offset_from(self.own.max_end));
        let ack_bytes = ahead(acked.offset_from(self.peer.max_end));
        if seq_bytes.max(ack_bytes) < LEAST_LEAP {
            return;
        }
        let closes = segment.has(Flags::FIN) || segment.has(Flags::RST);
        let leap = &mut self.own_signs().leap;
        if leap.seen.packets == 0 {
            *leap = Leap { seq_bytes, ack_bytes, closes, ..Leap::default() };
        }
        leap.seen.add(frame);
    }

    // ---- handshake ----------------------------------------------------------------------------

    /// Looks for what is strange between the SYN and the first segment after it.
    fn watch_opening(&mut self) {
        let (frame, segment) = (self.look.frame, self.look.segment);
        let (is_high, ttl_before) = (self.is_high(), self.look.ttl_before);
        if segment.has(Flags::SYN) {
            let is_answer = segment.has(Flags::ACK);
            if is_answer && segment.win == 0 {
                self.signs().shut_syn_ack = Some(ShutSynAck { frame, opened: None });
            }
            if !is_answer
                && let Some(signs) = self.signs_if_any()
                && let Some(challenged) = &mut signs.challenged_syn
                && challenged.from_high != is_high
            {
                challenged.retry_frame.get_or_insert(frame);
            }
            return;
        }
        let follows_syn_ack =
            self.is_opening && self.own.marks & Letter::SynAck.mark() != 0 && segment.win > 0;
        if !follows_syn_ack {
            return;
        }
        let is_second = self.detail_seen().is_some_and(|d| d.handshake.other_syn_acks > 0);
        if differ(segment.ttl, ttl_before) && !is_second {
            let (syn_ack_ttl, ttl) = (ttl_before, segment.ttl);
            self.signs().stand_in = Some(StandIn { frame, syn_ack_ttl, ttl });
        }
        if let Some(signs) = self.signs_if_any()
            && let Some(shut) = &mut signs.shut_syn_ack
        {
            shut.opened.get_or_insert(frame);
        }
    }

    /// Notes another SYN-ACK for the same SYN.
    pub(super) fn watch_other_syn_ack(&mut self) {
        let (frame, segment) = (self.look.frame, self.look.segment);
        let answers_the_same = self.own.is(Half::ACK) && self.own.ack == segment.ack;
        let Some(first) = self.look.first_seq.filter(|_| answers_the_same) else { return };
        let second = SecondSynAck {
            frame,
            offset: segment.seq.offset_from(first),
            first_ttl: self.look.ttl_before,
            ttl: segment.ttl,
        };
        self.signs().second_syn_ack.get_or_insert(second);
    }

    /// Notes an answer to a SYN that acknowledges something else.
    pub(super) fn watch_challenge(&mut self) {
        let from_high = self.is_high();
        let (ack_frame, ack) = (self.look.frame, self.look.segment.ack);
        let challenged = ChallengedSyn { ack_frame, ack, from_high, ..ChallengedSyn::default() };
        self.signs().challenged_syn.get_or_insert(challenged);
    }
}
