//! The shortest way through a handshake by the book, and to the first segment of the side that was
//! called: what a closer look finds in them is known before.
//!
//! Does not: know more of the tracker than whether it lets a segment pass without a word.

use crate::conntrack::window::MAX_ACK_WINDOW;
use crate::conntrack::{Arrival, Next, Panel, Standing, Track};
use crate::flow::exchange::{carry_on, fits, is_clock_in_sequence, pair};
use crate::flow::half::{Half, Tick};
use crate::flow::history::{Letter, plain_marks};
use crate::flow::ranges::MAX_ID_STEP;
use crate::flow::scaling::{self, Scaling};
use crate::flow::vantage::Copies;
use crate::flow::watch::differ;
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::time::Timestamp;
use crate::tuple::{Orientation, Vantage};

/// The marks of all letters, and the alert.
const SAID: u16 = Half::ALERT | ((Letter::Inconsistent.mark() << 1) - 1);

/// A kind of segment that begins a connection by the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// SYN.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// RST and ACK.
    Refusal,
    /// ACK, without data.
    Ack,
    /// ACK, with data.
    Data,
}

impl Greeting {
    /// Says what a segment is, by its flags and length, if it has nothing that is not by the book.
    #[inline]
    pub fn of(segment: &Segment) -> Option<Self> {
        const SYN_ACK: u8 = Flags::SYN.with(Flags::ACK).0;
        const RST_ACK: u8 = Flags::RST.with(Flags::ACK).0;
        let is_plain = segment.fault.is_none() && segment.options.sack.is_empty();
        match (segment.flags.0 & Flags::DECIDING.0, segment.len) {
            _ if !is_plain => None,
            (RST_ACK, 0) => Some(Self::Refusal),
            _ if segment.win == 0 => None,
            (flags, 0) if flags == Flags::SYN.0 => Some(Self::Syn),
            (SYN_ACK, 0) => Some(Self::SynAck),
            (flags, 0) if flags == Flags::ACK.0 => Some(Self::Ack),
            (flags, _) if flags == Flags::ACK.0 => Some(Self::Data),
            _ => None,
        }
    }
}

impl FlowAudit {
    /// Returns whether a side may still greet: it has sent nothing but SYNs and RSTs.
    #[inline]
    pub fn may_greet(&self, orientation: Orientation) -> bool {
        !self.exchange.halves[orientation].has_spoken()
    }

    /// Starts a flow with a [`Greeting::Syn`] that opens its entry: what [`FlowAudit::new`],
    /// [`FlowAudit::sight`] and [`FlowAudit::observe`] make of it.
    #[inline]
    pub fn greeted_by(frame: u64, ts: Timestamp, vantage: Vantage, arrival: &Arrival<'_>) -> Self {
        let mut audit = Self::new(frame, ts, arrival);
        audit.tracked = true;
        audit.take_opening(ts, vantage, arrival, Letter::Syn);
        audit
    }

    /// Takes a [`Greeting::SynAck`] that is the first answer to the one SYN of the flow, on tracker and
    /// analysis; returns whether it was one, and leaves both as they are when not.
    #[inline]
    pub fn take_syn_ack(
        &mut self,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        if !(self.is_first_answer(arrival) && self.is_undisturbed(ts)) {
            return false;
        }
        if !track.take_syn_ack(arrival, panel) {
            return false;
        }
        (self.last_ts, self.last_seen) = (ts, arrival.now);
        self.take_opening(ts, vantage, arrival, Letter::SynAck);
        self.acknowledge(ts, arrival);
        true
    }

    /// Takes a [`Greeting::Refusal`] that is the first answer to the one SYN of the flow, on tracker and
    /// analysis; returns whether it was one, and leaves both as they are when not.
    #[inline]
    pub fn take_refusal(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        if !(self.is_first_answer(arrival) && self.is_undisturbed(ts)) {
            return false;
        }
        if !track.take_refusal(arrival, panel) {
            return false;
        }
        (self.last_ts, self.last_seen) = (ts, now);
        self.facts[orientation].note(&mut self.counts[orientation], segment);
        self.count(segment, orientation);
        let own = &mut self.exchange.halves[orientation];
        // Whoever goes on after a RST in its name did not send it.
        own.marks |= Letter::Rst.mark() | Half::ALERT;
        own.last_at = Tick::of(ts);
        self.exchange.history.push(Letter::Rst, orientation == Orientation::HighToLow);
        true
    }

    /// Takes a [`Greeting::Ack`] that completes the handshake, on tracker and analysis; returns whether it
    /// was one, and leaves both as they are when not.
    #[inline]
    pub fn take_first_ack(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let ttl = self.counts[orientation].ttl;
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let is_unanswered = peer.min_rtt().is_none();
        let is_known = is_opener(own) && !own.is(Half::ACK) && is_answerer(peer) && is_unanswered;
        let is_answer = (segment.seq, segment.ack) == (own.max_end, peer.max_end);
        let has_stamp = segment.options.timestamps.is_some() == own.is(Half::TIMESTAMPS);
        let scaling = scaling::of(own, peer);
        let is_usual = has_stamp && !differ(segment.ttl, ttl) && !is_odd(own, segment, scaling);
        if !(is_known && is_answer && is_usual && self.is_undisturbed(ts)) {
            return false;
        }
        if !track.take_first_ack(arrival, panel) {
            return false;
        }
        (self.last_ts, self.last_seen) = (ts, now);
        self.count(segment, orientation);
        let now = Tick::of(ts);
        let (own, _) = pair(&mut self.exchange.halves, orientation);
        own.marks |= Letter::Ack.mark();
        if let Scaling::By(shift) = scaling {
            own.shift = shift;
        }
        own.win = segment.win;
        if let Some(timestamps) = segment.options.timestamps {
            own.take_clock(segment, timestamps.value, now);
        }
        own.take_ip_id(segment);
        own.last_at = now;
        self.exchange.history.push(Letter::Ack, orientation == Orientation::HighToLow);
        self.acknowledge(ts, arrival);
        true
    }

    /// Takes a [`Greeting::Ack`] or [`Greeting::Data`] that is the first after the SYN-ACK of its side, on
    /// tracker and analysis, which have to be in step and stay so; returns whether it was one, and leaves
    /// both as they are when not. Where the tracker's entry may fall behind, it does.
    #[inline]
    pub fn take_first_answer(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let shift = self.shift_of_first_answer(arrival).filter(|_| self.is_undisturbed(ts));
        let Some(shift) = shift else { return false };
        let next = Next::of(arrival, shift);
        let peak_win = self.peak_to_run_from(&next, segment, track);
        if peak_win.is_some() {
            let (own, peer) = pair(&mut self.exchange.halves, orientation);
            let is_due = own.max_end.plus(next.len) != peer.ack || peer.max_end != next.ack;
            track.renew(now, Standing { is_due, is_cut: false }, panel);
        } else {
            self.bring_up(track);
            if !track.take_next(&next, panel) {
                return false;
            }
        }
        (self.last_ts, self.last_seen) = (ts, now);
        self.count(segment, orientation);
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let letters = plain_marks(segment).unwrap_or_default();
        own.marks |= letters;
        own.shift = shift;
        own.take_ip_id(segment);
        carry_on(own, peer, segment, Tick::of(ts));
        self.exchange.history.push_marks(letters, orientation == Orientation::HighToLow);
        if let Some(peak_win) = peak_win {
            self.run_from(orientation, segment, peak_win);
        }
        true
    }

    /// Returns how the windows of a side are to be read whose first segment after its SYN-ACK this is; none
    /// where it is not that, or not as usual.
    #[inline]
    fn shift_of_first_answer(&self, arrival: &Arrival<'_>) -> Option<u8> {
        let Arrival { segment, orientation, .. } = *arrival;
        let &Segment { seq, ack, len, .. } = segment;
        let ttl = self.counts[orientation].ttl;
        let halves = &self.exchange.halves;
        let (own, peer) = (&halves[orientation], &halves[orientation.flip()]);
        let is_known = is_answerer(own) && peer.marks & (Half::ALERT | Letter::Rst.mark()) == 0;
        let more_acked = ack.offset_from(own.ack);
        let brings_more = more_acked > 0 || more_acked == 0 && len > 0;
        let is_next = seq == own.max_end && brings_more && !ack.is_after(peer.max_end);
        let data_fits = len == 0 || fits(own, peer, segment.end());
        let scaling = scaling::of(own, peer);
        let shift = match scaling {
            Scaling::By(shift) => shift,
            Scaling::Off => 0,
            Scaling::Unknown => return None,
        };
        let is_usual = is_clock_in_sequence(own, segment)
            && has_next_id(own, segment)
            && !differ(segment.ttl, ttl)
            && !is_odd(own, segment, scaling);
        (is_known && is_next && data_fits && is_usual).then_some(shift)
    }

    /// Returns the largest window field that the sender of a first answer may have sent so far, if the
    /// tracker's entry may fall behind with it: all that was looked at when that was found out holds for its
    /// sender too.
    #[inline]
    fn peak_to_run_from(&self, next: &Next, segment: &Segment, track: &Track) -> Option<u16> {
        let peer = &self.exchange.halves[next.orientation.flip()];
        let unacknowledged = peer.max_end.0.wrapping_sub(next.ack.0);
        let may_fall_behind = self.may_run()
            && track.lives_at(next.now)
            && self.counts[next.orientation].stays_in_stretch(segment)
            && unacknowledged <= MAX_ACK_WINDOW
            && u16::try_from(next.len).is_ok()
            && !next.is_cut();
        let window = track.largest_window(next.orientation, next.shift);
        let raw = window.filter(|_| may_fall_behind)? >> next.shift;
        Some(u16::try_from(raw).unwrap_or(u16::MAX))
    }

    /// Returns whether nothing was seen of the sender, and of the receiver nothing but the SYN that this
    /// segment acknowledges.
    fn is_first_answer(&self, arrival: &Arrival<'_>) -> bool {
        let Arrival { segment, orientation, .. } = *arrival;
        let halves = &self.exchange.halves;
        let (own, peer) = (&halves[orientation], &halves[orientation.flip()]);
        let is_first = own.marks == 0 && !own.is(Half::SEQ) && self.counts[orientation].is_new();
        let is_known = is_opener(peer) && !peer.is(Half::ACK) && peer.min_rtt().is_none();
        is_first && is_known && segment.ack == peer.max_end
    }

    /// Returns whether the flow had no pause, and nothing is kept of it beside its numbers.
    fn is_undisturbed(&self, ts: Timestamp) -> bool {
        ts.nanos_since(self.last_ts) < LEAST_STALL_NS
            && !self.is_pausing()
            && matches!(self.copies, Copies::None)
            && self.exchange.detail.is_none()
            && self.evidence.is_none()
    }

    /// Takes the SYN or SYN-ACK that is the first segment of its side.
    #[inline]
    fn take_opening(
        &mut self,
        ts: Timestamp,
        vantage: Vantage,
        arrival: &Arrival<'_>,
        letter: Letter,
    ) {
        let Arrival { segment, orientation, .. } = *arrival;
        let now = Tick::of(ts);
        self.facts[orientation].vantage = vantage;
        self.facts[orientation].note(&mut self.counts[orientation], segment);
        self.count(segment, orientation);
        let own = &mut self.exchange.halves[orientation];
        own.marks |= letter.mark();
        own.open(segment, now);
        if let Some(timestamps) = segment.options.timestamps {
            own.take_clock(segment, timestamps.value, now);
        }
        own.ip_id = segment.ip_id;
        own.last_at = now;
        self.exchange.history.push(letter, orientation == Orientation::HighToLow);
    }

    /// Takes the first acknowledgement of a side, which answers the SYN or SYN-ACK of the other one.
    #[inline]
    fn acknowledge(&mut self, ts: Timestamp, arrival: &Arrival<'_>) {
        let Arrival { segment, orientation, .. } = *arrival;
        let now = Tick::of(ts);
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        own.set(Half::ACK);
        own.ack = segment.ack;
        own.max_edge = own.edge();
        peer.progress_at = now;
        peer.answered(segment, now);
        if let Some(handshake_us) = peer.min_rtt() {
            let way = orientation.flip();
            self.facts[way].answered(&mut self.counts[way], handshake_us);
        }
    }
}

/// Returns whether a side has sent a SYN, and nothing else.
const fn is_opener(half: &Half) -> bool {
    half.is(Half::SYN | Half::SEQ) && half.marks & SAID == Letter::Syn.mark()
}

/// Returns whether a side has sent a SYN-ACK, and nothing else.
const fn is_answerer(half: &Half) -> bool {
    half.is(Half::SYN | Half::SEQ | Half::ACK) && half.marks & SAID == Letter::SynAck.mark()
}

/// Returns whether the first window after a SYN is smaller than that of the SYN by more than scaling
/// explains.
fn is_odd(own: &Half, segment: &Segment, scaling: Scaling) -> bool {
    scaling::ratio(own.win, segment.win).is_some_and(|ratio| scaling::is_more(ratio, scaling))
}

/// Returns whether the identification of the first segment after a SYN-ACK, of which many hosts send
/// none, is that of a segment which left after it.
const fn has_next_id(own: &Half, segment: &Segment) -> bool {
    let step = segment.ip_id.wrapping_sub(own.ip_id).cast_signed();
    let is_next = segment.ip_id != 0 && step > 0 && step < MAX_ID_STEP;
    !own.is(Half::RANDOM_ID) && (own.ip_id == 0 || is_next)
}
