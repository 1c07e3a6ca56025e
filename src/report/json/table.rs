//! How full the connection table would be, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Audit;
use crate::occupancy::{
    Assessment, Change, Group, Moment, Occupancy, Origin, Outcome, Refused, Relief, Service, Share,
};
use crate::report::json::causes::Remedy;
use crate::report::view::{TableFacts, change};

/// The section; left out when the table is not of interest.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    max_is_default: bool,
    buckets: u64,
    buckets_are_default: bool,
    step_seconds: i64,
    entries_made: u64,
    /// The most entries at the end of a step.
    peak: Peak,
    /// What `nf_conntrack_count` may read at most.
    counter_at_most: u64,
    /// The fullest step of each of a few hundred spans.
    over_time: Vec<Point>,
    #[serde(flatten)]
    assessed: Option<Assessed>,
    notes: Vec<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Peak {
    at: String,
    entries: u64,
    by_protocol: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_of_max: Option<u64>,
    bytes: u64,
    bytes_with_extensions: u64,
    mean_chain_hundredths: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Point {
    at: String,
    entries: u64,
    tcp: u64,
    udp: u64,
    other: u64,
    made: u64,
}

/// What is known only when the table was assessed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Assessed {
    waiting_at_peak: BTreeMap<&'static str, u64>,
    by_state: BTreeMap<String, u64>,
    by_service: Vec<Part>,
    by_client_network: Vec<Part>,
    longest_chain: u64,
    overflow: Overflow,
    demand: Vec<Demand>,
    needed_in_the_long_run: u64,
    relief: Vec<Row>,
    shorter_timeouts: Vec<Timeout>,
    remedies: Vec<Remedy>,
    #[serde(skip_serializing_if = "super::is_zero")]
    entries_not_kept: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Part {
    of: String,
    entries: u64,
    waiting: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Overflow {
    #[serde(rename = "would_overflow")]
    happens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    seconds: u64,
    highest: u64,
    dropped: BTreeMap<String, u64>,
    early_dropped: BTreeMap<String, u64>,
    collected: BTreeMap<String, u64>,
    /// Entries given up that had packets still to come.
    cut_off: u64,
    first_dropped: Vec<Lost>,
    first_early_dropped: Vec<Lost>,
}

/// A flow that the table refused or gave up.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Lost {
    frame: u64,
    at: String,
    from: String,
    to: String,
    protocol: u8,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Demand {
    service: String,
    made: u64,
    new_per_1000_s: u64,
    stay_ms: u64,
    entries: u64,
    open: u64,
}

/// A change, and what it leaves.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Row {
    change: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    untracked: Vec<String>,
    peak: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_of_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_when_full: Option<u64>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Timeout {
    key: &'static str,
    from: i64,
    to: i64,
}

impl Table {
    /// Collects what there is to tell; none when the table is not of interest.
    pub(super) fn of(audit: &Audit) -> Option<Self> {
        let view = TableFacts::of(audit)?;
        let capacity = audit.capacity()?;
        let occupancy: &Occupancy = &audit.totals.occupancy;
        let reading = occupancy.peak()?;
        let (bytes, bytes_with_extensions) = capacity.bytes(reading.total());
        let era = audit.method.policies.first()?.profile.table_era();
        let names = view.remedies.iter().map(Remedy::of).collect();
        Some(Self {
            max: capacity.max,
            max_is_default: capacity.max_from == Origin::Default,
            buckets: capacity.buckets,
            buckets_are_default: capacity.buckets_from == Origin::Default,
            step_seconds: occupancy.step_seconds(),
            entries_made: occupancy.made(),
            peak: Peak {
                at: reading.at.to_string(),
                entries: reading.total(),
                by_protocol: by_group(reading.entries),
                percent_of_max: capacity.percent(reading.total()),
                bytes,
                bytes_with_extensions,
                mean_chain_hundredths: capacity.chain_hundredths(reading.total()),
            },
            counter_at_most: occupancy.counter_peak(era),
            over_time: view.moments.iter().map(Point::of).collect(),
            assessed: audit.table.as_deref().map(|table| Assessed::of(audit, table, names)),
            notes: view.notes,
        })
    }
}

fn by_group(counts: [u64; 3]) -> BTreeMap<&'static str, u64> {
    Group::ALL.into_iter().map(Group::name).zip(counts).collect()
}

impl Point {
    fn of(moment: &Moment) -> Self {
        let [tcp, udp, other] = moment.entries;
        Self {
            at: moment.at.to_string(),
            entries: tcp + udp + other,
            tcp,
            udp,
            other,
            made: moment.made,
        }
    }
}

impl Assessed {
    fn of(audit: &Audit, table: &Assessment, remedies: Vec<Remedy>) -> Self {
        let peak = &table.peak;
        let states = peak.phases.iter().map(|(phase, entries)| {
            let (protocol, state) = phase.words();
            (format!("{protocol} {state}"), *entries)
        });
        Self {
            waiting_at_peak: by_group(peak.waiting),
            by_state: states.collect(),
            by_service: peak.services.iter().map(Part::of).collect(),
            by_client_network: peak.prefixes.iter().map(Part::of).collect(),
            longest_chain: peak.longest_chain,
            overflow: Overflow::of(audit, &table.outcome),
            demand: table.demand.iter().map(Demand::of).collect(),
            needed_in_the_long_run: table.needed(),
            relief: table.reliefs.iter().map(|relief| Row::of(relief, table)).collect(),
            shorter_timeouts: table
                .shorter
                .iter()
                .map(|timeout| Timeout { key: timeout.key, from: timeout.from, to: timeout.to })
                .collect(),
            remedies,
            entries_not_kept: table.lives_not_kept,
        }
    }
}

impl Part {
    fn of<T: std::fmt::Display>(share: &Share<T>) -> Self {
        Self { of: share.of.to_string(), entries: share.entries, waiting: share.waiting }
    }
}

impl Overflow {
    fn of(audit: &Audit, outcome: &Outcome) -> Self {
        let named = |counts: &BTreeMap<Service, u64>| {
            counts.iter().map(|(service, count)| (service.to_string(), *count)).collect()
        };
        let flows = |list: &[Refused]| list.iter().map(|flow| Lost::of(audit, flow)).collect();
        Self {
            happens: outcome.has_overflowed(),
            first: outcome.first.map(|at| at.to_string()),
            last: outcome.last.map(|at| at.to_string()),
            seconds: outcome.seconds,
            highest: outcome.highest,
            dropped: named(&outcome.dropped),
            early_dropped: named(&outcome.early_dropped),
            collected: named(&outcome.collected),
            cut_off: outcome.cut_off,
            first_dropped: flows(&outcome.first_dropped),
            first_early_dropped: flows(&outcome.first_early_dropped),
        }
    }
}

impl Lost {
    fn of(audit: &Audit, refused: &Refused) -> Self {
        let life = &refused.life;
        let (from, to) = life.key.endpoints(life.original);
        Self {
            frame: audit.inputs.place(life.frame).frame,
            at: refused.at.to_string(),
            from: from.to_string(),
            to: to.to_string(),
            protocol: life.key.protocol(),
        }
    }
}

impl Demand {
    fn of(demand: &crate::occupancy::Demand) -> Self {
        Self {
            service: demand.service.to_string(),
            made: demand.made,
            new_per_1000_s: demand.per_kilosecond,
            stay_ms: demand.stay_ms,
            entries: demand.needs,
            open: demand.open,
        }
    }
}

impl Row {
    fn of(relief: &Relief, table: &Assessment) -> Self {
        let untracked = match &relief.change {
            Change::Untracked(services) => services.iter().map(Service::to_string).collect(),
            _ => Vec::new(),
        };
        Self {
            change: change(&relief.change, &table.shorter),
            untracked,
            peak: relief.peak,
            percent_of_max: relief.percent,
            bytes_when_full: relief.bytes_when_full,
        }
    }
}
