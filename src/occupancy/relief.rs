//! What would relieve the table, and what each would leave: counts side by side.
//!
//! Leaving a service untracked removes its entries and no others, so that its effect is counted
//! exactly; shorter timeouts were tracked by a tracker of their own.
//!
//! Does not: know how rules are written.

use crate::conntrack::Sysctls;
use crate::occupancy::capacity::Capacity;
use crate::occupancy::count::{Group, Occupancy};
use crate::occupancy::life::Life;
use crate::occupancy::series::Series;
use crate::occupancy::service::Service;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Services whose absence is counted each on its own.
pub(super) const SERVICES: usize = 3;

/// A change, and the most entries that it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relief {
    /// What is changed.
    pub change: Change,
    /// The most entries at the end of a second.
    pub peak: u64,
    /// How full the table then is, in percent; none without a bound.
    pub percent: Option<u64>,
    /// Bytes that the table takes when it is full, without extensions; none without a bound.
    pub bytes_when_full: Option<u64>,
}

/// What is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// These services are not tracked.
    Untracked(Vec<Service>),
    /// Timeouts of TCP are shorter.
    ShorterTcp,
    /// Timeouts of all other protocols are shorter.
    ShorterOthers,
    /// All of these timeouts are shorter.
    ShorterAll,
    /// `nf_conntrack_max` and `nf_conntrack_buckets` are larger.
    LargerTable(u64),
}

/// A timeout that could be shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout {
    /// Its key below `net.netfilter`.
    pub key: &'static str,
    /// Seconds now.
    pub from: i64,
    /// Seconds then.
    pub to: i64,
}

/// How short timeouts are made, in seconds. An established connection keeps the 2 h 4 min of RFC 5382
/// (REQ-5); UDP gets less than the 2 min of RFC 4787 (REQ-5), since it is queries that fill tables.
const SHORT: [(&str, i64); 9] = [
    ("nf_conntrack_generic_timeout", 120),
    ("nf_conntrack_tcp_timeout_close_wait", 30),
    ("nf_conntrack_tcp_timeout_established", 7440),
    ("nf_conntrack_tcp_timeout_fin_wait", 30),
    ("nf_conntrack_tcp_timeout_syn_recv", 30),
    ("nf_conntrack_tcp_timeout_syn_sent", 30),
    ("nf_conntrack_tcp_timeout_time_wait", 30),
    ("nf_conntrack_udp_timeout", 10),
    ("nf_conntrack_udp_timeout_stream", 60),
];

/// Returns settings with shorter timeouts, and which were shortened.
pub fn shorter(sysctls: &Sysctls) -> (Sysctls, Vec<Timeout>) {
    let mut short = *sysctls;
    let mut changed = Vec::new();
    for (key, to) in SHORT {
        let from = sysctls.timeout(key).unwrap_or(0) / NANOS_PER_SEC;
        // The key is known and the value in range: nothing can be refused.
        if to < from && short.set(key, &to.to_string()).is_ok() {
            changed.push(Timeout { key, from, to });
        }
    }
    (short, changed)
}

/// What the changes are compared on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) capacity: &'a Capacity,
    /// Entries as they are.
    pub(super) occupancy: &'a Occupancy,
    /// Entries with shorter timeouts.
    pub(super) shorter: &'a Occupancy,
    pub(super) lives: &'a [Life],
    /// The end of the capture: entries that end later are there to the last.
    pub(super) end: Timestamp,
    /// The most entries that the table must hold.
    pub(super) needed: u64,
}

/// Returns the changes, with the services in the order given, at most three.
pub(super) fn reliefs(ground: &Ground<'_>, services: &[Service]) -> Vec<Relief> {
    let capacity = *ground.capacity;
    let of = |change, peak| relief(change, peak, &capacity);
    let peak = |occupancy: &Occupancy| occupancy.peak().map_or(0, |reading| reading.total());
    let mut rows = vec![of(Change::Nothing, peak(ground.occupancy))];
    let mut sets: Vec<_> = services.iter().take(SERVICES).map(|service| vec![*service]).collect();
    if sets.len() > 1 {
        sets.push(sets.concat());
    }
    for (set, peak) in sets.iter().zip(peaks_without(ground, &sets)) {
        rows.push(of(Change::Untracked(set.clone()), peak));
    }
    rows.push(of(Change::ShorterTcp, mixed_peak(ground, &[Group::Tcp])));
    rows.push(of(Change::ShorterOthers, mixed_peak(ground, &[Group::Udp, Group::Other])));
    rows.push(of(Change::ShorterAll, peak(ground.shorter)));
    let as_is = peak(ground.occupancy);
    if let Some(larger) = larger(&capacity, ground.needed) {
        let change = Change::LargerTable(larger);
        rows.push(relief(
            change,
            as_is,
            &Capacity { max: Some(larger), buckets: larger, ..capacity },
        ));
    }
    rows
}

fn relief(change: Change, peak: u64, capacity: &Capacity) -> Relief {
    let bytes_when_full = capacity.max.map(|max| capacity.bytes(max).0);
    Relief { change, peak, percent: capacity.percent(peak), bytes_when_full }
}

/// Returns a size of which what is needed takes half at most: the next power of two; none when the
/// table is large enough.
fn larger(capacity: &Capacity, needed: u64) -> Option<u64> {
    let larger = needed.checked_mul(2)?.checked_next_power_of_two()?;
    let larger = larger.min(1 << 30);
    capacity.max.is_some_and(|max| max < larger).then_some(larger)
}

/// Returns the most entries without each of these sets of services.
fn peaks_without(ground: &Ground<'_>, sets: &[Vec<Service>]) -> [u64; SERVICES + 1] {
    let mut series = Series::<{ SERVICES + 1 }>::default();
    for life in ground.lives {
        let service = Service::of(life);
        for (column, set) in sets.iter().enumerate().filter(|(_, set)| !set.contains(&service)) {
            debug_assert!(column <= SERVICES && !set.is_empty());
            series.add(life.start, column, 1);
            if life.end <= ground.end {
                series.add(life.end, column, -1);
            }
        }
    }
    series.steps().fold([0; SERVICES + 1], |peaks, step| {
        std::array::from_fn(|column| {
            let sum = step.sums.get(column).copied().unwrap_or(0);
            let peak: u64 = peaks.get(column).copied().unwrap_or(0);
            peak.max(u64::try_from(sum).unwrap_or(0))
        })
    })
}

/// Returns the most entries when these protocols have shorter timeouts and the others have not.
fn mixed_peak(ground: &Ground<'_>, short: &[Group]) -> u64 {
    let is_short = |group: &Group| short.contains(group);
    let tagged = |occupancy: &Occupancy, is_short| {
        let readings: Vec<_> = occupancy.readings().collect();
        readings.into_iter().map(move |reading| (reading, is_short))
    };
    let mut readings: Vec<_> =
        tagged(ground.occupancy, false).chain(tagged(ground.shorter, true)).collect();
    readings.sort_by_key(|(reading, _)| reading.at);
    let mut latest = [[0; 3]; 2];
    let mut peak = 0;
    for at_once in readings.chunk_by(|(a, _), (b, _)| a.at == b.at) {
        for (reading, is_short) in at_once {
            if let Some(place) = latest.get_mut(usize::from(*is_short)) {
                *place = reading.entries;
            }
        }
        let [as_is, shorter] = latest;
        let counts = Group::ALL.iter().zip(as_is.into_iter().zip(shorter));
        let total =
            counts.map(|(group, (as_is, shorter))| if is_short(group) { shorter } else { as_is });
        peak = peak.max(total.sum());
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Profile;
    use crate::conntrack::TableSize;
    use crate::occupancy::life::Phase;
    use crate::tuple::FlowKey;

    fn second(n: u64) -> Timestamp {
        Timestamp::from_parts(i64::try_from(n).unwrap(), 0)
    }

    #[test]
    fn timeouts_are_only_ever_shortened() {
        let mut sysctls = Sysctls::default();
        sysctls.set("nf_conntrack_udp_timeout", "5").unwrap();
        let (short, changed) = shorter(&sysctls);
        assert_eq!(changed.len(), SHORT.len() - 1);
        assert!(changed.iter().all(|timeout| timeout.to < timeout.from));
        assert_eq!(short.timeout("nf_conntrack_udp_timeout"), Some(5 * NANOS_PER_SEC));
        assert_eq!(short.timeout("nf_conntrack_udp_timeout_stream"), Some(60 * NANOS_PER_SEC));
    }

    #[test]
    fn each_change_leaves_what_it_leaves() {
        // 20 DNS queries of 30 s, 10 s with shorter timeouts; 5 HTTPS connections of 100 s.
        let (mut occupancy, mut short, mut lives) = <(Occupancy, Occupancy, Vec<_>)>::default();
        let mut add = |group: Group, port: u16, n: u16, start: u64, stay: u64, brief: u64| {
            let protocol = if group == Group::Tcp { 6 } else { 17 };
            let key = FlowKey::of_v4(protocol, (1, 1024 + n), (2, port)).0;
            let life = Life::new(key, u64::from(n), second(start), Phase::UdpUnreplied);
            lives.push(Life { end: second(start + stay), ..life });
            for (counts, stay) in [(&mut occupancy, stay), (&mut short, brief)] {
                counts.open(second(start), group);
                counts.close(second(start + stay), group);
            }
        };
        (0..20).for_each(|n| add(Group::Udp, 53, n, u64::from(n), 30, 10));
        (0..5).for_each(|n| add(Group::Tcp, 443, n, 3, 100, 100));
        let set = TableSize { max: Some(20), ..TableSize::default() };
        let ground = Ground {
            capacity: &Capacity::of(Profile::DEFAULT, set),
            occupancy: &occupancy,
            shorter: &short,
            lives: &lives,
            end: second(200),
            needed: 25,
        };
        let (dns, https) =
            (Service { protocol: 17, port: Some(53) }, Service { protocol: 6, port: Some(443) });
        let rows = reliefs(&ground, &[dns, https]);
        let found: Vec<_> = rows.iter().map(|row| (row.change.clone(), row.peak)).collect();
        assert_eq!(
            found,
            [
                (Change::Nothing, 25),
                (Change::Untracked(vec![dns]), 5),
                (Change::Untracked(vec![https]), 20),
                (Change::Untracked(vec![dns, https]), 0),
                (Change::ShorterTcp, 25),
                (Change::ShorterOthers, 15),
                (Change::ShorterAll, 15),
                (Change::LargerTable(64), 25),
            ]
        );
        assert_eq!(rows[0].percent, Some(125));
        assert_eq!(rows[7].percent, Some(39));
    }
}
