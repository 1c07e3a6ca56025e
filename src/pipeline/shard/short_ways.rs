//! Handshakes by the book, and segments that merely go on: counted where they pass, with nothing else to
//! be said of them.
//!
//! Does not: know what tracker and analysis make of them, which is a matter of the flow.

use super::flow::FLOW_BYTES;
use super::{Desk, Flow, arrival};
use crate::flow::Greeting;
use crate::occupancy::Group;
use crate::pipeline::Wanted;
use crate::pipeline::slice::{Item, Stamp};

impl Desk {
    /// Starts a flow with a SYN by the book; none where that takes the long way.
    #[inline]
    pub(super) fn greeted_by(&self, item: &Item) -> Option<Flow> {
        let is_syn = Greeting::of(&item.packet.segment) == Some(Greeting::Syn);
        let is_told = self.wanted == Wanted::Verdicts || self.first_sights.is_some();
        if !is_syn || is_told || self.full.contains(&item.stamp.number) {
            return None;
        }
        Flow::greeted_by(item.packet.key, &item.stamp, &arrival(item), &self.panel)
    }

    /// Counts a flow that began with a SYN by the book.
    #[inline]
    pub(super) fn count_greeted(&mut self, item: &Item) {
        let Stamp { number, clock, .. } = item.stamp;
        self.note_opening(number, item);
        self.totals.new += 1;
        self.totals.options_cut += u64::from(item.packet.segment.options_cut);
        self.totals.occupancy.open(clock, Group::Tcp);
        self.ledger.change(item.packet.key.section(), 0, FLOW_BYTES);
    }

    /// Takes a segment of a handshake by the book, or the first one of the side that was called, of which
    /// nothing is to be said; returns whether it was one, and leaves the flow as it is when not.
    #[inline]
    pub(super) fn take_greeting(&mut self, flow: &mut Flow, item: &Item) -> bool {
        if !flow.audit().may_greet(item.packet.orientation) {
            return false;
        }
        let Some(kind) = Greeting::of(&item.packet.segment) else { return false };
        let opens = kind == Greeting::SynAck;
        if self.wanted == Wanted::Verdicts || opens && self.first_sights.is_some() {
            return false;
        }
        let is_taken = flow.take_greeting(kind, &item.stamp, &arrival(item), &self.panel);
        if is_taken {
            self.count_passed(item);
            match kind {
                Greeting::SynAck => self.note_opening(flow.audit().first_frame, item),
                Greeting::Refusal => self.totals.occupancy.close(item.stamp.clock, Group::Tcp),
                Greeting::Syn | Greeting::Ack | Greeting::Data => {}
            }
        }
        is_taken
    }

    /// Takes a segment that merely goes on in a flow that is not in step, or of which more is kept than its
    /// numbers; returns whether it was such, and leaves the flow as it is when not.
    #[inline]
    pub(super) fn take_onward(&mut self, flow: &mut Flow, item: &Item) -> bool {
        if self.wanted == Wanted::Verdicts || flow.audit().may_be_copy(&item.packet.segment) {
            return false;
        }
        let is_onward = flow.take_onward(&item.stamp, &arrival(item), &self.panel);
        if is_onward {
            self.count_passed(item);
        }
        is_onward
    }

    /// Counts a segment of an entry that passed without a word.
    fn count_passed(&mut self, item: &Item) {
        self.totals.established += 1;
        self.totals.options_cut += u64::from(item.packet.segment.options_cut);
    }
}
