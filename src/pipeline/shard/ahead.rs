//! The look ahead: what packets need of memory is asked for before their turn comes, so that they need not
//! wait for it.
//!
//! The packets of a slice come in runs, and each run goes through three stages, a turn apart: the slots of the
//! index are asked for; the flows are guessed by them and asked for; the packets are taken. So two runs are
//! on their way while one is taken. Before that, what the flows show says of which more is needed.
//!
//! Does not: change anything that a shard knows.

use super::{Flow, Shard};
use crate::conntrack::table::Position;
use crate::pipeline::slice::{Item, Kind};
use crate::segment::Flags;

/// Packets of a run: enough that what they need has come when their turn comes, few enough that it is
/// still in the cache.
pub(super) const RUN: usize = 32;

/// Where the flows of the packets of a run most probably are.
pub(super) type Guesses = Vec<Option<Position>>;

impl Shard {
    /// Asks for the slots of the index at which the search for the flows of a run begins.
    #[inline(never)]
    pub(super) fn bring_slots(&self, run: &[Item]) {
        if self.table.has_far_slots() {
            for item in run {
                match item.kind {
                    Kind::Datagram(_) => self.datagrams.bring_slots(item.hash),
                    _ => self.table.bring_slots(item.hash),
                }
            }
        }
    }

    /// Guesses where the flows of a run are, and asks for what most of their packets need of them.
    #[inline(never)]
    pub(super) fn bring_flows(&self, run: &[Item], guesses: &mut Guesses) {
        guesses.clear();
        guesses.extend(run.iter().map(|item| self.table.guess(item.hash)));
        if self.table.has_far_elements() {
            let flows = guesses.iter().flatten();
            flows.for_each(|&position| self.table.bring(position, Flow::EVERYDAY));
        }
    }

    /// Asks for the rest of the flows of a run from which their packets need more, and for the entries of
    /// datagrams.
    #[inline(never)]
    pub(super) fn bring_rest(&self, run: &[Item], guesses: &Guesses) {
        if !self.table.is_beyond_caches() {
            return;
        }
        for (item, guess) in run.iter().zip(guesses) {
            match item.kind {
                Kind::Segment => {
                    let flow = guess.and_then(|position| self.table.get(position));
                    let ends = item.packet.segment.flags.0 & (Flags::FIN.0 | Flags::RST.0) != 0;
                    if let Some(flow) = flow.filter(|flow| {
                        ends || !flow.audit().runs_ahead(item.stamp.ts, item.packet.orientation)
                    }) {
                        flow.bring_rest();
                        if let Some(recorder) = &self.desk.recorder {
                            recorder.bring(flow.record);
                        }
                    }
                }
                Kind::Datagram(_) => self.datagrams.bring(item.hash),
                _ => {}
            }
        }
    }
}
