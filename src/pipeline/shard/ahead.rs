//! The look ahead: what packets need of memory is asked for before their turn comes, so that they need not
//! wait for it.
//!
//! The packets of a slice come in runs. With each turn one run is taken, and two are on their way:
//!
//! ```text
//! turn        0      1      2      3      4
//! run 0   slots  flows  taken
//! run 1          slots  flows  taken
//! run 2                 slots  flows  taken
//! ```
//!
//! *Slots*: those of the index are asked for. *Flows*: they tell where the flows most probably are, and what
//! most packets need of these is asked for. *Taken*: just before, what the flows show tells of which the rest
//! is needed as well, and that is asked for.
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

/// Where the flow of a packet most probably is.
pub(super) type Guess = Option<Position>;
/// The guesses for the run that is taken, and for the next one.
pub(super) type Guesses = [Vec<Guess>; TURNS_AHEAD];

/// How many turns it takes until all packets are taken.
pub(super) const fn turns(items: &[Item]) -> usize {
    items.len().div_ceil(RUN) + TURNS_AHEAD
}

impl Shard {
    /// Looks ahead by a turn; returns the run that is to be taken in it, with the guesses for it.
    #[inline(never)]
    pub(super) fn look_ahead<'a>(
        &self,
        items: &'a [Item],
        turn: usize,
        guesses: &'a mut Guesses,
    ) -> (&'a [Item], &'a [Guess]) {
        let run = |turns_ago: usize| {
            let number = turn.checked_sub(turns_ago);
            number.and_then(|number| items.chunks(RUN).nth(number)).unwrap_or_default()
        };
        // What was the next run is now taken.
        guesses.swap(0, 1);
        let [guesses, next_guesses] = guesses;
        let (taken, next) = (run(TURNS_AHEAD), run(1));
        self.bring_slots(run(0));
        self.bring_flows(next, next_guesses);
        self.bring_datagrams(next);
        self.bring_rest(taken, guesses);
        self.bring_records(taken);
        (taken, guesses)
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
    fn bring_flows(&self, run: &[Item], guesses: &mut Vec<Guess>) {
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
    fn bring_rest(&self, run: &[Item], guesses: &[Guess]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Method;
    use crate::conntrack::{Keyed, Panel, Policy, Profile, Sysctls};
    use crate::pipeline::Plan;
    use crate::pipeline::datagrams::Datagrams;
    use crate::pipeline::slice::Stamp;
    use crate::segment::Segment;
    use crate::time::Timestamp;
    use crate::tuple::{FlowKey, TCP};
    use crate::wire::Packet;

    const SEED: u64 = 3;

    fn shard() -> Shard {
        let method = Method::new(Profile::DEFAULT, Sysctls::default());
        let features: Vec<_> = method.policies.iter().map(Policy::features).collect();
        let datagrams = Datagrams::new(SEED, features[0], method.sysctls.datagram);
        let panel = Panel::new(features, method.sysctls.limits);
        Shard::new(panel, datagrams, SEED, &Plan::new(method))
    }

    /// Returns the first packet of a connection of its own.
    fn syn(number: u16) -> Item {
        let (key, orientation) = FlowKey::of_v4(TCP, (1, number), (2, 80));
        let segment = Segment { flags: Flags::SYN, header_len: 20, ..Segment::default() };
        let clock = Timestamp::from_parts(1, 0);
        let stamp = Stamp { number: number.into(), ts: clock, clock, ..Stamp::default() };
        let packet = Packet { key, orientation, segment };
        Item { stamp, hash: key.hash_with(SEED), packet, kind: Kind::Segment }
    }

    /// A guess that is another packet's costs time and changes nothing: no other test would see it.
    #[test]
    fn each_packet_is_taken_once_and_in_order_with_the_guess_at_its_own_flow() {
        let mut shard = shard();
        let items: Vec<_> = (1..=150).map(syn).collect();
        shard.take(&items);
        let mut guesses = Guesses::default();
        let mut found = 0;
        for count in [150, 0, 1, 31, 32, 33, 64, 150] {
            let items = &items[..count];
            let mut taken = Vec::new();
            for turn in 0..turns(items) {
                let (run, guesses) = shard.look_ahead(items, turn, &mut guesses);
                for (item, guess) in run.iter().zip(guesses) {
                    let flow = guess.and_then(|position| shard.table.get(position));
                    found += usize::from(flow.is_some_and(|flow| *flow.key() == item.packet.key));
                    taken.push(item.stamp.number);
                }
            }
            assert!(taken.into_iter().eq(items.iter().map(|item| item.stamp.number)), "{count}");
        }
        assert!(found > 450, "{found} of 461");
    }
}
