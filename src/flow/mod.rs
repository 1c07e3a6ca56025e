//! What one flow showed: its counts, and the packets that prove a finding.
//!
//! A flow is the traffic of one pair of endpoints from its first packet, or from the SYN that
//! opens its connection anew, until the tracker has forgotten it. Its id is the number of its first
//! frame.
//!
//! Does not: judge packets, name causes, or know other flows.

mod acks;
mod bytes;
pub mod community_id;
mod detail;
mod effect;
mod evidence;
mod exchange;
mod finished;
mod half;
mod handshake;
mod history;
mod opening;
mod pause;
mod ranges;
mod reaction;
mod retransmission;
mod sack;
mod scaling;
mod sightings;
mod signs;
mod step;
mod story;
mod stuck;
mod summary;
mod trace;
mod vantage;
mod watch;
mod window;

use crate::conntrack::{Arrival, Class, CtState, Members, Verdict};
use crate::segment::{Direction, Flags, PerDirection, Segment};
use crate::seq::SeqNum;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::{Orientation, PerOrientation, Vantage};
use detail::Detail;
use exchange::{Exchange, Look};
use half::{Half, Tick};
use vantage::Copies;

pub use detail::{KindCount, KindCounts, Proofs, Stall, StallEnd, Waiting};
pub use effect::{Effect, EffectCounts, MAX_PENDING};
pub use evidence::{Evidence, KeyPacket, MAX_KEY_PACKETS};
pub use exchange::{LEAST_STALL_US, Repeated};
pub use finished::{FlowFinding, FlowSightings, FlowStory, FlowTrouble};
pub use half::Offer;
pub use handshake::{Handshake, MAX_RETRIES};
pub use history::ConnState;
pub use ranges::MAX_HOLES;
pub use retransmission::Kind;
pub use sack::{BlockClass, SackAudit};
pub use scaling::{MAX_SHIFT, Scaling, ScalingAudit};
pub use sightings::{Mark, Sight, Sighted, Sightings, Way, offers_the_same};
pub use signs::{
    ChallengedSyn, ForeignResets, Leap, Pause, SecondSynAck, Seen, ShutSynAck, SideSigns, Signs,
    Stale, StandIn,
};
pub use story::{Event, Happening, MAX_EVENTS, MAX_SAMPLES, Sample, Story};
pub use stuck::Stuck;
pub use summary::{SideSummary, Summary};
pub use trace::{Bounds, MAX_MARKED, MAX_POINTS, Point, Trace};
pub use window::WindowAudit;

/// How long after its last packet a flow without any entry is remembered: 120 s, as long as the
/// tracker remembers an unanswered SYN.
const LINGER_NS: i64 = 120 * NANOS_PER_SEC;

/// One packet of a flow with everything that was said of it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Frame number, from 1.
    pub frame: u64,
    /// Capture time.
    pub ts: Timestamp,
    /// The segment as it arrived.
    pub arrival: Arrival<'a>,
    /// What the policy of the run said.
    pub verdict: Verdict,
    /// What the same policy with `nf_conntrack_tcp_be_liberal` = 1 said.
    pub liberal: CtState,
    /// The policies that called the packet INVALID.
    pub invalid_for: Members,
}

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
    /// The pause that a packet this way ended, in seconds, until it is answered; 0 for none.
    pause_s: u16,
    /// TTL or hop limit of the last packet.
    pub ttl: u8,
}

/// How closely a packet was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// It only carries on what the flow was doing: nothing is kept of it.
    Regular,
    /// After a closer look, of which something may be kept; with what it sent again, if it did.
    Closely(Option<Repeated>),
}

/// What one flow showed so far.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowAudit {
    /// Number of the first frame: the flow's id.
    pub first_frame: u64,
    /// Capture time of the first packet.
    pub first_ts: Timestamp,
    /// Capture time of the last packet.
    pub last_ts: Timestamp,
    /// Tracker time of the last packet.
    last_seen: Timestamp,
    /// Which way the original direction goes: that of the first entry, else of the first packet.
    pub original: Orientation,
    /// What travelled each way.
    ways: PerOrientation<OneWay>,
    /// Whether the tracker ever had an entry.
    pub tracked: bool,
    /// Whether the tracker took the flow up mid-stream, and hence judges its windows liberally.
    pub picked_up: bool,
    /// Whether the flow is known to have been captured at several places.
    copies: Copies,
    /// Whether it follows upon another flow of the same endpoints that the tracker still held.
    pub reopened: bool,
    /// The findings; none for a clean flow.
    pub evidence: Option<Box<Evidence>>,
    /// What the two ends did.
    exchange: Exchange,
}

impl FlowAudit {
    /// Starts a flow with its first packet, which is still to be observed.
    pub const fn new(frame: u64, ts: Timestamp, arrival: &Arrival<'_>) -> Self {
        let way = OneWay {
            packets: 0,
            bytes: 0,
            first_seq: None,
            syn_seen: false,
            handshake_us: None,
            vantage: Vantage { file: 0, interface: 0 },
            largest: 0,
            survived_s: 0,
            pause_s: 0,
            ttl: 0,
        };
        Self {
            first_frame: frame,
            first_ts: ts,
            last_ts: ts,
            last_seen: arrival.now,
            original: arrival.orientation,
            ways: PerOrientation { low_to_high: way, high_to_low: way },
            tracked: false,
            picked_up: false,
            copies: Copies::None,
            reopened: false,
            evidence: None,
            exchange: Exchange::new(),
        }
    }

    /// Reads a word of each of its lines of the cache, and returns their sum.
    #[inline]
    pub fn touch(&self) -> u64 {
        let PerOrientation { low_to_high, high_to_low } = &self.ways;
        let times = self.first_frame ^ self.last_ts.0.cast_unsigned();
        low_to_high.bytes ^ high_to_low.bytes ^ times
    }

    /// Keeps everything that happens from here on, for a report in full.
    pub fn tell_all(&mut self) {
        self.exchange.tell_all();
    }

    /// Returns whether this packet begins another flow: a SYN opens a connection anew.
    #[inline]
    pub fn ends_before(&self, segment: &Segment, verdict: &Verdict) -> bool {
        verdict.opened && self.tracked && Class::of(segment.flags) == Class::Syn
    }

    /// Takes a packet in.
    #[inline]
    pub fn observe(&mut self, observation: &Observation<'_>) -> Attention {
        let Observation { ts, arrival, verdict, .. } = observation;
        let segment = arrival.segment;
        let silence_ns = ts.nanos_since(self.last_ts);
        self.last_ts = *ts;
        self.last_seen = arrival.now;
        let way = &mut self.ways[arrival.orientation];
        way.packets += 1;
        way.bytes += u64::from(segment.len);
        if segment.len > u32::from(way.largest) {
            way.largest = u16::try_from(segment.len).unwrap_or(u16::MAX);
        }
        way.first_seq = way.first_seq.or(Some(segment.seq));
        way.syn_seen |= segment.has(Flags::SYN);
        let ttl_before = std::mem::replace(&mut way.ttl, segment.ttl);
        if verdict.opened {
            if !self.tracked {
                self.original = arrival.orientation;
            }
            self.tracked = true;
            self.picked_up |= Class::of(segment.flags) != Class::Syn;
        }
        let noteworthy = verdict.reason.is_some() || !observation.invalid_for.is_empty();
        if noteworthy || observation.liberal == CtState::Invalid {
            self.evidence.get_or_insert_default().add(observation);
            return match self.analyse(observation, silence_ns, ttl_before) {
                Attention::Regular => Attention::Closely(None),
                seen @ Attention::Closely(_) => seen,
            };
        }
        self.analyse(observation, silence_ns, ttl_before)
    }

    /// Takes what the packet tells about the two ends.
    #[inline]
    fn analyse(
        &mut self,
        observation: &Observation<'_>,
        silence_ns: i64,
        ttl_before: u8,
    ) -> Attention {
        let Observation { frame, ts, arrival, verdict, .. } = observation;
        let Arrival { segment, orientation, .. } = *arrival;
        let silence = u32::try_from(silence_ns.max(0) / 1000).unwrap_or(u32::MAX);
        let look = Look {
            frame: *frame,
            ts: *ts,
            now: Tick::of(*ts),
            orientation,
            segment,
            verdict,
            silence,
            first: Tick::of(self.first_ts),
            first_seq: self.ways[orientation].first_seq,
            ttl_before,
        };
        if segment.fault.is_some() {
            self.exchange.take_faulty(&look);
            return Attention::Closely(None);
        }
        if verdict.opened && Class::of(segment.flags) == Class::Syn && *frame != self.first_frame {
            self.exchange.start_over();
        }
        let was_idle = silence_ns >= pause::LEAST_PAUSE_NS && self.exchange.is_idle();
        let taken = self.exchange.take(&look);
        if taken.is_some_and(|taken| taken.is_copy) {
            self.count_copies();
        }
        let pauses = was_idle || self.is_pausing();
        if pauses {
            let is_again = taken.is_some_and(|taken| taken.repeated.is_some())
                || self.exchange.keeps_alive(&look);
            let packet = pause::Packet { silence_ns, was_idle, is_again };
            pause::watch(&mut self.ways, &mut self.exchange.detail, &look, packet);
        }
        if let Some(handshake_us) = taken.and_then(|taken| taken.handshake_us) {
            self.ways[orientation.flip()].handshake_us = Some(handshake_us);
        }
        if let Some(evidence) = &mut self.evidence {
            for (frame, effect) in self.exchange.resolved() {
                evidence.resolve(frame, effect);
            }
        }
        match taken {
            None if !pauses => Attention::Regular,
            taken => Attention::Closely(taken.and_then(|taken| taken.repeated)),
        }
    }

    /// Returns whether a pause has ended and nobody has answered since.
    #[inline]
    const fn is_pausing(&self) -> bool {
        self.ways.low_to_high.pause_s | self.ways.high_to_low.pause_s != 0
    }

    /// Returns what the two ends did, in numbers.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.exchange, self.original, self.directions())
    }

    /// Notes that a hop said of a packet that went this way that it was too big.
    pub fn note_too_big(&mut self, orientation: Orientation) {
        let detail = self.exchange.detail.get_or_insert_default();
        detail.sides[orientation].get_or_insert_default().stuck.too_big += 1;
    }

    /// Returns the places where the flow was captured, if there are several.
    pub fn sightings(&self) -> Option<&Sightings> {
        self.exchange.detail.as_ref()?.sightings.as_deref()
    }

    /// Returns the clock in the timestamps of one side, relative to that of the capture, in
    /// milliseconds on a circle of 2³²; exact where the clock runs at 1 kHz, as that of Linux does.
    pub fn clock_ms(&self, direction: Direction) -> Option<u32> {
        let orientation = match direction {
            Direction::Original => self.original,
            Direction::Reply => self.original.flip(),
        };
        let half = &self.exchange.halves[orientation];
        let ago_us = Tick::of(self.last_ts).since(half.last_at);
        half.is(Half::TIMESTAMPS).then(|| half.tsval.wrapping_sub(millis(self.last_ts, ago_us)))
    }

    /// Takes out what was kept of a flow that is reported in full.
    pub fn take_story(&mut self) -> Option<Box<Story>> {
        self.exchange.detail.as_mut()?.story.take()
    }

    /// Drops everything but the counts, once they have been taken.
    pub fn forget_details(&mut self) {
        self.exchange.detail = None;
    }

    /// Returns the bytes that this takes outside of its own place.
    pub fn heap_bytes(&self) -> usize {
        let of_evidence = |evidence: &Evidence| {
            size_of::<Evidence>() + evidence.key_packets.capacity() * size_of::<KeyPacket>()
        };
        let evidence = self.evidence.as_deref().map_or(0, of_evidence);
        evidence + self.exchange.detail.as_deref().map_or(0, Detail::heap_bytes)
    }

    /// Returns when the flow is over, given when its last entry expires.
    #[inline]
    pub fn over_at(&self, entry_expires: Option<Timestamp>) -> Timestamp {
        let forgotten = self.last_seen.plus_nanos(LINGER_NS);
        entry_expires.map_or(forgotten, |expires| expires.max(forgotten))
    }

    /// Returns the tracker's time of the last packet.
    pub const fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// Returns what travelled in each direction.
    pub fn directions(&self) -> PerDirection<OneWay> {
        PerDirection { original: self.ways[self.original], reply: self.ways[self.original.flip()] }
    }

    /// Returns every capture time that a report may tell, so that all can be shifted alike.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let evidence = self.evidence.iter_mut().flat_map(|evidence| evidence.times());
        [&mut self.first_ts, &mut self.last_ts].into_iter().chain(evidence)
    }

    /// Returns the direction of a packet that went this way.
    pub fn direction_of(&self, orientation: Orientation) -> Direction {
        if orientation == self.original { Direction::Original } else { Direction::Reply }
    }
}

/// Returns the milliseconds of a time that was `ago_us` before another, on a circle of 2³².
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "time on a circle")]
const fn millis(ts: Timestamp, ago_us: u32) -> u32 {
    (ts.plus_nanos(-1000 * ago_us as i64).0 / 1_000_000) as u32
}
