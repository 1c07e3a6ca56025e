//! What the two ends of a flow did: the hot path of the analysis.
//!
//! Most segments are regular: in order, acknowledging more, the window open and not full. They cost
//! a few comparisons. Every other one takes a [`Step`], which looks closely.
//!
//! Does not: judge as the tracker does, or name causes.

use std::hint::select_unpredictable;

use crate::conntrack::Verdict;
use crate::flow::detail::Detail;
use crate::flow::effect::Effect;
use crate::flow::half::{Half, Probe, Tick};
use crate::flow::history::{History, Letter};
use crate::flow::ranges::MAX_ID_STEP;
use crate::flow::scaling::{self, Scaling};
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
    /// Whether its number is further from those before than any window.
    pub(super) is_wild: bool,
}

/// What the two ends did so far.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[repr(C)]
pub(super) struct Exchange {
    pub(super) halves: PerOrientation<Half>,
    pub(super) detail: Option<Box<Detail>>,
    pub(super) history: History,
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
        if look.silence < LEAST_STALL_US && self.is_regular(look.segment, look.orientation) {
            self.carry_on(look.segment, look.orientation, look.now);
            return None;
        }
        let (own, peer) = pair(&mut self.halves, look.orientation);
        Some(Step::new(own, peer, &mut self.detail, &mut self.history, *look).take())
    }

    /// Returns whether something is under way on either side, so that every segment matters.
    #[inline]
    pub(super) const fn is_busy(&self) -> bool {
        (self.halves.low_to_high.marks | self.halves.high_to_low.marks) & Half::ALERT != 0
    }

    /// Returns whether a segment that comes without a stall only carries on what its flow was
    /// doing: it is to be taken by [`Exchange::carry_on`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn is_regular(&self, segment: &Segment, sender: Orientation) -> bool {
        let (own, peer) = (&self.halves[sender], &self.halves[sender.flip()]);
        if self.is_busy() {
            return false;
        }
        let is_told = new_marks(own, segment) == 0;
        // Where something went wrong, the last segments are remembered until scaling is proven.
        let is_remembered = self.detail.is_some() && segment.len > 0 && may_be_blind(own, peer);
        continues(own, peer, segment)
            && !is_remembered
            && (is_told || self.lacks_letters_only(own, peer))
    }

    /// Returns whether nothing but letters in the history sets the first segment of its kind apart
    /// from those that follow.
    fn lacks_letters_only(&self, own: &Half, peer: &Half) -> bool {
        let is_timed = !peer.has_spoken() && peer.min_rtt().is_none();
        own.has_spoken() && !is_timed && is_read_as_agreed(own, peer) && self.detail.is_none()
    }

    /// Takes a regular segment.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn carry_on(&mut self, segment: &Segment, sender: Orientation, now: Tick) {
        let (own, peer) = pair(&mut self.halves, sender);
        let new_letters = new_marks(own, segment);
        if new_letters != 0 {
            own.marks |= new_letters;
            self.history.push_marks(new_letters, sender == Orientation::HighToLow);
        }
        carry_on(own, peer, segment, now);
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

/// Returns what belongs to the sender, and what to the receiver.
#[inline]
pub(super) const fn pair<T>(both: &mut PerOrientation<T>, sender: Orientation) -> (&mut T, &mut T) {
    match sender {
        Orientation::LowToHigh => (&mut both.low_to_high, &mut both.high_to_low),
        Orientation::HighToLow => (&mut both.high_to_low, &mut both.low_to_high),
    }
}

/// The flags of which a regular segment has ACK alone; it may have FIN.
pub(super) const IRREGULAR_FLAGS: u8 = Flags::SYN.0 | Flags::RST.0 | Flags::ACK.0;

/// Returns whether the windows of a side are read as both sides agreed, where both were heard.
pub(super) const fn is_read_as_agreed(own: &Half, peer: &Half) -> bool {
    match scaling::of(own, peer) {
        Scaling::By(shift) => shift == own.shift,
        Scaling::Off | Scaling::Unknown => true,
    }
}

/// Returns the marks of the letters that a segment adds to the history, which has ACK, and neither SYN
/// nor RST.
#[inline]
pub(super) const fn new_marks(own: &Half, segment: &Segment) -> u16 {
    let data = Letter::Data.mark() * (segment.len > 0) as u16;
    let fin = Letter::Fin.mark() * segment.has(Flags::FIN) as u16;
    let ack = Letter::Ack.mark() * (data | fin == 0) as u16;
    (data | fin | ack) & !own.marks
}

/// Returns whether a segment is the next one in every respect, where nothing is under way.
#[inline]
fn continues(own: &Half, peer: &Half, segment: &Segment) -> bool {
    const KNOWN: u8 = Half::SEQ | Half::ACK;
    let is_known = own.is(KNOWN) & peer.is(KNOWN);
    let is_plain =
        segment.flags.0 & IRREGULAR_FLAGS == Flags::ACK.0 && segment.options.sack.is_empty();
    let more_acked = segment.ack.offset_from(own.ack);
    let acks_what_was_sent = !segment.ack.is_after(peer.max_end);
    let brings_more = (more_acked > 0) | (more_acked == 0) & (segment.end() != segment.seq);
    let is_next = (segment.seq == own.max_end) & acks_what_was_sent & brings_more;
    if !(is_known & is_plain & is_next) {
        return false;
    }
    let data_fits = segment.len == 0 || fits(own, peer, segment.end());
    goes_on_in_window(own, segment) && data_fits && is_in_sequence(own, segment)
}

/// Returns whether the window of a segment is open, large enough for a whole segment, and ends where
/// the one before did, or further.
#[inline]
pub(super) fn goes_on_in_window(own: &Half, segment: &Segment) -> bool {
    let window = u32::from(segment.win) << own.shift;
    segment.win != 0
        && window >= u32::from(own.mss)
        && !segment.ack.plus(window).is_before(own.edge())
}

/// Returns whether the bytes of a segment up to `end` leave some of the window that they were offered, and do
/// not stop where that window would end if it were not scaled.
#[inline]
pub(super) fn fits(own: &Half, peer: &Half, end: SeqNum) -> bool {
    let is_raw_end = end == peer.ack.plus(u32::from(peer.win));
    end.is_before(peer.edge()) && !(is_raw_end && may_be_blind(own, peer))
}

/// Returns whether a sender may not know that the windows which it is offered are scaled.
#[inline]
pub(super) const fn may_be_blind(own: &Half, peer: &Half) -> bool {
    peer.shift > 0 && !own.is(Half::SCALES)
}

/// Returns whether the sender's own counters say that this segment left after all seen before.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call costs as much as the work")]
pub(super) fn is_in_sequence(own: &Half, segment: &Segment) -> bool {
    let step = segment.ip_id.wrapping_sub(own.ip_id).cast_signed();
    is_clock_in_sequence(own, segment)
        && (own.is(Half::RANDOM_ID) || step > 0 && step < MAX_ID_STEP)
}

/// Returns whether a segment has a timestamp that is not older than the last one of its sender, or has
/// none where the others had none.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call costs as much as the work")]
pub(super) fn is_clock_in_sequence(own: &Half, segment: &Segment) -> bool {
    let (has_clock, clock) = match segment.options.timestamps {
        Some(timestamps) => (true, timestamps.value),
        None => (false, own.tsval),
    };
    has_clock == own.is(Half::TIMESTAMPS) && clock.wrapping_sub(own.tsval).cast_signed() >= 0
}

/// Moves both sides on by a regular segment, where a call does not matter.
#[inline(never)]
pub(super) fn carry_on(own: &mut Half, peer: &mut Half, segment: &Segment, now: Tick) {
    advance(own, peer, (segment, segment.end()), now);
}

/// Moves both sides on by a regular segment that ends at `end`.
///
/// Without branches: nobody knows whether data or an acknowledgement comes next, and whether it answers
/// what is being timed. Both sides are known, and the numbers of a regular segment go on.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call costs too much of the work")]
pub(super) fn advance(
    own: &mut Half,
    peer: &mut Half,
    (segment, end): (&Segment, SeqNum),
    now: Tick,
) {
    let is_same = segment.ack == own.ack;
    own.ack = segment.ack;
    own.dup_acks = select_unpredictable(is_same, own.dup_acks, 0);
    peer.progress_at = select_unpredictable(is_same, peer.progress_at, now);
    peer.answered(segment, now);
    own.win = segment.win;
    own.max_edge = own.max_edge.latest(own.edge());

    let is_new = end != segment.seq;
    let before = own.max_end.offset_from(peer.ack);
    own.progress_at = select_unpredictable(is_new && before <= 0, now, own.progress_at);
    own.max_end = end;
    let flight = end.offset_from(peer.ack).max(0).cast_unsigned();
    let largest = own.max_flight.max(flight);
    own.max_flight = select_unpredictable(is_new, largest, own.max_flight);
    own.set_if(is_new & (flight > u32::from(peer.win)), Half::SCALES);
    if !peer.is(Half::MSS) {
        peer.mss = peer.mss.max(u16::try_from(segment.len).unwrap_or(u16::MAX));
    }

    let (has_clock, clock) = match segment.options.timestamps {
        Some(timestamps) => (timestamps.value != own.tsval, timestamps.value),
        None => (false, own.tsval),
    };
    own.time_if(is_new | has_clock, Probe::of(is_new, end, clock), now);
    own.tsval = clock;
    own.ip_id = segment.ip_id;
    own.last_at = now;
}

/// Moves the highest number to the end of a segment that begins at it, or behind a gap.
#[inline]
pub(super) fn take_new_bytes(own: &mut Half, peer: &mut Half, segment: &Segment, now: Tick) {
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
    own.time(Probe::ack(segment.end()), now);
}
