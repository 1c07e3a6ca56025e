//! What is remembered of one side of a flow on the hot path, in 56 bytes.
//!
//! A half is named after its sender: what it holds was read from segments that this side sent,
//! apart from the round trip, which is the time the other side takes to answer them.
//!
//! Does not: classify anything.

use std::hint::select_unpredictable;

use crate::flow::history::Letter;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;

/// A time in microseconds of the capture clock, on a circle of 2³² of them (71 minutes).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Tick(u32);

impl Tick {
    /// Reads a capture time.
    #[inline]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "time on a circle")]
    pub(super) const fn of(ts: Timestamp) -> Self {
        Self((ts.0 / 1000) as u32)
    }

    /// Returns the microseconds since `earlier`; 0 when the capture clock stepped back.
    #[inline]
    pub(super) const fn since(self, earlier: Self) -> u32 {
        let elapsed = self.0.wrapping_sub(earlier.0);
        if elapsed > 1 << 31 { 0 } else { elapsed }
    }

    /// Returns the time `micros` before this one.
    #[inline]
    pub(super) const fn before(self, micros: u32) -> Self {
        Self(self.0.wrapping_sub(micros))
    }
}

/// No round trip measured.
const NO_RTT: u32 = u32::MAX;

/// What is being timed: a number, and what ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Probe {
    number: u32,
    mark: u16,
}

impl Probe {
    /// Waits for an acknowledgement of this number.
    #[inline]
    pub(super) const fn ack(end: SeqNum) -> Self {
        Self { number: end.0, mark: Half::PROBE_ACK }
    }

    /// Waits for an echo of this timestamp.
    #[inline]
    pub(super) const fn echo(value: u32) -> Self {
        Self { number: value, mark: Half::PROBE_ECHO }
    }

    /// Waits for an acknowledgement of data up to `end`, where there is data, or else for an echo.
    #[inline]
    pub(super) fn of(has_data: bool, end: SeqNum, value: u32) -> Self {
        let (ack, echo) = (Self::ack(end), Self::echo(value));
        Self {
            number: select_unpredictable(has_data, ack.number, echo.number),
            mark: select_unpredictable(has_data, ack.mark, echo.mark),
        }
    }
}

/// What a window scale option said, in the words of the SYN that carried it or did not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub enum Offer {
    /// No SYN of this side was seen.
    #[default]
    NotSeen,
    /// The SYN had no window scale option.
    NotOffered,
    /// The SYN offered this shift count, as it stood there: 0–255.
    Shift(u8),
}

/// The hot state of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Half {
    /// The number after the highest byte sent; valid with [`Half::SEQ`]. Before that, the first number
    /// that the other side acknowledged, if it did.
    pub(super) max_end: SeqNum,
    /// The highest acknowledgement sent; valid with [`Half::ACK`].
    pub(super) ack: SeqNum,
    /// The rightmost edge of all windows offered; valid with [`Half::ACK`].
    pub(super) max_edge: SeqNum,
    /// The newest timestamp sent; valid with [`Half::TIMESTAMPS`].
    pub(super) tsval: u32,
    /// When this side last sent.
    pub(super) last_at: Tick,
    /// When the data of this side last made progress: when the first of it went out after all had
    /// been acknowledged, or when the other side acknowledged more.
    pub(super) progress_at: Tick,
    probe: u32,
    probe_at: Tick,
    min_rtt: u32,
    srtt: u32,
    /// The most bytes of this side in flight.
    pub(super) max_flight: u32,
    /// The window field last sent.
    pub(super) win: u16,
    /// The newest IP identification.
    pub(super) ip_id: u16,
    /// The segment size that this side accepts by its SYN; without one, the largest of the other
    /// side's segments; 0 when nothing is known.
    pub(super) mss: u16,
    /// The letters of the history that this side has, and flags.
    pub(super) marks: u16,
    /// The window scale offer, raw, where a mark says that there is one.
    wscale: u8,
    /// The shift count in effect for windows of this side: 0 where scaling is not known.
    pub(super) shift: u8,
    /// Duplicate acknowledgements since the last that acknowledged more.
    pub(super) dup_acks: u8,
    quirks: u8,
}

const _: () = assert!(size_of::<Half>() == 56);

impl Half {
    /// Mark: something is under way (a hole, a recovery, a shut window) and every segment has to
    /// be looked at closely.
    pub(super) const ALERT: u16 = 1 << 15;
    const PROBE_ACK: u16 = 1 << 14;
    const PROBE_ECHO: u16 = 1 << 13;
    /// Mark: the SYN had a window scale option.
    const WSCALE: u16 = 1 << 12;

    /// Quirk: `max_end` is valid.
    pub(super) const SEQ: u8 = 1;
    /// Quirk: `ack`, `win` and `max_edge` are valid.
    pub(super) const ACK: u8 = 1 << 1;
    /// Quirk: a SYN was seen.
    pub(super) const SYN: u8 = 1 << 2;
    /// Quirk: the SYN permitted SACK.
    pub(super) const SACK: u8 = 1 << 3;
    /// Quirk: segments carry timestamps.
    pub(super) const TIMESTAMPS: u8 = 1 << 4;
    /// Quirk: the IP identification is no counter.
    pub(super) const RANDOM_ID: u8 = 1 << 5;
    /// Quirk: this side had more in flight than the window it was given, taken without scaling.
    pub(super) const SCALES: u8 = 1 << 6;
    /// Quirk: the segment size is that of a SYN.
    pub(super) const MSS: u8 = 1 << 7;

    /// Starts with nothing known.
    pub(super) const fn new() -> Self {
        Self {
            max_end: SeqNum(0),
            ack: SeqNum(0),
            max_edge: SeqNum(0),
            tsval: 0,
            last_at: Tick(0),
            progress_at: Tick(0),
            probe: 0,
            probe_at: Tick(0),
            min_rtt: NO_RTT,
            srtt: NO_RTT,
            max_flight: 0,
            win: 0,
            ip_id: 0,
            mss: 0,
            marks: 0,
            wscale: 0,
            shift: 0,
            dup_acks: 0,
            quirks: 0,
        }
    }

    /// Returns whether all of these quirks hold.
    #[inline]
    pub(super) const fn is(&self, quirks: u8) -> bool {
        self.quirks & quirks == quirks
    }

    #[inline]
    pub(super) const fn set(&mut self, quirks: u8) {
        self.quirks |= quirks;
    }

    /// Does so if the condition holds, without a branch.
    #[inline]
    pub(super) const fn set_if(&mut self, holds: bool, quirk: u8) {
        self.quirks |= quirk * holds as u8;
    }

    #[inline]
    const fn has_mark(&self, mark: u16) -> bool {
        self.marks & mark != 0
    }

    /// Returns whether this side has sent more than SYNs and RSTs.
    #[inline]
    pub(super) const fn has_spoken(&self) -> bool {
        let spoken = Letter::Ack.mark() | Letter::Data.mark() | Letter::Fin.mark();
        self.marks & spoken != 0
    }

    /// Returns whether this side has said that it sends nothing more: the window that the other one
    /// offers means nothing from then on.
    #[inline]
    pub(super) const fn has_closed(&self) -> bool {
        self.marks & Letter::Fin.mark() != 0
    }

    /// Returns a side of which nothing is known but the letters of its history.
    pub(super) const fn started_over(&self) -> Self {
        Self { marks: self.marks & (Self::WSCALE - 1), ..Self::new() }
    }

    /// Puts this side on alert, or ends the alert.
    pub(super) const fn set_alert(&mut self, alert: bool) {
        self.marks = self.marks & !Self::ALERT | if alert { Self::ALERT } else { 0 };
    }

    /// Returns what the SYN of this side said of window scaling.
    pub(super) const fn offer(&self) -> Offer {
        match (self.is(Self::SYN), self.marks & Self::WSCALE != 0) {
            (false, _) => Offer::NotSeen,
            (true, false) => Offer::NotOffered,
            (true, true) => Offer::Shift(self.wscale),
        }
    }

    /// Takes the options of a SYN.
    pub(super) fn offered(&mut self, segment: &Segment) {
        self.quirks &= !(Self::SACK | Self::MSS);
        self.marks &= !Self::WSCALE;
        self.set(Self::SYN);
        if let Some(wscale) = segment.options.wscale {
            self.wscale = wscale;
            self.marks |= Self::WSCALE;
        }
        if segment.options.sack_permitted {
            self.set(Self::SACK);
        }
        if let Some(mss) = segment.options.mss {
            self.mss = mss;
            self.set(Self::MSS);
        }
    }

    /// Returns whether a SYN has the options of the one before.
    pub(super) fn offers_the_same(&self, segment: &Segment) -> bool {
        let options = &segment.options;
        let wscale = match self.offer() {
            Offer::Shift(shift) => Some(shift),
            Offer::NotSeen | Offer::NotOffered => None,
        };
        options.wscale == wscale
            && options.sack_permitted == self.is(Self::SACK)
            && options.mss == self.is(Self::MSS).then_some(self.mss)
            && options.timestamps.is_some() == self.is(Self::TIMESTAMPS)
    }

    /// Returns the right edge of the window last offered.
    #[inline]
    pub(super) const fn edge(&self) -> SeqNum {
        self.ack.plus((self.win as u32) << self.shift)
    }

    /// Returns how many bytes of this side the other one has not acknowledged.
    #[inline]
    pub(super) fn flight(&self, peer: &Self) -> u32 {
        if !self.is(Self::SEQ) || !peer.is(Self::ACK) {
            return 0;
        }
        u32::try_from(self.max_end.offset_from(peer.ack)).unwrap_or(0)
    }

    /// Begins to time a segment unless one is being timed.
    #[inline]
    pub(super) fn time(&mut self, probe: Probe, now: Tick) {
        self.time_if(true, probe, now);
    }

    /// Does so if the condition holds, without branches.
    #[inline]
    pub(super) fn time_if(&mut self, holds: bool, probe: Probe, now: Tick) {
        let Probe { number, mark } = probe;
        let starts = holds && self.marks & (Self::PROBE_ACK | Self::PROBE_ECHO) == 0;
        self.probe = select_unpredictable(starts, number, self.probe);
        self.probe_at = select_unpredictable(starts, now, self.probe_at);
        self.marks |= mark * u16::from(starts);
    }

    /// Stops timing: what was timed has been sent again, so that an answer would be ambiguous
    /// (Karn's rule, RFC 6298, section 3).
    #[inline]
    pub(super) const fn spoil_probe(&mut self) {
        self.marks &= !(Self::PROBE_ACK | Self::PROBE_ECHO);
    }

    /// Returns when the bytes up to `end` were first sent, where they are those last timed.
    pub(super) fn sent_at(&self, end: SeqNum) -> Option<Tick> {
        // What was timed stays readable after its answer; an echo with that very number, one of
        // 2³², would be taken for it.
        (self.probe_at != Tick(0) && self.probe == end.0).then_some(self.probe_at)
    }

    /// Forgets what was timed, and when: the times around it are about to go around the circle.
    pub(super) const fn forget_probe(&mut self) {
        self.spoil_probe();
        self.probe_at = Tick(0);
    }

    /// Takes an answer of the other side, which may end what is being timed. Without branches: whether it
    /// does is anybody's guess.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs too much of the work")]
    pub(super) fn answered(&mut self, answer: &Segment, now: Tick) {
        let is_acked = self.has_mark(Self::PROBE_ACK)
            & answer.has(Flags::ACK)
            & !answer.ack.is_before(SeqNum(self.probe));
        let further = answer
            .options
            .timestamps
            .map_or(-1, |timestamps| timestamps.echo.wrapping_sub(self.probe).cast_signed());
        let is_timed_by_clock = self.has_mark(Self::PROBE_ECHO);
        let is_echoed = is_timed_by_clock && further == 0;
        // That very segment is never answered: the other side waited for a later one.
        let is_passed = is_timed_by_clock && further > 0;
        let has_come = is_acked | is_echoed;
        let timing = Self::PROBE_ACK | Self::PROBE_ECHO;
        self.marks &= !(timing * u16::from(has_come | is_passed));
        self.sample_if(has_come, now.since(self.probe_at));
    }

    #[inline]
    fn sample_if(&mut self, holds: bool, rtt: u32) {
        self.min_rtt = select_unpredictable(holds, self.min_rtt.min(rtt), self.min_rtt);
        // An eighth of the new sample, as RFC 6298, section 2 smooths.
        let smoothed = self.srtt.wrapping_sub(self.srtt / 8).wrapping_add(rtt / 8);
        let next = select_unpredictable(self.srtt == NO_RTT, rtt, smoothed);
        self.srtt = select_unpredictable(holds, next, self.srtt);
    }

    /// Returns the shortest time between a segment of this side and the other side's answer, in
    /// microseconds.
    #[inline]
    pub(super) const fn min_rtt(&self) -> Option<u32> {
        if self.min_rtt == NO_RTT { None } else { Some(self.min_rtt) }
    }

    /// Returns the smoothed time between a segment of this side and the answer, in microseconds.
    pub(super) const fn srtt(&self) -> Option<u32> {
        if self.srtt == NO_RTT { None } else { Some(self.srtt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::TcpTimestamps;

    #[test]
    fn ticks_survive_their_wrap_and_steps_back_of_the_clock() {
        let early = Tick::of(Timestamp(4_294_967_290_000));
        let late = Tick::of(Timestamp(4_294_967_306_000));
        assert_eq!(late.since(early), 16);
        assert_eq!(early.since(late), 0);
        assert_eq!(late.before(16), early);
    }

    #[test]
    fn a_probe_ends_with_the_first_acknowledgement_that_covers_it() {
        let mut half = Half::new();
        half.time(Probe::ack(SeqNum(100)), Tick(5));
        let ack = |n| Segment { ack: SeqNum(n), flags: Flags::ACK, ..Segment::default() };
        half.answered(&ack(99), Tick(10));
        assert_eq!(half.min_rtt(), None);
        half.answered(&ack(100), Tick(25));
        assert_eq!(half.min_rtt(), Some(20));
    }

    #[test]
    fn a_clock_that_is_never_echoed_is_not_waited_for() {
        let mut half = Half::new();
        let echo = |echo: u32| {
            let mut segment = Segment { flags: Flags::ACK, ..Segment::default() };
            segment.options.timestamps = Some(TcpTimestamps { value: 1, echo });
            segment
        };
        half.time(Probe::echo(100), Tick(5));
        half.answered(&echo(99), Tick(10));
        half.answered(&echo(101), Tick(20));
        assert_eq!(half.min_rtt(), None);
        half.time(Probe::echo(102), Tick(30));
        half.answered(&echo(102), Tick(37));
        assert_eq!(half.min_rtt(), Some(7));
    }

    #[test]
    fn a_segment_sent_again_gives_no_sample() {
        let mut half = Half::new();
        half.time(Probe::ack(SeqNum(100)), Tick(5));
        half.spoil_probe();
        let ack = Segment { ack: SeqNum(100), flags: Flags::ACK, ..Segment::default() };
        half.answered(&ack, Tick(25));
        assert_eq!(half.min_rtt(), None);
    }
}
