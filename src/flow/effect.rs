//! What became of INVALID packets behind the capture point, as the receiver's later segments prove.
//!
//! A receiver that has processed a segment with a new timestamp echoes it from then on (RFC 7323,
//! section 4.3), and does not send again what the segment acknowledged. A firewall behind the capture
//! point that drops the packet shows in the opposite.
//!
//! Does not: judge packets.

use crate::flow::half::Tick;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::tuple::{Orientation, PerOrientation};

/// The INVALID packets of a flow that may wait for a proof at one time; the oldest gives way and
/// stays unknown.
pub const MAX_PENDING: usize = 64;

/// What became of a packet.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum Effect {
    /// The receiver never processed it.
    Dropped,
    /// The receiver processed it.
    NotDropped,
    /// Nothing proves either.
    Unknown,
}

impl Effect {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::NotDropped => "not_dropped",
            Self::Unknown => "unknown",
        }
    }
}

/// How many INVALID packets had which effect.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct EffectCounts {
    /// Proven not to have been processed.
    pub dropped: u64,
    /// Proven to have been processed.
    pub not_dropped: u64,
    /// Neither.
    pub unknown: u64,
}

impl EffectCounts {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Dropped => self.dropped += 1,
            Effect::NotDropped => self.not_dropped += 1,
            Effect::Unknown => self.unknown += 1,
        }
    }

    /// Adds the counts of another flow.
    pub const fn merge(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.not_dropped += other.not_dropped;
        self.unknown += other.unknown;
    }
}

/// An INVALID packet that waits for a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Pending {
    pub(super) frame: u64,
    pub(super) orientation: Orientation,
    pub(super) at: Tick,
    /// Its timestamp, if the receiver would have taken it over.
    pub(super) tsval: Option<u32>,
    /// What it acknowledged, if more than any packet before that was not INVALID.
    pub(super) ack: Option<SeqNum>,
    /// Its data, while nothing of it was sent a second time.
    pub(super) data: Option<(SeqNum, SeqNum)>,
}

/// What the receiver did next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reaction<'a> {
    pub(super) segment: &'a Segment,
    pub(super) orientation: Orientation,
    pub(super) now: Tick,
    /// The bytes that the segment repeats, if it does.
    pub(super) again: Option<(SeqNum, SeqNum)>,
    /// How long the receiver of the pending packet takes to react, at most, in microseconds.
    pub(super) patience: u32,
}

impl Pending {
    /// Says what the segment proves about this packet.
    fn resolve(&self, reaction: &Reaction<'_>) -> Option<Effect> {
        let Reaction { segment, now, again, patience, .. } = *reaction;
        let had_time = now.since(self.at) > patience;
        if let (Some(value), Some(timestamps)) = (self.tsval, segment.options.timestamps)
            && segment.has(Flags::ACK)
        {
            let ahead = timestamps.echo.wrapping_sub(value).cast_signed();
            if ahead >= 0 {
                return Some(Effect::NotDropped);
            }
            if had_time {
                return Some(Effect::Dropped);
            }
        }
        if let (Some(acked), Some((_, end))) = (self.ack, again)
            && had_time
            && !end.is_after(acked)
        {
            return Some(Effect::Dropped);
        }
        let (_, end) = self.data?;
        (segment.has(Flags::ACK) && !end.is_after(segment.ack)).then_some(Effect::NotDropped)
    }
}

/// The INVALID packets of a flow, and what became of them.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Effects {
    pending: Vec<Pending>,
    /// The highest acknowledgement of packets that were not INVALID, once one was.
    pub(super) valid_ack: PerOrientation<Option<SeqNum>>,
    pub(super) counts: EffectCounts,
    /// Proofs found by the last segment: frame and effect.
    pub(super) resolved: Vec<(u64, Effect)>,
}

impl Effects {
    /// Returns the bytes that the lists take; what the last segment proved is gone with the next.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.pending.capacity() * size_of::<Pending>()
    }

    pub(super) const fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes an INVALID packet.
    pub(super) fn expect(&mut self, pending: Pending) {
        if pending.tsval.is_none() && pending.ack.is_none() && pending.data.is_none() {
            self.counts.add(Effect::Unknown);
            return;
        }
        if self.pending.len() >= MAX_PENDING {
            let oldest = self.pending.remove(0);
            self.settle(oldest.frame, Effect::Unknown);
        }
        self.pending.push(pending);
    }

    /// Takes a segment that may prove something about packets that went the other way, and that
    /// spoils the proof of data going the same way where it repeats it.
    pub(super) fn react(&mut self, reaction: &Reaction<'_>) {
        self.resolved.clear();
        let mut at = 0;
        while let Some(pending) = self.pending.get_mut(at) {
            if pending.orientation == reaction.orientation {
                let overlaps = |(start, end): (SeqNum, SeqNum)| {
                    pending
                        .data
                        .is_some_and(|(left, right)| left.is_before(end) && start.is_before(right))
                };
                if reaction.again.is_some_and(overlaps) {
                    pending.data = None;
                }
                at += 1;
                continue;
            }
            match pending.resolve(reaction) {
                None => at += 1,
                Some(effect) => {
                    let frame = pending.frame;
                    self.pending.remove(at);
                    self.settle(frame, effect);
                }
            }
        }
    }

    fn settle(&mut self, frame: u64, effect: Effect) {
        self.counts.add(effect);
        self.resolved.push((frame, effect));
    }

    /// Returns the counts at the end of the flow: what still waits is unknown.
    pub(super) fn final_counts(&self) -> EffectCounts {
        let waiting = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        EffectCounts { unknown: self.counts.unknown + waiting, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Options, TcpTimestamps};

    const THERE: Orientation = Orientation::LowToHigh;

    fn at(micros: u32) -> Tick {
        Tick::default().before(0u32.wrapping_sub(micros))
    }

    fn pending() -> Pending {
        let (tsval, ack) = (Some(500), Some(SeqNum(9000)));
        Pending { frame: 7, orientation: THERE, at: at(0), tsval, ack, data: None }
    }

    fn answer(echo: u32) -> Segment {
        let timestamps = Some(TcpTimestamps { value: 1, echo });
        let options = Options { timestamps, ..Options::default() };
        Segment { flags: Flags::ACK, options, ..Segment::default() }
    }

    fn proof(
        pending: Pending,
        segment: &Segment,
        micros: u32,
        again: Option<(u32, u32)>,
    ) -> String {
        let mut effects = Effects::default();
        effects.expect(pending);
        let again = again.map(|(start, end)| (SeqNum(start), SeqNum(end)));
        let orientation = THERE.flip();
        let (now, patience) = (at(micros), 1000);
        effects.react(&Reaction { segment, orientation, now, again, patience });
        effects.resolved.first().map_or("waits", |(_, effect)| effect.code()).to_owned()
    }

    #[test]
    fn an_echo_of_the_timestamp_or_a_later_one_proves_that_it_arrived() {
        assert_eq!(proof(pending(), &answer(500), 10, None), "not_dropped");
        assert_eq!(proof(pending(), &answer(501), 10, None), "not_dropped");
    }

    #[test]
    fn an_older_echo_proves_the_drop_once_the_receiver_had_time() {
        assert_eq!(proof(pending(), &answer(499), 1000, None), "waits");
        assert_eq!(proof(pending(), &answer(499), 1001, None), "dropped");
    }

    #[test]
    fn repeating_what_was_acknowledged_proves_the_drop_of_the_acknowledgement() {
        let plain = Pending { tsval: None, ..pending() };
        let segment = Segment { flags: Flags::ACK, ..Segment::default() };
        assert_eq!(proof(plain, &segment, 1001, Some((8000, 9000))), "dropped");
        assert_eq!(proof(plain, &segment, 1001, Some((8000, 9001))), "waits");
        assert_eq!(proof(plain, &segment, 1000, Some((8000, 9000))), "waits");
    }

    #[test]
    fn an_acknowledgement_of_its_data_proves_that_it_arrived() {
        let data = Some((SeqNum(100), SeqNum(200)));
        let plain = Pending { tsval: None, ack: None, data, ..pending() };
        let ack = |n| Segment { flags: Flags::ACK, ack: SeqNum(n), ..Segment::default() };
        assert_eq!(proof(plain, &ack(199), 10, None), "waits");
        assert_eq!(proof(plain, &ack(200), 10, None), "not_dropped");
    }

    #[test]
    fn data_sent_again_proves_nothing_when_it_is_acknowledged() {
        let mut effects = Effects::default();
        let data = Some((SeqNum(100), SeqNum(200)));
        effects.expect(Pending { tsval: None, ack: None, data, ..pending() });
        let ack = Segment { flags: Flags::ACK, ack: SeqNum(200), ..Segment::default() };
        let repeated = Reaction {
            segment: &ack,
            orientation: THERE,
            now: at(5),
            again: Some((SeqNum(150), SeqNum(160))),
            patience: 1000,
        };
        effects.react(&repeated);
        effects.react(&Reaction { orientation: THERE.flip(), again: None, ..repeated });
        assert_eq!(effects.final_counts().unknown, 1);
    }
}
