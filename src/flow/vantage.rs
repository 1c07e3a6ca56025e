//! From which place a flow is judged: which of its packets count, and which are copies.
//!
//! Does not: know how copies are told, see [`sightings`](super::sightings).

use crate::conntrack::Arrival;
use crate::flow::FlowAudit;
use crate::flow::exchange::pair;
use crate::flow::half::{Half, Offer, Tick};
use crate::flow::history::Letter;
use crate::flow::sightings::{
    Glance, Mark, Sight, Sighted, Sightings, is_captured_twice, is_same_syn,
};
use crate::segment::{Flags, Options, Segment, TcpTimestamps};
use crate::time::Timestamp;
use crate::tuple::Vantage;

/// Whether packets of a flow are there several times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub(super) enum Copies {
    /// Not as far as it is known.
    None = 0,
    /// They are; from the next packet on they are left out.
    Suspected,
    /// They are, and are left out.
    Known,
}

impl FlowAudit {
    /// Returns whether a packet may be a copy of one at another place, so that
    /// [`FlowAudit::sight`] is to be asked.
    #[inline]
    pub const fn may_be_copy(&self, segment: &Segment) -> bool {
        self.copies as u8 | (segment.flags.0 & Flags::SYN.0) != 0
    }

    /// Returns whether the flow is known to have been captured at several places.
    pub const fn is_seen_twice(&self) -> bool {
        matches!(self.copies, Copies::Known)
    }

    /// Returns whether nothing of the flow was seen.
    pub const fn is_new(&self) -> bool {
        self.ways.low_to_high.packets + self.ways.high_to_low.packets == 0
            && matches!(self.copies, Copies::None)
    }

    /// Says whether a packet passes the place where the flow is judged.
    ///
    /// After [`Sighted::SynAgain`] the flow has started over, with the same id; its tracker must do so
    /// as well. A copy prolongs the memory of the flow and counts for nothing else.
    #[cold]
    pub fn sight(
        &mut self,
        frame: u64,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
    ) -> Sighted {
        let seen = self.look_at(frame, (ts, vantage), arrival);
        if seen == Sighted::Copy {
            self.last_seen = arrival.now;
        }
        seen
    }

    /// Returns whether a SYN-ACK does not fit the one SYN that was seen: it may be the sight of
    /// another place, behind a device that changes numbers, of one that comes here next.
    pub fn is_odd_answer(&self, arrival: &Arrival<'_>) -> bool {
        let Arrival { segment, orientation, .. } = *arrival;
        let halves = &self.exchange.halves;
        let peer = halves[orientation.flip()];
        let spoken = Letter::Ack.mark() | Letter::Data.mark() | Letter::Fin.mark();
        segment.has(Flags::SYN.with(Flags::ACK))
            && segment.fault.is_none()
            && self.ways[orientation].first_seq.is_none()
            && peer.is(Half::SYN | Half::SEQ)
            && peer.marks & spoken == 0
            && segment.ack != peer.max_end
    }

    /// Takes a SYN-ACK after an odd one that was held back: returns whether both are one packet, of
    /// which this is the sight that counts.
    pub fn fits_better(
        &mut self,
        held: (u64, Timestamp, Vantage, &Segment),
        (frame, ts, vantage): (u64, Timestamp, Vantage),
        arrival: &Arrival<'_>,
    ) -> bool {
        let Arrival { segment, orientation, .. } = *arrival;
        let is_better = segment.has(Flags::SYN.with(Flags::ACK)) && !self.is_odd_answer(arrival);
        let (held_frame, held_ts, held_vantage, odd) = held;
        let now = Tick::of(ts);
        if !is_better || !is_same_syn(odd, segment, now.since(Tick::of(held_ts))) {
            return false;
        }
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let glance = Glance { frame, now, vantage, orientation, segment, own, peer };
        let mark = Mark { vantage: held_vantage, ttl: odd.ttl };
        let elsewhere = Sight { frame: held_frame, mark, segment: *odd };
        let sightings = Box::new(Sightings::of_fitting(&glance, elsewhere));
        self.know(sightings);
        true
    }

    fn look_at(
        &mut self,
        frame: u64,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
    ) -> Sighted {
        let Arrival { segment, orientation, .. } = *arrival;
        if self.copies == Copies::Suspected {
            self.copies = Copies::Known;
        }
        let way = &mut self.ways[orientation];
        let is_first = way.first_seq.is_none();
        if is_first {
            way.vantage = vantage;
        }
        if is_first && !self.is_seen_twice() || segment.fault.is_some() {
            return Sighted::Here;
        }
        let before = self.first_sight(arrival);
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let now = Tick::of(ts);
        let glance = Glance { frame, now, vantage, orientation, segment, own, peer };
        let known = self.exchange.detail.as_mut().and_then(|detail| detail.sightings.as_mut());
        let is_again = before.is_some_and(|before| {
            let gap = now.since(glance.own.last_at);
            let moved = before.mark != glance.mark() || before.segment.seq != segment.seq;
            moved && is_same_syn(&before.segment, segment, gap)
        });
        let is_alone = self.ways[orientation.flip()].first_seq.is_none();
        match (known, before.filter(|_| is_again)) {
            (Some(known), Some(before)) if is_alone && self.tracked && !segment.has(Flags::ACK) => {
                known.move_on(&glance, before);
                let sightings = std::mem::take(known);
                self.start_over(sightings, arrival);
                Sighted::SynAgain
            }
            (Some(known), _) => known.see(&glance),
            (None, Some(before)) if is_alone && self.tracked && !segment.has(Flags::ACK) => {
                let sightings = Box::new(Sightings::of_syn(&glance, before));
                self.start_over(sightings, arrival);
                Sighted::SynAgain
            }
            (None, Some(before)) if segment.has(Flags::ACK) => {
                let sightings = Box::new(Sightings::of_answer(&glance, before));
                self.know(sightings);
                Sighted::Copy
            }
            (None, _) => Sighted::Here,
        }
    }

    /// Returns the one packet of this way as it was captured first, if it was a SYN or SYN-ACK.
    fn first_sight(&mut self, arrival: &Arrival<'_>) -> Option<Sight> {
        let way = self.ways[arrival.orientation];
        let frame = self.first_frame;
        let (own, _) = pair(&mut self.exchange.halves, arrival.orientation);
        let spoken = Letter::Ack.mark() | Letter::Data.mark() | Letter::Fin.mark();
        let is_first = way.packets == 1 && way.syn_seen && own.is(Half::SYN);
        if !is_first || own.marks & spoken != 0 || !arrival.segment.has(Flags::SYN) {
            return None;
        }
        let segment = Segment { ttl: way.ttl, seq: way.first_seq?, ..remembered(own) };
        Some(Sight { frame, mark: Mark { vantage: way.vantage, ttl: way.ttl }, segment })
    }

    fn start_over(&mut self, sightings: Box<Sightings>, arrival: &Arrival<'_>) {
        let is_told = self.exchange.is_told();
        *self = Self::new(self.first_frame, self.first_ts, arrival);
        if is_told {
            self.tell_all();
        }
        self.know(sightings);
    }

    fn know(&mut self, sightings: Box<Sightings>) {
        self.copies = Copies::Known;
        self.exchange.detail.get_or_insert_default().sightings = Some(sightings);
    }

    /// Expects copies from the first packet on, where the connection before had them.
    pub const fn expect_copies(&mut self) {
        self.copies = Copies::Known;
    }

    /// Keeps the flow apart from its copies once many packets have come twice.
    #[cold]
    pub(super) fn count_copies(&mut self) {
        let packets = self.ways.low_to_high.packets + self.ways.high_to_low.packets;
        let copies = self.exchange.detail.as_ref().map_or(0, |detail| detail.copies());
        if self.copies == Copies::None && is_captured_twice(copies, packets) {
            self.know(Box::default());
            self.copies = Copies::Suspected;
        }
    }

    /// Takes out the places where the flow was captured.
    pub fn take_sightings(&mut self) -> Option<Sightings> {
        let mut sightings = self.exchange.detail.as_mut()?.sightings.take()?;
        sightings.finish();
        Some(*sightings)
    }
}

/// Puts a SYN together from what its side remembers of it.
fn remembered(own: &Half) -> Segment {
    let answers = own.is(Half::ACK);
    let wscale = match own.offer() {
        Offer::Shift(shift) => Some(shift),
        Offer::NotSeen | Offer::NotOffered => None,
    };
    let timestamps = own.is(Half::TIMESTAMPS);
    Segment {
        ack: own.ack,
        win: own.win,
        flags: if answers { Flags::SYN.with(Flags::ACK) } else { Flags::SYN },
        ip_id: own.ip_id,
        options: Options {
            mss: own.is(Half::MSS).then_some(own.mss),
            wscale,
            sack_permitted: own.is(Half::SACK),
            timestamps: timestamps.then_some(TcpTimestamps { value: own.tsval, echo: 0 }),
            ..Options::default()
        },
        ..Segment::default()
    }
}
