//! A segment that is not merely the next one: what it means for handshake, acknowledgements, windows
//! and history. What it means for the bytes is in [`bytes`](super::bytes).
//!
//! Does not: judge as the tracker does.

use crate::flow::detail::{Detail, Side, Stall, StallEnd, Waiting};
use crate::flow::exchange::{LEAST_STALL_US, Look, Repeated, Taken};
use crate::flow::half::Half;
use crate::flow::history::{History, Letter, is_round, letters_of, plain_marks};
use crate::flow::retransmission::Kind;
use crate::flow::story::{Event, Happening, Sample};
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::tuple::Orientation;

/// How far a number can lie from what is known before it counts as nonsense: the largest window.
pub(super) const MAX_JUMP: u32 = 1 << 30;
/// How far a number lies from those before where it is not of the same count: 16 MiB, the largest
/// receive buffer that hosts have by default.
const LEAST_WILD: u32 = 1 << 24;
/// Silence after which all times are as good as forever ago, before they go around: 18 minutes.
const LONG_SILENCE_US: u32 = 1 << 30;

/// What the bytes of a segment turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Outcome {
    /// The kind, for a segment below the highest number.
    pub(super) kind: Option<Kind>,
    /// The bytes that it repeats.
    pub(super) again: Option<(SeqNum, SeqNum)>,
    /// How long the data had made no progress, for one that counts as sent again.
    pub(super) repeated: Option<Repeated>,
    /// Whether the segment acknowledged more than the ones before.
    pub(super) acked_more: bool,
}

/// A closer look at one segment.
pub(super) struct Step<'a> {
    pub(super) own: &'a mut Half,
    pub(super) peer: &'a mut Half,
    detail: &'a mut Option<Box<Detail>>,
    history: &'a mut History,
    pub(super) look: Look<'a>,
    /// Whether the sender has sent nothing but SYNs and RSTs before.
    pub(super) is_opening: bool,
    /// What the sender had acknowledged before.
    pub(super) ack_before: Option<SeqNum>,
}

impl<'a> Step<'a> {
    pub(super) const fn new(
        own: &'a mut Half,
        peer: &'a mut Half,
        detail: &'a mut Option<Box<Detail>>,
        history: &'a mut History,
        look: Look<'a>,
    ) -> Self {
        let is_opening = !own.has_spoken();
        let ack_before = if own.is(Half::ACK) { Some(own.ack) } else { None };
        Self { own, peer, detail, history, look, is_opening, ack_before }
    }

    /// Takes the segment.
    pub(super) fn take(mut self) -> Taken {
        let segment = self.look.segment;
        self.wake_up();
        let stall = self.stall();
        let pending = self.pending();
        if self.may_hold_a_sign() {
            self.watch();
        }
        let is_wild = self.is_wild();
        let times_handshake = self.peer.min_rtt().is_none() && self.peer_only_opened();
        self.write_letters();
        let outcome = if segment.has(Flags::RST) {
            self.take_reset();
            Outcome::default()
        } else {
            self.take_numbers()
        };
        // Where one direction is missing, only the repetition tells that something was due.
        let has_repeated = outcome.repeated.is_some() && self.look.silence >= LEAST_STALL_US;
        if let Some(waiting) = stall.or(has_repeated.then_some(Waiting::Acknowledgement)) {
            self.end_stall(waiting, &outcome);
        }
        self.take_effects(&outcome, pending);
        self.own.last_at = self.look.now;
        self.set_alerts();
        let handshake_us = self.peer.min_rtt().filter(|_| times_handshake);
        let is_copy = outcome.kind == Some(Kind::Duplicate);
        Taken { repeated: outcome.repeated, handshake_us, is_copy, is_wild }
    }

    /// Returns whether the sequence number is further from those before than flows come.
    const fn is_wild(&self) -> bool {
        let segment = self.look.segment;
        let opens_or_ends = segment.has(Flags::SYN) || segment.has(Flags::RST);
        let apart = segment.seq.offset_from(self.own.max_end).unsigned_abs();
        self.own.is(Half::SEQ) && !opens_or_ends && apart > LEAST_WILD
    }

    /// Returns whether the sender had spoken before the first RST in its name.
    pub(super) fn has_spoken_before_its_reset(&self) -> bool {
        let from_high = self.look.orientation == Orientation::HighToLow;
        self.history.begins(from_high, &[Letter::Ack, Letter::Data], Letter::Rst)
    }

    /// Returns whether the receiver has sent nothing but a SYN or SYN-ACK.
    const fn peer_only_opened(&self) -> bool {
        self.peer.is(Half::SYN) && !self.peer.has_spoken()
    }

    /// Takes a segment of which nothing can be believed.
    pub(super) fn take_faulty(mut self) {
        let told = [Letter::Checksum, Letter::MultiFlag, Letter::Inconsistent];
        for letter in letters_of(self.look.segment).filter(|letter| told.contains(letter)) {
            if self.own.marks & letter.mark() == 0 {
                self.write(letter);
            }
        }
    }

    fn take_numbers(&mut self) -> Outcome {
        let segment = self.look.segment;
        let mut outcome = Outcome::default();
        if self.is_copy_of_last() {
            outcome.kind = Some(Kind::Duplicate);
            self.count(Kind::Duplicate, segment.len);
            self.compare_copy();
            return outcome;
        }
        if segment.has(Flags::SYN) {
            outcome = self.take_syn();
        }
        let edge_before = self.own.is(Half::ACK).then(|| self.own.edge());
        if segment.has(Flags::ACK) {
            outcome.acked_more = self.take_ack();
            self.take_window(edge_before);
        }
        if !segment.has(Flags::SYN) {
            outcome = Outcome { acked_more: outcome.acked_more, ..self.take_bytes() };
        }
        self.take_stamp(outcome.kind);
        outcome
    }

    // ---- what is kept -------------------------------------------------------------------------

    pub(super) fn detail(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }

    /// Returns what is kept of the sender, and makes room for it if need be.
    pub(super) fn own_side(&mut self) -> &mut Side {
        let orientation = self.look.orientation;
        self.detail().sides[orientation].get_or_insert_default()
    }

    /// Returns what is kept of the receiver, and makes room for it if need be.
    pub(super) fn peer_side(&mut self) -> &mut Side {
        let orientation = self.look.orientation.flip();
        self.detail().sides[orientation].get_or_insert_default()
    }

    /// Returns what is kept of the sender, if anything is.
    pub(super) fn own_side_if_any(&mut self) -> Option<&mut Side> {
        let orientation = self.look.orientation;
        self.detail.as_mut()?.sides[orientation].as_deref_mut()
    }

    /// Returns what is kept of the receiver, if anything is.
    pub(super) fn peer_side_if_any(&mut self) -> Option<&mut Side> {
        let orientation = self.look.orientation.flip();
        self.detail.as_mut()?.sides[orientation].as_deref_mut()
    }

    /// Returns what is kept of the flow, if anything is.
    pub(super) fn detail_if_any(&mut self) -> Option<&mut Detail> {
        self.detail.as_deref_mut()
    }

    /// Returns what is known of the flow, if anything is.
    pub(super) fn detail_seen(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    /// Returns what is known of the sender, if anything is.
    pub(super) fn side(&self) -> Option<&Side> {
        self.detail_seen()?.sides[self.look.orientation].as_deref()
    }

    /// Returns what is known of the receiver, if anything is.
    pub(super) fn peer_side_seen(&self) -> Option<&Side> {
        self.detail_seen()?.sides[self.look.orientation.flip()].as_deref()
    }

    /// Notes a happening, where the flow is the one to be shown in full.
    pub(super) fn tell(&mut self, what: Happening) {
        let Look { frame, ts, orientation, .. } = self.look;
        if let Some(story) = self.detail.as_mut().and_then(|detail| detail.story.as_mut()) {
            story.tell(Event { frame, ts, orientation, what });
        }
    }

    /// Notes the window of the sender, where the flow is the one to be shown in full.
    pub(super) fn sample_window(&mut self) {
        let Look { ts, orientation, .. } = self.look;
        let window = u32::from(self.own.win) << self.own.shift;
        let flight = self.peer.flight(self.own);
        if let Some(story) = self.detail.as_mut().and_then(|detail| detail.story.as_mut()) {
            story.sample(Sample { ts, orientation, window, flight });
        }
    }

    /// Puts both sides on alert while something is under way.
    fn set_alerts(&mut self) {
        let (mut own, mut peer) = (false, false);
        if let Some(detail) = self.detail.as_deref() {
            let orientation = self.look.orientation;
            let everything = detail.story.is_some() || detail.effects.is_waiting();
            let is_busy = |way| detail.sides[way].as_deref().is_some_and(Side::is_busy);
            own = everything || is_busy(orientation);
            peer = everything || is_busy(orientation.flip());
        }
        // Whoever goes on after a RST in its name did not send it.
        let reset = Letter::Rst.mark();
        self.own.set_alert(own || self.own.marks & reset != 0);
        self.peer.set_alert(peer || self.peer.marks & reset != 0);
    }

    /// Counts a segment below the highest number.
    pub(super) fn count(&mut self, kind: Kind, bytes: u32) {
        let frame = self.look.frame;
        self.own_side().kinds.add(kind, bytes, frame);
        if kind.is_retransmission() {
            let again = self.own_side().kinds.retransmitted().packets;
            self.write_repeated(Letter::Again, u32::try_from(again).unwrap_or(u32::MAX));
        }
        let idle_us = self.look.now.since(self.own.progress_at);
        self.tell(Happening::Again { kind, bytes, idle_us });
    }

    // ---- history ------------------------------------------------------------------------------

    fn write_letters(&mut self) {
        let from_high = self.look.orientation == Orientation::HighToLow;
        if let Some(marks) = plain_marks(self.look.segment) {
            // Most segments have one letter, which stands there already.
            let new = marks & !self.own.marks;
            if new != 0 {
                self.own.marks |= new;
                self.history.push_marks(new, from_high);
            }
            return;
        }
        for letter in letters_of(self.look.segment) {
            if self.own.marks & letter.mark() == 0 {
                self.write(letter);
            }
        }
    }

    fn write(&mut self, letter: Letter) {
        self.own.marks |= letter.mark();
        self.history.push(letter, self.look.orientation == Orientation::HighToLow);
    }

    /// Writes a letter into the history of the other side.
    pub(super) fn write_for_peer(&mut self, letter: Letter) {
        self.peer.marks |= letter.mark();
        self.history.push(letter, self.look.orientation == Orientation::LowToHigh);
    }

    /// Writes a letter that stands again with its 10th, 100th … occurrence.
    pub(super) fn write_repeated(&mut self, letter: Letter, count: u32) {
        if is_round(count) {
            self.write(letter);
        }
    }

    // ---- silence ------------------------------------------------------------------------------

    /// Keeps times from going around the circle during a long silence.
    fn wake_up(&mut self) {
        if self.look.silence < LONG_SILENCE_US {
            return;
        }
        let long_ago = self.look.now.before(LONG_SILENCE_US);
        for half in [&mut *self.own, &mut *self.peer] {
            half.last_at = long_ago;
            half.progress_at = long_ago;
            half.forget_probe();
        }
    }

    fn stall(&self) -> Option<Waiting> {
        if self.look.silence < LEAST_STALL_US {
            return None;
        }
        let shut = |half: &Half, sender: &Half| {
            half.is(Half::ACK) && half.win == 0 && !sender.has_closed()
        };
        if shut(self.own, self.peer) || shut(self.peer, self.own) {
            Some(Waiting::Window)
        } else if self.own.flight(self.peer) > 0 || self.peer.flight(self.own) > 0 {
            Some(Waiting::Acknowledgement)
        } else if self.waits_for_handshake() {
            Some(Waiting::Handshake)
        } else {
            None
        }
    }

    /// Returns whether a SYN, or a SYN-ACK, is still without its answer.
    fn waits_for_handshake(&self) -> bool {
        let is_open = |opener: &Half, other: &Half| {
            // Whoever sent a SYN and acknowledges has had its answer, captured or not. Whoever sent a
            // SYN-ACK acknowledges from the first: there the silence of the other side tells.
            let waits = !opener.is(Half::ACK) || other.is(Half::SYN);
            opener.is(Half::SYN) && !other.is(Half::ACK) && waits
        };
        // Where the other side is not captured, only a SYN-ACK sent again shows that it was silent.
        let segment = self.look.segment;
        let answers_again = self.own.is(Half::SYN | Half::ACK)
            && !self.peer.is(Half::ACK)
            && segment.has(Flags::SYN)
            && segment.has(Flags::ACK);
        is_open(self.own, self.peer) || is_open(self.peer, self.own) || answers_again
    }

    fn end_stall(&mut self, waiting: Waiting, outcome: &Outcome) {
        let Look { frame, ts, silence: micros, segment, .. } = self.look;
        let answers_syn =
            waiting == Waiting::Handshake && self.ack_before.is_none() && segment.has(Flags::ACK);
        let end = match outcome.kind {
            Some(kind) => StallEnd::Again(kind),
            None if segment.has(Flags::RST) => StallEnd::Reset,
            None if segment.has(Flags::SYN) && segment.has(Flags::ACK) => StallEnd::SynAck,
            None if segment.has(Flags::SYN) => StallEnd::Syn,
            None if outcome.acked_more || answers_syn => StallEnd::Acknowledged,
            None if segment.len > 0 => StallEnd::Data,
            None if segment.has(Flags::FIN) => StallEnd::Fin,
            None => StallEnd::Other,
        };
        let stall = Stall { frame, ts, micros, waiting, end };
        let detail = self.detail();
        detail.stalls += 1;
        if detail.stall.is_none_or(|longest| longest.micros < micros) {
            detail.stall = Some(stall);
        }
        self.tell(Happening::Stalled(stall));
    }
}
