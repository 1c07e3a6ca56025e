//! Which bytes below the highest sent were never seen: the holes of one direction.
//!
//! Whatever is below the highest number and in no hole has been seen. That alone tells a segment
//! that fills a hole from one that repeats.
//!
//! Does not: say why a hole is there or what filled it.

use std::collections::VecDeque;

use crate::flow::half::Tick;
use crate::segment::Segment;
use crate::seq::SeqNum;

/// The holes remembered for one direction: more than 10 Gbit/s over 100 ms lose of a thousand.
/// The oldest give way, and what they missed then counts as seen; how many is reported.
pub const MAX_HOLES: usize = 512;
/// The filled holes remembered, in which a late original can still arrive.
const MAX_FILLED: usize = 64;

/// When a segment was sent, as its sender's counters tell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Stamp {
    /// Timestamp value, if the segment had one.
    pub(super) tsval: Option<u32>,
    /// IP identification, if this sender's is a counter.
    pub(super) ip_id: Option<u16>,
}

/// Which of two segments left first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Earlier,
    Later,
    Unknown,
}

/// How far apart two identifications of one counter can be: beyond, they say nothing.
pub(super) const MAX_ID_STEP: i16 = 4096;

impl Stamp {
    /// Says whether the segment with this stamp left before or after the one with the other.
    pub(super) const fn order(self, other: Self) -> Order {
        if let (Some(own), Some(other)) = (self.tsval, other.tsval) {
            let distance = own.wrapping_sub(other).cast_signed();
            if distance != 0 {
                return if distance < 0 { Order::Earlier } else { Order::Later };
            }
        }
        if let (Some(own), Some(other)) = (self.ip_id, other.ip_id) {
            let distance = own.wrapping_sub(other).cast_signed();
            if distance < 0 && distance > -MAX_ID_STEP {
                return Order::Earlier;
            }
            if distance > 0 && distance < MAX_ID_STEP {
                return Order::Later;
            }
        }
        Order::Unknown
    }
}

/// A stretch of bytes that was passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Hole {
    pub(super) start: SeqNum,
    pub(super) end: SeqNum,
    /// When the segment after it was seen.
    pub(super) at: Tick,
    /// The stamp of that segment: what filled the hole left before it, or was sent again.
    pub(super) opener: Stamp,
}

/// What a segment found below the highest number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Found {
    /// Bytes never seen before.
    pub(super) unseen: u32,
    /// The first hole that it filled, wholly or in part.
    pub(super) hole: Option<Hole>,
}

/// The holes of one direction, in the order of their numbers.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Ranges {
    holes: VecDeque<Hole>,
    filled: Vec<Hole>,
    next_filled: usize,
    /// Holes given up because there were too many.
    pub(super) forgotten: u32,
    /// Bytes that were acknowledged, but never seen.
    pub(super) missed: u64,
}

/// How long a hole stays open after its bytes were acknowledged: 1 s.
const PATIENCE_US: u32 = 1_000_000;

impl Ranges {
    /// Notes that the bytes from `start` up to the segment were passed over.
    pub(super) fn open(&mut self, hole: Hole) {
        if self.holes.len() >= MAX_HOLES {
            self.holes.pop_front();
            self.forgotten += 1;
        }
        // A new hole lies above all others.
        self.holes.push_back(hole);
    }

    /// Forgets the holes, but not what was counted.
    pub(super) fn forget(&mut self) {
        self.holes.clear();
        self.filled.clear();
        self.next_filled = 0;
    }

    /// Returns the bytes that the lists take.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.holes.capacity() + self.filled.capacity()) * size_of::<Hole>()
    }

    /// Returns whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.holes.is_empty()
    }

    /// Takes the bytes of a stretch as seen, and says how many of them were not before.
    pub(super) fn fill(&mut self, start: SeqNum, end: SeqNum) -> Found {
        let mut found = Found::default();
        let mut at = self.holes.partition_point(|hole| !start.is_before(hole.end));
        while let Some(hole) = self.holes.get(at).copied() {
            if !hole.start.is_before(end) {
                break;
            }
            let (left, right) = (hole.start.latest(start), earliest(hole.end, end));
            found.unseen = found.unseen.wrapping_add(right.0.wrapping_sub(left.0));
            found.hole = found.hole.or(Some(hole));
            self.remember(Hole { start: left, end: right, ..hole });
            let before = Hole { end: left, ..hole };
            let after = Hole { start: right, ..hole };
            let remains =
                [before, after].map(|part| part.start.is_before(part.end).then_some(part));
            at = self.replace(at, remains);
        }
        found
    }

    /// Puts what remains of a hole in its place, and returns the position behind.
    fn replace(&mut self, at: usize, remains: [Option<Hole>; 2]) -> usize {
        let mut parts = remains.into_iter().flatten();
        if let (Some(place), Some(part)) = (self.holes.get_mut(at), parts.next()) {
            *place = part;
        } else {
            self.holes.remove(at);
            return at;
        }
        let Some(part) = parts.next() else { return at + 1 };
        self.holes.insert(at + 1, part);
        at + 2
    }

    fn remember(&mut self, hole: Hole) {
        if self.filled.len() < MAX_FILLED {
            self.filled.push(hole);
        } else if let Some(slot) = self.filled.get_mut(self.next_filled) {
            *slot = hole;
            self.next_filled = (self.next_filled + 1) % MAX_FILLED;
        }
    }

    /// Returns the hole in which all these bytes once lay, if it is remembered.
    pub(super) fn once_missing(&self, segment: &Segment) -> Option<Hole> {
        let covers =
            |hole: &&Hole| !segment.seq.is_before(hole.start) && !segment.end().is_after(hole.end);
        self.filled.iter().rev().find(covers).copied()
    }

    /// Gives up holes that were acknowledged long ago: the capture missed those bytes.
    ///
    /// Returns how many stretches were given up.
    pub(super) fn give_up(&mut self, ack: SeqNum, now: Tick) -> u32 {
        let before = self.holes.len();
        let missed = &mut self.missed;
        self.holes.retain(|hole| {
            let hopeless = !hole.end.is_after(ack) && now.since(hole.at) > PATIENCE_US;
            if hopeless {
                *missed += u64::from(hole.end.0.wrapping_sub(hole.start.0));
            }
            !hopeless
        });
        u32::try_from(before - self.holes.len()).unwrap_or(u32::MAX)
    }

    /// Counts what is still missing although it was acknowledged.
    pub(super) fn missed_up_to(&self, ack: SeqNum) -> u64 {
        let acked = self.holes.iter().filter(|hole| hole.start.is_before(ack));
        let bytes =
            acked.map(|hole| u64::from(earliest(hole.end, ack).0.wrapping_sub(hole.start.0)));
        self.missed + bytes.sum::<u64>()
    }
}

const fn earliest(a: SeqNum, b: SeqNum) -> SeqNum {
    if b.is_before(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(start: u32, end: u32) -> Hole {
        let (start, end) = (SeqNum(start), SeqNum(end));
        Hole { start, end, at: Tick::default(), opener: Stamp::default() }
    }

    fn with(holes: &[(u32, u32)]) -> Ranges {
        let mut ranges = Ranges::default();
        for (start, end) in holes {
            ranges.open(hole(*start, *end));
        }
        ranges
    }

    fn fill(ranges: &mut Ranges, start: u32, end: u32) -> u32 {
        ranges.fill(SeqNum(start), SeqNum(end)).unseen
    }

    #[test]
    fn a_hole_is_filled_from_the_left_from_the_right_and_from_the_middle() {
        for (start, end, left) in [(10, 14, (14, 20)), (16, 20, (10, 16))] {
            let mut ranges = with(&[(10, 20)]);
            assert_eq!(fill(&mut ranges, start, end), end - start);
            assert_eq!(ranges.holes, [hole(left.0, left.1)]);
        }
        let mut ranges = with(&[(10, 20)]);
        assert_eq!(fill(&mut ranges, 13, 15), 2);
        assert_eq!(ranges.holes, [hole(10, 13), hole(15, 20)]);
        assert_eq!(fill(&mut ranges, 0, 30), 8);
        assert!(ranges.is_whole());
    }

    #[test]
    fn bytes_beside_a_hole_were_seen() {
        let mut ranges = with(&[(10, 20), (30, 40)]);
        assert_eq!(fill(&mut ranges, 5, 10), 0);
        assert_eq!(fill(&mut ranges, 20, 30), 0);
        assert_eq!(fill(&mut ranges, 40, 50), 0);
        assert_eq!(fill(&mut ranges, 19, 31), 2);
    }

    #[test]
    fn holes_lie_across_the_wrap() {
        let mut ranges = with(&[(u32::MAX - 4, 5)]);
        assert_eq!(fill(&mut ranges, u32::MAX, 1), 2);
        assert_eq!(ranges.holes, [hole(u32::MAX - 4, u32::MAX), hole(1, 5)]);
    }

    #[test]
    fn the_oldest_hole_gives_way_and_is_counted() {
        let holes: Vec<(u32, u32)> = (0..=512).map(|n| (n * 10, n * 10 + 5)).collect();
        let mut ranges = with(&holes);
        assert_eq!(ranges.forgotten, 1);
        assert_eq!(fill(&mut ranges, 0, 5), 0);
        assert_eq!(fill(&mut ranges, 10, 15), 5);
    }

    #[test]
    fn a_filled_hole_is_remembered_for_a_late_original() {
        let mut ranges = with(&[(10, 20)]);
        fill(&mut ranges, 10, 20);
        let late = Segment { seq: SeqNum(10), len: 10, ..Segment::default() };
        assert!(ranges.once_missing(&late).is_some());
        assert!(ranges.once_missing(&Segment { len: 11, ..late }).is_none());
    }

    #[test]
    fn what_is_acknowledged_and_never_seen_is_missed() {
        let mut ranges = with(&[(10, 20), (30, 40)]);
        assert_eq!(ranges.missed_up_to(SeqNum(10)), 0);
        assert_eq!(ranges.missed_up_to(SeqNum(35)), 15);
        assert_eq!(ranges.give_up(SeqNum(20), Tick::default()), 0);
        let later = Tick::default().before(0u32.wrapping_sub(PATIENCE_US + 1));
        assert_eq!(ranges.give_up(SeqNum(20), later), 1);
        assert_eq!(ranges.missed, 10);
        assert_eq!(ranges.missed_up_to(SeqNum(35)), 15);
    }

    #[test]
    fn a_timestamp_orders_before_an_identification_does() {
        let stamp = |tsval, ip_id| Stamp { tsval: Some(tsval), ip_id: Some(ip_id) };
        assert_eq!(stamp(5, 9).order(stamp(6, 1)), Order::Earlier);
        assert_eq!(stamp(5, 0).order(stamp(5, 65_535)), Order::Later);
        assert_eq!(stamp(5, 65_535).order(stamp(5, 0)), Order::Earlier);
        assert_eq!(stamp(5, 7).order(stamp(5, 7)), Order::Unknown);
        assert_eq!(stamp(5, 0).order(stamp(5, 5000)), Order::Unknown);
        assert_eq!(Stamp::default().order(stamp(5, 7)), Order::Unknown);
    }
}
