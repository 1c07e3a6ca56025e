//! Packets of flows that were captured at several places: which are left out, which wait, and what a
//! tracker says that meets all of them.
//!
//! Does not: tell copies from others, which is a matter of the flow.

use super::{Desk, Flow, LIBERAL, arrival};
use crate::audit::Opening;
use crate::conntrack::{CtState, Track, Verdict};
use crate::flow::{Sight, Sighted};
use crate::occupancy::Group;
use crate::pipeline::Wanted;
use crate::pipeline::slice::{Item, Stamp};
use crate::segment::Flags;
use crate::wire::Packet;

impl Desk {
    /// Tells the verdict on a packet of a flow, or that of a tracker that meets its copies too.
    #[cold]
    pub(super) fn tell_of(
        &mut self,
        flow: &mut Flow,
        item: &Item,
        verdict: Verdict,
        liberal: CtState,
    ) {
        if flow.audit().is_seen_twice() && verdict.ctstate != CtState::Untracked {
            self.tell_of_all(flow, item);
        } else {
            self.tell(item, Some(flow.audit().first_frame), verdict, liberal);
        }
    }

    /// Leaves a packet out that is a copy of another one; returns whether it was one.
    #[cold]
    pub(super) fn leave_out(&mut self, flow: &mut Flow, item: &Item) -> bool {
        let Stamp { number: frame, ts, .. } = item.stamp;
        let vantage = item.stamp.vantage();
        if self.is_releasing {
            return false;
        }
        let left_out = flow.audit().leaves_out(vantage);
        let first = self.first_sights.as_mut().and_then(|sights| sights.find(item, left_out));
        if flow.audit().is_new() {
            self.note_opening(flow.audit().first_frame, item);
            flow.open().1.sight(frame, (ts, vantage), &arrival(item), None);
            return false;
        }
        let was_alone = !flow.audit().is_seen_twice();
        if !left_out
            && flow.audit().is_odd_answer(&arrival(item))
            && !self.held.contains_key(&flow.key)
        {
            self.held.insert(flow.key, *item);
            self.totals.copies += 1;
            flow.open().1.expect_copies();
            self.tell_of_all(flow, item);
            return true;
        }
        if !was_alone && self.resolve(flow, item) {
            self.note_opening(flow.audit().first_frame, item);
            return false;
        }
        let seen = flow.open().1.sight(frame, (ts, vantage), &arrival(item), first);
        if item.packet.segment.has(Flags::SYN) && seen != Sighted::Copy {
            self.note_opening(flow.audit().first_frame, item);
        }
        let is_new = was_alone && flow.audit().is_seen_twice();
        if is_new && self.wanted != Wanted::Findings {
            self.meets_copies.insert(flow.key, flow.track().clone());
        }
        match seen {
            Sighted::Here => false,
            Sighted::Copy => {
                self.totals.copies += 1;
                self.tell_of_all(flow, item);
                true
            }
            Sighted::SynAgain => {
                self.totals.count_judged_copy();
                self.track_anew(flow, item);
                false
            }
            Sighted::Anew => {
                self.totals.count_judged_again();
                self.track_anew(flow, item);
                false
            }
            Sighted::Back(syn) => {
                self.totals.count_judged_again();
                self.track_anew(flow, item);
                self.judge_again(flow, item, &syn);
                false
            }
        }
    }

    /// Has the tracker forget a flow that starts over.
    fn track_anew(&mut self, flow: &mut Flow, item: &Item) {
        if let Some(expires) = flow.expires() {
            let end = expires.min(item.stamp.clock);
            self.totals.occupancy.close(end, Group::Tcp);
        }
        self.record_loss(flow, item.stamp.clock);
        *flow.open().0 = Track::default();
    }

    /// Judges a SYN that was left for another place, before the packet that makes it count again.
    fn judge_again(&mut self, flow: &mut Flow, item: &Item, syn: &Sight) {
        let mut before = *item;
        let ago_ns = item.stamp.ts.nanos_since(syn.ts).max(0);
        before.stamp.number = syn.frame;
        before.stamp.ts = syn.ts;
        before.stamp.clock = item.stamp.clock.plus_nanos(-ago_ns);
        before.packet.segment = syn.segment;
        before.packet.orientation = item.packet.orientation.flip();
        self.is_releasing = true;
        self.take(flow, &before);
        self.is_releasing = false;
    }

    /// Keeps a SYN or SYN-ACK for comparison with others.
    #[inline]
    pub(super) fn note_opening(&mut self, flow: u64, item: &Item) {
        if self.findings.has_all_openings() {
            return;
        }
        let Stamp { number: frame, ts, clock, .. } = item.stamp;
        let vantage = item.stamp.vantage();
        let Packet { key, orientation, segment } = item.packet;
        let opening = Opening { frame, ts, clock, flow, key, orientation, vantage, segment };
        self.findings.push_opening(opening);
    }

    /// Finds out what a SYN-ACK was that was held back: the sight of this one at another place, or
    /// one that is to be judged after all. Returns whether this one was compared with it.
    fn resolve(&mut self, flow: &mut Flow, item: &Item) -> bool {
        let Some(held) = self.held.remove(&flow.key) else { return false };
        let Stamp { number, ts, .. } = held.stamp;
        let odd = (number, ts, held.stamp.vantage(), &held.packet.segment);
        let Stamp { number, ts, .. } = item.stamp;
        let vantage = item.stamp.vantage();
        if flow.open().1.fits_better(odd, (number, ts, vantage), &arrival(item)) {
            return true;
        }
        self.judge_held(flow, &held);
        false
    }

    pub(super) fn judge_held(&mut self, flow: &mut Flow, held: &Item) {
        self.totals.copies = self.totals.copies.saturating_sub(1);
        self.is_releasing = true;
        self.take(flow, held);
        self.is_releasing = false;
    }

    /// Tells what a tracker says that meets the copies of this flow as well.
    #[cold]
    fn tell_of_all(&mut self, flow: &mut Flow, item: &Item) {
        if self.wanted == Wanted::Findings || self.is_releasing {
            return;
        }
        let known = self.meets_copies.entry(flow.key);
        let track = known.or_insert_with(|| flow.track().clone());
        let verdict = track.judge(&arrival(item), &self.panel, &mut self.opinions);
        let liberal = self.opinions.of(LIBERAL, &verdict).ctstate;
        self.tell(item, Some(flow.audit().first_frame), verdict, liberal);
    }
}
