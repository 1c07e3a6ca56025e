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

use crate::flow::glance::{Glance, Mark, Opened, Sight};
use crate::flow::half::{Half, Tick};
use crate::flow::lead::{Kept, Race};
use crate::flow::places::Places;
use crate::flow::same::{NO_IDENTITY_US, is_same_syn, offers_the_same};
use crate::flow::shifted::{Constant, Shifted};
use crate::flow::steps::{Comparison, Steps};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::tuple::{Orientation, PerOrientation, Vantage};

/// The time within which the copy of an identified packet comes.
const IDENTIFIED_US: u32 = 100_000;
/// Packets of one way remembered until their copies come.
const RECENT: usize = 32;
/// Places told apart by their marks, beside the one that is judged.
const MAX_OTHERS: usize = 4;
/// Copies from which on a flow without a SYN in the capture counts as captured twice.
const LEAST_COPIES: u64 = 4;

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
    /// The constant by which numbers differ elsewhere, where it was found without a SYN.
    shift: Option<Constant>,
    comparison: Comparison,
    race: Race,
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

impl Identity {
    fn of(glance: &Glance<'_>) -> Self {
        let Segment { seq, ack, len, win, flags, ip_id, .. } = *glance.segment;
        let options = &glance.segment.options;
        let tsval = options.timestamps.map(|timestamps| timestamps.value);
        let sack = options.sack.as_slice().first().map(|block| block.right);
        Self { seq, ack, len, sack, tsval, ip_id, win, flags }
    }
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
    /// The answer to the SYN comes from the place before first, so that their clocks differ: that
    /// place is judged again, beginning with this sight of the SYN.
    Back(Sight),
    /// The packet passes the place that is judged, and the flow starts over with it: what was seen
    /// until now was mixed from several places.
    Anew,
}

/// The places where a flow was captured.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sightings {
    /// What each way showed.
    ways: PerOrientation<Way>,
    /// Files and interfaces, whatever their clocks say.
    pub(super) places: Places,
    /// The search for a constant by which numbers differ elsewhere.
    shifted: Shifted,
    /// Whether the flow was taken from several places until just now.
    was_mixed: bool,
}

impl Sightings {
    /// Starts with nothing but the places of another flow between the same endpoints.
    pub(super) fn at(places: Places) -> Self {
        Self { places, ..Self::default() }
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
        self.places.judge(mark.vantage, before.mark.vantage);
    }

    /// Starts with a flow that goes on, of which the SYN was seen at a place, but is not remembered.
    fn of_place(glance: &Glance<'_>, home: Vantage) -> Self {
        let mut sightings = Self::default();
        let way = &mut sightings.ways[glance.orientation];
        way.elsewhere = Some(glance.sight());
        way.learn(glance.mark());
        way.copies += 1;
        sightings.places.judge(home, glance.vantage);
        sightings
    }

    /// Takes note of a sight of this SYN or SYN-ACK at another place.
    fn note_first(&mut self, glance: &Glance<'_>, first: Sight) {
        let way = &mut self.ways[glance.orientation];
        if way.here.is_none() {
            way.here = Some(first);
            way.judged.get_or_insert(first.mark);
        }
        self.places.add(glance.vantage, first.mark.vantage);
    }

    /// Judges from the place from which an answer comes before it comes to the one judged; returns
    /// the SYN as seen there.
    pub(super) fn go_back(&mut self, glance: &Glance<'_>) -> Option<Sight> {
        let way = &mut self.ways[glance.orientation.flip()];
        let back = way.elsewhere.filter(|sight| sight.mark.vantage == glance.vantage)?;
        let other = way.here.filter(|sight| sight.mark.vantage != glance.vantage)?;
        (way.here, way.elsewhere) = (Some(back), Some(other));
        way.judged = Some(back.mark);
        way.others.retain(|mark| *mark != back.mark);
        way.learn(other.mark);
        let answer = &mut self.ways[glance.orientation];
        answer.judged = Some(glance.mark());
        answer.here = Some(glance.sight());
        self.places.judge(glance.vantage, other.mark.vantage);
        Some(back)
    }

    /// Returns whether a SYN comes from a place that is left out, and is that of no connection known
    /// where the flow is judged.
    fn is_unheard_of(&self, glance: &Glance<'_>) -> bool {
        let is_syn = glance.segment.has(Flags::SYN) && !glance.segment.has(Flags::ACK);
        is_syn && self.places.has(glance.vantage)
    }

    /// Starts with a flow that goes on, if a SYN or SYN-ACK of it turns out to be seen again.
    pub(super) fn found(
        glance: &Glance<'_>,
        earlier: Option<Sight>,
        opened: &Opened,
    ) -> Option<Self> {
        match earlier {
            Some(earlier) => Some(Self::of_answer(glance, earlier)),
            None if opened.is_seen_by(glance) => Some(Self::of_place(glance, opened.vantage)),
            None => None,
        }
    }

    /// Looks at a packet of a flow known to be captured at several places; `earlier` is another sight
    /// of this SYN or SYN-ACK.
    pub(super) fn look(
        &mut self,
        glance: &Glance<'_>,
        earlier: Option<Sight>,
        opened: &Opened,
    ) -> Sighted {
        if let Some(earlier) = earlier {
            self.note_first(glance, earlier);
        } else if opened.is_seen_by(glance) {
            self.places.judge(opened.vantage, glance.vantage);
        } else if opened.has_ended && self.is_unheard_of(glance) {
            // The place that was judged has nothing of this connection, at least not yet.
            self.places.turn_to(glance.vantage);
            return Sighted::Here;
        }
        self.see(glance, opened.is_first)
    }

    /// Starts with a way of which a SYN or SYN-ACK was seen at two places.
    fn of_answer(glance: &Glance<'_>, before: Sight) -> Self {
        let mut sightings = Self::default();
        let way = &mut sightings.ways[glance.orientation];
        way.judged = Some(before.mark);
        way.here = Some(before);
        way.elsewhere = Some(glance.sight());
        way.learn(glance.mark());
        way.copies += 1;
        sightings.places.judge(before.mark.vantage, glance.vantage);
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
        sightings.places.judge(glance.vantage, elsewhere.mark.vantage);
        sightings
    }

    /// Says whether a packet is the copy of one that was, or will be, captured where the flow is
    /// judged.
    fn see(&mut self, glance: &Glance<'_>, is_first: bool) -> Sighted {
        // A place that has shown more of this way than the one that is judged is needed for it.
        let by_place = !is_first && self.places.is_elsewhere(glance);
        let is_mid_stream = !glance.own.is(Half::SYN) && !glance.peer.is(Half::SYN);
        if is_mid_stream {
            let is_behind = !by_place && self.places.find_behind(glance);
            self.was_mixed |= self.find_shift(glance) || is_behind;
        }
        let by_place = by_place || self.was_mixed && self.places.has(glance.vantage);
        let by_numbers = by_place || self.has_other_numbers(glance);
        let way = &mut self.ways[glance.orientation];
        let is_copy = by_numbers || way.is_copy(glance);
        way.comparison.see(glance.frame, glance.segment, glance.now(), is_copy);
        let offset = if is_copy { way.offset() } else { 0 };
        let mss = glance.peer.is(Half::MSS).then_some(glance.peer.mss);
        let begin = (glance.segment.seq.minus(offset), mss);
        way.race.see(glance.frame, glance.segment, begin, is_copy);
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
        // A tracker takes a flow up by a plain segment, and not by the last one.
        let is_last = glance.segment.has(Flags::FIN) || glance.segment.has(Flags::RST);
        if is_last || !std::mem::take(&mut self.was_mixed) {
            return Sighted::Here;
        }
        Sighted::Anew
    }

    /// Looks for a constant by which the numbers of this way differ elsewhere; returns whether it has
    /// been found just now.
    fn find_shift(&mut self, glance: &Glance<'_>) -> bool {
        let way = glance.orientation;
        if self.ways[way].shift.is_some() {
            return false;
        }
        let Some(found) = self.shifted.find(glance) else { return false };
        let is_known = self.ways[way.flip()].shift.is_some();
        // What goes to the responder passes the place nearest to it last. Once that is chosen, it is
        // the one that counts the other way as well.
        let is_chosen = is_known || self.places.are_several();
        let is_here = if is_chosen {
            !self.places.has(glance.vantage) && !self.has_other_numbers(glance)
        } else {
            glance.is_original
        };
        let first = found.mark.vantage;
        let found = if is_here { found.turned(glance) } else { found };
        self.ways[way].shift = Some(found);
        if !is_chosen {
            let other = if is_here { first } else { glance.vantage };
            self.places.judge(found.mark.vantage, other);
        }
        !is_chosen
    }

    /// Returns a number of one way where it is judged, as far as is known.
    fn reference(&self, orientation: Orientation, half: &Half) -> Option<SeqNum> {
        let anchor = self.ways[orientation].shift.map(|shift| shift.here);
        let current = half.is(Half::SEQ).then_some(half.max_end);
        if self.was_mixed { anchor.or(current) } else { current.or(anchor) }
    }

    /// Returns whether the numbers of a packet fit those of another place better.
    fn has_other_numbers(&self, glance: &Glance<'_>) -> bool {
        let Glance { orientation, segment, own, peer, .. } = *glance;
        let is_further = |number: SeqNum, known: SeqNum, offset: u32| {
            let here = number.offset_from(known).unsigned_abs();
            number.offset_from(known.plus(offset)).unsigned_abs() < here
        };
        if segment.has(Flags::SYN) && !segment.has(Flags::ACK) {
            // It may open another connection, whose numbers begin anywhere.
            return false;
        }
        let own_offset = self.ways[orientation].offset();
        if own_offset != 0
            && let Some(known) = self.reference(orientation, own)
        {
            return is_further(segment.seq, known, own_offset);
        }
        let peer_offset = self.ways[orientation.flip()].offset();
        if peer_offset != 0
            && segment.has(Flags::ACK)
            && let Some(known) = self.reference(orientation.flip(), peer)
        {
            return is_further(segment.ack, known, peer_offset);
        }
        false
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
            way.comparison.finish();
            way.race.finish();
        }
    }
}

impl Way {
    /// Returns by how much the numbers are higher elsewhere.
    pub fn offset(&self) -> u32 {
        match (self.here, self.elsewhere) {
            (Some(here), Some(there)) => there.segment.seq.0.wrapping_sub(here.segment.seq.0),
            _ => self.shift.map_or(0, |shift| shift.offset),
        }
    }

    /// Returns whether single segments with bytes have passed both places.
    pub const fn has_passed(&self) -> bool {
        self.race.has_passed()
    }

    /// Returns the packets of several segments of which only one of the places had anything until they
    /// were sent again.
    pub const fn kept(&self) -> Kept {
        self.race.kept()
    }

    /// Returns by how much more numbers were higher elsewhere than at first, where that moved.
    pub const fn moved(&self) -> &Steps {
        &self.comparison.steps
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
        self.remember(Waiting { identity: Identity::of(glance), at: glance.now() });
        false
    }

    /// Returns whether this is the SYN-ACK that is known, with other numbers or options.
    fn is_changed_answer(&self, glance: &Glance<'_>) -> bool {
        let Some(here) = self.here.filter(|_| glance.segment.has(Flags::SYN)) else { return false };
        let gap = glance.now().since(glance.own.last_at);
        here.mark != glance.mark() && is_same_syn(&here.segment, glance.segment, gap)
    }

    /// Returns whether a packet that waits for its copy is this one; it then waits no longer.
    fn repeats(&mut self, glance: &Glance<'_>) -> bool {
        let identity = Identity::of(glance);
        let is_named = identity.ip_id != 0 || identity.tsval.is_some();
        let most = if is_named { IDENTIFIED_US } else { NO_IDENTITY_US };
        let found = self.recent.iter().position(|waiting| {
            waiting.identity == identity && glance.now().since(waiting.at) < most
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

/// Returns whether so many packets came twice that the flow was captured twice.
pub(super) const fn is_captured_twice(copies: u64, packets: u64) -> bool {
    copies >= LEAST_COPIES && copies.saturating_mul(4) >= packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tuple::Vantage;

    #[test]
    fn a_packet_waits_for_one_copy_only() {
        let half = Half::new();
        let mut way = Way::default();
        let ack = Segment { flags: Flags::ACK, ip_id: 3, ..Segment::default() };
        let glance = Glance {
            frame: 1,
            ts: Timestamp::default(),
            is_original: true,
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
                ts: Timestamp::default(),
                is_original: true,
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
