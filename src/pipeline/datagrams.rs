//! What a shard tracks beside TCP: UDP, ICMP queries, other protocols, and ICMP errors about them.

use crate::audit::Totals;
use crate::conntrack::icmp::{is_astray, names_flow};
use crate::conntrack::table::Position;
use crate::conntrack::{
    Choices, CtState, DatagramArrival, DatagramEntry, DatagramKind, DatagramTimeouts, Feature,
    Features, Keyed, Table, datagram::judge_datagram,
};
use crate::memory::LINE;
use crate::occupancy::{Group, Occupancy};
use crate::pipeline::ledger::{Candidate, Ledger, Place};
use crate::pipeline::recorder::{Outcome, RecordId, Recorder, Slot};
use crate::pipeline::slice::Item;
use crate::segment::ErrorTraits;
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Orientation};
use crate::wire::{Fault, NonTcp, Tracking};

/// What a datagram is to the tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Datagram {
    /// It has an entry, or makes one.
    Flow(DatagramKind),
    /// The same for an ICMP query or its answer, with the bytes of the message.
    Query(DatagramKind, u16),
    /// An ICMP error about a datagram.
    Error(ErrorTraits),
    /// Never tracked.
    Untracked,
    /// Never tracked by newer kernels.
    MulticastRouter,
    /// GRE that kernels with a tracker for it call INVALID.
    EnhancedGre,
    /// INVALID whatever the table holds.
    Invalid,
}

impl Datagram {
    /// Sorts a decoded datagram in.
    pub(super) fn of(datagram: &NonTcp) -> (FlowKey, Self) {
        const UDP: u8 = 17;
        const GRE: u8 = 47;
        const UDP_LITE: u8 = 136;
        const ICMPV6: u8 = 58;
        let (key, protocol) = (datagram.key, datagram.key.protocol());
        match datagram.tracking {
            Tracking::Flow if matches!(protocol, UDP | UDP_LITE) => {
                (key, Self::Flow(DatagramKind::Udp))
            }
            Tracking::Flow if protocol == GRE => (key, Self::Flow(DatagramKind::Gre)),
            Tracking::Flow => (key, Self::Flow(DatagramKind::Generic)),
            Tracking::Query(query) => {
                let kind = match (protocol == ICMPV6, query.is_request) {
                    (false, true) => DatagramKind::IcmpRequest,
                    (false, false) => DatagramKind::IcmpReply,
                    (true, true) => DatagramKind::Icmpv6Request,
                    (true, false) => DatagramKind::Icmpv6Reply,
                };
                (key, Self::Query(kind, query.len))
            }
            Tracking::Error(traits) => (key, Self::Error(traits)),
            Tracking::MulticastRouter => (key, Self::MulticastRouter),
            Tracking::Untracked => (key, Self::Untracked),
            Tracking::Invalid(Fault::EnhancedGre) => (key, Self::EnhancedGre),
            Tracking::Invalid(_) => (key, Self::Invalid),
        }
    }
}

impl Datagram {
    /// Returns the kind of entry that it has in a kernel with these features, if any.
    pub(super) const fn tracked_as(self, features: Features) -> Option<DatagramKind> {
        match self {
            Self::Flow(kind) | Self::Query(kind, _) => Some(kind),
            Self::EnhancedGre if !features.contains(Feature::GreTracked) => {
                Some(DatagramKind::Generic)
            }
            _ => None,
        }
    }
}

/// An entry with its key.
#[derive(Debug)]
struct Tracked {
    key: FlowKey,
    entry: Option<DatagramEntry>,
    /// The kind of the last datagram.
    kind: DatagramKind,
    queries: Queries,
    /// Where its entry is recorded, when that is wanted.
    record: RecordId,
}

/// The queries of one size of one flow, and their answers.
#[derive(Clone, Copy, Default, Debug)]
struct Queries {
    len: u16,
    /// Which way they go.
    way: Orientation,
    asked: u32,
    answered: u32,
}

impl Queries {
    /// Counts a query or an answer; a query of another size begins anew.
    fn take(&mut self, (kind, len): (DatagramKind, u16), item: &Item, totals: &mut Totals) {
        if matches!(kind, DatagramKind::IcmpReply | DatagramKind::Icmpv6Reply) {
            self.answered += 1;
            return;
        }
        if self.len != len {
            self.settle(&item.packet.key, totals);
            *self = Self { len, way: item.packet.orientation, ..Self::default() };
        }
        self.asked += 1;
    }

    fn settle(self, key: &FlowKey, totals: &mut Totals) {
        if self.asked > 0 {
            let to = key.endpoints(self.way).1.addr;
            totals.queries.count(to, self.len, self.asked, self.answered);
        }
    }
}

impl Keyed for Tracked {
    fn key(&self) -> &FlowKey {
        &self.key
    }
}

impl Tracked {
    fn is_over(&self, now: Timestamp) -> bool {
        self.entry.is_none_or(|entry| entry.expires <= now)
    }

    const fn slot(&self) -> Slot {
        Slot::Datagram(self.kind, self.entry)
    }

    /// Counts what a flow showed, and the end of its entry if it has come by `end`.
    fn bury(&self, end: Timestamp, books: &mut Books<'_>) {
        self.queries.settle(&self.key, books.totals);
        self.close(end, &mut books.totals.occupancy);
        if let Some(recorder) = &mut books.recorder {
            recorder.bury(self.record, &self.key, &self.slot(), end);
        }
    }

    /// Counts the end of the entry, if it has come by `end`.
    fn close(&self, end: Timestamp, occupancy: &mut Occupancy) {
        if let Some(entry) = self.entry
            && entry.expires <= end
        {
            occupancy.close(entry.expires, Group::of(self.key.protocol()));
        }
    }
}

/// The bytes that an entry takes, with its places in the index.
const ENTRY_BYTES: usize = size_of::<Option<Tracked>>() + Table::<Tracked>::INDEX_BYTES;

/// What a shard keeps of all its entries.
pub(super) struct Books<'a> {
    pub(super) totals: &'a mut Totals,
    pub(super) ledger: &'a mut Ledger,
    /// Who records the life of each entry, when that is wanted.
    pub(super) recorder: Option<&'a mut Recorder>,
}

/// The entries of a shard that are not TCP, as the run's own policy keeps them.
pub(super) struct Datagrams {
    table: Table<Tracked>,
    features: Features,
    timeouts: DatagramTimeouts,
}

impl Datagrams {
    pub(super) fn new(seed: u64, features: Features, timeouts: DatagramTimeouts) -> Self {
        Self { table: Table::new(seed), features, timeouts }
    }

    /// Returns how many are remembered.
    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many entries have not expired.
    pub(super) fn count_alive(&self, now: Timestamp) -> usize {
        self.table.iter().filter(|tracked| !tracked.is_over(now)).count()
    }

    /// Returns whether the index is too large to be in a core's own cache.
    #[inline]
    pub(super) const fn has_far_slots(&self) -> bool {
        self.table.has_far_slots()
    }

    /// Returns whether the entries are too many to be in a core's own cache.
    #[inline]
    pub(super) const fn has_far_entries(&self) -> bool {
        self.table.has_far_elements()
    }

    /// Asks for the slots of the index at which the search for the entry of a datagram begins.
    #[inline]
    pub(super) fn bring_slots(&self, hash: u64) {
        self.table.bring_slots(hash);
    }

    /// Asks for the entry that a datagram with this hash most probably is of.
    #[inline]
    pub(super) fn bring(&self, hash: u64) {
        if let Some(position) = self.table.guess(hash) {
            self.table.bring(position, 0..size_of::<Option<Tracked>>().div_ceil(LINE));
        }
    }

    /// Returns where the entry is recorded that a datagram with this hash most probably is of.
    #[inline]
    pub(super) fn record(&self, hash: u64) -> Option<RecordId> {
        let tracked = self.table.guess(hash).and_then(|position| self.table.get(position));
        tracked.map(|tracked| tracked.record)
    }

    /// Judges a datagram and counts what rules would see.
    pub(super) fn take(&mut self, item: &Item, datagram: Datagram, books: &mut Books<'_>) {
        let ctstate = match datagram {
            Datagram::Query(kind, len) => {
                let ctstate = self.track(item, kind, books);
                self.count_query(item, (kind, len), books.totals);
                ctstate
            }
            Datagram::Flow(_) | Datagram::EnhancedGre => match datagram.tracked_as(self.features) {
                Some(kind) => self.track(item, kind, books),
                None => CtState::Invalid,
            },
            Datagram::Error(traits) => self.relate(item, traits),
            Datagram::MulticastRouter => {
                let is_exempt = self.features.contains(Feature::MulticastRouterDiscovery);
                if is_exempt { CtState::Untracked } else { CtState::Invalid }
            }
            Datagram::Untracked => CtState::Untracked,
            Datagram::Invalid => CtState::Invalid,
        };
        books.totals.count_datagram(item.packet.key.protocol(), ctstate);
    }

    /// Drops what is over.
    pub(super) fn sweep(&mut self, now: Timestamp, books: &mut Books<'_>) {
        let bury = |tracked: &mut Tracked| {
            tracked.bury(now, books);
            books.ledger.change(tracked.key.section(), ENTRY_BYTES, 0);
        };
        self.table.sweep(|tracked| tracked.is_over(now), bury);
    }

    /// Returns all entries with their keys, as what may be forgotten.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (&FlowKey, Candidate)> {
        self.table.positions().map(|(position, Tracked { key, entry, .. })| {
            let over_at = entry.map_or(Timestamp::default(), |entry| entry.expires);
            (key, Candidate { over_at, order: key.fixed_hash(), place: Place::Datagram(position) })
        })
    }

    /// Returns the key of the entry at a position.
    pub(super) fn key(&self, position: Position) -> Option<&FlowKey> {
        self.table.get(position).map(Keyed::key)
    }

    /// Forgets an entry before its time, and returns the bytes that this frees.
    pub(super) fn forget(
        &mut self,
        position: Position,
        now: Timestamp,
        books: &mut Books<'_>,
    ) -> u64 {
        let forgotten = self.table.remove(position, |tracked| {
            tracked.queries.settle(&tracked.key, books.totals);
            if tracked.entry.is_some() {
                books.totals.occupancy.close(now, Group::of(tracked.key.protocol()));
            }
            if let Some(recorder) = &mut books.recorder {
                let slot = tracked.slot();
                recorder.give_up(tracked.record, &tracked.key, &slot, now);
                recorder.bury(tracked.record, &tracked.key, &slot, now);
            }
            books.ledger.change(tracked.key.section(), ENTRY_BYTES, 0);
            ENTRY_BYTES as u64
        });
        forgotten.unwrap_or(0)
    }

    /// Ends all entries; those that live on at `end` are still there when the capture ends.
    pub(super) fn finish(mut self, end: Timestamp, books: &mut Books<'_>) {
        self.table.drain(|tracked| tracked.bury(end, books));
    }

    fn count_query(&mut self, item: &Item, query: (DatagramKind, u16), totals: &mut Totals) {
        let found = self.table.find(&item.packet.key, item.hash);
        if let Some(tracked) = found.and_then(|position| self.table.get_mut(position)) {
            tracked.queries.take(query, item, totals);
        }
    }

    fn track(&mut self, item: &Item, kind: DatagramKind, books: &mut Books<'_>) -> CtState {
        let (key, now) = (item.packet.key, item.stamp.clock);
        let arrival = DatagramArrival { kind, orientation: item.packet.orientation, now };
        let choices = &mut Choices::new(self.features);
        let found = self.table.find(&key, item.hash);
        let position = found.or_else(|| {
            if self.table.wants_sweep() {
                self.sweep(now, books);
            }
            books.ledger.change(key.section(), 0, ENTRY_BYTES);
            let (queries, record) = (Queries::default(), RecordId::NONE);
            self.table.insert(item.hash, Tracked { key, entry: None, kind, queries, record })
        });
        let tracked = position.and_then(|position| self.table.get_mut(position));
        let Some(tracked) = tracked else { return CtState::Dropped };
        let before = tracked.entry.map(|entry| entry.expires).filter(|expires| *expires <= now);
        let had_entry = tracked.entry.is_some() && before.is_none();
        let slot = tracked.slot();
        let ctstate = judge_datagram(&mut tracked.entry, &arrival, &self.timeouts, choices);
        if !had_entry {
            let occupancy = &mut books.totals.occupancy;
            let group = Group::of(key.protocol());
            if let Some(expired) = before {
                occupancy.close(expired, group);
            }
            if tracked.entry.is_some() {
                occupancy.open(now, group);
            }
        }
        tracked.kind = kind;
        if let Some(recorder) = &mut books.recorder {
            let outcome = Outcome { is_new: !had_entry, is_silent: true };
            let slots = [&slot, &tracked.slot()];
            recorder.follow(&mut tracked.record, item, slots, outcome);
        }
        ctstate
    }

    /// Judges an ICMP error by the entry of what it quotes; it renews nothing.
    fn relate(&self, item: &Item, traits: ErrorTraits) -> CtState {
        let found = self.table.find(&item.packet.key, item.hash);
        let tracked = found.and_then(|position| self.table.get(position));
        let is_live = tracked.is_some_and(|tracked| !tracked.is_over(item.stamp.clock));
        let choices = &mut Choices::new(self.features);
        let is_about_it = names_flow(traits, choices) && !is_astray(traits, choices);
        if is_live && is_about_it { CtState::Related } else { CtState::Invalid }
    }
}
