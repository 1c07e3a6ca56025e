//! A closer look at a segment with SYN or RST.

use crate::flow::half::{Half, Probe, Tick};
use crate::flow::handshake::Challenge;
use crate::flow::history::Letter;
use crate::flow::retransmission::Kind;
use crate::flow::step::{Outcome, Step};
use crate::segment::{Flags, Segment};
use crate::tuple::Orientation;

impl Half {
    /// Takes the numbers and offers of a SYN or SYN-ACK of this side.
    #[inline]
    pub(super) fn open(&mut self, segment: &Segment, now: Tick) {
        self.offered(segment);
        self.max_end = segment.end();
        // Compared with the next one; nobody takes it for a window before something is acknowledged.
        self.win = segment.win;
        self.progress_at = now;
        self.set(Self::SEQ);
        self.spoil_probe();
        self.time(Probe::ack(segment.end()), now);
    }
}

impl Step<'_> {
    /// Takes a SYN or SYN-ACK.
    pub(super) fn take_syn(&mut self) -> Outcome {
        let segment = self.look.segment;
        let is_answer = segment.has(Flags::ACK);
        if !self.own.is(Half::SYN) {
            if self.own.is(Half::SEQ) {
                self.await_challenge();
            } else {
                self.own.open(segment, self.look.now);
            }
            return Outcome::default();
        }
        if self.look.first_seq == Some(segment.seq) {
            // Where both open at once each sends a SYN, and then a SYN-ACK (RFC 9293, section 3.5).
            let opens_at_once = is_answer && !self.own.is(Half::ACK) && self.peer.is(Half::SYN);
            return if opens_at_once { Outcome::default() } else { self.take_syn_again() };
        }
        if is_answer {
            self.watch_other_syn_ack();
            let other_end = segment.end();
            let handshake = &mut self.detail().handshake;
            handshake.other_syn_acks += 1;
            handshake.other_end = Some(other_end);
        } else if self.peer.is(Half::ACK) && self.peer.marks & Letter::Rst.mark() == 0 {
            self.await_challenge();
        } else {
            self.own.open(segment, self.look.now);
        }
        Outcome::default()
    }

    fn take_syn_again(&mut self) -> Outcome {
        let segment = self.look.segment;
        if self.is_copied_syn() {
            self.count(Kind::Duplicate, 0);
            self.compare_copy();
            return Outcome { kind: Some(Kind::Duplicate), ..Outcome::default() };
        }
        let kind = match segment.has(Flags::ACK) {
            _ if self.is_unprompted() => Kind::Unprompted,
            true => Kind::SynAck,
            false => Kind::Syn,
        };
        let (now, first) = (self.look.now, self.look.first);
        self.count(kind, 0);
        // With a timestamp the answer will say which of the SYNs it answers; without, nobody knows.
        self.own.spoil_probe();
        if let Some(timestamps) = segment.options.timestamps {
            self.own.time(Probe::echo(timestamps.value), now);
        }
        let same = self.own.offers_the_same(segment);
        let handshake = &mut self.detail().handshake;
        if kind == Kind::Syn {
            handshake.retried(now, first);
        }
        handshake.options_changed += u32::from(!same);
        Outcome { kind: Some(kind), ..Outcome::default() }
    }

    /// Compares a second sight of one SYN with the first.
    pub(super) fn compare_copy(&mut self) {
        let segment = self.look.segment;
        if segment.has(Flags::SYN) && !self.own.offers_the_same(segment) {
            self.detail().handshake.options_rewritten += 1;
        }
    }

    /// Expects an ACK that challenges this SYN (RFC 5961, section 4).
    fn await_challenge(&mut self) {
        let from_high = self.look.orientation == Orientation::HighToLow;
        let end = self.look.segment.end();
        self.detail().handshake.challenge = Some(Challenge { from_high, end });
    }

    /// Takes a RST: its numbers are not those of the byte stream.
    pub(super) fn take_reset(&mut self) {
        let answers_syn_ack = self.is_opening && self.peer.marks & Letter::SynAck.mark() != 0;
        if answers_syn_ack {
            self.detail().handshake.syn_acks_reset += 1;
        }
    }

    /// Counts an ACK that brings nothing new right after a SYN or RST of the other side, or that
    /// answers a SYN with another number.
    pub(super) fn look_for_challenge(&mut self, acked_more: bool, is_first_ack: bool) {
        let segment = self.look.segment;
        let is_pure = segment.len == 0 && !segment.has(Flags::SYN) && !segment.has(Flags::FIN);
        let peer_is_high = self.look.orientation == Orientation::LowToHigh;
        let mut is_challenge = false;
        if let Some(detail) = self.detail_if_any() {
            let challenged = detail.handshake.challenge.take();
            is_challenge = challenged.is_some_and(|challenge| {
                challenge.from_high == peer_is_high && challenge.end != segment.ack
            });
        }
        let only_syn = is_first_ack
            && self.peer.is(Half::SYN)
            && !self.own.is(Half::SYN)
            && segment.ack != self.peer.max_end;
        let after_rst = !acked_more && self.peer.marks & Letter::Rst.mark() != 0;
        if is_pure && (is_challenge || only_syn) {
            self.watch_challenge();
        }
        if is_pure && (is_challenge || only_syn || after_rst) {
            self.detail().handshake.challenge_acks += 1;
        }
    }
}
