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
    bytes: u64,
    /// Packets; those beyond 2³² are in [`Facts::wraps`].
    packets: u32,
    largest: u16,
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
    /// How often the packets have been counted to 2³².
    wraps: u32,
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

    /// Counts a segment; returns whether the packets have been counted to 2³², so that
    /// [`Facts::wrap`] is to be called.
    #[inline]
    pub(super) fn add(&mut self, segment: &Segment) -> bool {
        self.bytes += u64::from(segment.len);
        if segment.len > u32::from(self.largest) {
            self.largest = u16::try_from(segment.len).unwrap_or(u16::MAX);
        }
        self.ttl = segment.ttl;
        self.packets = self.packets.wrapping_add(1);
        self.packets == 0
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

    /// Notes that the packets have been counted to 2³².
    #[cold]
    pub(super) const fn wrap(&mut self) {
        self.wraps = self.wraps.saturating_add(1);
    }

    /// Returns the packets.
    pub(super) const fn packets(&self, counts: Counts) -> u64 {
        (self.wraps as u64) << 32 | counts.packets as u64
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
            bytes: counts.bytes,
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
    fn packets_are_counted_beyond_the_hot_part() {
        let mut facts = Facts::default();
        let mut counts = Counts { packets: u32::MAX, ..Counts::default() };
        assert!(counts.add(&Segment { len: 70_000, ..Segment::default() }));
        facts.wrap();
        let joined = facts.joined(counts);
        assert_eq!((joined.packets, joined.bytes, joined.largest), (1 << 32, 70_000, u16::MAX));
        assert!(!counts.add(&Segment::default()));
        assert_eq!(facts.packets(counts), (1 << 32) + 1);
    }
}
