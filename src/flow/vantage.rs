//! From which place a flow is judged: which of its packets count, and which are copies.
//!
//! Does not: know how copies are told, see [`sightings`](super::sightings).

use crate::conntrack::Arrival;
use crate::flow::FlowAudit;
use crate::flow::exchange::pair;
use crate::flow::glance::{Glance, Mark, Opened, Sight};
use crate::flow::half::{Half, Offer, Tick};
use crate::flow::history::Letter;
use crate::flow::places::Places;
use crate::flow::same::{has_identity, is_same_elsewhere, is_same_syn, offers_the_same};
use crate::flow::sightings::{Sighted, Sightings, is_captured_twice};
use crate::segment::{Flags, Options, Segment, TcpTimestamps};
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation, Vantage};

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

    /// Returns the packets both ways.
    const fn packets(&self) -> u64 {
        let (low, high) = (self.counts.low_to_high, self.counts.high_to_low);
        self.facts.low_to_high.packets(low) + self.facts.high_to_low.packets(high)
    }

    /// Returns whether nothing of the flow was seen.
    pub const fn is_new(&self) -> bool {
        self.packets() == 0 && matches!(self.copies, Copies::None)
    }

    /// Says whether a packet passes the place where the flow is judged; `first` is another sight of
    /// the same SYN or SYN-ACK, if one is remembered.
    ///
    /// After [`Sighted::SynAgain`], [`Sighted::Back`] and [`Sighted::Anew`] the flow has started over,
    /// with the same id; its tracker must do so as well. A copy prolongs the memory of the flow and
    /// counts for nothing else.
    #[cold]
    pub fn sight(
        &mut self,
        frame: u64,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
        first: Option<Sight>,
    ) -> Sighted {
        let seen = self.look_at(frame, (ts, vantage), arrival, first);
        if seen == Sighted::Copy {
            self.last_seen = arrival.now;
        }
        seen
    }

    /// Returns where the first sight of this SYN or SYN-ACK would have been captured, if the flow is
    /// judged from elsewhere.
    pub fn leaves_out(&self, vantage: Vantage) -> bool {
        self.sightings().is_some_and(|seen| seen.places.has(vantage))
    }

    /// Returns whether a SYN-ACK does not fit the one SYN that was seen: it may be the sight of
    /// another place, behind a device that changes numbers, of one that comes here next.
    pub fn is_odd_answer(&self, arrival: &Arrival<'_>) -> bool {
        let Arrival { segment, orientation, .. } = *arrival;
        let halves = &self.exchange.halves;
        let peer = halves[orientation.flip()];
        segment.has(Flags::SYN.with(Flags::ACK))
            && segment.fault.is_none()
            && self.counts[orientation].is_new()
            && peer.is(Half::SYN | Half::SEQ)
            && !peer.has_spoken()
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
        let gap = Tick::of(ts).since(Tick::of(held_ts));
        if !is_better || !is_same_syn(odd, segment, gap) {
            return false;
        }
        let is_original = orientation == self.original;
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let glance = Glance { frame, ts, vantage, orientation, is_original, segment, own, peer };
        let mark = Mark { vantage: held_vantage, ttl: odd.ttl };
        let elsewhere = Sight { frame: held_frame, ts: held_ts, mark, segment: *odd };
        let sightings = Box::new(Sightings::of_fitting(&glance, elsewhere));
        self.know(sightings);
        true
    }

    fn look_at(
        &mut self,
        frame: u64,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
        first: Option<Sight>,
    ) -> Sighted {
        let Arrival { segment, orientation, .. } = *arrival;
        if self.copies == Copies::Suspected {
            self.copies = Copies::Known;
        }
        let is_first = self.counts[orientation].is_new();
        if is_first {
            self.facts[orientation].vantage = vantage;
        }
        if is_first && !self.is_seen_twice() || segment.fault.is_some() {
            return Sighted::Here;
        }
        if let Some(back) = self.go_back(frame, (ts, vantage), arrival) {
            return Sighted::Back(back);
        }
        let before = self.first_sight(arrival);
        let way = self.facts[orientation].joined(self.counts[orientation]);
        let opened = Opened {
            first_seq: way.first_seq,
            vantage: way.vantage,
            is_first,
            has_ended: self.has_ended(),
        };
        let is_alone = self.counts[orientation.flip()].is_new();
        let moves_on = is_alone && self.tracked && !segment.has(Flags::ACK);
        let is_original = orientation == self.original;
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let glance = Glance { frame, ts, vantage, orientation, is_original, segment, own, peer };
        let before = before.filter(|before| is_again(before, &glance, is_alone));
        let first = first.filter(|first| first.mark.vantage != vantage);
        let known = self.exchange.detail.as_mut().and_then(|detail| detail.sightings.as_mut());
        match (known, before) {
            (known, Some(before)) if moves_on => {
                let mut sightings = known.map(std::mem::take).unwrap_or_default();
                sightings.move_on(&glance, before);
                self.start_over(sightings, arrival);
                Sighted::SynAgain
            }
            (Some(known), before) => {
                let seen = known.look(&glance, before.or(first), &opened);
                if seen == Sighted::Anew {
                    let (sightings, original) = (std::mem::take(known), self.original);
                    self.start_over(sightings, arrival);
                    self.original = original;
                }
                seen
            }
            (None, before) => {
                match Sightings::found(&glance, before.or(first), &opened) {
                    Some(sightings) => self.know(Box::new(sightings)),
                    None => return Sighted::Here,
                }
                Sighted::Copy
            }
        }
    }

    /// Judges from the place before again, where the answer to the SYN comes from there first.
    ///
    /// A packet that passes two places to one end passes them in the other order on the way back. If it
    /// does not, the clocks differ by more than that takes, or one of the places is passed by.
    fn go_back(
        &mut self,
        frame: u64,
        (ts, vantage): (Timestamp, Vantage),
        arrival: &Arrival<'_>,
    ) -> Option<Sight> {
        let Arrival { segment, orientation, .. } = *arrival;
        let opener = orientation.flip();
        let only_opened =
            self.counts[orientation].is_new() && !self.exchange.halves[opener].has_spoken();
        let is_original = orientation == self.original;
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let glance = Glance { frame, ts, vantage, orientation, is_original, segment, own, peer };
        let known = self.exchange.detail.as_mut()?.sightings.as_mut()?;
        if !only_opened || !known.places.has(vantage) {
            return None;
        }
        let back = known.go_back(&glance)?;
        let sightings = std::mem::take(known);
        let syn = Arrival { segment: &back.segment, orientation: opener, now: arrival.now };
        self.start_over(sightings, &syn);
        self.facts[opener].vantage = vantage;
        Some(back)
    }

    /// Returns whether either side has closed or reset the connection.
    fn has_ended(&self) -> bool {
        let ended = Letter::Fin.mark() | Letter::Rst.mark();
        let PerOrientation { low_to_high: low, high_to_low: high } = &self.exchange.halves;
        (low.marks | high.marks) & ended != 0
    }

    /// Returns the one packet of this way as it was captured first, if it was a SYN or SYN-ACK.
    fn first_sight(&self, arrival: &Arrival<'_>) -> Option<Sight> {
        let orientation = arrival.orientation;
        let way = self.facts[orientation].joined(self.counts[orientation]);
        let frame = self.first_frame;
        let own = &self.exchange.halves[arrival.orientation];
        let is_first = way.packets == 1 && way.syn_seen && own.is(Half::SYN);
        if !is_first || own.has_spoken() || !arrival.segment.has(Flags::SYN) {
            return None;
        }
        let segment = Segment { ttl: way.ttl, seq: way.first_seq?, ..remembered(own) };
        let mark = Mark { vantage: way.vantage, ttl: way.ttl };
        let ago_us = i64::from(Tick::of(self.last_ts).since(own.last_at));
        let ts = self.last_ts.plus_nanos(-1000 * ago_us);
        Some(Sight { frame, ts, mark, segment })
    }

    fn start_over(&mut self, sightings: Box<Sightings>, arrival: &Arrival<'_>) {
        let is_told = self.exchange.is_told();
        let vantage = self.facts[arrival.orientation].vantage;
        *self = Self::new(self.first_frame, self.first_ts, arrival);
        self.facts[arrival.orientation].vantage = vantage;
        if is_told {
            self.tell_all();
        }
        self.know(sightings);
    }

    fn know(&mut self, sightings: Box<Sightings>) {
        self.copies = Copies::Known;
        self.exchange.detail.get_or_insert_default().sightings = Some(sightings);
    }

    /// Expects copies from the first packet on.
    pub const fn expect_copies(&mut self) {
        self.copies = Copies::Known;
    }

    /// Expects copies from the first packet on, where the connection before had them.
    pub fn expect_copies_as(&mut self, before: &Self) {
        if !before.is_seen_twice() {
            return;
        }
        self.copies = Copies::Known;
        let places = before.sightings().map(|seen| seen.places.carried_over());
        if let Some(places) = places.filter(Places::are_several) {
            self.know(Box::new(Sightings::at(places)));
        }
    }

    /// Notes where the first packet of a way was captured.
    pub const fn first_seen_at(&mut self, orientation: Orientation, vantage: Vantage) {
        match orientation {
            Orientation::LowToHigh => self.facts.low_to_high.vantage = vantage,
            Orientation::HighToLow => self.facts.high_to_low.vantage = vantage,
        }
    }

    /// Keeps the flow apart from its copies once many packets have come twice.
    #[cold]
    pub(super) fn count_copies(&mut self) {
        let packets = self.packets();
        let copies = self.exchange.detail.as_ref().map_or(0, |detail| detail.copies());
        if self.copies == Copies::None && is_captured_twice(copies, packets) {
            self.know(Box::default());
            self.copies = Copies::Suspected;
        }
    }

    /// Looks for another place with other numbers, once those of a flow without a SYN jump to and fro.
    #[cold]
    pub(super) fn count_wild(&mut self) {
        let has_syn = self.counts.low_to_high.has_syn() || self.counts.high_to_low.has_syn();
        if has_syn || self.copies != Copies::None {
            return;
        }
        let detail = self.exchange.detail.get_or_insert_default();
        detail.wild = detail.wild.saturating_add(1);
        if detail.wild >= LEAST_WILD {
            self.know(Box::default());
            self.copies = Copies::Suspected;
        }
    }

    /// Takes out the places where the flow was captured.
    pub fn take_sightings(&mut self) -> Option<Sightings> {
        let mut sightings = self.exchange.detail.as_mut()?.sightings.take()?;
        sightings.finish();
        Some(*sightings).filter(|seen| seen.copies() > 0)
    }
}

/// Jumps after which a flow without a SYN may be there with two counts.
const LEAST_WILD: u32 = 4;
/// Bytes of a TCP header without options, and with those of a SYN: a tracker reads none in the first.
const HEADER: u8 = 20;
const HEADER_WITH_OPTIONS: u8 = 40;

/// Returns whether a SYN or SYN-ACK is another sight of the only one that its side has sent.
fn is_again(before: &Sight, glance: &Glance<'_>, is_alone: bool) -> bool {
    let segment = glance.segment;
    let gap = glance.now().since(glance.own.last_at);
    let moved = before.mark != glance.mark() || before.segment.seq != segment.seq;
    let (old, new) = (before.mark.vantage, glance.vantage);
    let soon = moved && is_alone_or_answer(is_alone, segment);
    let is_same = soon && is_same_syn(&before.segment, segment, gap);
    // Between two files any time may pass; a SYN sent again has mostly moved a counter on.
    let is_elsewhere = old != new && is_same_elsewhere(&before.segment, segment);
    let opens_again = is_alone
        && old.file != new.file
        && !segment.has(Flags::ACK)
        && before.segment.seq == segment.seq
        && !has_identity(segment)
        && offers_the_same(&before.segment, segment);
    is_same || is_elsewhere || opens_again
}

/// Returns whether a segment of this kind is compared with one just before it.
const fn is_alone_or_answer(is_alone: bool, segment: &Segment) -> bool {
    is_alone || segment.has(Flags::ACK)
}

/// Puts a SYN together from what its side remembers of it.
fn remembered(own: &Half) -> Segment {
    let answers = own.is(Half::ACK);
    let wscale = match own.offer() {
        Offer::Shift(shift) => Some(shift),
        Offer::NotSeen | Offer::NotOffered => None,
    };
    let timestamps = own.is(Half::TIMESTAMPS);
    let has_options = own.is(Half::MSS) || own.is(Half::SACK) || wscale.is_some() || timestamps;
    Segment {
        header_len: if has_options { HEADER_WITH_OPTIONS } else { HEADER },
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
