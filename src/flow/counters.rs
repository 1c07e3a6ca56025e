//! A closer look at the counters of a sender: its clock and its IP identification, which tell which of
//! two segments left first, and whether one is the other once more.

use crate::flow::half::{Half, Probe, Tick};
use crate::flow::ranges::{MAX_ID_STEP, Order, Stamp};
use crate::flow::retransmission::Kind;
use crate::flow::step::Step;
use crate::segment::{Flags, Segment};

/// The time within which a copy without identity must follow the first: 1 ms.
pub(super) const COPY_GAP_US: u32 = 1_000;
/// The time within which a copy that only its identification tells must follow: 200 ms.
const COPY_ID_GAP_US: u32 = 200_000;

impl Step<'_> {
    /// Returns whether a SYN sent again is a copy: a host that sends one again has moved its clock
    /// and its identification on by then.
    pub(super) fn is_copied_syn(&self) -> bool {
        let has_clock = self.look.segment.options.timestamps.is_some();
        let at_once = self.look.now.since(self.own.progress_at) < COPY_GAP_US;
        let order = self.order();
        order == Order::Earlier
            || has_clock && self.same_clock()
            || at_once && order == Order::Unknown
    }

    pub(super) fn stamp(&self) -> Stamp {
        let segment = self.look.segment;
        let has_counter = !self.own.is(Half::RANDOM_ID) && segment.ip_id != 0;
        Stamp {
            tsval: segment.options.timestamps.map(|timestamps| timestamps.value),
            ip_id: has_counter.then_some(segment.ip_id),
        }
    }

    /// Returns whether the segment left its sender before one that was seen before it.
    pub(super) fn is_late(&self) -> bool {
        self.order() == Order::Earlier
    }

    /// Says by the sender's counters whether the segment left it before the newest seen, or after.
    fn order(&self) -> Order {
        let has_counter = !self.own.is(Half::RANDOM_ID) && self.own.ip_id != 0;
        let newest = Stamp {
            tsval: self.own.is(Half::TIMESTAMPS).then_some(self.own.tsval),
            ip_id: has_counter.then_some(self.own.ip_id),
        };
        self.stamp().order(newest)
    }

    pub(super) fn same_clock(&self) -> bool {
        let timestamps = self.look.segment.options.timestamps;
        timestamps.map(|timestamps| timestamps.value)
            == self.own.is(Half::TIMESTAMPS).then_some(self.own.tsval)
    }

    /// Returns whether the segment is the last one of its sender once more.
    pub(super) fn is_copy_of_last(&self) -> bool {
        let segment = self.look.segment;
        let same_id =
            segment.ip_id != 0 && segment.ip_id == self.own.ip_id && !self.own.is(Half::RANDOM_ID);
        let gap = self.look.now.since(self.own.last_at);
        let soon = segment.options.timestamps.is_some() || gap < COPY_ID_GAP_US;
        let same_ack = if segment.has(Flags::ACK) {
            self.own.is(Half::ACK) && segment.ack == self.own.ack && segment.win == self.own.win
        } else {
            !self.own.is(Half::ACK)
        };
        let same_end = self.own.is(Half::SEQ) && segment.end() == self.own.max_end;
        // The first segment behind a SYN ends where that does.
        let same_end = same_end && (segment.has(Flags::SYN) || !self.is_opening);
        same_id && soon && self.same_clock() && same_ack && same_end
    }

    /// Takes timestamp and identification, where they are newer.
    pub(super) fn take_stamp(&mut self, kind: Option<Kind>) {
        let segment = self.look.segment;
        if let Some(timestamps) = segment.options.timestamps {
            if !self.own.is(Half::TIMESTAMPS) && self.own.is(Half::SYN) && !segment.has(Flags::SYN)
            {
                self.detail().stamps_unannounced = true;
            }
            self.own.take_clock(segment, timestamps.value, self.look.now);
        }
        if kind != Some(Kind::Duplicate) {
            self.own.take_ip_id(segment);
        }
    }
}

impl Half {
    /// Takes the timestamp of a segment of this side, where it is newer.
    #[inline]
    pub(super) fn take_clock(&mut self, segment: &Segment, value: u32, now: Tick) {
        let is_newer = value.wrapping_sub(self.tsval).cast_signed() > 0;
        if !self.is(Self::TIMESTAMPS) || is_newer {
            if segment.end() == segment.seq && self.is(Self::TIMESTAMPS) {
                self.time(Probe::echo(value), now);
            }
            self.tsval = value;
            self.set(Self::TIMESTAMPS);
        }
    }

    /// Takes the identification of a segment of this side, where it is newer.
    #[inline]
    pub(super) fn take_ip_id(&mut self, segment: &Segment) {
        let ip_id = segment.ip_id;
        let step = ip_id.wrapping_sub(self.ip_id).cast_signed();
        let is_syn = segment.has(Flags::SYN);
        if self.is(Self::RANDOM_ID) || ip_id == 0 && self.ip_id != 0 {
            return;
        }
        if self.ip_id == 0 || is_syn {
            if ip_id == 0 && !is_syn {
                self.set(Self::RANDOM_ID);
            }
            self.ip_id = ip_id;
        } else if step > 0 && step < MAX_ID_STEP {
            self.ip_id = ip_id;
        } else if step == 0 || step <= -MAX_ID_STEP || step >= MAX_ID_STEP {
            self.set(Self::RANDOM_ID);
        }
    }
}
