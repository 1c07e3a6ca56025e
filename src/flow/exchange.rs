//! What the two ends of a flow did: the hot path of the analysis.
//!
//! Most segments are regular: in order, acknowledging more, the window open and not full. They cost
//! a few comparisons. Every other one takes a [`Step`], which looks closely.
//!
//! Does not: judge as the tracker does, or name causes.

use crate::conntrack::Verdict;
use crate::flow::detail::Detail;
use crate::flow::effect::Effect;
use crate::flow::half::{Half, Probe, Tick};
use crate::flow::history::{History, Letter};
use crate::flow::ranges::MAX_ID_STEP;
use crate::flow::step::Step;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// Silence from which a flow counts as stalled while something is due, in microseconds: 200 ms, the
/// least retransmission timeout of Linux.
pub const LEAST_STALL_US: u32 = 200_000;

/// A segment on its way into the analysis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    pub(super) frame: u64,
    pub(super) ts: Timestamp,
    pub(super) now: Tick,
    pub(super) orientation: Orientation,
    pub(super) segment: &'a Segment,
    pub(super) verdict: &'a Verdict,
    /// Time since the packet before, in microseconds.
    pub(super) silence: u32,
    /// When the flow began.
    pub(super) first: Tick,
    /// The first sequence number seen this way.
    pub(super) first_seq: Option<SeqNum>,
    /// TTL or hop limit of the packet before, this way; 0 for the first.
    pub(super) ttl_before: u8,
}

/// A repetition that the totals count by its delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repeated {
    /// How long the data had made no progress when it was sent again, in microseconds.
    pub idle_us: u32,
}

/// What a segment tells beyond its flow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Taken {
    pub(super) repeated: Option<Repeated>,
    /// The time between a SYN or SYN-ACK of the receiver and this answer, in microseconds.
    pub(super) handshake_us: Option<u32>,
    /// Whether the segment is the same packet again.
    pub(super) is_copy: bool,
}

/// What the two ends did so far.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Exchange {
    pub(super) halves: PerOrientation<Half>,
    pub(super) history: History,
    pub(super) detail: Option<Box<Detail>>,
}

// A clean flow costs this and nothing more.
const _: () = assert!(size_of::<Exchange>() <= 128);

impl Exchange {
    pub(super) const fn new() -> Self {
        let half = Half::new();
        Self {
            halves: PerOrientation { low_to_high: half, high_to_low: half },
            history: History::EMPTY,
            detail: None,
        }
    }

    /// Takes a segment without header fault; returns nothing for a regular one.
    #[inline]
    pub(super) fn take(&mut self, look: &Look<'_>) -> Option<Taken> {
        let (own, peer) = pair(&mut self.halves, look.orientation);
        if is_regular(own, peer, look) {
            advance(own, peer, look);
            return None;
        }
        Some(Step::new(own, peer, &mut self.detail, &mut self.history, *look).take())
    }

    /// Keeps everything that happens from here on.
    pub(super) fn tell_all(&mut self) {
        self.detail.get_or_insert_default().story = Some(Box::default());
        self.halves.low_to_high.set_alert(true);
        self.halves.high_to_low.set_alert(true);
    }

    /// Returns whether everything that happens is kept.
    pub(super) fn is_told(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.story.is_some())
    }

    /// Forgets the numbers of both sides, but not what was counted: a SYN opens a connection where
    /// only remains of another were seen.
    #[cold]
    pub(super) fn start_over(&mut self) {
        for half in [&mut self.halves.low_to_high, &mut self.halves.high_to_low] {
            *half = half.started_over();
        }
        if let Some(detail) = &mut self.detail {
            detail.start_over();
        }
    }

    /// Returns whether both sides have spoken, none has ended the connection, and nothing is due.
    pub(super) fn is_idle(&self) -> bool {
        let PerOrientation { low_to_high: low, high_to_low: high } = &self.halves;
        let ended = Letter::Fin.mark() | Letter::Rst.mark();
        let ready = |half: &Half| half.is(Half::SEQ | Half::ACK) && half.win > 0;
        let is_open = ready(low) && ready(high) && (low.marks | high.marks) & ended == 0;
        is_open && low.flight(high) == 0 && high.flight(low) == 0
    }

    /// Returns whether a segment is a bare keepalive: no bytes, and the number of the last byte.
    pub(super) fn keeps_alive(&self, look: &Look<'_>) -> bool {
        let own = &self.halves[look.orientation];
        own.is(Half::SEQ) && look.segment.len == 0 && own.max_end.offset_from(look.segment.seq) == 1
    }

    /// Returns the INVALID packets whose effect the last segment proved.
    #[inline]
    pub(super) fn resolved(&mut self) -> impl Iterator<Item = (u64, Effect)> + use<> {
        let resolved = self.detail.as_mut().map(|detail| &mut detail.effects.resolved);
        resolved.map(std::mem::take).unwrap_or_default().into_iter()
    }

    /// Takes a segment with a header fault: nothing of it counts but a bad checksum.
    pub(super) fn take_faulty(&mut self, look: &Look<'_>) {
        let (own, peer) = pair(&mut self.halves, look.orientation);
        Step::new(own, peer, &mut self.detail, &mut self.history, *look).take_faulty();
    }
}

/// Returns the halves of sender and receiver.
#[inline]
pub(super) const fn pair(
    halves: &mut PerOrientation<Half>,
    sender: Orientation,
) -> (&mut Half, &mut Half) {
    match sender {
        Orientation::LowToHigh => (&mut halves.low_to_high, &mut halves.high_to_low),
        Orientation::HighToLow => (&mut halves.high_to_low, &mut halves.low_to_high),
    }
}

const IRREGULAR_FLAGS: u8 = Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0 | Flags::ACK.0;

/// Returns whether a segment only carries on what its flow was doing.
#[inline]
fn is_regular(own: &Half, peer: &Half, look: &Look<'_>) -> bool {
    let segment = look.segment;
    let letter = if segment.len > 0 { Letter::Data } else { Letter::Ack };
    let is_known = own.is(Half::SEQ | Half::ACK) && peer.is(Half::SEQ | Half::ACK);
    let is_calm = (own.marks | peer.marks) & Half::ALERT == 0
        && own.marks & letter.mark() != 0
        && look.silence < LEAST_STALL_US;
    let is_plain = segment.flags.0 & IRREGULAR_FLAGS == Flags::ACK.0
        && segment.win != 0
        && segment.options.sack.as_slice().is_empty();
    let more_acked = segment.ack.offset_from(own.ack);
    let acks_what_was_sent = !segment.ack.is_after(peer.max_end);
    let is_next = segment.seq == own.max_end
        && acks_what_was_sent
        && (more_acked > 0 || more_acked == 0 && segment.len > 0);
    if !(is_known && is_calm && is_plain && is_next) {
        return false;
    }
    let edge = segment.ack.plus(u32::from(segment.win) << own.shift);
    let window_stays =
        !edge.is_before(own.edge()) && u32::from(segment.win) << own.shift >= u32::from(own.mss);
    let data_fits = segment.len == 0
        || segment.end().is_before(peer.edge()) && (peer.shift == 0 || own.is(Half::SCALES));
    window_stays && data_fits && is_in_sequence(own, segment)
}

/// Returns whether the sender's own counters say that this segment left after all seen before.
#[inline]
fn is_in_sequence(own: &Half, segment: &Segment) -> bool {
    let time_goes_on = match segment.options.timestamps {
        Some(timestamps) => {
            own.is(Half::TIMESTAMPS) && timestamps.value.wrapping_sub(own.tsval).cast_signed() >= 0
        }
        None => !own.is(Half::TIMESTAMPS),
    };
    let step = segment.ip_id.wrapping_sub(own.ip_id).cast_signed();
    time_goes_on && (own.is(Half::RANDOM_ID) || step > 0 && step < MAX_ID_STEP)
}

/// Takes a regular segment.
#[inline]
fn advance(own: &mut Half, peer: &mut Half, look: &Look<'_>) {
    let Look { segment, now, .. } = *look;
    if segment.ack != own.ack {
        own.ack = segment.ack;
        own.dup_acks = 0;
        peer.progress_at = now;
    }
    peer.answered(segment, now);
    own.win = segment.win;
    own.max_edge = own.max_edge.latest(own.edge());
    let has_new_clock = segment.options.timestamps.filter(|ts| ts.value != own.tsval);
    if segment.len > 0 {
        take_new_bytes(own, peer, look);
    } else if let Some(timestamps) = has_new_clock {
        own.time(Probe::Echo(timestamps.value), now);
    }
    if let Some(timestamps) = segment.options.timestamps {
        own.tsval = timestamps.value;
    }
    own.ip_id = segment.ip_id;
    own.last_at = now;
}

/// Moves the highest number to the end of a segment that begins at it, or behind a gap.
#[inline]
pub(super) fn take_new_bytes(own: &mut Half, peer: &mut Half, look: &Look<'_>) {
    let Look { segment, now, .. } = *look;
    if own.flight(peer) == 0 {
        own.progress_at = now;
    }
    own.max_end = segment.end();
    let flight = own.flight(peer);
    own.max_flight = own.max_flight.max(flight);
    if peer.is(Half::ACK) && flight > u32::from(peer.win) {
        own.set(Half::SCALES);
    }
    if !peer.is(Half::MSS) {
        let len = u16::try_from(segment.len).unwrap_or(u16::MAX);
        peer.mss = peer.mss.max(len);
    }
    own.time(Probe::Ack(segment.end()), now);
}
