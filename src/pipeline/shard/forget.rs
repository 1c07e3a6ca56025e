//! Forgetting flows before their time, so that memory stays within its budget.
//!
//! Does not: say how much that is, or when flows are counted.

use crate::audit::Forgotten;
use crate::conntrack::Keyed;
use crate::occupancy::Group;
use crate::pipeline::ledger::{Candidate, Census, Place};
use crate::pipeline::shard::flow::Flow;
use crate::pipeline::shard::{Desk, Shard};
use crate::time::Timestamp;
use crate::tuple::FlowKey;

impl Shard {
    /// Forgets what is over and, where that is not enough, what soonest will be.
    #[cold]
    pub(super) fn hold(&mut self, census: Census, now: Timestamp) {
        if !self.desk.ledger.is_overdrawn(census) {
            return;
        }
        self.table.sweep(|flow| flow.is_over(now), |flow| self.desk.bury(flow, now));
        self.datagrams.sweep(now, &mut self.desk.books());
        let debts = self.desk.ledger.debts(census);
        for (section, debt) in self.candidates(&debts).into_iter().zip(debts) {
            let mut freed = 0;
            for candidate in section {
                if freed >= debt {
                    break;
                }
                freed += self.forget(candidate.place, now);
            }
        }
    }

    /// Returns, for each section that owes something, what may be forgotten, in that order.
    fn candidates(&self, debts: &[u64]) -> Vec<Vec<Candidate>> {
        let mut sections = vec![Vec::new(); debts.len()];
        let mut add = |key: &FlowKey, candidate| {
            let section = key.section();
            if debts.get(section).is_some_and(|&debt| debt > 0)
                && let Some(candidates) = sections.get_mut(section)
            {
                candidates.push(candidate);
            }
        };
        for (position, flow) in self.table.positions() {
            let (over_at, order) = (flow.over_at(), flow.audit().first_frame);
            add(&flow.key, Candidate { over_at, order, place: Place::Flow(position) });
        }
        self.datagrams.candidates().for_each(|(key, candidate)| add(key, candidate));
        let key = |candidate: &Candidate| match candidate.place {
            Place::Flow(position) => self.table.get(position).map(Keyed::key),
            Place::Datagram(position) => self.datagrams.key(position),
        };
        for candidates in &mut sections {
            candidates.sort_unstable_by(|one, other| {
                let by_time = (one.over_at, one.order).cmp(&(other.over_at, other.order));
                by_time.then_with(|| key(one).cmp(&key(other)))
            });
        }
        sections
    }

    /// Forgets a flow before its time, and returns the bytes that this frees.
    fn forget(&mut self, place: Place, now: Timestamp) -> u64 {
        let mut forgotten = Forgotten { since: Some(now), ..Forgotten::default() };
        let freed = match place {
            Place::Flow(position) => {
                let Self { table, desk, .. } = self;
                let freed = table.remove(position, |flow| desk.forget(flow, now));
                forgotten.flows = u64::from(freed.is_some());
                freed.unwrap_or(0)
            }
            Place::Datagram(position) => {
                forgotten.others = 1;
                self.datagrams.forget(position, now, &mut self.desk.books())
            }
        };
        self.desk.totals.forgotten.merge(&forgotten);
        freed
    }
}

impl Desk {
    /// Ends a flow before its time, and returns the bytes that this frees.
    fn forget(&mut self, flow: &mut Flow, now: Timestamp) -> u64 {
        let freed = u64::from(flow.bytes);
        if flow.expires().is_some_and(|expires| expires > now) {
            self.totals.occupancy.close(now, Group::Tcp);
        }
        self.record_loss(flow, now);
        self.bury(flow, now);
        freed
    }
}
