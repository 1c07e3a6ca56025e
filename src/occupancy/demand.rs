//! How many entries a service needs in the long run: the projection beyond the capture.
//!
//! Little's law: entries = new entries per second x seconds that one stays. It holds for the mean of
//! any system that neither grows nor shrinks (Little, Operations Research 9 (3), 1961). An entry
//! stays as long as its packets and the timeouts say, beyond the end of the capture too; connections
//! that are open at the end stay for a time that nobody knows, and are counted as they are.
//!
//! Does not: know the size of a table.

use std::collections::BTreeMap;

use crate::conntrack::TcpState;
use crate::occupancy::life::{Life, Phase};
use crate::occupancy::service::Service;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// What a service needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// The service.
    pub service: Service,
    /// New entries in the capture whose stay is known.
    pub made: u64,
    /// New entries in 1000 seconds.
    pub per_kilosecond: u64,
    /// How long one stays, in milliseconds, on average.
    pub stay_ms: u64,
    /// Entries needed, by Little's law.
    pub needs: u64,
    /// Connections open when the capture ended, which are not part of that.
    pub open: u64,
}

/// The demand of one service while it is summed up.
#[derive(Default)]
struct Sum {
    made: u64,
    stay_ms: u64,
    open: u64,
}

/// Returns what each service needs, the most demanding first; nothing when the capture is shorter
/// than a second, which tells no rate.
pub(super) fn demand(lives: &[Life], begin: Timestamp, end: Timestamp) -> Vec<Demand> {
    let span_ms = u64::try_from(end.nanos_since(begin) / NANOS_PER_MILLI).unwrap_or(0);
    if end.nanos_since(begin) < NANOS_PER_SEC {
        return Vec::new();
    }
    let mut sums: BTreeMap<Service, Sum> = BTreeMap::new();
    for life in lives {
        let sum = sums.entry(Service::of(life)).or_default();
        if life.end > end && is_open(life.phase) {
            sum.open += 1;
        } else {
            sum.made += 1;
            let stay_ms = life.end.nanos_since(life.start) / NANOS_PER_MILLI;
            sum.stay_ms = sum.stay_ms.saturating_add(u64::try_from(stay_ms).unwrap_or(0));
        }
    }
    let of = |(service, sum): (Service, Sum)| Demand {
        service,
        made: sum.made,
        per_kilosecond: sum.made.saturating_mul(1_000_000) / span_ms,
        stay_ms: sum.stay_ms / sum.made.max(1),
        needs: sum.stay_ms / span_ms,
        open: sum.open,
    };
    let mut demands: Vec<_> = sums.into_iter().map(of).collect();
    demands.sort_by_key(|demand| (u64::MAX - demand.needs - demand.open, demand.service));
    demands
}

const NANOS_PER_MILLI: i64 = 1_000_000;

const fn is_open(phase: Phase) -> bool {
    matches!(phase, Phase::Tcp(TcpState::SynRecv | TcpState::Established))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::FlowKey;

    #[test]
    fn entries_needed_are_their_rate_times_their_stay() {
        let second = |n: i64| Timestamp::from_parts(n, 0);
        let life = |n: i64, stay: i64, phase| {
            let port = u16::try_from(1024 + n).unwrap();
            let key = FlowKey::of_v4(17, (1, port), (2, 53)).0;
            Life { end: second(n / 50 + stay), ..Life::new(key, 1, second(n / 50), phase) }
        };
        // 50 new entries a second for 10 s, each for 30 s.
        let mut lives: Vec<_> = (0..500).map(|n| life(n, 30, Phase::UdpReplied)).collect();
        lives.push(life(7, 432_000, Phase::Tcp(TcpState::Established)));
        let found = demand(&lives, second(0), second(10));
        assert_eq!(found.len(), 1);
        let Demand { made, per_kilosecond, stay_ms, needs, open, .. } = found[0];
        assert_eq!((made, per_kilosecond, stay_ms, needs, open), (500, 50_000, 30_000, 1500, 1));
        assert!(demand(&lives, second(0), second(0)).is_empty());
    }
}
