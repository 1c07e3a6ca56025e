//! Packets of a flow that were captured more than once: at two hops, on two interfaces, before and
//! after a device.
//!
//! A tracker sees each packet once, where it stands. So a flow that was captured twice is judged from
//! one place: the one nearest to the responder, which the SYN passes last and the SYN-ACK first. As
//! long as there is nothing but SYNs, the flow starts over with each further sight of the SYN; from
//! then on packets with the marks of another place (file, interface, time to live, sequence
//! numbers) are copies, and so is whatever repeats a packet just seen, bit for bit.
//!
//! A flow that is captured once pays one test of a flag a packet, and keeps nothing.
//!
//! Does not: judge packets, or tell a copy made by the network from one made by the capture where
//! only a few packets come twice: those stay in the flow.

use crate::flow::half::{Half, Tick};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::tuple::{Orientation, PerOrientation, Vantage};

/// The time within which another SYN with the same clock or identification is a copy: below the
/// least timeout of a SYN, which is 1 s.
const SAME_SYN_US: u32 = 900_000;
/// The time within which a SYN with other numbers, but the same clock or identification, is the
/// same one behind a device that changes numbers.
const CHANGED_SYN_US: u32 = 100_000;
/// The same where only the identification tells.
const CHANGED_NAMED_US: u32 = 10_000;
/// The time within which a packet without any identity is a copy: nobody reacts so fast.
const NO_IDENTITY_US: u32 = 1_000;
/// The time within which the copy of an identified packet comes.
const IDENTIFIED_US: u32 = 100_000;
/// Packets of one way remembered until their copies come.
const RECENT: usize = 32;
/// Places told apart by their marks, beside the one that is judged.
const MAX_OTHERS: usize = 4;
/// Copies from which on a flow without a SYN in the capture counts as captured twice.
const LEAST_COPIES: u64 = 4;

/// The marks of the place where a packet was captured.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Mark {
    /// File and interface.
    pub vantage: Vantage,
    /// Time to live, or hop limit, of packets of this way there.
    pub ttl: u8,
}

/// A SYN or SYN-ACK as it was captured at one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sight {
    /// The frame.
    pub frame: u64,
    /// Where.
    pub mark: Mark,
    /// The segment.
    pub segment: Segment,
}

/// What one way of a flow showed of its places.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Way {
    /// The marks of the place that is judged.
    judged: Option<Mark>,
    /// The marks of others.
    others: Vec<Mark>,
    /// The first SYN or SYN-ACK as captured at the place that is judged.
    pub here: Option<Sight>,
    /// The same one as captured elsewhere; the last such place.
    pub elsewhere: Option<Sight>,
    /// Copies that were left out.
    pub copies: u64,
    recent: Vec<Waiting>,
    next: usize,
}

/// What identifies a packet among its neighbours, whatever hop it is captured at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Identity {
    seq: SeqNum,
    ack: SeqNum,
    len: u32,
    sack: Option<SeqNum>,
    tsval: Option<u32>,
    ip_id: u16,
    win: u16,
    flags: Flags,
}

/// A packet that waits for its copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Waiting {
    identity: Identity,
    at: Tick,
}

/// What the sight of a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sighted {
    /// The packet passes the place that is judged.
    Here,
    /// It is a copy from another place, or the same packet again.
    Copy,
    /// It is the SYN at the next place, and that place is judged from here on.
    SynAgain,
}

/// The places where a flow was captured.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sightings {
    /// What each way showed.
    ways: PerOrientation<Way>,
}

/// A packet, with what is known of its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance<'a> {
    pub(super) frame: u64,
    pub(super) now: Tick,
    pub(super) vantage: Vantage,
    pub(super) orientation: Orientation,
    pub(super) segment: &'a Segment,
    /// The sender, and the receiver.
    pub(super) own: &'a Half,
    pub(super) peer: &'a Half,
}

impl Glance<'_> {
    pub(super) const fn mark(&self) -> Mark {
        Mark { vantage: self.vantage, ttl: self.segment.ttl }
    }

    const fn sight(&self) -> Sight {
        Sight { frame: self.frame, mark: self.mark(), segment: *self.segment }
    }

    fn identity(&self) -> Identity {
        let Segment { seq, ack, len, win, flags, ip_id, .. } = *self.segment;
        let tsval = self.segment.options.timestamps.map(|timestamps| timestamps.value);
        let sack = self.segment.options.sack.as_slice().first().map(|block| block.right);
        Identity { seq, ack, len, sack, tsval, ip_id, win, flags }
    }
}

impl Sightings {
    /// Starts with a flow of which nothing but a SYN, or SYN-ACK, was seen at another place.
    pub(super) fn of_syn(glance: &Glance<'_>, before: Sight) -> Self {
        let mut sightings = Self::default();
        sightings.move_on(glance, before);
        sightings
    }

    /// Judges from the place of this SYN on, and no longer from that of the one before.
    pub(super) fn move_on(&mut self, glance: &Glance<'_>, before: Sight) {
        let way = &mut self.ways[glance.orientation];
        way.learn(before.mark);
        let mark = glance.mark();
        way.others.retain(|other| *other != mark);
        way.judged = Some(mark);
        way.here = Some(glance.sight());
        way.elsewhere = Some(before);
        way.copies += 1;
    }

    /// Starts with a way of which a SYN-ACK was seen at two places.
    pub(super) fn of_answer(glance: &Glance<'_>, before: Sight) -> Self {
        let mut sightings = Self::default();
        let way = &mut sightings.ways[glance.orientation];
        way.judged = Some(before.mark);
        way.here = Some(before);
        way.elsewhere = Some(glance.sight());
        way.learn(glance.mark());
        way.copies += 1;
        sightings
    }

    /// Starts with a way of which a SYN-ACK fits its SYN, and one elsewhere did not.
    pub(super) fn of_fitting(glance: &Glance<'_>, elsewhere: Sight) -> Self {
        let mut sightings = Self::default();
        let way = &mut sightings.ways[glance.orientation];
        way.judged = Some(glance.mark());
        way.here = Some(glance.sight());
        way.elsewhere = Some(elsewhere);
        way.learn(elsewhere.mark);
        way.copies += 1;
        sightings
    }

    /// Says whether a packet is the copy of one that was, or will be, captured where the flow is
    /// judged.
    pub(super) fn see(&mut self, glance: &Glance<'_>) -> Sighted {
        let by_numbers = self.has_other_numbers(glance);
        let way = &mut self.ways[glance.orientation];
        let is_copy = by_numbers || way.is_copy(glance);
        if is_copy {
            way.copies += 1;
            let is_syn = glance.segment.has(Flags::SYN);
            if is_syn && way.elsewhere.is_none() {
                way.elsewhere = Some(glance.sight());
            }
            return Sighted::Copy;
        }
        if glance.segment.has(Flags::SYN) && way.here.is_none() {
            way.here = Some(glance.sight());
        }
        Sighted::Here
    }

    /// Returns whether the numbers of a packet fit those of another place better.
    fn has_other_numbers(&self, glance: &Glance<'_>) -> bool {
        let Glance { orientation, segment, own, peer, .. } = *glance;
        let is_further = |number: SeqNum, known: SeqNum, offset: u32| {
            let here = number.offset_from(known).unsigned_abs();
            number.offset_from(known.plus(offset)).unsigned_abs() < here
        };
        let own_offset = self.ways[orientation].offset();
        if own_offset != 0 && own.is(Half::SEQ) {
            return is_further(segment.seq, own.max_end, own_offset);
        }
        let peer_offset = self.ways[orientation.flip()].offset();
        peer_offset != 0
            && segment.has(Flags::ACK)
            && peer.is(Half::SEQ)
            && is_further(segment.ack, peer.max_end, peer_offset)
    }

    /// Returns the copies that were left out, both ways.
    pub fn copies(&self) -> u64 {
        self.ways.low_to_high.copies + self.ways.high_to_low.copies
    }

    /// Returns what one way showed.
    pub fn way(&self, orientation: Orientation) -> &Way {
        &self.ways[orientation]
    }

    /// Returns how many of SYN and SYN-ACK have other options elsewhere.
    pub(super) fn rewritten(&self) -> u32 {
        let differs = |way: &Way| match (way.here, way.elsewhere) {
            (Some(here), Some(there)) => !offers_the_same(&here.segment, &there.segment),
            _ => false,
        };
        u32::from(differs(&self.ways.low_to_high)) + u32::from(differs(&self.ways.high_to_low))
    }

    /// Drops what is only needed while the flow goes on.
    pub(super) fn finish(&mut self) {
        for way in [&mut self.ways.low_to_high, &mut self.ways.high_to_low] {
            way.recent = Vec::new();
        }
    }
}

/// Returns whether two sights of a SYN offer the same.
pub fn offers_the_same(one: &Segment, other: &Segment) -> bool {
    let (a, b) = (&one.options, &other.options);
    let has_clock = (a.timestamps.is_some(), b.timestamps.is_some());
    a.mss == b.mss
        && a.wscale == b.wscale
        && a.sack_permitted == b.sack_permitted
        && has_clock.0 == has_clock.1
}

impl Way {
    /// Returns by how much the numbers are higher elsewhere.
    pub fn offset(&self) -> u32 {
        match (self.here, self.elsewhere) {
            (Some(here), Some(there)) => there.segment.seq.0.wrapping_sub(here.segment.seq.0),
            _ => 0,
        }
    }

    /// Returns the marks of the place that is judged, and of the others, where they differ.
    pub fn marks(&self) -> (Option<Mark>, &[Mark]) {
        (self.judged, &self.others)
    }

    fn learn(&mut self, mark: Mark) {
        let is_new = self.judged != Some(mark) && !self.others.contains(&mark);
        if is_new && self.others.len() < MAX_OTHERS {
            self.others.push(mark);
        }
    }

    fn is_copy(&mut self, glance: &Glance<'_>) -> bool {
        let mark = glance.mark();
        if self.others.contains(&mark) {
            return true;
        }
        let is_told_apart = !self.others.is_empty() && self.judged == Some(mark);
        if is_told_apart {
            return false;
        }
        if self.is_changed_answer(glance) || self.repeats(glance) {
            self.learn(mark);
            return true;
        }
        self.judged.get_or_insert(mark);
        self.remember(Waiting { identity: glance.identity(), at: glance.now });
        false
    }

    /// Returns whether this is the SYN-ACK that is known, with other numbers or options.
    fn is_changed_answer(&self, glance: &Glance<'_>) -> bool {
        let Some(here) = self.here.filter(|_| glance.segment.has(Flags::SYN)) else { return false };
        let gap = glance.now.since(glance.own.last_at);
        here.mark != glance.mark() && is_same_syn(&here.segment, glance.segment, gap)
    }

    /// Returns whether a packet that waits for its copy is this one; it then waits no longer.
    fn repeats(&mut self, glance: &Glance<'_>) -> bool {
        let identity = glance.identity();
        let is_named = identity.ip_id != 0 || identity.tsval.is_some();
        let most = if is_named { IDENTIFIED_US } else { NO_IDENTITY_US };
        let found = self.recent.iter().position(|waiting| {
            waiting.identity == identity && glance.now.since(waiting.at) < most
        });
        let Some(found) = found else { return false };
        self.recent.swap_remove(found);
        true
    }

    fn remember(&mut self, packet: Waiting) {
        if self.recent.len() < RECENT {
            self.recent.push(packet);
            return;
        }
        self.next = (self.next + 1) % RECENT;
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = packet;
        }
    }
}

/// Returns whether two SYNs, or two SYN-ACKs, of one flow are the same packet at two places.
///
/// A SYN that is sent again has another clock and another identification, and comes a second later.
pub(super) fn is_same_syn(first: &Segment, second: &Segment, gap_us: u32) -> bool {
    let value = |segment: &Segment| segment.options.timestamps.map(|ts| ts.value);
    let same_kind = first.has(Flags::ACK) == second.has(Flags::ACK);
    let same_id = first.ip_id == second.ip_id;
    let is_named = same_id && first.ip_id != 0;
    let (one, other) = (value(first), value(second));
    let same_clock = one.is_some() && one == other;
    let other_clock = one.is_some() && other.is_some() && one != other;
    if !same_kind || other_clock {
        return false;
    }
    // Two servers that answer one SYN have numbers, and mostly clocks, of their own.
    let is_answer = first.has(Flags::ACK);
    let most = match (first.seq == second.seq, is_named, same_clock) {
        (true, true, _) => SAME_SYN_US,
        (true, false, true) | (false, true, true) => CHANGED_SYN_US,
        (true, false, false) if same_id => NO_IDENTITY_US,
        (false, true, false) => CHANGED_NAMED_US,
        (false, false, true) if !is_answer && first.ttl != second.ttl => CHANGED_SYN_US,
        _ => return false,
    };
    gap_us < most
}

/// Returns whether so many packets came twice that the flow was captured twice.
pub(super) const fn is_captured_twice(copies: u64, packets: u64) -> bool {
    copies >= LEAST_COPIES && copies.saturating_mul(4) >= packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Options, TcpTimestamps};

    fn syn(seq: u32, ip_id: u16, clock: Option<u32>) -> Segment {
        let timestamps = clock.map(|value| TcpTimestamps { value, echo: 0 });
        let options = Options { timestamps, ..Options::default() };
        Segment { seq: SeqNum(seq), flags: Flags::SYN, ip_id, options, ..Segment::default() }
    }

    #[test]
    fn a_syn_with_its_identification_is_the_same_until_it_could_be_sent_again() {
        let (first, copy) = (syn(7, 5, None), syn(7, 5, None));
        assert!(is_same_syn(&first, &copy, SAME_SYN_US - 1));
        assert!(!is_same_syn(&first, &copy, SAME_SYN_US));
        assert!(!is_same_syn(&first, &syn(7, 6, None), 10));
    }

    #[test]
    fn a_syn_with_another_clock_was_sent_again() {
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(7, 5, Some(2)), 10));
        assert!(is_same_syn(&syn(7, 5, Some(1)), &syn(7, 9, Some(1)), 10));
    }

    #[test]
    fn other_numbers_need_the_same_identification_or_another_hop() {
        let next_hop = Segment { ttl: 9, ..syn(99, 8, Some(1)) };
        assert!(is_same_syn(&syn(7, 5, Some(1)), &next_hop, CHANGED_SYN_US - 1));
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(99, 8, Some(1)), 0));
        assert!(is_same_syn(&syn(7, 5, Some(1)), &syn(99, 5, Some(1)), CHANGED_SYN_US - 1));
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(99, 5, Some(1)), CHANGED_SYN_US));
        assert!(is_same_syn(&syn(7, 5, None), &syn(99, 5, None), CHANGED_NAMED_US - 1));
        assert!(!is_same_syn(&syn(7, 5, None), &syn(99, 5, None), CHANGED_NAMED_US));
        assert!(!is_same_syn(&syn(7, 0, None), &syn(99, 0, None), 0));
    }

    #[test]
    fn a_packet_waits_for_one_copy_only() {
        let half = Half::new();
        let mut way = Way::default();
        let ack = Segment { flags: Flags::ACK, ip_id: 3, ..Segment::default() };
        let glance = Glance {
            frame: 1,
            now: Tick::default(),
            vantage: Vantage::default(),
            orientation: Orientation::LowToHigh,
            segment: &ack,
            own: &half,
            peer: &half,
        };
        let told: Vec<_> = (0..4).map(|_| way.is_copy(&glance)).collect();
        assert_eq!(told, [false, true, false, true]);
    }

    #[test]
    fn once_learnt_the_mark_of_another_place_makes_a_copy() {
        let half = Half::new();
        let mut way = Way::default();
        let mut glance_at = |ttl, ip_id| {
            let segment = Segment { flags: Flags::ACK, ttl, ip_id, ..Segment::default() };
            way.is_copy(&Glance {
                frame: 1,
                now: Tick::default(),
                vantage: Vantage::default(),
                orientation: Orientation::LowToHigh,
                segment: &segment,
                own: &half,
                peer: &half,
            })
        };
        assert!(!glance_at(64, 1));
        assert!(glance_at(63, 1));
        assert!(glance_at(63, 2), "its original comes later");
        assert!(!glance_at(64, 2));
    }
}
