//! The look ahead: what packets need of memory is asked for before their turn comes, so that they need not
//! wait for it.
//!
//! The packets of a slice come in runs, and each run goes through three stages, a turn apart: the slots of the
//! index are asked for; the flows are guessed by them and asked for; the packets are taken. So two runs are
//! on their way while one is taken. Just before that, what the flows show says of which more is needed.
//!
//! Does not: change anything that a shard knows.

use super::{Flow, Shard};
use crate::conntrack::table::Position;
use crate::pipeline::slice::{Item, Kind};
use crate::segment::Flags;

/// Packets of a run: enough that what they need has come when their turn comes, few enough that it is
/// still in the cache.
const RUN: usize = 32;
/// Turns from that in which a run is first looked at to that in which it is taken.
const TURNS_AHEAD: usize = 2;

/// Where the flows of the packets of a run most probably are.
pub(super) type Guesses = Vec<Option<Position>>;

/// How many turns it takes until all packets are taken.
pub(super) const fn turns(items: &[Item]) -> usize {
    items.len().div_ceil(RUN) + TURNS_AHEAD
}

impl Shard {
    /// Looks ahead by a turn; returns the run that is to be taken in it. `guesses` are those at the flows of
    /// that run and of the next.
    #[inline(never)]
    pub(super) fn look_ahead<'a>(
        &self,
        items: &'a [Item],
        turn: usize,
        guesses: &mut [Guesses; TURNS_AHEAD],
    ) -> &'a [Item] {
        let run = |turns_ago: usize| {
            let number = turn.checked_sub(turns_ago);
            number.and_then(|number| items.chunks(RUN).nth(number)).unwrap_or_default()
        };
        guesses.swap(0, 1);
        let [guesses, next_guesses] = guesses;
        self.bring_slots(run(0));
        self.bring_flows(run(1), next_guesses);
        self.bring_datagrams(run(1));
        self.bring_rest(run(TURNS_AHEAD), guesses);
        self.bring_records(run(TURNS_AHEAD));
        run(TURNS_AHEAD)
    }

    /// Asks for the slots of the indexes at which the search for the flows of a run begins.
    fn bring_slots(&self, run: &[Item]) {
        if !self.table.has_far_slots() && !self.datagrams.has_far_slots() {
            return;
        }
        for item in run {
            match item.kind {
                Kind::Datagram(_) => self.datagrams.bring_slots(item.hash),
                _ => self.table.bring_slots(item.hash),
            }
        }
    }

    /// Guesses where the flows of a run are, and asks for what most of their packets need of them.
    fn bring_flows(&self, run: &[Item], guesses: &mut Guesses) {
        guesses.clear();
        guesses.extend(run.iter().map(|item| self.table.guess(item.hash)));
        if self.table.has_far_elements() {
            let flows = guesses.iter().flatten();
            flows.for_each(|&position| self.table.bring(position, Flow::EVERYDAY));
        }
    }

    /// Asks for the entries of the datagrams of a run.
    fn bring_datagrams(&self, run: &[Item]) {
        if self.datagrams.has_far_entries() {
            let datagrams = run.iter().filter(|item| matches!(item.kind, Kind::Datagram(_)));
            datagrams.for_each(|item| self.datagrams.bring(item.hash));
        }
    }

    /// Asks for the rest of the flows of which the packets of a run need more. Worth its time where they are
    /// not even in the cache that cores share.
    fn bring_rest(&self, run: &[Item], guesses: &Guesses) {
        if !self.table.is_beyond_caches() {
            return;
        }
        for (item, guess) in run.iter().zip(guesses) {
            let flow = guess.and_then(|position| self.table.get(position));
            if let Some(flow) = flow.filter(|flow| is_out_of_the_ordinary(flow, item)) {
                flow.bring_rest();
                if let Some(recorder) = &self.desk.recorder {
                    recorder.bring(flow.record);
                }
            }
        }
    }

    /// Asks for the records of the datagrams of a run, where the table is recorded.
    fn bring_records(&self, run: &[Item]) {
        let recorder = self.desk.recorder.as_ref().filter(|_| self.datagrams.has_far_entries());
        let Some(recorder) = recorder else { return };
        for item in run.iter().filter(|item| matches!(item.kind, Kind::Datagram(_))) {
            if let Some(record) = self.datagrams.record(item.hash) {
                recorder.bring(record);
            }
        }
    }
}

/// Returns whether a packet most probably needs more of its flow than most do.
#[inline]
fn is_out_of_the_ordinary(flow: &Flow, item: &Item) -> bool {
    const ENDS: u8 = Flags::FIN.0 | Flags::RST.0;
    let ends = item.packet.segment.flags.0 & ENDS != 0;
    ends || !flow.audit().runs_ahead(item.stamp.ts, item.packet.orientation)
}
