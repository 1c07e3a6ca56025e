//! Records the life of each entry of the connection table, when the table is asked for.
//!
//! The trackers of a shard tell what a packet made of an entry. Beside that entry its twin is followed:
//! what shorter timeouts would make of the same packets, which is only counted. As long as both are the
//! same but for the time at which they expire, that time is all that is kept of the twin. Segments that
//! only go on are not told one by one: [`Recorder::catch_up`] reads from the entry when the last of them
//! came.
//!
//! Does not: judge for the run, or diagnose anything.

use std::collections::BTreeMap;

use crate::audit::Method;
use crate::conntrack::{
    Arrival, Choices, DatagramArrival, DatagramEntry, DatagramKind, Entry, Features, Policy,
    Sysctls, TcpState, datagram::judge_datagram, judge_alone,
};
use crate::memory::{LINE, bring, prefer_large_pages};
use crate::occupancy::{Course, Group, Phase, Watched, shorter};
use crate::pipeline::slice::Item;
use crate::segment::Flags;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::FlowKey;

/// The least of all timeouts but 0.
const LEAST_TIMEOUT_NS: i64 = NANOS_PER_SEC;

/// Where the record of a flow is; there is none before its first entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordId(u32);

impl RecordId {
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// What a packet made of an entry, besides renewing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// Whether it made another entry.
    pub(super) is_new: bool,
    /// Whether the tracker had nothing to say of it.
    pub(super) is_silent: bool,
}

/// A timeout as the run judges, and the shorter one.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    nanos: i64,
    shorter: i64,
}

/// The records of a shard, and what came of those that ended.
pub(super) struct Recorder {
    features: Features,
    shorter: Sysctls,
    /// While everything is acknowledged on an established connection, and while it is not.
    idle: Timeouts,
    due: Timeouts,
    records: Records,
    /// Twins whose flow was forgotten before they expired.
    strays: BTreeMap<FlowKey, Slot>,
    /// Whether the capture has ended, so that nobody asks for strays any more.
    has_ended: bool,
    watched: Watched,
}

impl Recorder {
    /// Prepares to watch a run; there is none without a policy.
    pub(super) fn new(method: &Method) -> Option<Self> {
        let shorter = shorter(&method.sysctls).0;
        let [idle, due] = [false, true].map(|is_due| {
            let of = |sysctls: &Sysctls| {
                let timeouts = &sysctls.limits.timeouts;
                let idle = timeouts.by_state.get(TcpState::Established as usize);
                let idle = idle.copied().unwrap_or_default();
                if is_due { idle.min(timeouts.unacknowledged) } else { idle }
            };
            Timeouts { nanos: of(&method.sysctls), shorter: of(&shorter) }
        });
        Some(Self {
            features: method.policies.first().map(Policy::features)?,
            shorter,
            idle,
            due,
            records: Records::default(),
            strays: BTreeMap::new(),
            has_ended: false,
            watched: Watched::default(),
        })
    }

    /// Notes that no packet comes any more: only flows to be buried.
    pub(super) const fn note_end(&mut self) {
        self.has_ended = true;
    }

    /// Returns what was recorded, once all flows are buried; the capture ends at `end`.
    pub(super) fn finish(mut self, end: Timestamp) -> Watched {
        for (key, twin) in std::mem::take(&mut self.strays) {
            if let Some((_, expires, _)) = twin.state().filter(|(_, expires, _)| *expires <= end) {
                self.watched.shorter.close(expires, Group::of(key.protocol()));
            }
        }
        self.watched.lives.sort();
        self.watched
    }

    /// Asks for the record of a flow.
    #[inline]
    pub(super) fn bring(&self, id: RecordId) {
        if let Some(record) = self.records.get(id) {
            bring(record, 0..size_of::<Record>().div_ceil(LINE));
        }
    }

    /// Takes in the segments that only went on since something was told of a connection. Its entry is
    /// to be up to date.
    pub(super) fn catch_up(&mut self, id: RecordId, entry: Option<&Entry>) {
        let Some(record) = self.records.get_mut(id) else { return };
        // The same end is that of a segment that came at the same time as the last one told.
        let Some(entry) = entry.filter(|entry| entry.expires != record.expires) else { return };
        let Timeouts { nanos, shorter } = if entry.awaits_data() { self.due } else { self.idle };
        let last = entry.expires.plus_nanos(-nanos);
        record.expires = entry.expires;
        record.twin = Twin::EndsAt(last.plus_nanos(shorter));
        if let Some(course) = &mut record.course {
            course.go_on(last, Phase::Tcp(entry.state), entry.assured);
        }
    }

    /// Takes in what a packet made of an entry. `before` is the entry after [`Recorder::catch_up`].
    pub(super) fn follow(
        &mut self,
        id: &mut RecordId,
        item: &Item,
        [before, after]: [&Slot; 2],
        outcome: Outcome,
    ) {
        let is_new = outcome.is_new && after.state().is_some();
        let outcome = Outcome { is_new, ..outcome };
        let key = &item.packet.key;
        if *id == RecordId::NONE {
            let stray = if self.strays.is_empty() { None } else { self.strays.remove(key) };
            // An entry that another tracker knew has no beginning.
            if !is_new && stray.is_none() {
                return;
            }
            *id = self.records.add(stray);
        }
        let Self { features, shorter, watched, records, .. } = self;
        let Some(record) = records.get_mut(*id) else { return };
        record.follow(item, [before, after], is_new, watched);
        record.follow_twin(item, [before, after], outcome, (shorter, *features, watched));
        record.expires = after.end();
    }

    /// Returns whether the segments of a connection are to be told one by one: when the twin has gone its
    /// own way, or could expire before the next one that only goes on.
    pub(super) fn looks_closely(&self, id: RecordId, now: Timestamp) -> bool {
        let record = self.records.get(id);
        record.is_some_and(|record| match record.twin {
            Twin::EndsAt(end) => end.nanos_since(now) < LEAST_TIMEOUT_NS,
            Twin::Apart(_) => true,
        })
    }

    /// Ends the life of an entry that is given up at a time, with its twin's.
    pub(super) fn give_up(&mut self, id: RecordId, key: &FlowKey, slot: &Slot, now: Timestamp) {
        let Self { watched, records, .. } = self;
        let Some(record) = records.get_mut(id) else { return };
        record.end(key, slot.state().map(|(_, expires, _)| expires.min(now)), watched);
        if let Some((_, expires, _)) = record.twin(slot).state() {
            watched.shorter.close(expires.min(now), Group::of(key.protocol()));
        }
        record.twin = Twin::Apart(Box::new(Slot::Tcp(None)));
        record.expires = Timestamp::default();
    }

    /// Ends the life of an entry of which no more comes, if it has expired by `end`; its flow is over, or
    /// the capture is.
    pub(super) fn bury(&mut self, id: RecordId, key: &FlowKey, slot: &Slot, end: Timestamp) {
        let Some(record) = self.records.get_mut(id) else { return };
        let twin = record.twin(slot);
        match twin.state() {
            Some((_, expires, _)) if expires <= end => {
                self.watched.shorter.close(expires, Group::of(key.protocol()));
            }
            Some(_) if !self.has_ended => {
                self.strays.insert(*key, twin);
            }
            Some(_) | None => {}
        }
        if let Some((_, expires, _)) = slot.state() {
            if expires <= end {
                record.end(key, Some(expires), &mut self.watched);
            } else if let Some(course) = record.course {
                self.watched.lives.push(course.end(*key, expires));
            }
        }
        self.records.free.push(id.0);
    }
}

/// The bits of a record's number that say where it is in its chunk: many, so that a chunk consists of
/// large pages. What is not used of it takes no memory.
const CHUNK_BITS: u32 = 16;
const CHUNK: usize = 1 << CHUNK_BITS;

/// The records of the flows that are remembered.
#[derive(Default)]
struct Records {
    chunks: Vec<Vec<Record>>,
    free: Vec<u32>,
}

impl Records {
    fn get(&self, id: RecordId) -> Option<&Record> {
        self.chunks.get((id.0 >> CHUNK_BITS) as usize)?.get(id.0 as usize % CHUNK)
    }

    fn get_mut(&mut self, id: RecordId) -> Option<&mut Record> {
        self.chunks.get_mut((id.0 >> CHUNK_BITS) as usize)?.get_mut(id.0 as usize % CHUNK)
    }

    /// Begins a record, with the twin that there was before.
    fn add(&mut self, stray: Option<Slot>) -> RecordId {
        let twin =
            stray.map_or(Twin::EndsAt(Timestamp::default()), |twin| Twin::Apart(twin.into()));
        let record = Record { course: None, twin, expires: Timestamp::default() };
        if let Some(id) = self.free.pop().map(RecordId) {
            if let Some(place) = self.get_mut(id) {
                *place = record;
            }
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let chunk = Vec::with_capacity(CHUNK);
            prefer_large_pages(&chunk);
            self.chunks.push(chunk);
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { return RecordId::NONE };
        chunk.push(record);
        u32::try_from(full + chunk.len() - 1).map_or(RecordId::NONE, RecordId)
    }
}

/// An entry or none, of any protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    Tcp(Option<Entry>),
    Datagram(DatagramKind, Option<DatagramEntry>),
}

impl Slot {
    /// Returns what the entry is, when it expires, and whether it is assured.
    fn state(&self) -> Option<(Phase, Timestamp, bool)> {
        match self {
            Self::Tcp(entry) => {
                entry.as_ref().map(|entry| (Phase::Tcp(entry.state), entry.expires, entry.assured))
            }
            Self::Datagram(kind, entry) => {
                entry.as_ref().map(|entry| (phase_of(*kind, entry), entry.expires, entry.assured))
            }
        }
    }

    /// Judges a packet with shorter timeouts, and applies the judgement; returns whether it made an entry.
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

    /// Returns when the entry expires.
    fn end(&self) -> Timestamp {
        self.state().map(|(_, expires, _)| expires).unwrap_or_default()
    }

    /// Returns the same entry with another end.
    fn ending(mut self, at: Timestamp) -> Self {
        match &mut self {
            // How much sooner it ends for older kernels matters to those alone.
            Self::Tcp(Some(entry)) => (entry.expires, entry.sooner_s) = (at, 0),
            Self::Datagram(_, Some(entry)) => entry.expires = at,
            Self::Tcp(None) | Self::Datagram(_, None) => {}
        }
        self
    }

    /// Returns the same entry, renewed last by a packet of the kind that renewed the other one last.
    fn of_the_kind_of(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Datagram(_, entry), Self::Datagram(kind, _)) => Self::Datagram(*kind, entry),
            _ => self,
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

/// What shorter timeouts make of an entry.
#[derive(Debug)]
enum Twin {
    /// The same but for its end.
    EndsAt(Timestamp),
    /// Another one, or none.
    Apart(Box<Slot>),
}

/// What is recorded of a flow.
#[derive(Debug)]
#[repr(align(64))]
struct Record {
    /// The life of its entry so far.
    course: Option<Course>,
    twin: Twin,
    /// When the entry expired when it was last told of.
    expires: Timestamp,
}

const _: () = assert!(size_of::<Record>() == 64, "one line of the cache");

impl Record {
    /// Returns the entry that shorter timeouts make beside this one.
    fn twin(&self, slot: &Slot) -> Slot {
        match &self.twin {
            Twin::EndsAt(end) => slot.ending(*end),
            Twin::Apart(twin) => **twin,
        }
    }

    /// Takes in what a packet made of the entry that was there before it.
    fn follow(
        &mut self,
        item: &Item,
        [before, after]: [&Slot; 2],
        is_new: bool,
        watched: &mut Watched,
    ) {
        let now = item.stamp.clock;
        let (before, state) = (before.state(), after.state());
        if is_new || state.is_none() {
            self.end(&item.packet.key, before.map(|(_, expires, _)| expires.min(now)), watched);
        }
        let Some((phase, _, is_assured)) = state else { return };
        if is_new {
            let is_tcp = matches!(after, Slot::Tcp(_));
            let is_picked_up = is_tcp && !item.packet.segment.has(Flags::SYN);
            let (first, original) = ((item.stamp.number, now), item.packet.orientation);
            self.course = Some(Course::new(first, original, is_picked_up, phase));
            watched.change(now, None, Some(phase));
        }
        if let Some(course) = &mut self.course {
            watched.change(now, Some(course.phase()), Some(phase));
            course.go_on(now, phase, is_assured);
        }
    }

    /// Ends the life of the entry at a time within the capture.
    fn end(&mut self, key: &FlowKey, at: Option<Timestamp>, watched: &mut Watched) {
        let Some((course, at)) = self.course.take().zip(at) else { return };
        watched.change(at, Some(course.phase()), None);
        watched.lives.push(course.end(*key, at));
    }

    /// Takes in what the packet makes of the twin.
    fn follow_twin(
        &mut self,
        item: &Item,
        [before, after]: [&Slot; 2],
        outcome: Outcome,
        (shorter, features, watched): (&Sysctls, Features, &mut Watched),
    ) {
        let (now, group) = (item.stamp.clock, Group::of(item.packet.key.protocol()));
        if let Twin::EndsAt(end) = self.twin
            && let Some(renewed) = end_of_twin((before, end), after, (item, outcome), shorter)
        {
            #[cfg(debug_assertions)]
            {
                let mut twin = before.ending(end);
                let is_new = twin.judge(item, shorter, features);
                assert_eq!((is_new, twin.end()), (outcome.is_new, renewed), "{item:?}");
                assert_eq!(twin.ending(renewed), after.ending(renewed), "{item:?}");
            }
            self.twin = Twin::EndsAt(renewed);
            if outcome.is_new {
                if before.state().is_some() {
                    watched.shorter.close(end.min(now), group);
                }
                watched.shorter.open(now, group);
            }
            return;
        }
        let mut twin = self.twin(before).of_the_kind_of(after);
        let was = twin.state();
        let is_new = twin.judge(item, shorter, features);
        self.keep(twin, after);
        let is_there = twin.state().is_some();
        if let Some((_, expires, _)) = was.filter(|_| is_new || !is_there) {
            watched.shorter.close(expires.min(now), group);
        }
        if is_new && is_there {
            watched.shorter.open(now, group);
        }
    }

    /// Keeps the entry that shorter timeouts make.
    fn keep(&mut self, twin: Slot, slot: &Slot) {
        let end = twin.end();
        if twin.ending(end) == slot.ending(end) {
            self.twin = Twin::EndsAt(end);
        } else if let Twin::Apart(place) = &mut self.twin {
            **place = twin;
        } else {
            self.twin = Twin::Apart(Box::new(twin));
        }
    }
}

/// Returns when the twin of a connection's entry ends after a segment that renewed both; none where it is
/// to be judged by itself.
///
/// Shorter are the timeouts of states alone: what gives a segment less than its state has gives the twin
/// no more than the shorter timeout of the state. That holds as long as acknowledgements that are due
/// and those that are repeated have the same timeout, and not for RST, which has some of its own.
fn end_of_twin(
    (before, end): (&Slot, Timestamp),
    after: &Slot,
    (item, Outcome { is_new, is_silent }): (&Item, Outcome),
    shorter: &Sysctls,
) -> Option<Timestamp> {
    let (Slot::Tcp(before), Slot::Tcp(Some(after))) = (before, after) else { return None };
    let now = item.stamp.clock;
    let timeouts = &shorter.limits.timeouts;
    let is_there = |end: Timestamp| before.is_some() && now < end;
    let expires = before.as_ref().map_or(Timestamp::default(), |entry| entry.expires);
    let is_renewed = is_new || before.is_some() && after.expires != expires;
    let is_regular = is_silent
        && is_renewed
        && is_there(end) == is_there(expires)
        && !item.packet.segment.has(Flags::RST)
        && timeouts.unacknowledged == timeouts.max_retrans;
    let of_state = timeouts.by_state.get(after.state as usize).copied()?;
    is_regular.then(|| now.plus_nanos(of_state.min(after.expires.nanos_since(now))))
}

#[cfg(test)]
mod tests;
