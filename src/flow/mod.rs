//! What one flow showed: its counts, and the packets that prove a finding.
//!
//! A flow is the traffic of one pair of endpoints from its first packet, or from the SYN that
//! opens its connection anew, until the tracker has forgotten it. Its id is the number of its first
//! frame.
//!
//! Does not: judge packets, name causes, or know other flows.

mod acks;
mod bytes;
mod closing;
pub mod community_id;
mod counters;
mod detail;
mod effect;
mod evidence;
mod exchange;
mod filtered;
mod finished;
mod gist;
mod glance;
mod greeting;
mod half;
mod handshake;
mod history;
mod in_step;
mod joined;
mod lead;
mod onward;
mod opening;
mod pause;
mod places;
mod ranges;
mod reaction;
mod retransmission;
mod sack;
mod same;
mod scaling;
mod shifted;
mod sightings;
mod signs;
mod step;
mod steps;
mod story;
mod stuck;
mod summary;
mod trace;
mod vantage;
mod watch;
mod way;
mod window;

use crate::conntrack::{Arrival, Class, CtState, Members, Verdict};
use crate::segment::{Direction, PerDirection, Segment};
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::{Orientation, PerOrientation};
use detail::Detail;
use exchange::{Exchange, Look};
use half::{Half, Tick};
use in_step::Pace;
use vantage::Copies;
use way::{Counts, Facts};

pub use detail::{KindCount, KindCounts, Proofs, Stall, StallEnd, Waiting};
pub use effect::{Effect, EffectCounts, MAX_PENDING};
pub use evidence::{Evidence, KeyPacket, MAX_KEY_PACKETS};
pub use exchange::{LEAST_STALL_US, Repeated};
pub use filtered::Messages;
pub use finished::{FlowFinding, FlowSightings, FlowStory, FlowTrouble};
pub use gist::{Gist, SideGist};
pub use glance::{Mark, Sight};
pub use greeting::Greeting;
pub use half::Offer;
pub use handshake::{Handshake, MAX_RETRIES};
pub use history::ConnState;
pub use joined::Joined;
pub use lead::Kept;
pub use ranges::MAX_HOLES;
pub use retransmission::Kind;
pub use sack::{BlockClass, SackAudit};
pub use same::{is_same_elsewhere, offers_the_same};
pub use scaling::{MAX_SHIFT, Scaling, ScalingAudit};
pub use sightings::{Sighted, Sightings, Way};
pub use signs::{
    ChallengedSyn, ForeignResets, Leap, Pause, SecondSynAck, Seen, ShutSynAck, SideSigns, Signs,
    Stale, StandIn,
};
pub use steps::{MAX_STEPS, Plateau, Steps};
pub use story::{Event, Happening, MAX_EVENTS, MAX_SAMPLES, Sample, Story};
pub use stuck::Stuck;
pub use summary::{SideSummary, Summary};
pub use trace::{Bounds, MAX_MARKED, MAX_POINTS, Point, Trace};
pub use way::OneWay;
pub use window::WindowAudit;

/// How long after its last packet a flow without any entry is remembered: 120 s, as long as the
/// tracker remembers an unanswered SYN.
const LINGER_NS: i64 = 120 * NANOS_PER_SEC;

/// Silence from which a flow counts as stalled while something is due, in nanoseconds.
const LEAST_STALL_NS: i64 = 1000 * LEAST_STALL_US as i64;

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

/// How closely a packet was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// It only carries on what the flow was doing: nothing is kept of it.
    Regular,
    /// After a closer look, of which something may be kept; with what it sent again, if it did.
    Closely(Option<Repeated>),
}

/// What one flow showed so far. The order of the fields is that in memory: what a regular packet
/// reads and writes comes first.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[repr(C)]
pub struct FlowAudit {
    /// Capture time of the last packet.
    pub last_ts: Timestamp,
    /// Tracker time of the last packet.
    last_seen: Timestamp,
    /// What the two ends did.
    exchange: Exchange,
    /// What travelled each way, in the part that every packet changes.
    counts: PerOrientation<Counts>,
    /// Which way the original direction goes: that of the first entry, else of the first packet.
    pub original: Orientation,
    /// Whether the tracker ever had an entry.
    pub tracked: bool,
    /// Whether the tracker took the flow up mid-stream, and hence judges its windows liberally.
    pub picked_up: bool,
    /// Whether the flow is known to have been captured at several places.
    copies: Copies,
    /// How tracker and analysis go on together.
    #[serde(skip)]
    pace: Pace,
    /// Which way the last packet went, where the tracker may not know it yet.
    #[serde(skip)]
    last_way: Orientation,
    /// Whether it follows upon another flow of the same endpoints that the tracker still held.
    pub reopened: bool,
    /// The findings; none for a clean flow.
    pub evidence: Option<Box<Evidence>>,
    /// Number of the first frame: the flow's id.
    pub first_frame: u64,
    /// Capture time of the first packet.
    pub first_ts: Timestamp,
    /// The part that few packets change.
    facts: PerOrientation<Facts>,
}

impl FlowAudit {
    /// Starts a flow with its first packet, which is still to be observed.
    pub fn new(frame: u64, ts: Timestamp, arrival: &Arrival<'_>) -> Self {
        Self {
            last_ts: ts,
            last_seen: arrival.now,
            exchange: Exchange::new(),
            counts: PerOrientation::default(),
            original: arrival.orientation,
            tracked: false,
            picked_up: false,
            copies: Copies::None,
            pace: Pace::Apart,
            last_way: arrival.orientation,
            reopened: false,
            evidence: None,
            first_frame: frame,
            first_ts: ts,
            facts: PerOrientation::default(),
        }
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
    pub fn observe(&mut self, observation: &Observation<'_>) -> Attention {
        let Observation { ts, arrival, verdict, .. } = observation;
        let segment = arrival.segment;
        let silence_ns = ts.nanos_since(self.last_ts);
        self.last_ts = *ts;
        self.last_seen = arrival.now;
        let ttl_before = self.counts[arrival.orientation].ttl;
        self.facts[arrival.orientation].note(&mut self.counts[arrival.orientation], segment);
        self.count(segment, arrival.orientation);
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

    /// Returns whether a segment only carries on what the flow was doing, given that the tracker
    /// lets it pass as an ordinary one; it is then to be taken by [`FlowAudit::carry_on`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub fn is_regular(&self, ts: Timestamp, arrival: &Arrival<'_>) -> bool {
        let is_at_once = ts.nanos_since(self.last_ts) < LEAST_STALL_NS;
        let is_alone = matches!(self.copies, Copies::None);
        is_at_once
            && is_alone
            && !self.is_pausing()
            && self.exchange.is_regular(arrival.segment, arrival.orientation)
    }

    /// Takes a segment that was found to be regular: what [`FlowAudit::observe`] does with it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub fn carry_on(&mut self, ts: Timestamp, arrival: &Arrival<'_>) {
        let Arrival { segment, orientation, now } = *arrival;
        self.last_ts = ts;
        self.last_seen = now;
        self.count(segment, orientation);
        self.exchange.carry_on(segment, orientation, Tick::of(ts));
    }

    #[inline]
    fn count(&mut self, segment: &Segment, orientation: Orientation) {
        self.counts[orientation].add(segment, &mut self.facts[orientation]);
    }

    /// Takes what the packet tells about the two ends.
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
            first_seq: self.facts[orientation].first_seq(self.counts[orientation]),
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
        if taken.is_some_and(|taken| taken.is_wild) {
            self.count_wild();
        }
        let pauses = was_idle || self.is_pausing();
        if pauses {
            let is_again = taken.is_some_and(|taken| taken.repeated.is_some())
                || self.exchange.keeps_alive(&look);
            let packet = pause::Packet { silence_ns, was_idle, is_again };
            let ways = (&mut self.counts, &mut self.facts);
            pause::watch(ways, &mut self.exchange.detail, &look, packet);
        }
        if let Some(handshake_us) = taken.and_then(|taken| taken.handshake_us) {
            let way = orientation.flip();
            self.facts[way].answered(&mut self.counts[way], handshake_us);
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
        self.counts.low_to_high.is_pausing() | self.counts.high_to_low.is_pausing()
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
    #[inline]
    pub fn directions(&self) -> PerDirection<OneWay> {
        let way = |way: Orientation| self.facts[way].joined(self.counts[way]);
        PerDirection { original: way(self.original), reply: way(self.original.flip()) }
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
