//! Records the life of each entry of the connection table, when the table is asked for.
//!
//! A tracker of its own goes through the packets again, once as the run judges, whose entries' lives
//! are kept, and once with shorter timeouts, whose entries are only counted. As long as both have the
//! same entry but for the time at which it expires, it is kept once. The packets' own way through the
//! shard stays what it is.
//!
//! Does not: diagnose anything.

use crate::audit::Method;
use crate::conntrack::{
    Arrival, Choices, DatagramArrival, DatagramEntry, DatagramKind, Entry, Features, Keyed, Policy,
    Sysctls, Table, datagram::judge_datagram, judge_alone, pass_as_twins, table::Position,
};
use crate::occupancy::{Group, Life, Phase, Watched, shorter};
use crate::pipeline::slice::{Item, Kind};
use crate::segment::Flags;
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// Packets whose entries are brought into the cache together.
const AHEAD: usize = 64;

/// The tracker, and what it has recorded.
pub(super) struct Watch {
    features: Features,
    as_judged: Sysctls,
    shorter: Sysctls,
    table: Table<Tracked>,
    /// Where the entries of the packets ahead most probably are.
    guesses: Vec<Option<Position>>,
    watched: Watched,
}

impl Watch {
    /// Prepares to watch a run; there is none without a policy.
    pub(super) fn new(method: &Method, seed: u64) -> Option<Self> {
        Some(Self {
            features: method.policies.first().map(Policy::features)?,
            as_judged: method.sysctls,
            shorter: shorter(&method.sysctls).0,
            table: Table::new(seed),
            guesses: Vec::new(),
            watched: Watched::default(),
        })
    }

    /// Takes packets in capture order.
    pub(super) fn take(&mut self, items: &[Item]) {
        let mut guesses = std::mem::take(&mut self.guesses);
        for run in items.chunks(AHEAD) {
            self.table.fetch(run.iter().map(|item| item.hash), &mut guesses);
            for (item, guess) in run.iter().zip(&guesses) {
                self.take_one(item, *guess);
            }
        }
        self.guesses = guesses;
    }

    /// Ends all lives; those that go on at `end` end when nothing renews them any more.
    pub(super) fn finish(mut self, end: Timestamp) -> Watched {
        let watched = &mut self.watched;
        self.table.drain(|tracked| tracked.bury(end, watched));
        self.watched
    }

    fn take_one(&mut self, item: &Item, guess: Option<Position>) {
        let kind = match item.kind {
            Kind::Segment => None,
            Kind::Datagram(datagram) => match datagram.tracked_as(self.features) {
                Some(kind) => Some(kind),
                None => return,
            },
            // What is exempt has no entry, and an error renews none.
            Kind::Error(_)
            | Kind::TooBig(_)
            | Kind::ExemptSegment
            | Kind::ExemptError
            | Kind::Census(_) => return,
        };
        let (key, now) = (item.packet.key, item.stamp.clock);
        let Self { table, watched, .. } = self;
        let is_there = |at: &Position| table.get(*at).is_some_and(|found| found.key == key);
        let guess = guess.filter(is_there);
        let position = guess.or_else(|| table.find(&key, item.hash)).or_else(|| {
            if table.wants_sweep() {
                table.sweep(|tracked| tracked.is_over(now), |tracked| tracked.bury(now, watched));
            }
            table.insert(item.hash, Tracked::new(key, kind))
        });
        let Some(tracked) = position.and_then(|position| table.get_mut(position)) else { return };
        if tracked.go_on(item, [&self.as_judged, &self.shorter], self.features) {
            return;
        }
        if let Some(kind) = kind {
            tracked.become_kind(kind);
        }
        let mut twin = tracked.twin();
        let before = tracked.slot.state();
        let is_new = tracked.slot.judge(item, &self.as_judged, self.features);
        tracked.follow(item, before, is_new, watched);
        let before = twin.state();
        let is_new = twin.judge(item, &self.shorter, self.features);
        count_shorter(before, (is_new, &twin), item, watched);
        tracked.keep(twin);
    }
}

/// Counts what a packet made of an entry with shorter timeouts.
fn count_shorter(
    before: Option<(Phase, Timestamp, bool)>,
    (is_new, after): (bool, &Slot),
    item: &Item,
    watched: &mut Watched,
) {
    let (now, group) = (item.stamp.clock, Group::of(item.packet.key.protocol()));
    let is_there = after.state().is_some();
    if let Some((_, expires, _)) = before.filter(|_| is_new || !is_there) {
        watched.shorter.close(expires.min(now), group);
    }
    if is_new && is_there {
        watched.shorter.open(now, group);
    }
}

/// The entry of a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Tcp(Option<Entry>),
    Datagram(DatagramKind, Option<DatagramEntry>),
}

impl Slot {
    /// Returns what the entry is, when it expires, and whether it is assured.
    fn state(&self) -> Option<(Phase, Timestamp, bool)> {
        match *self {
            Self::Tcp(entry) => {
                entry.map(|entry| (Phase::Tcp(entry.state), entry.expires, entry.assured))
            }
            Self::Datagram(kind, entry) => {
                entry.map(|entry| (phase_of(kind, &entry), entry.expires, entry.assured))
            }
        }
    }

    /// Judges a packet, and applies the judgement; returns whether it made an entry.
    fn judge(&mut self, item: &Item, sysctls: &Sysctls, features: Features) -> bool {
        let (orientation, now) = (item.packet.orientation, item.stamp.clock);
        match self {
            Self::Tcp(entry) => {
                let arrival = Arrival { segment: &item.packet.segment, orientation, now };
                judge_alone(entry, &arrival, &sysctls.limits, features).opened
            }
            Self::Datagram(kind, entry) => {
                let before = entry.map(|entry| entry.expires);
                let arrival = DatagramArrival { kind: *kind, orientation, now };
                judge_datagram(entry, &arrival, &sysctls.datagram, &mut Choices::new(features));
                entry.is_some() && before.is_none_or(|expires| expires <= now)
            }
        }
    }

    /// Returns when the entry expires, and how many seconds sooner for kernels before 5.3.
    fn end(&self) -> (Timestamp, u32) {
        match self {
            Self::Tcp(entry) => entry.map(|entry| (entry.expires, entry.sooner_s)),
            Self::Datagram(_, entry) => entry.map(|entry| (entry.expires, 0)),
        }
        .unwrap_or_default()
    }

    /// Returns the same entry with another end.
    fn ending(mut self, (at, sooner): (Timestamp, u32)) -> Self {
        match &mut self {
            Self::Tcp(Some(entry)) => (entry.expires, entry.sooner_s) = (at, sooner),
            Self::Datagram(_, Some(entry)) => entry.expires = at,
            Self::Tcp(None) | Self::Datagram(_, None) => {}
        }
        self
    }
}

const fn phase_of(kind: DatagramKind, entry: &DatagramEntry) -> Phase {
    match kind {
        DatagramKind::Udp if entry.assured => Phase::UdpStream,
        DatagramKind::Udp if entry.seen_reply => Phase::UdpReplied,
        DatagramKind::Udp => Phase::UdpUnreplied,
        DatagramKind::Gre | DatagramKind::Generic => Phase::Generic,
        DatagramKind::IcmpRequest
        | DatagramKind::IcmpReply
        | DatagramKind::Icmpv6Request
        | DatagramKind::Icmpv6Reply => Phase::Icmp,
    }
}

/// What shorter timeouts make of an entry.
enum Twin {
    /// The same but for its end.
    EndsAt((Timestamp, u32)),
    /// Another one, or none.
    Apart(Box<Slot>),
}

/// A flow with its entry, and the entry's life so far.
struct Tracked {
    key: FlowKey,
    slot: Slot,
    twin: Twin,
    life: Option<Life>,
}

impl Keyed for Tracked {
    fn key(&self) -> &FlowKey {
        &self.key
    }

    fn touch(&self) -> u64 {
        let [word, ..] = self.key.words();
        let end = self.slot.end().0.0.cast_unsigned();
        let life = self.life.as_ref().map_or(0, |life| life.frame);
        word ^ end ^ life
    }
}

impl Tracked {
    fn new(key: FlowKey, kind: Option<DatagramKind>) -> Self {
        let slot = kind.map_or(Slot::Tcp(None), |kind| Slot::Datagram(kind, None));
        Self { key, slot, twin: Twin::EndsAt((Timestamp::default(), 0)), life: None }
    }

    /// Takes a segment that only prolongs a connection, with either set of timeouts; returns whether it was
    /// one, and leaves all as it is when not. Builds with debug assertions compare with the long way.
    fn go_on(
        &mut self,
        item: &Item,
        [sysctls, shorter]: [&Sysctls; 2],
        features: Features,
    ) -> bool {
        #[cfg(debug_assertions)]
        let mut by_long_way = [self.slot, self.twin()];
        let (Slot::Tcp(Some(entry)), Twin::EndsAt(end), Some(life)) =
            (&mut self.slot, &mut self.twin, &mut self.life)
        else {
            return false;
        };
        let (orientation, now) = (item.packet.orientation, item.stamp.clock);
        let arrival = Arrival { segment: &item.packet.segment, orientation, now };
        let limits = [&sysctls.limits, &shorter.limits];
        let after = pass_as_twins((entry, *end), &arrival, limits, features);
        let Some(after) = after else { return false };
        *end = after;
        life.go_on(now, Phase::Tcp(entry.state), entry.assured);
        #[cfg(debug_assertions)]
        for (slot, sysctls) in by_long_way.iter_mut().zip([sysctls, shorter]) {
            assert!(!slot.judge(item, sysctls, features), "it makes no entry");
        }
        #[cfg(debug_assertions)]
        assert!(by_long_way == [self.slot, self.twin()], "{item:?}");
        true
    }

    /// Notes the kind of the last datagram.
    fn become_kind(&mut self, kind: DatagramKind) {
        if let Slot::Datagram(last, _) = &mut self.slot {
            *last = kind;
        }
        if let Twin::Apart(twin) = &mut self.twin
            && let Slot::Datagram(last, _) = &mut **twin
        {
            *last = kind;
        }
    }

    /// Returns the entry that shorter timeouts make.
    fn twin(&self) -> Slot {
        match &self.twin {
            Twin::EndsAt(end) => self.slot.ending(*end),
            Twin::Apart(twin) => **twin,
        }
    }

    /// Keeps the entry that shorter timeouts make.
    fn keep(&mut self, twin: Slot) {
        if twin.ending(self.slot.end()) == self.slot {
            self.twin = Twin::EndsAt(twin.end());
        } else if let Twin::Apart(place) = &mut self.twin {
            **place = twin;
        } else {
            self.twin = Twin::Apart(Box::new(twin));
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let is_over = |slot: Slot| slot.state().is_none_or(|(_, expires, _)| expires <= now);
        is_over(self.slot) && is_over(self.twin())
    }

    /// Takes in what a packet made of the entry that was there before it.
    fn follow(
        &mut self,
        item: &Item,
        before: Option<(Phase, Timestamp, bool)>,
        is_new: bool,
        watched: &mut Watched,
    ) {
        let now = item.stamp.clock;
        let after = self.slot.state();
        let is_new = is_new && after.is_some();
        if is_new || after.is_none() {
            self.end(before.map(|(_, expires, _)| expires.min(now)), watched);
        }
        let Some((phase, _, is_assured)) = after else { return };
        if is_new {
            let is_tcp = matches!(self.slot, Slot::Tcp(_));
            self.life = Some(Life {
                original: item.packet.orientation,
                picked_up: is_tcp && !item.packet.segment.has(Flags::SYN),
                ..Life::new(self.key, item.stamp.number, now, phase)
            });
            watched.change(now, None, Some(phase));
        } else if let Some((old, ..)) = before {
            watched.change(now, Some(old), Some(phase));
        }
        if let Some(life) = &mut self.life {
            life.go_on(now, phase, is_assured);
        }
    }

    /// Ends the life of the entry at a time within the capture.
    fn end(&mut self, at: Option<Timestamp>, watched: &mut Watched) {
        let Some((mut life, at)) = self.life.take().zip(at) else { return };
        life.end = at;
        watched.change(at, Some(life.phase), None);
        watched.lives.push(life);
    }

    /// Ends the life of an entry of which no more comes.
    fn bury(mut self, end: Timestamp, watched: &mut Watched) {
        if let Some((_, expires, _)) = self.twin().state().filter(|(_, expires, _)| *expires <= end)
        {
            watched.shorter.close(expires, Group::of(self.key.protocol()));
        }
        let Some((_, expires, _)) = self.slot.state() else { return };
        if expires <= end {
            self.end(Some(expires), watched);
        } else if let Some(life) = self.life {
            watched.lives.push(Life { end: expires, ..life });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Profile;
    use crate::pipeline::datagrams::Datagram;
    use crate::pipeline::slice::Stamp;
    use crate::segment::Segment;
    use crate::seq::SeqNum;
    use crate::time::NANOS_PER_SEC;
    use crate::tuple::TCP;
    use crate::wire::Packet;

    const SEED: u64 = 7;
    const UDP: u8 = 17;

    const QUERY: [(u32, u16); 2] = [(1, 1000), (2, 53)];
    const REPLY: [(u32, u16); 2] = [(2, 53), (1, 1000)];

    fn datagram(second: i64, [src, dst]: [(u32, u16); 2]) -> Item {
        let (key, orientation) = FlowKey::of_v4(UDP, src, dst);
        let clock = Timestamp::from_parts(second, 0);
        Item {
            stamp: Stamp {
                number: second.unsigned_abs() + 1,
                ts: clock,
                clock,
                ..Stamp::default()
            },
            hash: key.hash_with(SEED),
            packet: Packet { key, orientation, ..Packet::default() },
            kind: Kind::Datagram(Datagram::Flow(DatagramKind::Udp)),
        }
    }

    #[test]
    fn an_entry_that_is_over_with_shorter_timeouts_only_is_made_anew_there_only() {
        let sysctls = Sysctls::default();
        let policy = Policy::new(Profile::DEFAULT, &sysctls);
        let method = Method { policies: vec![policy], sysctls, notrack: Vec::new() };
        let mut watch = Watch::new(&method, SEED).unwrap();
        // An entry is kept for 30 s, or for 10 s; for 120 s or 60 s as a stream, once a query follows
        // upon a reply.
        let at = [(0, QUERY), (1, REPLY), (20, QUERY), (25, QUERY), (200, QUERY)];
        watch.take(&at.map(|(second, way)| datagram(second, way)));
        let watched = watch.finish(Timestamp::from_parts(220, 0));
        let at = |second: i64| {
            let second = Timestamp::from_parts(second, 0);
            let readings = watched.shorter.readings();
            readings.filter(|reading| reading.at <= second).last().map(|reading| reading.total())
        };
        assert_eq!([5, 15, 22, 33, 50].map(at), [1, 0, 1, 1, 0].map(Some));
        assert_eq!(watched.shorter.made(), 3);
        let (lives, _) = watched.lives.finish();
        let ends: Vec<_> = lives.iter().map(|life| life.end).collect();
        assert_eq!(ends, [145, 230].map(|second| Timestamp::from_parts(second, 0)));
    }

    #[test]
    fn data_prolongs_a_connection_with_either_set_of_timeouts_and_a_fin_does_not_merely() {
        let (key, there) = FlowKey::of_v4(TCP, (1, 1000), (2, 80));
        let item = |second: i64, orientation, (flags, seq, ack, len): (u8, u32, u32, u32)| {
            let (seq, ack, flags, win) = (SeqNum(seq), SeqNum(ack), Flags(flags), 8000);
            let header_len = 20;
            let segment = Segment { seq, ack, len, win, flags, header_len, ..Segment::default() };
            let clock = Timestamp::from_parts(second, 0);
            Item {
                stamp: Stamp { number: 1, ts: clock, clock, ..Stamp::default() },
                hash: key.hash_with(SEED),
                packet: Packet { key, orientation, segment },
                kind: Kind::Segment,
            }
        };
        let sysctls = Sysctls::default();
        let policy = Policy::new(Profile::DEFAULT, &sysctls);
        let method = Method { policies: vec![policy], sysctls, notrack: Vec::new() };
        let mut watch = Watch::new(&method, SEED).unwrap();
        let back = there.flip();
        watch.take(&[
            item(0, there, (2, 100, 0, 0)),
            item(1, back, (18, 500, 101, 0)),
            item(2, there, (16, 101, 501, 0)),
        ]);
        let Watch { table, as_judged, shorter, features, .. } = &mut watch;
        let position = table.find(&key, key.hash_with(SEED)).unwrap();
        let tracked = table.get_mut(position).unwrap();
        let mut go_on = |item: Item| {
            let goes_on = tracked.go_on(&item, [as_judged, shorter], *features);
            (
                goes_on,
                [tracked.slot.end(), tracked.twin().end()].map(|(at, _)| at.0 / NANOS_PER_SEC),
            )
        };
        // Data waits for its acknowledgement for 300 s; then there are five days, or two hours and four minutes.
        assert_eq!(go_on(item(3, there, (24, 101, 501, 50))), (true, [303, 303]));
        assert_eq!(go_on(item(4, back, (16, 501, 151, 0))), (true, [432_004, 7444]));
        assert_eq!(go_on(item(5, there, (17, 151, 501, 0))), (false, [432_004, 7444]));
        assert_eq!(go_on(item(7444, there, (24, 151, 501, 9))), (false, [432_004, 7444]));
    }
}
