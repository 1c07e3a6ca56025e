//! What travelled one way of a flow: counted in a part that every packet changes, and one that few
//! change, so that the latter stays out of the cache.
//!
//! Does not: know the two ends, or what they did.

use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::tuple::Vantage;

/// What travelled one way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct OneWay {
    /// Packets.
    pub packets: u64,
    /// Payload bytes by the IP length.
    pub bytes: u64,
    /// The first sequence number seen this way; relative numbers count from it.
    pub first_seq: Option<SeqNum>,
    /// Whether a SYN was seen this way.
    pub syn_seen: bool,
    /// Time from the SYN or SYN-ACK to its answer, in microseconds.
    pub handshake_us: Option<u32>,
    /// Where the first SYN or SYN-ACK this way was captured.
    pub vantage: Vantage,
    /// Payload bytes of the largest packet; 65535 for all beyond.
    pub largest: u16,
    /// The longest pause after which a packet this way was answered, in seconds; 0 for none.
    pub survived_s: u16,
    /// TTL or hop limit of the last packet.
    pub ttl: u8,
}

/// The part that every packet changes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Counts {
    /// Payload bytes; how often they were counted to 2³² is in [`Facts`].
    bytes: u32,
    /// Packets; likewise.
    packets: u32,
    largest: u16,
    /// A window field that this side has sent, and the tracker may not know yet.
    #[serde(skip)]
    pub(super) peak_win: u16,
    /// The payload bytes of the last packet, where the tracker may not know it yet.
    #[serde(skip)]
    pub(super) last_len: u16,
    /// TTL or hop limit of the last packet; 0 before the first.
    pub(super) ttl: u8,
    marks: u8,
}

/// The part that few packets change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Facts {
    /// Valid with [`Counts::FIRST_SEQ`].
    first_seq: SeqNum,
    /// Valid with [`Counts::HANDSHAKE`].
    handshake_us: u32,
    /// How often packets have been counted to 2³².
    packet_wraps: u16,
    /// How often bytes have.
    byte_wraps: u16,
    /// Where the first packet this way was captured.
    pub(super) vantage: Vantage,
    /// The longest pause after which a packet this way was answered, in seconds; 0 for none.
    pub(super) survived_s: u16,
    /// The pause that a packet this way ended, in seconds; valid with [`Counts::PAUSE`].
    pause_s: u16,
}

impl Counts {
    const FIRST_SEQ: u8 = 1;
    const SYN: u8 = 1 << 1;
    const HANDSHAKE: u8 = 1 << 2;
    /// A packet this way has ended a pause, and was not answered yet.
    const PAUSE: u8 = 1 << 3;

    #[inline]
    const fn is(self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Counts a segment; what it has counted to 2³² goes to the other part.
    #[inline]
    pub(super) fn add(&mut self, segment: &Segment, facts: &mut Facts) {
        if !self.has_room(segment) {
            facts.wrap(*self, segment);
        }
        self.add_within(segment);
    }

    /// Returns whether counting a segment leaves the other part alone.
    #[inline]
    const fn has_room(&self, segment: &Segment) -> bool {
        self.bytes.checked_add(segment.len).is_some() && self.packets != u32::MAX
    }

    /// Returns whether it does, and counting stays in the same stretch of 2³⁰ bytes: an entry that falls
    /// behind catches up in each, as numbers that are 2³¹ apart cannot be compared.
    #[inline]
    pub(super) const fn stays_in_stretch(&self, segment: &Segment) -> bool {
        let is_same = (self.bytes ^ self.bytes.wrapping_add(segment.len)) >> 30 == 0;
        is_same && self.packets != u32::MAX
    }

    /// Counts a segment there is room for.
    #[inline]
    pub(super) fn add_within(&mut self, segment: &Segment) {
        self.bytes = self.bytes.wrapping_add(segment.len);
        self.packets = self.packets.wrapping_add(1);
        if segment.len > u32::from(self.largest) {
            self.largest = u16::try_from(segment.len).unwrap_or(u16::MAX);
        }
        self.ttl = segment.ttl;
    }

    /// Keeps a window field for the tracker.
    #[inline]
    pub(super) const fn keep_window(&mut self, segment: &Segment) {
        // A branch, as together with the fields beside it two comparisons would become one of vectors,
        // whose fields have just been written apart: that waits for memory.
        if segment.win > self.peak_win {
            self.peak_win = segment.win;
        }
    }

    /// Keeps a window field for the tracker, and a length that is no larger than 65535.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the caller has looked")]
    pub(super) const fn keep_for_tracker(&mut self, segment: &Segment) {
        self.keep_window(segment);
        self.last_len = segment.len as u16;
    }

    /// Returns whether a packet has ended a pause, and was not answered yet.
    #[inline]
    pub(super) const fn is_pausing(self) -> bool {
        self.is(Self::PAUSE)
    }

    /// Returns whether a SYN was seen.
    pub(super) const fn has_syn(self) -> bool {
        self.is(Self::SYN)
    }

    /// Returns whether nothing but faulty packets, or nothing at all, was seen.
    pub(super) const fn is_new(self) -> bool {
        !self.is(Self::FIRST_SEQ)
    }
}

impl Facts {
    /// Takes what the first segment of a way, and one with SYN, tells.
    #[inline]
    pub(super) const fn note(&mut self, counts: &mut Counts, segment: &Segment) {
        if !counts.is(Counts::FIRST_SEQ) {
            counts.marks |= Counts::FIRST_SEQ;
            self.first_seq = segment.seq;
        }
        if segment.has(Flags::SYN) {
            counts.marks |= Counts::SYN;
        }
    }

    /// Notes what a segment counts to 2³².
    #[cold]
    fn wrap(&mut self, counts: Counts, segment: &Segment) {
        let wraps = |counted: u32, more: u32| u16::from(counted.checked_add(more).is_none());
        self.packet_wraps = self.packet_wraps.saturating_add(wraps(counts.packets, 1));
        self.byte_wraps = self.byte_wraps.saturating_add(wraps(counts.bytes, segment.len));
    }

    /// Returns the packets.
    pub(super) const fn packets(&self, counts: Counts) -> u64 {
        (self.packet_wraps as u64) << 32 | counts.packets as u64
    }

    /// Returns the payload bytes.
    const fn bytes(&self, counts: Counts) -> u64 {
        (self.byte_wraps as u64) << 32 | counts.bytes as u64
    }

    /// Returns the first sequence number.
    #[inline]
    pub(super) fn first_seq(&self, counts: Counts) -> Option<SeqNum> {
        counts.is(Counts::FIRST_SEQ).then_some(self.first_seq)
    }

    /// Notes how long the answer to the SYN or SYN-ACK took.
    pub(super) const fn answered(&mut self, counts: &mut Counts, handshake_us: u32) {
        counts.marks |= Counts::HANDSHAKE;
        self.handshake_us = handshake_us;
    }

    /// Returns the pause that a packet this way ended without being answered, in seconds.
    pub(super) fn pause_s(&self, counts: Counts) -> Option<u16> {
        counts.is_pausing().then_some(self.pause_s)
    }

    /// Notes that a packet this way has ended a pause.
    pub(super) const fn pause(&mut self, counts: &mut Counts, seconds: u16) {
        counts.marks |= Counts::PAUSE;
        self.pause_s = seconds;
    }

    /// Ends the wait for an answer after a pause.
    pub(super) const fn resume(counts: &mut Counts) {
        counts.marks &= !Counts::PAUSE;
    }

    /// Joins both parts.
    #[inline]
    pub(super) fn joined(&self, counts: Counts) -> OneWay {
        OneWay {
            packets: self.packets(counts),
            bytes: self.bytes(counts),
            first_seq: self.first_seq(counts),
            syn_seen: counts.has_syn(),
            handshake_us: counts.is(Counts::HANDSHAKE).then_some(self.handshake_us),
            vantage: self.vantage,
            largest: counts.largest,
            survived_s: self.survived_s,
            ttl: counts.ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_bytes_are_counted_beyond_the_hot_part() {
        let mut facts = Facts::default();
        let mut counts = Counts { packets: u32::MAX, bytes: u32::MAX - 1, ..Counts::default() };
        let large = Segment { len: 70_000, ..Segment::default() };
        counts.add(&large, &mut facts);
        let joined = facts.joined(counts);
        assert_eq!((joined.packets, joined.bytes), (1 << 32, (1 << 32) + 69_998));
        assert_eq!(joined.largest, u16::MAX);
        counts.add(&large, &mut facts);
        let joined = facts.joined(counts);
        assert_eq!((joined.packets, joined.bytes), ((1 << 32) + 1, (1 << 32) + 139_998));
    }
}
