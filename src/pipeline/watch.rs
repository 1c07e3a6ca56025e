//! Records the life of each entry of the connection table, when the table is asked for.
//!
//! Two trackers of its own go through the packets again: one as the run judges, whose entries' lives
//! are kept, and one with shorter timeouts, whose entries are only counted. The packets' own way
//! through the shard stays what it is.
//!
//! Does not: diagnose anything.

use crate::audit::Method;
use crate::conntrack::{
    Arrival, Choices, DatagramArrival, DatagramEntry, DatagramKind, Entry, Features, Keyed, Policy,
    Sysctls, Table, datagram::judge_datagram, judge_alone, table::Position,
};
use crate::occupancy::{Group, Life, Phase, Watched, shorter};
use crate::pipeline::slice::{Item, Kind};
use crate::segment::Flags;
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// Packets whose entries are brought into the cache together.
const AHEAD: usize = 64;

/// Both trackers, and what they have recorded.
pub(super) struct Watch {
    as_judged: Tracker,
    shorter: Tracker,
    watched: Watched,
}

impl Watch {
    /// Prepares to watch a run; there is none without a policy.
    pub(super) fn new(method: &Method, seed: u64) -> Option<Self> {
        let features = method.policies.first().map(Policy::features)?;
        let tracker =
            |sysctls| Tracker { features, sysctls, table: Table::new(seed), guesses: Vec::new() };
        Some(Self {
            as_judged: tracker(method.sysctls),
            shorter: tracker(shorter(&method.sysctls).0),
            watched: Watched::default(),
        })
    }

    /// Takes packets in capture order.
    pub(super) fn take(&mut self, items: &[Item]) {
        let Self { as_judged, shorter, watched } = self;
        for run in items.chunks(AHEAD) {
            as_judged.take(run, |event| record(watched, &event));
            shorter.take(run, |event| event.count(watched));
        }
    }

    /// Ends all lives; those that go on at `end` end when nothing renews them any more.
    pub(super) fn finish(mut self, end: Timestamp) -> Watched {
        let watched = &mut self.watched;
        self.as_judged.table.drain(|tracked| tracked.bury(end, |event| record(watched, &event)));
        self.shorter.table.drain(|tracked| tracked.bury(end, |event| event.count(watched)));
        self.watched
    }
}

fn record(watched: &mut Watched, event: &Event) {
    match *event {
        Event::Change { at, from, to } => watched.change(at, from, to),
        Event::Over(life) => watched.lives.push(life),
        Event::Made(_) | Event::Ended(_) => {}
    }
}

/// What becomes of an entry.
enum Event {
    /// It is something else than before; none is no entry.
    Change { at: Timestamp, from: Option<Phase>, to: Option<Phase> },
    /// It was made.
    Made(Life),
    /// It ended within the capture.
    Ended(Life),
    /// It is over, within the capture or after it.
    Over(Life),
}

impl Event {
    /// Counts the entry among those with shorter timeouts.
    fn count(&self, watched: &mut Watched) {
        let group = |life: &Life| Group::of(life.key.protocol());
        match self {
            Self::Made(life) => watched.shorter.open(life.start, group(life)),
            Self::Ended(life) => watched.shorter.close(life.end, group(life)),
            Self::Change { .. } | Self::Over(_) => {}
        }
    }
}

/// The entry of a flow.
#[derive(Clone, Copy)]
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

/// A flow with its entry, and the entry's life so far.
struct Tracked {
    key: FlowKey,
    slot: Slot,
    life: Option<Life>,
}

impl Keyed for Tracked {
    fn key(&self) -> &FlowKey {
        &self.key
    }

    fn touch(&self) -> u64 {
        let [word, ..] = self.key.words();
        let end = self.slot.state().map_or(0, |(_, expires, _)| expires.0.cast_unsigned());
        let life = self.life.as_ref().map_or(0, |life| life.frame);
        word ^ end ^ life
    }
}

impl Tracked {
    fn is_over(&self, now: Timestamp) -> bool {
        self.slot.state().is_none_or(|(_, expires, _)| expires <= now)
    }

    /// Takes in what a packet made of the entry that was there before it.
    fn follow(
        &mut self,
        item: &Item,
        before: Option<(Phase, Timestamp, bool)>,
        is_new: bool,
        mut tell: impl FnMut(Event),
    ) {
        let now = item.stamp.clock;
        let after = self.slot.state();
        let is_new = is_new && after.is_some();
        if is_new || after.is_none() {
            self.end(before.map(|(_, expires, _)| expires.min(now)), &mut tell);
        }
        let Some((phase, _, is_assured)) = after else { return };
        if is_new {
            let is_tcp = matches!(self.slot, Slot::Tcp(_));
            let life = Life {
                original: item.packet.orientation,
                picked_up: is_tcp && !item.packet.segment.has(Flags::SYN),
                ..Life::new(self.key, item.stamp.number, now, phase)
            };
            self.life = Some(life);
            tell(Event::Made(life));
            tell(Event::Change { at: now, from: None, to: Some(phase) });
        } else if let Some((old, ..)) = before {
            tell(Event::Change { at: now, from: Some(old), to: Some(phase) });
        }
        if let Some(life) = &mut self.life {
            life.go_on(now, phase, is_assured);
        }
    }

    /// Ends the life of the entry at a time within the capture.
    fn end(&mut self, at: Option<Timestamp>, tell: &mut impl FnMut(Event)) {
        let Some((mut life, at)) = self.life.take().zip(at) else { return };
        life.end = at;
        tell(Event::Change { at, from: Some(life.phase), to: None });
        tell(Event::Ended(life));
        tell(Event::Over(life));
    }

    /// Ends the life of an entry of which no more comes.
    fn bury(mut self, end: Timestamp, mut tell: impl FnMut(Event)) {
        let Some((_, expires, _)) = self.slot.state() else { return };
        if expires <= end {
            self.end(Some(expires), &mut tell);
        } else if let Some(life) = self.life {
            tell(Event::Over(Life { end: expires, ..life }));
        }
    }
}

/// A tracker of its own.
struct Tracker {
    features: Features,
    sysctls: Sysctls,
    table: Table<Tracked>,
    /// Where the entries of the packets ahead most probably are.
    guesses: Vec<Option<Position>>,
}

impl Tracker {
    /// Takes a few packets in capture order.
    fn take(&mut self, items: &[Item], mut tell: impl FnMut(Event)) {
        let mut guesses = std::mem::take(&mut self.guesses);
        self.table.fetch(items.iter().map(|item| item.hash), &mut guesses);
        for (item, guess) in items.iter().zip(&guesses) {
            self.take_one(item, *guess, &mut tell);
        }
        self.guesses = guesses;
    }

    fn take_one(&mut self, item: &Item, guess: Option<Position>, mut tell: impl FnMut(Event)) {
        let datagram = match item.kind {
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
        let fresh = datagram.map_or(Slot::Tcp(None), |kind| Slot::Datagram(kind, None));
        let (key, now) = (item.packet.key, item.stamp.clock);
        let is_there = |at: &Position| self.table.get(*at).is_some_and(|found| found.key == key);
        let guess = guess.filter(is_there);
        let position = guess.or_else(|| self.table.find(&key, item.hash)).or_else(|| {
            if self.table.wants_sweep() {
                self.table
                    .sweep(|tracked| tracked.is_over(now), |tracked| tracked.bury(now, &mut tell));
            }
            self.table.insert(item.hash, Tracked { key, slot: fresh, life: None })
        });
        let Some(tracked) = position.and_then(|position| self.table.get_mut(position)) else {
            return;
        };
        let choices = &mut Choices::new(self.features);
        let before = tracked.slot.state();
        let is_new = match (&mut tracked.slot, datagram) {
            (Slot::Tcp(entry), None) => {
                let (segment, orientation) = (&item.packet.segment, item.packet.orientation);
                let arrival = Arrival { segment, orientation, now };
                judge_alone(entry, &arrival, &self.sysctls.limits, self.features).opened
            }
            (Slot::Datagram(last, entry), Some(kind)) => {
                let arrival = DatagramArrival { kind, orientation: item.packet.orientation, now };
                judge_datagram(entry, &arrival, &self.sysctls.datagram, choices);
                *last = kind;
                entry.is_some() && before.is_none_or(|(_, expires, _)| expires <= now)
            }
            _ => return,
        };
        tracked.follow(item, before, is_new, tell);
    }
}
