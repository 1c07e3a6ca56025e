//! What a flow showed beyond the ordinary: kept apart from the hot state, and only where there is
//! something to keep.
//!
//! Does not: decide what is kept.

use crate::flow::effect::{EffectCounts, Effects};
use crate::flow::half::Tick;
use crate::flow::handshake::Handshake;
use crate::flow::joined::Joined;
use crate::flow::ranges::Ranges;
use crate::flow::retransmission::{Kind, Recovery};
use crate::flow::sack::SackAudit;
use crate::flow::scaling::ScalingAudit;
use crate::flow::sightings::Sightings;
use crate::flow::signs::Signs;
use crate::flow::steps::Steps;
use crate::flow::story::Story;
use crate::flow::stuck::Stuck;
use crate::flow::window::WindowAudit;
use crate::segment::Segment;
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::PerOrientation;

/// Number of kinds, for counters.
const KINDS: usize = Kind::ALL.len();

/// Packets and bytes of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct KindCount {
    /// Packets.
    pub packets: u64,
    /// Payload bytes below the highest number.
    pub bytes: u64,
    /// The first frame of the kind; 0 when there is none.
    pub first_frame: u64,
}

/// What one side sent below the highest number, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct KindCounts([KindCount; KINDS]);

impl Default for KindCounts {
    fn default() -> Self {
        Self([KindCount::default(); KINDS])
    }
}

impl KindCounts {
    /// Returns the count of a kind.
    pub fn of(&self, kind: Kind) -> KindCount {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    /// Returns the kinds that occurred, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, KindCount)> {
        Kind::ALL.into_iter().zip(self.0).filter(|(_, count)| count.packets > 0)
    }

    /// Returns what was sent again, all kinds together.
    pub fn retransmitted(&self) -> KindCount {
        let again = self.iter().filter(|(kind, _)| kind.is_retransmission());
        again.fold(KindCount::default(), |sum, (_, count)| sum.with(count))
    }

    pub(super) fn add(&mut self, kind: Kind, bytes: u32, frame: u64) -> u64 {
        let Some(count) = self.0.get_mut(kind as usize) else { return 0 };
        *count = count.with(KindCount { packets: 1, bytes: u64::from(bytes), first_frame: frame });
        count.packets
    }

    /// Collects the counts of kinds.
    pub(super) fn from_list(list: &[(Kind, KindCount)]) -> Self {
        let mut counts = Self::default();
        for (kind, count) in list {
            if let Some(slot) = counts.0.get_mut(*kind as usize) {
                *slot = *count;
            }
        }
        counts
    }

    /// Adds the counts of another side or flow.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.with(*theirs);
        }
    }
}

impl KindCount {
    const fn with(self, other: Self) -> Self {
        let first_frame = match (self.first_frame, other.first_frame) {
            (0, other) => other,
            (own, 0) => own,
            (own, other) => {
                if own < other {
                    own
                } else {
                    other
                }
            }
        };
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes, first_frame }
    }
}

/// Bytes that were sent again, until they are acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Again {
    pub(super) start: SeqNum,
    pub(super) end: SeqNum,
    pub(super) at: Tick,
    /// Time since the same bytes were sent again before.
    pub(super) gap: Option<u32>,
    pub(super) tsval: Option<u32>,
}

/// What was known of a loss when an acknowledgement made up for it, until the sender knows as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct MadeUp {
    pub(super) at: Tick,
    pub(super) sacked: u32,
    pub(super) recovery: Option<Recovery>,
}

/// Proofs that something had been sent again without need.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Proofs {
    /// A duplicate's report covered bytes sent again (RFC 2883, RFC 3708).
    pub dsack: u32,
    /// The acknowledgement echoes a timestamp older than what was sent again (RFC 3522).
    pub eifel: u32,
    /// The acknowledgement came sooner than the path allows.
    pub too_early: u32,
}

impl Proofs {
    /// Adds the proofs of another side or flow.
    pub const fn merge(&mut self, other: &Self) {
        self.dsack += other.dsack;
        self.eifel += other.eifel;
        self.too_early += other.too_early;
    }
}

/// Acknowledgements of which one passed at least a given time ago, in constant memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct AckMarks {
    old: Option<(SeqNum, Tick)>,
    young: Option<(SeqNum, Tick)>,
}

impl AckMarks {
    /// Takes an acknowledgement that acknowledged more.
    pub(super) fn note(&mut self, ack: SeqNum, now: Tick, age: u32) {
        match self.young {
            Some((_, at)) if now.since(at) < age => {}
            young => {
                self.old = young.or(self.old);
                self.young = Some((ack, now));
            }
        }
    }

    /// Returns the highest acknowledgement known to have passed at least `age` ago.
    pub(super) fn at_least(&self, age: u32, now: Tick) -> Option<SeqNum> {
        let aged = |mark: &(SeqNum, Tick)| now.since(mark.1) >= age;
        self.young.filter(aged).or(self.old.filter(aged)).map(|(ack, _)| ack)
    }
}

/// Data segments remembered to tell a copy from a repetition.
const RECENT: usize = 32;

/// The identities of the last data segments of one side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Recent {
    segments: [(u16, SeqNum); RECENT],
    next: usize,
}

impl Recent {
    pub(super) fn push(&mut self, segment: &Segment) {
        if let Some(slot) = self.segments.get_mut(self.next) {
            *slot = (segment.ip_id, segment.seq);
        }
        self.next = (self.next + 1) % RECENT;
    }

    /// Returns whether the last data segment, if any is remembered, began where this one does.
    pub(super) fn ends_with(&self, segment: &Segment) -> bool {
        let last = self.next.checked_sub(1).unwrap_or(RECENT - 1);
        self.segments
            .get(last)
            .is_some_and(|(ip_id, seq)| *seq == segment.seq || (*ip_id, *seq) == (0, SeqNum(0)))
    }

    pub(super) fn holds(&self, segment: &Segment) -> bool {
        segment.ip_id != 0 && self.segments.contains(&(segment.ip_id, segment.seq))
    }

    /// Returns whether a segment with this identification would still be remembered.
    pub(super) fn reaches(&self, ip_id: u16) -> bool {
        self.segments.get(self.next).is_some_and(|(oldest, _)| {
            *oldest != 0 && ip_id.wrapping_sub(*oldest).cast_signed() > 0
        })
    }
}

/// The last stretches sent again, for reports of duplicates that come a round trip later.
const RESENT: usize = 16;

/// What is kept of one side.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Side {
    /// What it sent below its highest number.
    pub kinds: KindCounts,
    /// The windows that it offered.
    pub window: WindowAudit,
    /// The SACK blocks that it sent.
    pub sack: SackAudit,
    /// By how much blocks of its reached beyond everything sent, where that was little.
    pub sack_over: Steps,
    /// What betrays the scaling of its windows.
    pub scaling: ScalingAudit,
    /// Proofs about what it sent again.
    pub proofs: Proofs,
    /// Acknowledgements that it sent of bytes never seen from the other side.
    pub acked_unseen: u32,
    /// Bytes that were acknowledged before the first segment of this side was seen.
    pub acked_before: u32,
    /// Timeouts in a row with doubling gaps, at most.
    pub longest_backoff: u32,
    /// Bytes that were never seen below the highest.
    pub(super) ranges: Ranges,
    pub(super) recovery: Option<Recovery>,
    /// Bytes above the first missing one that the other side reports by SACK.
    pub(super) sacked: u32,
    /// What was known of a loss before an acknowledgement made up for it.
    pub(super) made_up: Option<MadeUp>,
    pub(super) again: Option<Again>,
    pub(super) probed: bool,
    /// The end of a byte that probed a zero window, and that the receiver may have refused.
    pub(super) probe_end: Option<SeqNum>,
    pub(super) backoff: u32,
    /// What was acknowledged to this side, and when.
    pub(super) acks: AckMarks,
    pub(super) recent: Recent,
    /// The number of the last segment without bytes that lay beyond all bytes seen.
    pub(super) bare_ahead: Option<SeqNum>,
    /// Up to where data is acknowledged that was not captured yet.
    pub(super) awaited: Option<SeqNum>,
    /// Data that was captured after its acknowledgement.
    pub data_after_ack: u32,
    /// What was sent again and again without getting through.
    pub stuck: Stuck,
    /// Packets of several segments that were sent again.
    pub joined: Joined,
    resent: [(SeqNum, SeqNum); RESENT],
    next_resent: usize,
}

impl Side {
    /// Returns whether something is under way, so that the next segments matter.
    pub(super) fn is_busy(&self) -> bool {
        !self.ranges.is_whole()
            || self.recovery.is_some()
            || self.sacked > 0
            || self.again.is_some()
            || self.awaited.is_some()
            || self.window.zero_since.is_some()
    }

    pub(super) fn remember_resent(&mut self, start: SeqNum, end: SeqNum) {
        if let Some(slot) = self.resent.get_mut(self.next_resent) {
            *slot = (start, end);
        }
        self.next_resent = (self.next_resent + 1) % RESENT;
    }

    /// Returns whether bytes of this stretch were sent again of late, and forgets that they were.
    pub(super) fn forget_resent(&mut self, left: SeqNum, right: SeqNum) -> bool {
        let overlaps = |(start, end): &(SeqNum, SeqNum)| {
            start.is_before(*end) && start.is_before(right) && left.is_before(*end)
        };
        let Some(at) = self.resent.iter().position(overlaps) else { return false };
        if let Some(slot) = self.resent.get_mut(at) {
            *slot = (SeqNum(0), SeqNum(0));
        }
        true
    }

    /// Returns the bytes below `ack` that were never seen.
    pub(super) fn missed_up_to(&self, ack: SeqNum) -> u64 {
        self.ranges.missed_up_to(ack)
    }

    /// Returns the holes given up because there were too many.
    pub(super) const fn holes_forgotten(&self) -> u32 {
        self.ranges.forgotten
    }
}

/// What a flow waited for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum Waiting {
    /// A SYN had no answer.
    Handshake,
    /// Data was not acknowledged.
    Acknowledgement,
    /// A window was zero.
    Window,
}

impl Waiting {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Acknowledgement => "acknowledgement",
            Self::Window => "window",
        }
    }
}

/// What ended a stall.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum StallEnd {
    /// A segment below the highest number.
    Again(Kind),
    /// An acknowledgement of a SYN or of more data.
    Acknowledged,
    /// New data.
    Data,
    /// A SYN that is not one sent again.
    Syn,
    /// A SYN-ACK that is not one sent again.
    SynAck,
    /// A FIN without data that is not one sent again.
    Fin,
    /// A reset.
    Reset,
    /// Anything else: a window update, a duplicate acknowledgement.
    Other,
}

impl StallEnd {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Again(kind) => kind.code(),
            Self::Acknowledged => "ack",
            Self::Data => "data",
            Self::Syn => "new_syn",
            Self::SynAck => "new_synack",
            Self::Fin => "new_fin",
            Self::Reset => "rst",
            Self::Other => "other",
        }
    }

    /// Returns what ended it in words, as a report says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Again(kind) => kind.words(),
            Self::Acknowledged => "an acknowledgement",
            Self::Data => "data",
            Self::Syn => "a SYN",
            Self::SynAck => "a SYN-ACK",
            Self::Fin => "a FIN",
            Self::Reset => "a RST",
            Self::Other => "a segment without news",
        }
    }
}

/// A time in which nothing passed although something was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Stall {
    /// The frame that ended it.
    pub frame: u64,
    /// When it ended.
    pub ts: Timestamp,
    /// How long it lasted, in microseconds.
    pub micros: u32,
    /// What was due.
    pub waiting: Waiting,
    /// What ended it.
    pub end: StallEnd,
}

/// Everything that is kept of a flow beyond the ordinary.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Detail {
    /// What each side did, where it did something out of the ordinary.
    pub(super) sides: PerOrientation<Option<Box<Side>>>,
    /// The longest stall.
    pub(super) stall: Option<Stall>,
    /// Stalls, the longest one included.
    pub(super) stalls: u32,
    /// What went wrong in the handshake.
    pub(super) handshake: Handshake,
    /// What became of INVALID packets.
    pub(super) effects: Effects,
    /// The places where the flow was captured, where there are several.
    pub(super) sightings: Option<Box<Sightings>>,
    /// Packets whose numbers were further from those before than any window.
    pub(super) wild: u32,
    /// Whether a side uses timestamps though its SYN, as captured, offered none.
    pub(super) stamps_unannounced: bool,
    /// Signs of a fault on the path.
    pub(super) signs: Option<Box<Signs>>,
    /// Everything that happened, for the one flow that is shown in full.
    pub(super) story: Option<Box<Story>>,
}

// What a flow with something to tell costs beside its hot state and its capped lists.
const _: () = assert!(size_of::<Detail>() <= 512);
const _: () = assert!(size_of::<Side>() <= 1400);

impl Detail {
    /// Returns the bytes that this takes with its lists; the one story of a run has a bound of its
    /// own.
    pub(super) fn heap_bytes(&self) -> usize {
        let PerOrientation { low_to_high, high_to_low } = &self.sides;
        let sides = [low_to_high, high_to_low].into_iter().flatten();
        let sides: usize = sides.map(|side| size_of::<Side>() + side.ranges.heap_bytes()).sum();
        let signs = self.signs.as_ref().map_or(0, |_| size_of::<Signs>());
        size_of::<Self>() + sides + signs + self.effects.heap_bytes()
    }

    /// Forgets what is under way on both sides, but not what was counted.
    pub(super) fn start_over(&mut self) {
        let PerOrientation { low_to_high, high_to_low } = &mut self.sides;
        for side in [low_to_high, high_to_low].into_iter().flatten() {
            side.ranges.forget();
            side.recovery = None;
            side.sacked = 0;
            side.made_up = None;
            side.again = None;
            side.joined.forget();
            side.probe_end = None;
            side.bare_ahead = None;
            side.awaited = None;
            side.window.zero_since = None;
            side.acks = AckMarks::default();
        }
    }

    /// Returns what went wrong in the handshake, with what its sights elsewhere tell.
    pub(super) fn handshake(&self) -> Handshake {
        let mut handshake = self.handshake.clone();
        if let Some(sightings) = &self.sightings {
            handshake.options_rewritten += sightings.rewritten();
        }
        handshake
    }

    /// Returns how many packets came twice, both ways.
    pub(super) fn copies(&self) -> u64 {
        let PerOrientation { low_to_high, high_to_low } = &self.sides;
        [low_to_high, high_to_low]
            .into_iter()
            .flatten()
            .map(|side| side.kinds.of(Kind::Duplicate).packets)
            .sum()
    }

    /// Returns what became of INVALID packets, those that still wait as unknown.
    pub(super) fn effects(&self) -> EffectCounts {
        self.effects.final_counts()
    }
}
