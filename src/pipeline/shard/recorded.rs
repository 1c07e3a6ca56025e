//! What a shard tells the recorder of the connection table, when the table is asked for.
//!
//! Segments that only go on are not told one by one; everything else that may change an entry is, with
//! the entry before and after it.
//!
//! Does not: know what is recorded.

use super::{Desk, Flow, arrival};
use crate::conntrack::Verdict;
use crate::pipeline::recorder::{Outcome, Slot};
use crate::pipeline::slice::{Item, Stamp};
use crate::time::Timestamp;

/// How far a packet's own time may be behind the tracker's, so that two packets of a flow that came at once
/// also meet the tracker at once: no timeout ends between them.
const MOST_BEHIND_NS: i64 = 700_000_000;

impl Desk {
    /// Takes a segment that only goes on in a flow whose entry may fall behind: of such the recorder learns
    /// with the next one that is told.
    #[inline(never)]
    pub(super) fn let_run(&mut self, flow: &mut Flow, item: &Item) -> bool {
        let Stamp { ts, clock, .. } = item.stamp;
        let is_next =
            clock.nanos_since(ts) < MOST_BEHIND_NS && flow.run_on(ts, &arrival(item), &self.panel);
        self.totals.established += u64::from(is_next);
        is_next
    }

    /// Takes a segment by one of the short ways, if one is for it, and tells of it.
    #[inline(never)]
    pub(super) fn take_a_recorded_way(&mut self, flow: &mut Flow, item: &Item) -> bool {
        let Some(before) = self.recorded(flow) else { return false };
        let is_next = flow.take_next(item.stamp.ts, &arrival(item), &self.panel);
        self.totals.established += u64::from(is_next);
        let is_taken = is_next || self.take_greeting(flow, item) || self.take_onward(flow, item);
        if is_taken {
            self.record(flow, item, &before, Outcome { is_new: false, is_silent: true });
            if self.is_recorded_closely(flow, item) {
                flow.open();
            }
        }
        is_taken
    }

    /// Judges a segment, and tells of it.
    #[inline(never)]
    pub(super) fn judge_recorded(&mut self, flow: &mut Flow, item: &Item) -> Verdict {
        let before = self.recorded(flow);
        let verdict = self.judge(flow, &arrival(item));
        if let Some(before) = before {
            let outcome = Outcome { is_new: verdict.opened, is_silent: verdict.reason.is_none() };
            self.record(flow, item, &before, outcome);
        }
        verdict
    }

    /// Returns the entry of a flow before a packet that is to be told, when entries are recorded.
    #[inline]
    pub(super) fn recorded(&mut self, flow: &mut Flow) -> Option<Slot> {
        let recorder = self.recorder.as_mut()?;
        let entry = flow.track().entry().copied();
        recorder.catch_up(flow.record, entry.as_ref());
        Some(Slot::Tcp(entry))
    }

    /// Tells what a packet made of the entry of a flow.
    pub(super) fn record(&mut self, flow: &mut Flow, item: &Item, before: &Slot, outcome: Outcome) {
        if let Some(recorder) = &mut self.recorder {
            let after = Slot::Tcp(flow.track().entry().copied());
            recorder.follow(&mut flow.record, item, [before, &after], outcome);
        }
    }

    /// Tells of the entry of a flow that began with a SYN by the book.
    #[inline]
    pub(super) fn record_beginning(&mut self, flow: &mut Flow, item: &Item) {
        if self.recorder.is_some() {
            let outcome = Outcome { is_new: true, is_silent: true };
            self.record(flow, item, &Slot::Tcp(None), outcome);
        }
    }

    /// Returns whether every segment of a flow is to be told of.
    #[inline]
    pub(super) fn is_recorded_closely(&self, flow: &Flow, item: &Item) -> bool {
        let recorder = self.recorder.as_ref();
        recorder.is_some_and(|recorder| recorder.looks_closely(flow.record, item.stamp.clock))
    }

    /// Tells that the entry of a flow is given up.
    pub(super) fn record_loss(&mut self, flow: &mut Flow, now: Timestamp) {
        if let Some(slot) = self.recorded(flow)
            && let Some(recorder) = &mut self.recorder
        {
            recorder.give_up(flow.record, &flow.key, &slot, now);
        }
    }

    /// Tells that no more comes of a flow.
    pub(super) fn record_end(&mut self, flow: &mut Flow, end: Timestamp) {
        if let Some(slot) = self.recorded(flow)
            && let Some(recorder) = &mut self.recorder
        {
            recorder.bury(flow.record, &flow.key, &slot, end);
        }
    }
}
