//! A closer look at the counters of a sender: its clock and its IP identification, which tell which of
//! two segments left first, and whether one is the other once more.

use crate::flow::half::{Half, Probe};
use crate::flow::ranges::{MAX_ID_STEP, Order, Stamp};
use crate::flow::retransmission::Kind;
use crate::flow::step::Step;
use crate::segment::Flags;

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
            let value = timestamps.value;
            let is_newer = value.wrapping_sub(self.own.tsval).cast_signed() > 0;
            if !self.own.is(Half::TIMESTAMPS) && self.own.is(Half::SYN) && !segment.has(Flags::SYN)
            {
                self.detail().stamps_unannounced = true;
            }
            if !self.own.is(Half::TIMESTAMPS) || is_newer {
                if segment.end() == segment.seq && self.own.is(Half::TIMESTAMPS) {
                    self.own.time(Probe::echo(value), self.look.now);
                }
                self.own.tsval = value;
                self.own.set(Half::TIMESTAMPS);
            }
        }
        if kind != Some(Kind::Duplicate) {
            self.take_ip_id();
        }
    }

    fn take_ip_id(&mut self) {
        let ip_id = self.look.segment.ip_id;
        let step = ip_id.wrapping_sub(self.own.ip_id).cast_signed();
        let is_syn = self.look.segment.has(Flags::SYN);
        if self.own.is(Half::RANDOM_ID) || ip_id == 0 && self.own.ip_id != 0 {
            return;
        }
        if self.own.ip_id == 0 || is_syn {
            if ip_id == 0 && !is_syn {
                self.own.set(Half::RANDOM_ID);
            }
            self.own.ip_id = ip_id;
        } else if step > 0 && step < MAX_ID_STEP {
            self.own.ip_id = ip_id;
        } else if step == 0 || step <= -MAX_ID_STEP || step >= MAX_ID_STEP {
            self.own.set(Half::RANDOM_ID);
        }
    }
}
