//! The connection table: sentences, small tables, a plot's points, and what to do.

use crate::audit::Audit;
use crate::diagnose::{Remedy, relieve};
use crate::occupancy::{
    Assessment, Capacity, Change, Demand, Group, Moment, Origin, Outcome, Reading, Relief, Service,
    Share, Timeout,
};
use crate::report::{counted, grouped};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Points in time that a table of them shows.
const ROWS: usize = 12;
/// Points in time that a plot shows.
const PLOTTED: usize = 240;

/// A small table: the first column is text, the others are numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grid {
    /// What the rows are.
    pub title: &'static str,
    /// The heads of the other columns.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<(String, Vec<String>)>,
}

/// Everything that is told of the connection table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableFacts {
    /// The most entries, and how full that is, in one sentence.
    pub answer: String,
    /// What else is to be known of it: a sentence or two each.
    pub notes: Vec<String>,
    /// Numbers, in the order in which they are told.
    pub grids: Vec<Grid>,
    /// What a full table refuses; empty when it is never full.
    pub refused: Vec<String>,
    /// What to do, the best first.
    pub remedies: Vec<Remedy>,
    /// Entries over time, for a plot.
    pub moments: Vec<Moment>,
    /// The limit, for a plot.
    pub max: Option<u64>,
}

impl TableFacts {
    /// Collects what there is to tell; none when the table is not of interest.
    pub fn of(audit: &Audit) -> Option<Self> {
        if audit.table.is_none() && !audit.table_is_half_full() {
            return None;
        }
        let capacity = audit.capacity()?;
        let reading = audit.totals.occupancy.peak()?;
        let mut view = Self {
            answer: answer(audit, &capacity, &reading),
            notes: notes(audit, &capacity, &reading),
            grids: Vec::new(),
            refused: Vec::new(),
            remedies: Vec::new(),
            moments: audit.totals.occupancy.moments(PLOTTED),
            max: capacity.max,
        };
        if let Some(table) = audit.table.as_deref() {
            view.add(audit, table, &capacity);
        } else {
            view.grids = vec![over_time(audit, &capacity)];
            let note = "services, what a full table refuses and what relieves it: with --table, or \
                        with files that can be read twice";
            view.notes.push(note.to_owned());
        }
        Some(view)
    }

    /// Adds what only an assessed table tells.
    fn add(&mut self, audit: &Audit, table: &Assessment, capacity: &Capacity) {
        let waiting: u64 = table.peak.waiting.iter().sum();
        self.notes.push(format!(
            "{} of the entries at the peak only wait for their end: the capture holds no further \
             packet of them ({})",
            grouped(waiting),
            by_group(table.peak.waiting),
        ));
        if table.lives_not_kept > 0 {
            self.notes.push(format!(
                "{} came after the first 2,000,000: they are counted over time, and in nothing \
                 else here",
                counted_entries(table.lives_not_kept)
            ));
        }
        let peak = &table.peak;
        self.grids = vec![
            over_time(audit, capacity),
            by_state(table),
            shares("by service at the peak", &peak.services),
            shares("by network of the clients at the peak", &peak.prefixes),
            demand(&table.demand),
            reliefs(&table.reliefs, &table.shorter),
        ];
        self.grids.retain(|grid| !grid.rows.is_empty());
        self.notes.push(projection(table, capacity));
        self.refused = refused(audit, &table.outcome);
        self.remedies = relieve(table);
    }
}

fn answer(audit: &Audit, capacity: &Capacity, reading: &Reading) -> String {
    let limit = match (capacity.max, capacity.max_from) {
        (None, _) => "nf_conntrack_max=0 sets no limit".to_owned(),
        (Some(max), from) => {
            let percent = capacity.percent(reading.total()).unwrap_or(0);
            let from = match from {
                Origin::Given => "as given",
                Origin::Default => "the default with more than 4 GiB of memory",
            };
            format!("{percent} % of nf_conntrack_max={max}, {from}")
        }
    };
    let when = since(audit, reading.at);
    format!("{} at most, {when}: {limit}", counted_entries(reading.total()))
}

fn notes(audit: &Audit, capacity: &Capacity, reading: &Reading) -> Vec<String> {
    let occupancy = &audit.totals.occupancy;
    let mut notes = vec![
        format!("{} were made in the capture", counted_entries(occupancy.made())),
        "entries from before the capture count from their first packet in it; those without any \
         are unknown, so that the count begins too low"
            .to_owned(),
    ];
    if audit.totals.flows_picked_up > 0 {
        notes.push(format!(
            "{} had begun before the capture",
            counted(audit.totals.flows_picked_up, "TCP connection")
        ));
    }
    let policy = audit.method.policies.first();
    let counter = policy.map(|policy| occupancy.counter_peak(policy.profile.table_era()));
    if let Some(counter) = counter.filter(|counter| *counter > reading.total()) {
        notes.push(format!(
            "nf_conntrack_count may read up to {}: expired entries stay in it until the kernel's \
             collector passes, after 60 s at most",
            grouped(counter)
        ));
    }
    let (bare, extended) = capacity.bytes(reading.total());
    let (buckets, hundredths) = (capacity.buckets, capacity.chain_hundredths(reading.total()));
    let longest = audit
        .table
        .as_ref()
        .map_or_else(String::new, |table| format!(", {} the longest", table.peak.longest_chain));
    notes.push(format!(
        "that takes {} of memory ({} with NAT or accounting); with {} buckets a chain has \
         {}.{:02} links on average{longest}",
        bytes(bare),
        bytes(extended),
        grouped(buckets),
        hundredths / 100,
        hundredths % 100,
    ));
    if occupancy.step_seconds() > 1 {
        notes.push(format!(
            "the capture is so long that entries are counted every {} s, not every second",
            occupancy.step_seconds()
        ));
    }
    notes
}

/// Shows Little's law at work.
fn projection(table: &Assessment, capacity: &Capacity) -> String {
    if table.demand.is_empty() {
        return "the capture is too short to tell a rate of new entries".to_owned();
    }
    let needed = table.needed();
    let percent = capacity.percent(needed);
    let percent = percent.map_or_else(String::new, |percent| format!(", {percent} % of the limit"));
    format!(
        "in the long run, at this rate of new entries, the table holds {}{percent} (new entries per \
         second x seconds that one stays, and what is open at the end)",
        grouped(needed)
    )
}

fn refused(audit: &Audit, outcome: &Outcome) -> Vec<String> {
    let (Some(first), Some(last)) = (outcome.first, outcome.last) else { return Vec::new() };
    let mut lines = vec![format!(
        "it would have been full from {} to {}, in {} of the capture",
        since(audit, first),
        since(audit, last),
        counted(outcome.seconds, "second"),
    )];
    for (counts, what) in [
        (&outcome.dropped, "new flows would have been dropped ('table full, dropping packet')"),
        (&outcome.early_dropped, "entries not yet assured would have been given up for new ones"),
        (&outcome.collected, "entries would have been given up by the collector"),
    ] {
        let all: u64 = counts.values().sum();
        if all > 0 {
            let mut services: Vec<_> = counts.iter().collect();
            services.sort_by_key(|(service, count)| (u64::MAX - **count, **service));
            let shown = services.iter().take(4);
            let names: Vec<_> =
                shown.map(|(service, count)| format!("{service} {}", grouped(**count))).collect();
            lines.push(format!("{} {what}: {}", grouped(all), names.join(", ")));
        }
    }
    if outcome.cut_off > 0 {
        lines.push(format!(
            "{} of those given up had packets still to come, which are NEW or INVALID then",
            grouped(outcome.cut_off)
        ));
    }
    for (list, what) in [
        (&outcome.first_dropped, "first dropped"),
        (&outcome.first_early_dropped, "first given up"),
    ] {
        let flows: Vec<_> = list
            .iter()
            .map(|refused| {
                let (from, to) = refused.life.key.endpoints(refused.life.original);
                let frame = audit.inputs.place(refused.life.frame).frame;
                format!("{from} > {to} (frame {frame})")
            })
            .collect();
        if !flows.is_empty() {
            lines.push(format!("{what}: {}", flows.join(", ")));
        }
    }
    lines.push(
        "simulated in the order of the capture; a refused flow is taken to stay away, and which \
         entry of a chain is given up is chance in a kernel"
            .to_owned(),
    );
    lines
}

fn over_time(audit: &Audit, capacity: &Capacity) -> Grid {
    let moments = audit.totals.occupancy.moments(ROWS);
    let row = |moment: &Moment| {
        let total: u64 = moment.entries.iter().sum();
        let percent = capacity.percent(total);
        let mut cells = vec![
            grouped(total),
            percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
        ];
        cells.extend(moment.entries.map(grouped));
        cells.push(grouped(moment.made));
        (offset(audit, moment.at), cells)
    };
    Grid {
        title: "over time (the fullest second of each span)",
        columns: vec!["entries", "of limit", "TCP", "UDP", "other", "made"],
        rows: moments.iter().map(row).collect(),
    }
}

fn by_state(table: &Assessment) -> Grid {
    let total = table.peak.reading.total().max(1);
    let row = |(phase, entries): &(crate::occupancy::Phase, u64)| {
        let (protocol, state) = phase.words();
        let remark = if phase.is_over() { "only waiting" } else { "" };
        let cells = vec![grouped(*entries), format!("{} %", entries * 100 / total)];
        (format!("{protocol} {state} {remark}").trim_end().to_owned(), cells)
    };
    Grid {
        title: "by state at the peak",
        columns: vec!["entries", "share"],
        rows: table.peak.phases.iter().map(row).collect(),
    }
}

fn shares<T: std::fmt::Display>(title: &'static str, shares: &[Share<T>]) -> Grid {
    let row = |share: &Share<T>| {
        (share.of.to_string(), vec![grouped(share.entries), grouped(share.waiting)])
    };
    Grid { title, columns: vec!["entries", "waiting"], rows: shares.iter().map(row).collect() }
}

fn demand(demands: &[Demand]) -> Grid {
    let row = |demand: &Demand| {
        let cells = vec![
            thousandths(demand.per_kilosecond),
            thousandths(demand.stay_ms),
            grouped(demand.needs),
            grouped(demand.open),
        ];
        (demand.service.to_string(), cells)
    };
    Grid {
        title: "in the long run (Little's law)",
        columns: vec!["new/s", "x stay, s", "= entries", "+ open"],
        rows: demands.iter().take(ROWS / 2).map(row).collect(),
    }
}

fn reliefs(reliefs: &[Relief], shorter: &[Timeout]) -> Grid {
    let row = |relief: &Relief| {
        let cells = vec![
            grouped(relief.peak),
            relief.percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
            relief.bytes_when_full.map_or_else(|| "-".to_owned(), bytes),
        ];
        (change(&relief.change, shorter), cells)
    };
    Grid {
        title: "what would relieve it",
        columns: vec!["most entries", "of limit", "memory if full"],
        rows: reliefs.iter().map(row).collect(),
    }
}

/// Names a change.
pub(in crate::report) fn change(change: &Change, shorter: &[Timeout]) -> String {
    let timeouts = |is_tcp: bool| {
        let its = shorter.iter().filter(|timeout| timeout.key.contains("_tcp_") == is_tcp);
        its.count()
    };
    match change {
        Change::Nothing => "as it is".to_owned(),
        Change::Untracked(services) => {
            let names: Vec<_> = services.iter().map(Service::to_string).collect();
            format!("untracked: {}", names.join(", "))
        }
        Change::ShorterTcp => {
            format!("{} of TCP shorter", counted(timeouts(true) as u64, "timeout"))
        }
        Change::ShorterOthers => {
            format!("{} of UDP and others shorter", counted(timeouts(false) as u64, "timeout"))
        }
        Change::ShorterAll => "all of these timeouts shorter".to_owned(),
        Change::LargerTable(max) => format!("nf_conntrack_max={max}, as many buckets"),
    }
}

fn by_group(counts: [u64; 3]) -> String {
    let word = |(group, count): (Group, u64)| format!("{} {}", group.name(), grouped(count));
    let words: Vec<_> = Group::ALL.into_iter().zip(counts).map(word).collect();
    words.join(", ")
}

fn counted_entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{} entries", grouped(count)) }
}

/// Writes when something was: the time, and how long after the first frame.
fn since(audit: &Audit, at: Timestamp) -> String {
    let second = Timestamp(at.0.div_euclid(NANOS_PER_SEC) * NANOS_PER_SEC);
    let text = second.to_string();
    let text = text.strip_suffix(".000000000Z").map_or(text.clone(), |text| format!("{text}Z"));
    format!("{text} ({})", offset(audit, at))
}

fn offset(audit: &Audit, at: Timestamp) -> String {
    let first = audit.first_ts.unwrap_or(at);
    let tenths = at.nanos_since(first) / (NANOS_PER_SEC / 10);
    format!("+{}.{} s", tenths / 10, (tenths % 10).abs())
}

/// Writes thousandths with one decimal, rounded.
fn thousandths(number: u64) -> String {
    let tenths = number.saturating_add(50) / 100;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

fn bytes(count: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if count >> shift >= 1 {
            let tenths = (u128::from(count) * 10 + (1 << (shift - 1))) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit() {
        assert_eq!(bytes(17), "17 bytes");
        assert_eq!(bytes(66 << 20), "66.0 MiB");
        assert_eq!(bytes((98 << 20) + (1 << 19)), "98.5 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(thousandths(50_049), "50.0");
    }
}
