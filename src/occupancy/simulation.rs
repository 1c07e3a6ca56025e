//! What a table of a given size would have refused, packet by packet in capture order.
//!
//! `__nf_conntrack_alloc()`, `early_drop()`, `early_drop_list()` and `gc_worker()` in
//! `nf_conntrack_core.c`, Linux 6.18. When a new entry would be one too many, the kernel looks
//! through up to eight buckets, from that of the new entry on, and gives up all entries of the first
//! bucket that holds any which is not assured; if there is none, the packet is dropped, and the
//! collector is told to help: on its next pass it also gives up entries that are not assured or are
//! closing, as long as the table is at least 95 % full. Kernels up to 3.10 look at eight entries,
//! give up one, and have no collector.
//!
//! What differs from a kernel: its hash has a seed that nobody knows, so that which entries are given
//! up is chance there and fixed here; the collector's passes are 60 s apart here and 1 to 60 s there;
//! expired entries leave at once here, and there when the collector or a look-up meets them. A flow
//! that is refused or given up stays away: what its ends would have sent again is not in the
//! capture.
//!
//! Does not: track packets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::iter;

use crate::conntrack::profile::TableEra;
use crate::memory;
use crate::occupancy::life::Life;
use crate::occupancy::service::Service;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// `NF_CT_EVICTION_RANGE`: buckets looked through, or entries in older kernels.
const EVICTION_RANGE: usize = 8;
/// `GC_SCAN_INTERVAL_MAX`: the longest time between two passes of the collector.
pub const COLLECT_EVERY_NS: i64 = 60 * NANOS_PER_SEC;
/// The buckets that are simulated; more have the same effect as so many.
const MOST_BUCKETS: u64 = 1 << 24;
/// The hash of this simulation, fixed so that every run gives the same.
const SEED: u64 = 0x243F_6A88_85A3_08D3;
/// Entries before whose turn their buckets are asked for.
const AHEAD: usize = 16;
/// Refused flows that are kept as examples, the earliest.
const EXAMPLES: usize = 5;

/// A flow that a full table refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The entry that it would have had, or had.
    pub life: Life,
    /// When it was refused or given up.
    pub at: Timestamp,
}

/// What became of the flows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// When the table was full for the first time.
    pub first: Option<Timestamp>,
    /// And for the last.
    pub last: Option<Timestamp>,
    /// Seconds of the capture in which it was full when a new flow came.
    pub seconds: u64,
    /// The most entries at one time.
    pub highest: u64,
    /// New flows whose first packet was dropped, by service.
    pub dropped: BTreeMap<Service, u64>,
    /// Entries that were given up early for a new flow, by service.
    pub early_dropped: BTreeMap<Service, u64>,
    /// Entries that the collector gave up, by service.
    pub collected: BTreeMap<Service, u64>,
    /// Entries given up, by either, for which packets were still to come.
    pub cut_off: u64,
    /// The first flows that were dropped.
    pub first_dropped: Vec<Refused>,
    /// The first entries that were given up early.
    pub first_early_dropped: Vec<Refused>,
}

impl Outcome {
    /// Returns whether the table was ever full.
    pub const fn has_overflowed(&self) -> bool {
        self.first.is_some()
    }

    /// Returns the flows that are kept as examples.
    pub(super) fn refused(&mut self) -> impl Iterator<Item = &mut Refused> {
        self.first_dropped.iter_mut().chain(&mut self.first_early_dropped)
    }

    /// Returns all times that are told.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let examples = self.first_dropped.iter_mut().chain(&mut self.first_early_dropped);
        let examples =
            examples.flat_map(|Refused { life, at }| [at, &mut life.start, &mut life.end]);
        self.first.iter_mut().chain(&mut self.last).chain(examples)
    }
}

/// Runs the lives, which are in the order of their beginnings, through a table of this size.
///
/// Besides what was refused this tells the highest count to the packet, not only to the second. None
/// for `max` is no bound.
pub fn run(lives: &[Life], max: Option<u64>, buckets: u64, era: TableEra) -> Outcome {
    let mut table = Table::new(lives, max.unwrap_or(u64::MAX), buckets, era);
    for index in 0..lives.len() {
        table.bring(index + AHEAD);
        table.arrive(index);
    }
    table.outcome.seconds = table.full_seconds.len() as u64;
    table.outcome
}

/// Returns the longest chain of a table that holds these entries.
pub fn longest_chain<'a>(lives: impl Iterator<Item = &'a Life>, buckets: u64) -> u64 {
    let buckets = usize::try_from(buckets.clamp(1, MOST_BUCKETS)).unwrap_or(1);
    let mut lengths = vec![0_u32; buckets];
    let mut longest = 0;
    for bucket in lives.flat_map(|life| buckets_of(life, buckets)) {
        if let Some(length) = lengths.get_mut(bucket) {
            *length += 1;
            longest = longest.max(*length);
        }
    }
    u64::from(longest)
}

/// Returns the buckets of the two directions of an entry.
fn buckets_of(life: &Life, buckets: usize) -> [usize; 2] {
    let scaled = |seed| {
        let product = u128::from(life.key.model_hash(seed)) * buckets as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    };
    let way = life.original as u64;
    [scaled(SEED ^ way), scaled(SEED ^ way ^ 1)]
}

/// No entry: the end of a chain.
const NONE: u32 = u32::MAX;

/// What is asked of an entry most often, beside its life: lives are too many to be near.
#[derive(Clone, Copy)]
struct Brief {
    /// When it is assured, at the end of time if never.
    assured: Timestamp,
    /// The buckets of its two directions.
    buckets: [u32; 2],
}

impl Brief {
    fn of(life: &Life, buckets: usize) -> Self {
        let narrow = |bucket| u32::try_from(bucket).unwrap_or(0);
        let assured = life.assured.from(life.start).unwrap_or(Timestamp(i64::MAX));
        Self { assured, buckets: buckets_of(life, buckets).map(narrow) }
    }
}

/// The table while it is simulated. An entry is known by the position of its life.
struct Table<'a> {
    lives: &'a [Life],
    briefs: Vec<Brief>,
    max: u64,
    era: TableEra,
    /// The first link of each bucket's chain; link `2 i` is life `i` by its original direction,
    /// link `2 i + 1` by its reply.
    heads: Vec<u32>,
    /// The next link of the chain; kept only for links in a chain.
    next: Vec<u32>,
    is_in: Vec<bool>,
    count: u64,
    /// When each entry ends.
    ends: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// When the collector passes next, once it was told to help.
    collect_at: Option<Timestamp>,
    full_seconds: BTreeSet<i64>,
    outcome: Outcome,
}

impl<'a> Table<'a> {
    fn new(lives: &'a [Life], max: u64, buckets: u64, era: TableEra) -> Self {
        let buckets = usize::try_from(buckets.clamp(1, MOST_BUCKETS)).unwrap_or(1);
        Self {
            lives,
            briefs: lives.iter().map(|life| Brief::of(life, buckets)).collect(),
            max,
            era,
            heads: vec![NONE; buckets],
            next: vec![NONE; 2 * lives.len()],
            is_in: vec![false; lives.len()],
            count: 0,
            ends: BinaryHeap::new(),
            collect_at: None,
            full_seconds: BTreeSet::new(),
            outcome: Outcome::default(),
        }
    }

    /// Asks for what the turn of an entry will need: its buckets, and half as long before, the first links
    /// that hang there.
    fn bring(&self, index: usize) {
        for bucket in self.buckets_of(index) {
            if let Some(head) = self.heads.get(bucket) {
                memory::bring(head, 0..1);
            }
        }
        let [bucket, _] = self.buckets_of(index.saturating_sub(AHEAD / 2));
        let link = self.heads.get(bucket).map_or(0, |&head| head as usize);
        if let (Some(next), Some(brief)) = (self.next.get(link), self.briefs.get(link / 2)) {
            memory::bring(next, 0..1);
            memory::bring(brief, 0..1);
        }
    }

    /// Lets a new flow in, if there is room or room can be made.
    fn arrive(&mut self, index: usize) {
        let Some(life) = self.lives.get(index).copied() else { return };
        let now = life.start;
        self.expire(now);
        if self.collect_at.is_some_and(|at| at <= now) {
            self.collect(now);
        }
        if self.count >= self.max {
            self.note_full(now);
            if !self.early_drop(index, now) {
                self.collect_at.get_or_insert(now.plus_nanos(COLLECT_EVERY_NS));
                refuse(&mut self.outcome.dropped, &mut self.outcome.first_dropped, life, now);
                return;
            }
        }
        self.insert(index);
        self.outcome.highest = self.outcome.highest.max(self.count);
    }

    fn note_full(&mut self, now: Timestamp) {
        self.outcome.first.get_or_insert(now);
        self.outcome.last = Some(now);
        self.full_seconds.insert(now.0.div_euclid(NANOS_PER_SEC));
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(Reverse((end, index))) = self.ends.peek().copied()
            && end <= now
        {
            self.ends.pop();
            self.remove(index as usize);
        }
    }

    /// Makes room near the bucket of a new flow; returns whether there is some now.
    fn early_drop(&mut self, index: usize, now: Timestamp) -> bool {
        let first = self.buckets_of(index)[0];
        let mut looked_at = 0;
        for step in 0..self.heads.len().min(EVICTION_RANGE) {
            let bucket = (first + step) % self.heads.len();
            let mut victims = Vec::new();
            for entry in self.chain(bucket) {
                let is_enough = self.era == TableEra::SixteenThousandBuckets
                    && (looked_at >= EVICTION_RANGE || !victims.is_empty());
                if is_enough {
                    break;
                }
                looked_at += 1;
                if !self.is_assured(entry, now) && !victims.contains(&entry) {
                    victims.push(entry);
                }
            }
            for &victim in &victims {
                self.remove(victim);
                if let Some(life) = self.lives.get(victim) {
                    let Outcome { early_dropped, first_early_dropped, cut_off, .. } =
                        &mut self.outcome;
                    *cut_off += u64::from(life.is_in_use(now));
                    refuse(early_dropped, first_early_dropped, *life, now);
                }
            }
            if !victims.is_empty() {
                return true;
            }
        }
        false
    }

    /// Lets the collector pass, as far as it helps a full table: bucket by bucket.
    fn collect(&mut self, now: Timestamp) {
        self.collect_at = None;
        if self.era == TableEra::SixteenThousandBuckets {
            return;
        }
        let enough = self.max / 100 * 95;
        for bucket in 0..self.heads.len() {
            for entry in self.chain(bucket).collect::<Vec<_>>() {
                if self.count < enough {
                    return;
                }
                let Some(life) = self.lives.get(entry).copied() else { continue };
                let is_closing = life.closing.from(life.start).is_some_and(|at| at <= now);
                // Where both of its directions hang in this bucket, an entry is met twice.
                if (is_closing || !self.is_assured(entry, now)) && self.remove(entry) {
                    self.outcome.cut_off += u64::from(life.is_in_use(now));
                    *self.outcome.collected.entry(Service::of(&life)).or_default() += 1;
                }
            }
        }
    }

    fn is_assured(&self, entry: usize, now: Timestamp) -> bool {
        self.briefs.get(entry).is_some_and(|brief| brief.assured <= now)
    }

    /// Returns the entries of a bucket, latest first, once for each direction that hangs there.
    fn chain(&self, bucket: usize) -> impl Iterator<Item = usize> {
        let first = self.heads.get(bucket).copied();
        let next = |link: &u32| self.next.get(*link as usize).copied();
        let links = iter::successors(first, next).take_while(|&link| link != NONE);
        links.map(|link| link as usize / 2)
    }

    /// Returns the buckets of the two directions of a flow.
    fn buckets_of(&self, index: usize) -> [usize; 2] {
        self.briefs.get(index).map_or([0; 2], |brief| brief.buckets.map(|bucket| bucket as usize))
    }

    fn insert(&mut self, index: usize) {
        let Some(life) = self.lives.get(index) else { return };
        let Ok(entry) = u32::try_from(index) else { return };
        self.ends.push(Reverse((life.end, entry)));
        self.count += 1;
        if let Some(is_in) = self.is_in.get_mut(index) {
            *is_in = true;
        }
        for (link, bucket) in (2 * entry..).zip(self.buckets_of(index)) {
            if let (Some(head), Some(next)) =
                (self.heads.get_mut(bucket), self.next.get_mut(link as usize))
            {
                *next = std::mem::replace(head, link);
            }
        }
    }

    /// Removes an entry; returns whether it was still there.
    fn remove(&mut self, index: usize) -> bool {
        if !self.is_in.get_mut(index).is_some_and(std::mem::take) {
            return false;
        }
        self.count -= 1;
        for (link, bucket) in (2 * index..).zip(self.buckets_of(index)) {
            self.unlink(bucket, link);
        }
        true
    }

    fn unlink(&mut self, bucket: usize, link: usize) {
        let after = self.next.get(link).copied().unwrap_or(NONE);
        let mut at = self.heads.get(bucket).copied().unwrap_or(NONE);
        if at as usize == link {
            if let Some(head) = self.heads.get_mut(bucket) {
                *head = after;
            }
            return;
        }
        while at != NONE {
            let next = self.next.get(at as usize).copied().unwrap_or(NONE);
            if next as usize == link {
                if let Some(place) = self.next.get_mut(at as usize) {
                    *place = after;
                }
                return;
            }
            at = next;
        }
    }
}

/// Counts a flow that is refused, and keeps it if it is among the first.
fn refuse(
    counts: &mut BTreeMap<Service, u64>,
    first: &mut Vec<Refused>,
    life: Life,
    at: Timestamp,
) {
    *counts.entry(Service::of(&life)).or_default() += 1;
    if first.len() < EXAMPLES {
        first.push(Refused { life, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::TcpState;
    use crate::occupancy::life::{After, Phase};
    use crate::random::Random;
    use crate::tuple::FlowKey;

    const NEW: TableEra = TableEra::OneEntryABucket;
    const OLD: TableEra = TableEra::SixteenThousandBuckets;

    fn second(n: u64) -> Timestamp {
        Timestamp::from_parts(i64::try_from(n).unwrap(), 0)
    }

    /// A life from one second to another; assured from its beginning or never.
    fn life(n: u16, start: u64, end: u64, is_assured: bool) -> Life {
        let key = FlowKey::of_v4(17, (0x0a00_0001, n), (0x0a00_0002, 53)).0;
        let assured = if is_assured { After::between(second(0), second(0)) } else { After::NEVER };
        let start = second(start);
        let phase = Phase::UdpUnreplied;
        Life { end: second(end), assured, ..Life::new(key, u64::from(n), start, phase) }
    }

    fn total(counts: &BTreeMap<Service, u64>) -> u64 {
        counts.values().sum()
    }

    #[test]
    fn what_fits_is_not_refused_and_the_end_of_one_makes_room_for_the_next() {
        let lives = [life(1, 0, 10, false), life(2, 5, 15, false), life(3, 10, 20, false)];
        let outcome = run(&lives, Some(2), 1024, NEW);
        assert!(!outcome.has_overflowed());
        assert_eq!(outcome.highest, 2);
        assert_eq!(run(&lives, None, 1024, NEW).highest, 2);
    }

    #[test]
    fn assured_entries_are_spared_and_the_new_flow_is_dropped() {
        let mut lives: Vec<_> = (0..10).map(|n| life(n, 0, 100, true)).collect();
        lives.push(life(10, 50, 80, false));
        let outcome = run(&lives, Some(10), 4, NEW);
        assert_eq!((total(&outcome.dropped), total(&outcome.early_dropped)), (1, 0));
        assert_eq!((outcome.first, outcome.seconds), (Some(second(50)), 1));
        assert_eq!(outcome.first_dropped[0].life.frame, 10);
    }

    #[test]
    fn all_that_is_not_assured_in_the_first_bucket_goes_and_older_kernels_give_up_one() {
        let mut lives: Vec<_> = (0..10).map(|n| life(n, 0, 100, false)).collect();
        lives.push(life(10, 50, 80, false));
        // One bucket: both directions of everything hang in it.
        let outcome = run(&lives, Some(10), 1, NEW);
        assert_eq!((total(&outcome.dropped), total(&outcome.early_dropped)), (0, 10));
        let outcome = run(&lives, Some(10), 1, OLD);
        assert_eq!((total(&outcome.dropped), total(&outcome.early_dropped)), (0, 1));
        assert_eq!(outcome.highest, 10);
    }

    #[test]
    fn the_collector_gives_up_closing_connections_once_a_packet_was_dropped() {
        let mut lives: Vec<_> = (0..100).map(|n| life(n, 0, 1000, true)).collect();
        for life in &mut lives {
            life.phase = Phase::Tcp(TcpState::TimeWait);
            life.closing = After::between(second(0), second(1));
        }
        lives.extend([life(100, 50, 200, false), life(101, 111, 200, false)]);
        let outcome = run(&lives, Some(100), 64, NEW);
        assert_eq!(total(&outcome.dropped), 1, "before the collector has passed");
        assert_eq!(total(&outcome.collected), 6, "until fewer than 95 are left");
        assert_eq!(outcome.highest, 100);
        assert_eq!(total(&run(&lives, Some(100), 64, OLD).dropped), 2);
    }

    #[test]
    fn chains_stay_whole_when_entries_leave_in_any_order() {
        let mut lives = Vec::new();
        for n in 0..2000_u16 {
            let start = u64::from(n);
            lives.push(life(n, start, start + 1 + u64::from(n) * 7919 % 97, n % 3 == 0));
        }
        let mut table = Table::new(&lives, 30, 8, NEW);
        for index in 0..lives.len() {
            table.arrive(index);
            let hanging: usize = (0..8).map(|bucket| table.chain(bucket).count()).sum();
            assert_eq!(hanging as u64, 2 * table.count);
            assert!(table.count <= 30);
        }
        assert!(total(&table.outcome.early_dropped) > 0);
    }

    /// The same as simply as can be: buckets of entries, the latest first, that are searched from end to end.
    struct Model<'a> {
        lives: &'a [Life],
        max: usize,
        era: TableEra,
        buckets: Vec<Vec<usize>>,
        entries: BTreeSet<usize>,
        collect_at: Option<Timestamp>,
        full_seconds: BTreeSet<i64>,
        outcome: Outcome,
    }

    impl Model<'_> {
        fn run(lives: &[Life], (max, buckets): (usize, usize), era: TableEra) -> Outcome {
            let (buckets, outcome) = (vec![Vec::new(); buckets], Outcome::default());
            let (entries, full_seconds) = (BTreeSet::new(), BTreeSet::new());
            let collect_at = None;
            let mut model =
                Model { lives, max, era, buckets, entries, collect_at, full_seconds, outcome };
            (0..lives.len()).for_each(|index| model.arrive(index));
            model.outcome.seconds = model.full_seconds.len() as u64;
            model.outcome
        }

        fn arrive(&mut self, index: usize) {
            let now = self.lives[index].start;
            self.remove_all(|life| life.end <= now);
            if self.collect_at.take_if(|at| *at <= now).is_some() && self.era == NEW {
                self.collect(now);
            }
            if self.entries.len() >= self.max {
                self.outcome.first.get_or_insert(now);
                self.outcome.last = Some(now);
                self.full_seconds.insert(now.0 / NANOS_PER_SEC);
                let victims = self.victims(index, now);
                if victims.is_empty() {
                    self.collect_at.get_or_insert(now.plus_nanos(COLLECT_EVERY_NS));
                    self.count(index, now, |outcome| {
                        (&mut outcome.dropped, Some(&mut outcome.first_dropped))
                    });
                    return;
                }
                for victim in victims {
                    self.give_up(victim, now, |outcome| {
                        (&mut outcome.early_dropped, Some(&mut outcome.first_early_dropped))
                    });
                }
            }
            for bucket in buckets_of(&self.lives[index], self.buckets.len()) {
                self.buckets[bucket].insert(0, index);
            }
            self.entries.insert(index);
            self.outcome.highest = self.outcome.highest.max(self.entries.len() as u64);
        }

        fn is_assured(&self, entry: usize, now: Timestamp) -> bool {
            let life = &self.lives[entry];
            life.assured != After::NEVER && life.assured.from(life.start).unwrap() <= now
        }

        fn remove_all(&mut self, is_over: impl Fn(&Life) -> bool) {
            let lives = self.lives;
            self.entries.retain(|entry| !is_over(&lives[*entry]));
            self.buckets.iter_mut().for_each(|chain| chain.retain(|it| self.entries.contains(it)));
        }

        fn give_up(
            &mut self,
            entry: usize,
            now: Timestamp,
            counts: impl Fn(&mut Outcome) -> Counts<'_>,
        ) {
            self.entries.remove(&entry);
            self.remove_all(|_| false);
            self.outcome.cut_off += u64::from(self.lives[entry].is_in_use(now));
            self.count(entry, now, counts);
        }

        fn count(
            &mut self,
            entry: usize,
            at: Timestamp,
            counts: impl Fn(&mut Outcome) -> Counts<'_>,
        ) {
            let life = self.lives[entry];
            let (by_service, examples) = counts(&mut self.outcome);
            *by_service.entry(Service::of(&life)).or_default() += 1;
            if let Some(examples) = examples.filter(|examples| examples.len() < EXAMPLES) {
                examples.push(Refused { life, at });
            }
        }

        fn collect(&mut self, now: Timestamp) {
            for entry in self.buckets.concat() {
                let life = &self.lives[entry];
                let closing = life.closing.from(life.start);
                if self.entries.contains(&entry)
                    && self.entries.len() >= self.max / 100 * 95
                    && (closing.is_some_and(|at| at <= now) || !self.is_assured(entry, now))
                {
                    self.give_up(entry, now, |outcome| (&mut outcome.collected, None));
                }
            }
        }

        /// Returns whom the kernel gives up for a new entry.
        fn victims(&self, index: usize, now: Timestamp) -> Vec<usize> {
            let first = buckets_of(&self.lives[index], self.buckets.len())[0];
            let nearby = self.buckets.iter().cycle().skip(first).take(self.buckets.len());
            let is_victim = |entry: &&usize| !self.is_assured(**entry, now);
            if self.era == OLD {
                let looked_at = nearby.take(EVICTION_RANGE).flatten().take(EVICTION_RANGE);
                return looked_at.filter(is_victim).take(1).copied().collect();
            }
            let unassured = nearby.take(EVICTION_RANGE).map(|chain| {
                let mut victims: Vec<_> = chain.iter().filter(is_victim).copied().collect();
                let mut met = BTreeSet::new();
                victims.retain(|victim| met.insert(*victim));
                victims
            });
            unassured.into_iter().find(|victims| !victims.is_empty()).unwrap_or_default()
        }
    }

    type Counts<'a> = (&'a mut BTreeMap<Service, u64>, Option<&'a mut Vec<Refused>>);

    /// Returns lives of all kinds, in the order of their beginnings.
    fn random_lives(random: &mut Random) -> Vec<Life> {
        let mut start = second(1000);
        let mut life = |frame: u64| {
            start = start.plus_nanos(random.of(&[0, 1, 400, 400, 900]) * 1_000_000);
            let (client, port) = (random.below(1 << 16), random.of(&[53, 123, 443]));
            let (key, original) = FlowKey::of_v4(17, (client, 2000), (0x7000_0000, port));
            let mut after = |choices: &[u64]| match random.of(choices) {
                0 => After::NEVER,
                seconds => After::between(second(0), second(seconds)),
            };
            let (assured, closing) = (after(&[0, 1, 1, 1, 1, 20]), after(&[0, 0, 0, 30]));
            let last_packet = after(&[1, 5, 50]);
            let end = start.plus_nanos(random.of(&[0, 1, 30, 100, 700]) * NANOS_PER_SEC);
            let life = Life::new(key, frame, start, Phase::UdpReplied);
            Life { end, last_packet, assured, closing, original, ..life }
        };
        (1..600).map(&mut life).collect()
    }

    #[test]
    fn what_becomes_of_lives_is_what_a_simpler_simulation_says() {
        let mut random = Random(5);
        let mut sums = [(NEW, [0; 4]), (OLD, [0; 4])];
        let sizes = [(1, 30), (7, 100), (16, 100), (64, 40), (300, 100), (300, 200)];
        for (buckets, max) in sizes.repeat(5) {
            let lives = random_lives(&mut random);
            for (era, sums) in &mut sums {
                let outcome = run(&lives, Some(max as u64), buckets as u64, *era);
                assert_eq!(outcome, Model::run(&lives, (max, buckets), *era), "{buckets}, {era:?}");
                let Outcome { dropped, early_dropped, collected, cut_off, .. } = &outcome;
                let counts = [total(dropped), total(early_dropped), total(collected), *cut_off];
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        let [(_, new), (_, old)] = sums;
        assert!(new.iter().all(|sum| *sum > 50), "{new:?}");
        assert!(old[0] > 50 && old[1] > 50 && old[3] > 50 && old[2] == 0, "{old:?}");
    }
}
