//! How many entries a shard's trackers have while the run goes on, nearly.
//!
//! Does not: decide what follows from that.

use super::Shard;
use crate::pipeline::slice::Item;
use crate::time::Timestamp;

/// The most entries that there were when they were counted: it never falls, so that what was decided by it
/// stays. They are counted when what is remembered has grown by an eighth, so that counting costs a constant
/// for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauge {
    entries: usize,
    /// How many flows are remembered when entries are counted next.
    next: usize,
}

/// Flows from which on it is worth counting.
const LEAST: usize = 1024;

impl Default for Gauge {
    fn default() -> Self {
        Self { entries: 0, next: LEAST }
    }
}

impl Shard {
    /// Returns the most entries that were counted so far; none are where that is not wanted.
    pub(in crate::pipeline) fn entries(&self) -> usize {
        self.gauge.map_or(0, |gauge| gauge.entries)
    }

    /// Counts the entries, when it is time to.
    #[inline]
    pub(super) fn read_gauge(&mut self, items: &[Item]) {
        let remembered = self.table.len() + self.datagrams.len();
        let Some(gauge) = self.gauge.filter(|gauge| remembered >= gauge.next) else { return };
        let Some(now) = items.last().map(|item| item.stamp.clock) else { return };
        let next = remembered + (remembered / 8).max(LEAST);
        let entries = self.count_entries(now).max(gauge.entries);
        self.gauge = Some(Gauge { entries, next });
    }

    #[cold]
    fn count_entries(&self, now: Timestamp) -> usize {
        let is_there = |end: Option<Timestamp>| end.is_some_and(|end| now < end);
        let connections = self.table.iter().filter(|flow| is_there(flow.expires())).count();
        connections + self.datagrams.count_alive(now)
    }
}
