//! Where flows begin: segments whose flow is not where it was thought to be, or is not there yet.
//!
//! Does not: take what only goes on.

use super::flow::Flow;
use super::{Shard, arrival};
use crate::conntrack::table::Position;
use crate::conntrack::{Arrival, Track};
use crate::flow::FlowAudit;
use crate::pipeline::slice::Item;
use crate::time::Timestamp;
use crate::wire::Packet;

impl Shard {
    /// Takes a segment of a flow that is not where it was thought to be, or of a new one.
    #[inline(never)]
    pub(super) fn take_elsewhere(&mut self, item: &Item) {
        let position = self.table.find(&item.packet.key, item.hash);
        let known = position.and_then(|position| self.table.get_mut(position));
        if let Some(flow) = known {
            // What passes renews an entry that has not expired: its flow is not over.
            if flow.audit().is_in_step() && self.desk.let_pass(flow, item) {
                return;
            }
            if !flow.is_over(item.stamp.clock) {
                self.desk.take(flow, item);
                return;
            }
        }
        if let Some(position) = position {
            self.table.remove(position, |over| self.desk.bury(over, item.stamp.clock));
        }
        self.take_first(item);
    }

    /// Takes the first segment of a flow.
    fn take_first(&mut self, item: &Item) {
        let by_syn = if self.known.is_empty() { self.desk.greeted_by(item) } else { None };
        if let Some(flow) = by_syn {
            self.make_room(item.stamp.clock);
            let position = self.table.insert(item.hash, flow);
            if let Some(flow) = position.and_then(|position| self.table.get_mut(position)) {
                self.desk.count_greeted(item);
                self.desk.record_beginning(flow, item);
            }
            return;
        }
        let position = self.start(item);
        if let Some(flow) = position.and_then(|position| self.table.get_mut(position)) {
            self.desk.take(flow, item);
        }
    }

    /// Finds the flow of an item; a flow that is over makes room for the next.
    pub(super) fn find(&mut self, item: &Item) -> Option<Position> {
        let now = item.stamp.clock;
        let position = self.table.find(&item.packet.key, item.hash)?;
        if !self.table.get(position)?.is_over(now) {
            return Some(position);
        }
        self.table.remove(position, |over| self.desk.bury(over, now));
        None
    }

    /// Removes flows that are over, when it is time to.
    fn make_room(&mut self, now: Timestamp) {
        if self.table.wants_sweep() {
            self.table.sweep(|flow| flow.is_over(now), |flow| self.desk.bury(flow, now));
        }
    }

    /// Starts a flow, of which nothing has been taken yet.
    pub(super) fn start(&mut self, item: &Item) -> Option<Position> {
        let Item { stamp, hash, packet: Packet { key, .. }, .. } = *item;
        self.make_room(stamp.clock);
        let mut audit = new_audit(stamp.number, stamp.ts, &arrival(item), &self.desk.full);
        let known = self.known.remove(&key).filter(|entry| entry.expires > stamp.clock);
        if let Some(entry) = &known {
            audit.tracked = true;
            audit.original = entry.original;
        }
        let track = known.map(Track::from).unwrap_or_default();
        self.table.insert(hash, Flow::new(key, track, audit))
    }
}

/// Starts a flow, with everything told if it is one to be reported in full.
#[inline]
pub(super) fn new_audit(
    frame: u64,
    ts: Timestamp,
    arrival: &Arrival<'_>,
    full: &[u64],
) -> FlowAudit {
    let mut audit = FlowAudit::new(frame, ts, arrival);
    if full.contains(&frame) {
        audit.tell_all();
    }
    audit
}
