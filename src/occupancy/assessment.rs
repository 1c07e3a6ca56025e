//! All that is known of the table, put together for reports.
//!
//! Does not: track packets, or write.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::{panic, thread};

use crate::conntrack::profile::TableEra;
use crate::conntrack::{Policy, Sysctls};
use crate::occupancy::capacity::Capacity;
use crate::occupancy::count::{Group, Occupancy, Reading};
use crate::occupancy::demand::{Demand, demand};
use crate::occupancy::life::{Life, Phase, Watched};
use crate::occupancy::relief::{Ground, Relief, SERVICES, Timeout, reliefs, shorter};
use crate::occupancy::service::{Prefix, Service, ends};
use crate::occupancy::simulation::{self, COLLECT_EVERY_NS, Outcome};
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// Services and networks that are named.
const NAMED: usize = 10;
/// Servers of a service that are named: a rule must stay readable.
const SERVERS: usize = 4;
/// Points in time that are kept for plots.
const MOMENTS: usize = 240;

/// What a part of the entries has in common, and how many they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share<T> {
    /// What they have in common.
    pub of: T,
    /// The entries.
    pub entries: u64,
    /// Those of them for which the capture holds no further packet: they wait for their end.
    pub waiting: u64,
}

/// A service that rules can name, and who offers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// The service.
    pub service: Service,
    /// The servers of the most entries at the peak, at most four.
    pub servers: Vec<IpAddr>,
    /// Servers beyond those.
    pub others: u64,
}

/// The table at its fullest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peak {
    /// The counts by protocol.
    pub reading: Reading,
    /// The entries by protocol and state.
    pub phases: Vec<(Phase, u64)>,
    /// The entries by service, the most first, at most ten.
    pub services: Vec<Share<Service>>,
    /// The entries by network of the client, the most first, at most ten.
    pub prefixes: Vec<Share<Prefix>>,
    /// Entries for which the capture holds no further packet, in the order of [`Group::ALL`].
    pub waiting: [u64; 3],
    /// The longest chain with a hash of this program; the kernel's has a seed that nobody knows.
    pub longest_chain: u64,
}

/// The table at one time, for plots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Entries in the order of [`Group::ALL`].
    pub entries: [u64; 3],
    /// Entries made since the moment before.
    pub made: u64,
}

/// Everything known of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assessment {
    /// Its fullest moment.
    pub peak: Peak,
    /// What a table of this size would have done.
    pub outcome: Outcome,
    /// What each service needs in the long run, the most first.
    pub demand: Vec<Demand>,
    /// What would relieve it.
    pub reliefs: Vec<Relief>,
    /// The services whose absence was counted, the most entries first.
    pub served: Vec<Served>,
    /// Which timeouts the shorter ones are.
    pub shorter: Vec<Timeout>,
    /// Entries that began too late to be kept: known by their number alone.
    pub lives_not_kept: u64,
}

/// What an assessment rests on.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What judges.
    pub policy: Policy,
    /// The settings.
    pub sysctls: &'a Sysctls,
    /// The entries over time.
    pub occupancy: &'a Occupancy,
    /// Tracker time of the first frame.
    pub begin: Timestamp,
    /// Tracker time of the last.
    pub end: Timestamp,
    /// How many threads may work, at least 1.
    pub threads: usize,
}

impl Assessment {
    /// Puts together what was recorded; none when there was no entry.
    pub fn of(basis: &Basis<'_>, watched: Watched) -> Option<Self> {
        let Basis { policy, sysctls, occupancy, begin, end, threads } = *basis;
        let capacity = Capacity::of(policy.profile, sysctls.table);
        let reading = occupancy.peak()?;
        let phases = watched.phases_at(reading.at);
        let Watched { lives, shorter: short, .. } = watched;
        let (lives, lives_not_kept) = lives.finish();
        let era = policy.profile.table_era();
        let simulate = || simulation::run(&lives, capacity.max, capacity.buckets, era);
        let weigh = || {
            let peak = Peak::of(reading, phases, &lives, &capacity);
            let demand = demand(&lives, begin, end);
            let needed = demand.iter().map(|demand| demand.needs + demand.open).sum();
            let ground = Ground {
                capacity: &capacity,
                occupancy,
                shorter: &short,
                lives: &lives,
                end,
                needed: reading.total().max(needed),
            };
            let served = served(&peak, &lives);
            let services: Vec<_> = served.iter().map(|served| served.service).collect();
            let reliefs = reliefs(&ground, &services);
            (peak, demand, served, reliefs)
        };
        let (outcome, (peak, demand, served, reliefs)) = both(threads, simulate, weigh);
        let shorter = shorter(sysctls).1;
        Some(Self { peak, outcome, demand, reliefs, served, shorter, lives_not_kept })
    }

    /// Returns the keys of the flows that are named.
    pub fn keys(&mut self) -> impl Iterator<Item = &mut FlowKey> {
        self.outcome.refused().map(|refused| &mut refused.life.key)
    }

    /// Replaces the other addresses that are named, by a mapping that keeps prefixes.
    pub fn map_addresses(&mut self, map: impl Fn(IpAddr) -> IpAddr) {
        for server in self.served.iter_mut().flat_map(|served| &mut served.servers) {
            *server = map(*server);
        }
        for share in &mut self.peak.prefixes {
            share.of = Prefix::of(map(share.of.address()));
        }
    }

    /// Returns all times that are told.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let Self { peak, outcome, .. } = self;
        [&mut peak.reading.at].into_iter().chain(outcome.times())
    }

    /// Returns the entries that all services need in the long run.
    pub fn needed(&self) -> u64 {
        self.demand.iter().map(|demand| demand.needs.saturating_add(demand.open)).sum()
    }
}

impl Peak {
    fn of(
        reading: Reading,
        phases: Vec<(Phase, u64)>,
        lives: &[Life],
        capacity: &Capacity,
    ) -> Self {
        let (mut services, mut prefixes) = (BTreeMap::new(), Vec::new());
        let mut waiting = [0; 3];
        let at = reading.at;
        for life in lives.iter().filter(|life| life.is_there(at)) {
            let (service, client) = (Service::of(life), ends(life).0.addr);
            let waits = u64::from(!life.is_in_use(at));
            count(services.entry(service).or_default(), waits);
            prefixes.push((Prefix::of(client), waits));
            if let Some(place) = waiting.get_mut(Group::of(service.protocol) as usize) {
                *place += waits;
            }
        }
        let there = lives.iter().filter(|life| life.is_there(at));
        let longest_chain = simulation::longest_chain(there, capacity.buckets);
        let (services, prefixes) = (ranked(services), ranked(counted(prefixes)));
        Self { reading, phases, services, prefixes, waiting, longest_chain }
    }
}

/// Returns the services that weigh most at the peak and that rules can name, with their servers.
fn served(peak: &Peak, lives: &[Life]) -> Vec<Served> {
    let named = peak.services.iter().map(|share| share.of);
    let rulable = named.filter(|service| service.rule_protocol().is_some()).take(SERVICES);
    let of = |service| {
        let mut servers: BTreeMap<IpAddr, (u64, u64)> = BTreeMap::new();
        let its = lives.iter().filter(|life| life.is_there(peak.reading.at));
        for life in its.filter(|life| Service::of(life) == service) {
            servers.entry(ends(life).1.addr).or_default().0 += 1;
        }
        let all = servers.len() as u64;
        let servers: Vec<_> =
            ranked(servers).into_iter().map(|share| share.of).take(SERVERS).collect();
        Served { service, others: all - servers.len() as u64, servers }
    };
    rulable.map(of).collect()
}

/// Does two things, at once where several threads may work.
fn both<A: Send, B>(
    threads: usize,
    one: impl Fn() -> A + Sync,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if threads < 2 {
        return (one(), other());
    }
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, &one) {
        Ok(handle) => {
            let other = other();
            (handle.join().unwrap_or_else(|payload| panic::resume_unwind(payload)), other)
        }
        // There is no other thread to be had.
        Err(_) => (one(), other()),
    })
}

fn count((entries, waiting): &mut (u64, u64), waits: u64) {
    *entries += 1;
    *waiting += waits;
}

/// Counts entries by what they have in common, of which there may be nearly as many kinds as entries: sorted,
/// as a map of so many is never in the cache.
fn counted<T: Ord + Copy>(mut entries: Vec<(T, u64)>) -> Vec<(T, (u64, u64))> {
    entries.sort_unstable();
    let alike = entries.chunk_by(|(one, _), (other, _)| one == other);
    let counted = alike.filter_map(|alike| {
        let (of, _) = *alike.first()?;
        Some((of, (alike.len() as u64, alike.iter().map(|(_, waits)| waits).sum())))
    });
    counted.collect()
}

/// Returns the largest shares, the largest first; among equals in their own order.
fn ranked<T: Ord + Copy>(counts: impl IntoIterator<Item = (T, (u64, u64))>) -> Vec<Share<T>> {
    let share = |(of, (entries, waiting))| Share { of, entries, waiting };
    let mut shares: Vec<_> = counts.into_iter().map(share).collect();
    let rank = |share: &Share<T>| (Reverse(share.entries), share.of);
    if shares.len() > NAMED {
        shares.select_nth_unstable_by_key(NAMED, rank);
        shares.truncate(NAMED);
    }
    shares.sort_unstable_by_key(rank);
    shares
}

impl Occupancy {
    /// Returns the most entries that the kernel's own counter may show: expired entries leave it when
    /// the collector passes, at most 60 s later (4.19 and later; before, at once).
    pub fn counter_peak(&self, era: TableEra) -> u64 {
        match era {
            TableEra::SixteenThousandBuckets => self.peak_if_collected_after(0),
            _ => self.peak_if_collected_after(COLLECT_EVERY_NS),
        }
    }

    /// Returns the fullest moment of each of a few hundred equal spans of time.
    pub fn moments(&self, most: usize) -> Vec<Moment> {
        let readings: Vec<_> = self.readings().collect();
        let each = readings.len().div_ceil(most.clamp(1, MOMENTS)).max(1);
        let of = |span: &[Reading]| {
            let fullest = span.iter().rev().max_by_key(|reading| reading.total())?;
            let made = span.iter().map(|reading| reading.made).sum();
            Some(Moment { at: fullest.at, entries: fullest.entries, made })
        };
        readings.chunks(each).filter_map(of).collect()
    }
}
