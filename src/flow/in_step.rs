//! Flows on which tracker and analysis agree, and where nothing is under way: the next segment of
//! such a flow is compared once for both.
//!
//! While a connection is established and goes on like that, the analysis alone takes its segments: of
//! the tracker's entry only the time at which it expires is kept, because all else follows from what
//! the analysis knows. [`FlowAudit::bring_up`] brings the entry up to date.
//!
//! Does not: know more of the tracker than its numbers.

use std::hint::select_unpredictable;

use crate::conntrack::window::MAX_ACK_WINDOW;
use crate::conntrack::{
    Arrival, Entry, Headway, Latest, Next, Panel, SideHeadway, Standing, Track,
};
use crate::flow::exchange::{
    Exchange, IRREGULAR_FLAGS, advance, fits, goes_on_in_window, is_in_sequence, is_read_as_agreed,
    may_be_blind, new_marks, pair,
};
use crate::flow::half::{Half, Tick};
use crate::flow::history::Letter;
use crate::flow::vantage::Copies;
use crate::flow::way::Counts;
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// Whether tracker and analysis go on together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Pace {
    /// They do not, or it is not known.
    #[default]
    Apart,
    /// They have the same numbers, and neither has anything else to look for.
    InStep,
    /// Besides, the tracker's entry may fall behind.
    Free,
    /// It has.
    Ahead,
    /// The connection closes, and the sides of the tracker's entry have fallen behind.
    Closing,
}

impl FlowAudit {
    /// Finds out whether the analysis has the numbers that the tracker has, and neither has anything
    /// else to look for: [`FlowAudit::take_next`] is then to be asked first.
    #[inline]
    pub fn step_with(&mut self, track: &Track, panel: &Panel) {
        if self.pace != Pace::Ahead {
            self.pace = Pace::Apart;
            self.compare(track, panel);
        }
    }

    /// Does so where it is not known.
    #[inline(never)]
    fn compare(&mut self, track: &Track, panel: &Panel) {
        let Some(entry) = self.entry_in_step(track, panel) else { return };
        self.pace = Pace::InStep;
        for way in [Orientation::LowToHigh, Orientation::HighToLow] {
            let window = entry.sides[entry.direction_of(way)].max_win;
            let raw = window >> self.exchange.halves[way].shift;
            self.counts[way].peak_win = u16::try_from(raw).unwrap_or(u16::MAX);
        }
        let PerOrientation { low_to_high: low, high_to_low: high } = &self.exchange.halves;
        // The first windows of a side are looked at closely: until then it may seem to have no scale.
        let shift = |half: &Half| half.has_spoken().then_some(half.shift);
        let shifts = PerOrientation { low_to_high: shift(low), high_to_low: shift(high) };
        if track.can_fall_behind(&self.headway(), shifts) {
            self.pace = Pace::Free;
        }
    }

    /// Returns whether tracker and analysis are known to be in step.
    #[inline]
    pub const fn is_in_step(&self) -> bool {
        !matches!(self.pace, Pace::Apart)
    }

    /// Returns whether the tracker's entry has fallen behind, and a segment of this side most probably leaves
    /// it there.
    #[inline]
    pub fn runs_ahead(&self, ts: Timestamp, way: Orientation) -> bool {
        let is_at_once = comes_at_once(self.last_ts, ts);
        self.pace == Pace::Ahead && is_at_once && self.exchange.halves[way].has_spoken()
    }

    /// Returns whether the tracker's entry may fall behind.
    #[inline]
    pub(super) const fn may_run(&self) -> bool {
        matches!(self.pace, Pace::Free | Pace::Ahead)
    }

    /// Brings the tracker's entry up to date, and notes that one of both is to be changed.
    #[inline]
    pub fn fall_out_of_step(&mut self, track: &mut Track) {
        self.bring_up(track);
        self.pace = Pace::Apart;
    }

    /// Notes that the tracker's entry is of no more use, so that it need not be brought up to date.
    #[inline]
    pub const fn outlive_tracker(&mut self) {
        self.pace = Pace::Apart;
    }

    /// Brings the tracker's entry up to date.
    #[inline]
    pub fn bring_up(&mut self, track: &mut Track) {
        if matches!(self.pace, Pace::Ahead | Pace::Closing) {
            self.catch_up(track);
        }
    }

    /// Does so where it has fallen behind.
    #[inline(never)]
    fn catch_up(&mut self, track: &mut Track) {
        track.catch_up(&self.headway());
        if self.pace == Pace::Ahead {
            track.remember_latest(&self.latest());
            self.pace = Pace::Free;
        } else {
            self.pace = Pace::InStep;
        }
    }

    /// Forgets what is kept for the tracker, so that analyses can be compared.
    #[cfg(debug_assertions)]
    pub fn forget_pace(&mut self) {
        self.last_way = Orientation::default();
        for counts in [&mut self.counts.low_to_high, &mut self.counts.high_to_low] {
            (counts.peak_win, counts.last_len) = (0, 0);
        }
    }

    /// Returns how far the analysis has come on both sides.
    fn headway(&self) -> Headway {
        let side = |way: Orientation| {
            let half = &self.exchange.halves[way];
            let window = u32::from(self.counts[way].peak_win) << half.shift;
            SideHeadway { end: half.max_end, ack: half.ack, edge: half.max_edge, window }
        };
        Headway {
            sides: PerOrientation {
                low_to_high: side(Orientation::LowToHigh),
                high_to_low: side(Orientation::HighToLow),
            },
        }
    }

    /// Returns the segment by which it came there.
    pub(super) fn latest(&self) -> Latest {
        let way = self.last_way;
        let half = &self.exchange.halves[way];
        let len = u32::from(self.counts[way].last_len);
        Latest { way, end: half.max_end, ack: half.ack, len, win: half.win }
    }

    /// Returns the tracker's entry, if the analysis is in step with it.
    fn entry_in_step<'a>(&self, track: &'a Track, panel: &Panel) -> Option<&'a Entry> {
        if self.exchange.is_busy() {
            return None;
        }
        let entry = track.steady(panel)?;
        let is_alone = matches!(self.copies, Copies::None) && !self.is_pausing();
        (is_alone && self.exchange.is_in_step_with(entry)).then_some(entry)
    }

    /// Takes the next segment of a flow that is in step with its tracker, on both; returns whether it
    /// was one, and leaves both as they are when not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub fn take_next(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        if self.pace == Pace::Apart {
            return false;
        }
        if self.may_run() && self.run(ts, arrival, track, panel) {
            return true;
        }
        // Made anew, so that it need not be in memory before.
        let Arrival { segment, orientation, now } = *arrival;
        self.walk(ts, Arrival { segment, orientation, now }, track, panel)
    }

    /// Takes the next segment, if it is none that [`Self::run`] takes.
    #[inline(never)]
    fn walk(
        &mut self,
        ts: Timestamp,
        arrival: Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        // The first segment of a side is looked at more closely.
        if !self.exchange.halves[arrival.orientation].has_spoken() {
            return false;
        }
        if self.closes(ts, &arrival, track) {
            return self.close(ts, arrival, track, panel);
        }
        self.take_on_both(ts, arrival, track, panel)
    }

    /// Notes that the tracker's entry falls behind with the first answer of a side that has sent no larger
    /// window field than `peak_win`.
    #[inline]
    pub(super) fn run_from(&mut self, way: Orientation, answer: &Segment, peak_win: u16) {
        self.counts[way].peak_win = peak_win;
        self.counts[way].keep_for_tracker(answer);
        self.last_way = way;
        self.pace = Pace::Ahead;
    }

    /// Takes the next segment if it leaves nothing to the tracker but to renew its entry; else as
    /// [`Self::take_next`].
    #[inline]
    pub fn run_on(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        self.may_run() && self.run(ts, arrival, track, panel)
    }

    /// Takes a segment that leaves nothing to the tracker but to renew its entry.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    #[expect(clippy::needless_bitwise_bool, reason = "nobody knows whether anything is due")]
    fn run(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = *arrival;
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let counts = &mut self.counts[orientation];
        let has_detail = self.exchange.detail.is_some();
        let is_cut = (u32::from(segment.win) << own.shift).is_multiple_of(1 << 16);
        let is_at_once = comes_at_once(self.last_ts, ts);
        let end = segment.seq.plus(segment.len);
        if !(is_at_once
            && segment.flags.0 & Flags::DECIDING.0 == Flags::ACK.0
            && own.has_spoken()
            && track.lives_at(now)
            && counts.stays_in_stretch(segment)
            && runs_on(own, peer, (segment, end), has_detail)
            && u16::try_from(segment.len).is_ok()
            && is_acknowledgement_seen(own, peer, counts, segment)
            && (!is_cut || panel.takes_cut_windows()))
        {
            return false;
        }
        let letter = select_unpredictable(segment.len > 0, Letter::Data.mark(), Letter::Ack.mark());
        if own.marks & letter == 0 {
            if has_detail {
                return false;
            }
            own.marks |= letter;
            self.exchange.history.push_marks(letter, orientation == Orientation::HighToLow);
        }
        advance(own, peer, (segment, end), Tick::of(ts));
        counts.add_within(segment);
        counts.keep_for_tracker(segment);
        self.last_ts = ts;
        self.last_seen = now;
        self.last_way = orientation;
        self.pace = Pace::Ahead;
        let is_due = (own.max_end != peer.ack) | (peer.max_end != own.ack);
        track.renew(now, Standing { is_due, is_cut }, panel);
        true
    }

    /// Takes the next segment on both: one with FIN, or after a FIN, or one that [`Self::run`] leaves.
    #[inline(never)]
    pub(super) fn take_on_both(
        &mut self,
        ts: Timestamp,
        arrival: Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        let Arrival { segment, orientation, now } = arrival;
        let is_at_once = ts.nanos_since(self.last_ts) < LEAST_STALL_NS;
        if !(is_at_once && self.exchange.is_next(segment, orientation)) {
            return false;
        }
        self.bring_up(track);
        let next = Next::of(&arrival, self.exchange.halves[orientation].shift);
        if !track.take_next(&next, panel) {
            return false;
        }
        if next.is_fin {
            self.pace = Pace::InStep;
        }
        self.last_ts = ts;
        self.last_seen = now;
        self.count(segment, orientation);
        self.exchange.carry_on(segment, orientation, Tick::of(ts));
        true
    }
}

/// Returns whether a packet comes so soon after the last one that no stall is to be looked for.
#[inline]
const fn comes_at_once(last_ts: Timestamp, ts: Timestamp) -> bool {
    ts.0.wrapping_sub(last_ts.0).cast_unsigned() < LEAST_STALL_NS.cast_unsigned()
}

impl Exchange {
    fn is_in_step_with(&self, entry: &Entry) -> bool {
        let agrees = |way: Orientation| {
            let (half, peer) = (&self.halves[way], &self.halves[way.flip()]);
            let side = &entry.sides[entry.direction_of(way)];
            half.is(Half::SEQ | Half::ACK)
                && (half.max_end, half.ack) == (side.end, side.max_ack)
                && lets_letters_pass(half, peer)
        };
        agrees(Orientation::LowToHigh) && agrees(Orientation::HighToLow)
    }

    /// Returns whether a segment goes on where its sender stopped, in every respect but what the
    /// tracker compares as well.
    fn is_next(&self, segment: &Segment, sender: Orientation) -> bool {
        let (own, peer) = (&self.halves[sender], &self.halves[sender.flip()]);
        let has_detail = self.detail.is_some();
        let is_plain = segment.flags.0 & IRREGULAR_FLAGS == Flags::ACK.0 && is_bare(segment);
        // A letter more in the history is nothing to stop for, but the first one of a side is.
        let is_told = own.has_spoken() && (!has_detail || new_marks(own, segment) == 0);
        is_plain
            && is_told
            && goes_on(own, peer, segment, has_detail)
            && is_in_sequence(own, segment)
    }
}

/// Returns whether a segment has no fault, all of its options, and no SACK block.
#[inline]
fn is_bare(segment: &Segment) -> bool {
    segment.fault.is_none() && !segment.options_cut && segment.options.sack.is_empty()
}

/// Returns whether a segment begins at its sender's end, brings something, keeps to the window that it
/// was given, and leaves its own where it was, or further.
fn goes_on(own: &Half, peer: &Half, segment: &Segment, has_detail: bool) -> bool {
    let end = segment.end();
    let more_acked = segment.ack.offset_from(own.ack);
    let brings_more = more_acked > 0 || more_acked == 0 && end != segment.seq;
    // Where something went wrong, the last segments are remembered until scaling is proven.
    let is_remembered = has_detail && may_be_blind(own, peer);
    let data_fits = segment.len == 0 || fits(own, peer, end) && !is_remembered;
    brings_more && segment.seq == own.max_end && goes_on_in_window(own, segment) && data_fits
}

/// Returns whether a segment with the right flags, which ends at `end`, certainly does that and has nothing
/// else to it. One test after the other: each of them nearly always holds.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is compared stays in registers")]
pub(super) fn runs_on(
    own: &Half,
    peer: &Half,
    (segment, end): (&Segment, SeqNum),
    has_detail: bool,
) -> bool {
    let Segment { seq, ack, .. } = *segment;
    let more_acked = ack.offset_from(own.ack);
    is_bare(segment)
        && seq == own.max_end
        && more_acked >= 0
        && more_acked.cast_unsigned() | end.0.wrapping_sub(seq.0) != 0
        && goes_on_in_window(own, segment)
        && fits(own, peer, end)
        && is_in_sequence(own, segment)
        && !(has_detail && is_remembered(own, peer, segment))
}

/// Returns whether more is kept of a segment than that it came, where something went wrong. Stands alone, as
/// few flows ask.
#[cold]
const fn is_remembered(own: &Half, peer: &Half, segment: &Segment) -> bool {
    segment.len > 0 && may_be_blind(own, peer)
}

/// Returns whether the tracker takes an acknowledgement without a closer look: what it acknowledges was
/// sent, and not too long ago.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what is compared stays in registers")]
pub(super) fn is_acknowledgement_seen(
    own: &Half,
    peer: &Half,
    counts: &Counts,
    segment: &Segment,
) -> bool {
    let unacknowledged = peer.max_end.0.wrapping_sub(segment.ack.0);
    let peak = u32::from(counts.peak_win) << own.shift;
    unacknowledged <= MAX_ACK_WINDOW || unacknowledged <= peak
}

/// Returns whether nothing but letters in the history sets the first segment of its kind apart from
/// those that follow, once its sender has spoken.
fn lets_letters_pass(half: &Half, peer: &Half) -> bool {
    let is_timed = !half.has_spoken() && half.min_rtt().is_none();
    !is_timed && (!half.has_spoken() || is_read_as_agreed(half, peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{Limits, Members, Opinions, Profile};
    use crate::flow::Observation;
    use crate::random::Random;
    use crate::segment::{Options, TcpTimestamps};
    use Orientation::{HighToLow, LowToHigh};

    /// A host that speaks TCP with another one, more or less.
    #[derive(Clone, Copy)]
    struct Host {
        next: SeqNum,
        heard: SeqNum,
        win: u16,
        ip_id: u16,
    }

    impl Host {
        fn say(&mut self, flags: u8, len: u32, clock: u32) -> Segment {
            self.ip_id = self.ip_id.wrapping_add(1);
            let timestamps = Some(TcpTimestamps { value: clock, echo: clock.wrapping_sub(3) });
            let is_syn = flags & Flags::SYN.0 != 0;
            let options = Options {
                timestamps,
                wscale: is_syn.then_some(7),
                sack_permitted: is_syn,
                mss: is_syn.then_some(1460),
                ..Options::default()
            };
            let segment = Segment {
                seq: self.next,
                ack: self.heard,
                len,
                win: self.win,
                flags: Flags(flags),
                header_len: 40,
                options,
                ttl: 64,
                ip_id: self.ip_id,
                ..Segment::default()
            };
            self.next = segment.end();
            segment
        }
    }

    /// Lets a flow take a segment as a shard does; returns how it goes on, if it took the way of this file.
    fn take(
        (track, audit): (&mut Track, &mut FlowAudit),
        (frame, ts): (u64, Timestamp),
        arrival: Arrival<'_>,
        panel: &Panel,
    ) -> Option<Pace> {
        if audit.take_next(ts, &arrival, track, panel) {
            return Some(audit.pace);
        }
        audit.fall_out_of_step(track);
        let verdict = track.judge(&arrival, panel, &mut Opinions::default());
        let (liberal, invalid_for) = (verdict.ctstate, Members::default());
        audit.observe(&Observation { frame, ts, arrival, verdict, liberal, invalid_for });
        audit.step_with(track, panel);
        None
    }

    /// Runs a conversation with and without this file; returns how often the entry fell behind.
    fn converse(random: &mut Random, panel: &Panel) -> u32 {
        let isn = random.of(&[1, u32::MAX - 900, 1 << 31]);
        let host = |win, isn| Host { next: SeqNum(isn), heard: SeqNum(0), win, ip_id: 1 };
        let (mut client, mut server) = (host(64_240, isn), host(65_160, isn ^ 0x5555));
        let (mut track, mut long_way, mut ran) = (Track::default(), Track::default(), 0);
        let mut audit = None;
        let mut ts = Timestamp(1_700_000_000_000_000_000);
        for (frame, clock) in (1..=60).zip(7000..) {
            let way = match frame {
                1 | 3 => LowToHigh,
                2 => HighToLow,
                _ => random.of(&[LowToHigh, HighToLow]),
            };
            let (own, peer) = match way {
                LowToHigh => (&mut client, &mut server),
                HighToLow => (&mut server, &mut client),
            };
            let len = random.of(&[0, 0, 90, 1448, 30_000, 70_000]);
            own.heard = random.of(&[peer.next, peer.next, own.heard]);
            let segment = match frame {
                1 => Segment { ack: SeqNum(0), ..own.say(Flags::SYN.0, 0, clock) },
                2 => {
                    own.heard = peer.next;
                    own.say(Flags::SYN.0 | Flags::ACK.0, 0, clock)
                }
                3 => {
                    own.heard = peer.next;
                    own.say(Flags::ACK.0, 0, clock)
                }
                58.. => own.say(Flags::ACK.0 | Flags::FIN.0, 0, clock),
                _ => own.say(Flags::ACK.0, len, clock),
            };
            own.win = random.of(&[502, 502, 503, 700, 512, 64_000]);
            ts = ts.plus_nanos(random.of(&[1000, 90_000_000, 250_000_000]));
            let arrival = Arrival { segment: &segment, orientation: way, now: ts };
            let audit = audit.get_or_insert_with(|| FlowAudit::new(frame, ts, &arrival));
            let pace = take((&mut track, audit), (frame, ts), arrival, panel);
            ran += u32::from(pace == Some(Pace::Ahead));
            long_way.judge(&arrival, panel, &mut Opinions::default());
            assert_eq!(track.expires(), long_way.expires(), "frame {frame}: {segment:?}");
            if random.of(&[true, false, false]) {
                audit.bring_up(&mut track);
                assert_eq!(track.entry(), long_way.entry(), "frame {frame}: {segment:?}");
            }
        }
        audit.as_mut().unwrap().bring_up(&mut track);
        assert_eq!(track.entry(), long_way.entry());
        ran
    }

    /// Runs a conversation in which each side closes when it likes, with and without this file; returns how
    /// often the sides of the entry fell behind after that.
    fn converse_and_close(random: &mut Random, panel: &Panel) -> u32 {
        let host = |isn| Host { next: SeqNum(isn), heard: SeqNum(0), win: 64_240, ip_id: 1 };
        let mut hosts = [host(random.of(&[1, u32::MAX - 900])), host(1 << 31)];
        let (mut track, mut long_way, mut closing) = (Track::default(), Track::default(), 0);
        let (mut audit, mut has_closed) = (None, [false; 2]);
        let mut ts = Timestamp(1_700_000_000_000_000_000);
        for (frame, clock) in (1..=20).zip(7000..) {
            let who = match frame {
                1 | 3 => 0,
                2 => 1,
                _ => random.of(&[0, 1]),
            };
            let heard = hosts[1 - who].next;
            let is_told = std::mem::replace(&mut hosts[who].heard, heard) == heard;
            if has_closed[who] && is_told {
                continue;
            }
            let closes = frame > 4 && !has_closed[who] && random.of(&[true, false, false]);
            has_closed[who] |= closes;
            let len = if has_closed[who] || !is_told { random.of(&[0, 0, 0, 90]) } else { 90 };
            let segment = match frame {
                1 => Segment { ack: SeqNum(0), ..hosts[0].say(Flags::SYN.0, 0, clock) },
                2 => hosts[1].say(Flags::SYN.0 | Flags::ACK.0, 0, clock),
                3 => hosts[0].say(Flags::ACK.0, 0, clock),
                _ => hosts[who].say(Flags::ACK.0 | u8::from(closes), len, clock),
            };
            let wider = random.of(&[502, 502, 502, 502, 503, 512, 700]);
            hosts[who].win = if frame < 4 { 502 } else { hosts[who].win.max(wider) };
            ts = ts.plus_nanos(random.of(&[1000, 1000, 1000, 90_000_000]));
            let orientation = if who == 0 { LowToHigh } else { HighToLow };
            let arrival = Arrival { segment: &segment, orientation, now: ts };
            let audit = audit.get_or_insert_with(|| FlowAudit::new(frame, ts, &arrival));
            let pace = take((&mut track, audit), (frame, ts), arrival, panel);
            closing += u32::from(pace == Some(Pace::Closing));
            long_way.judge(&arrival, panel, &mut Opinions::default());
            assert_eq!(track.expires(), long_way.expires(), "frame {frame}: {segment:?}");
            if random.of(&[true, false, false, false]) {
                audit.bring_up(&mut track);
                assert_eq!(track.entry(), long_way.entry(), "frame {frame}: {segment:?}");
            }
        }
        audit.as_mut().unwrap().bring_up(&mut track);
        assert_eq!(track.entry(), long_way.entry());
        closing
    }

    /// Runs a download of so many bytes on which nothing else happens, and returns what the tracker and a
    /// tracker that never fell behind know at its end.
    fn download(gibibytes: u64, panel: &Panel) -> (Track, Track) {
        const LEN: u32 = 60_000;
        let host = |isn| Host { next: SeqNum(isn), heard: SeqNum(0), win: 64_000, ip_id: 1 };
        let (mut client, mut server) = (host(1), host(9));
        let (mut track, mut long_way) = (Track::default(), Track::default());
        let mut ts = Timestamp(1_700_000_000_000_000_000);
        let mut audit: Option<FlowAudit> = None;
        let rounds = 2 + (gibibytes << 30) / u64::from(LEN);
        for (frame, clock) in (1..2 * rounds).zip(7000..) {
            ts = ts.plus_nanos(1_000_000);
            let is_up = frame % 2 == 1;
            let (own, peer) =
                if is_up { (&mut client, &mut server) } else { (&mut server, &mut client) };
            own.heard = if frame == 1 { SeqNum(0) } else { peer.next };
            let flags = match frame {
                1 => Flags::SYN.0,
                2 => Flags::SYN.0 | Flags::ACK.0,
                _ => Flags::ACK.0,
            };
            let segment = own.say(flags, if frame > 3 && is_up { LEN } else { 0 }, clock);
            let orientation = if is_up { LowToHigh } else { HighToLow };
            let arrival = Arrival { segment: &segment, orientation, now: ts };
            let audit = audit.get_or_insert_with(|| FlowAudit::new(frame, ts, &arrival));
            take((&mut track, audit), (frame, ts), arrival, panel);
            long_way.judge(&arrival, panel, &mut Opinions::default());
        }
        audit.as_mut().unwrap().bring_up(&mut track);
        (track, long_way)
    }

    #[test]
    fn an_entry_never_falls_so_far_behind_that_its_numbers_cannot_be_compared() {
        let features = Profile::all().map(Profile::features).collect::<Vec<_>>();
        let panel = Panel::new(features.into_iter().rev().collect(), Limits::default());
        for gibibytes in [1, 2, 3, 5] {
            let (track, long_way) = download(gibibytes, &panel);
            assert_eq!(track.entry(), long_way.entry(), "after {gibibytes} GiB");
        }
    }

    #[test]
    fn an_entry_that_fell_behind_catches_up_with_what_the_long_way_makes_of_it() {
        let mut random = Random(7);
        let features: Vec<_> = Profile::all().map(Profile::features).collect();
        let newest_first: Vec<_> = features.iter().copied().rev().collect();
        // Timeouts that end within the gaps of a conversation.
        let mut hasty = Limits::default();
        hasty.timeouts.by_state.fill(60_000_000);
        let panel = Panel::new(newest_first.clone(), hasty);
        for _ in 0..100 {
            converse(&mut random, &panel);
            converse_and_close(&mut random, &panel);
        }
        // Kernels before 5.3 take windows that are multiples of 2¹⁶ for closed.
        let [(cut, cut_closing), (whole, closing)] = [features, newest_first].map(|features| {
            let panel = Panel::new(features, Limits::default());
            let fell = (0..300).map(|_| converse(&mut random, &panel)).sum::<u32>();
            (fell, (0..300).map(|_| converse_and_close(&mut random, &panel)).sum::<u32>())
        });
        assert!(
            cut > 1000 && whole > cut + 500,
            "entries fell behind only {cut} and {whole} times"
        );
        assert!(
            cut_closing.min(closing) > 300,
            "sides of entries fell behind only {cut_closing} and {closing} times"
        );
    }
}
