//! By how much the clocks of two places differ, from the handshakes that both of them captured.
//!
//! A SYN and its answer pass two places in opposite order. So half the sum of the two differences in
//! time is that of the clocks, and half their difference is what a packet takes between the places.
//! The median over all connections counts.
//!
//! Does not: change any time.

use std::collections::BTreeMap;

use crate::audit::Audit;
use crate::diagnose::seen_twice::place;
use crate::diagnose::{counted, quality::seconds};
use crate::flow::{FlowSightings, Way};
use crate::tuple::Vantage;

/// A difference that is told: 1 ms is more than two taps of one machine differ by.
const LEAST_TOLD_NS: i64 = 1_000_000;
/// The pairs of places that are told.
const MAX_TOLD: usize = 4;

/// How the clock of one place stands to that of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    /// By how much the clock of the second place is ahead, in nanoseconds.
    pub(super) ahead_ns: i64,
    /// What a packet takes from one to the other, in nanoseconds; none where only one way was seen.
    pub(super) passing_ns: Option<i64>,
    /// The connections that it rests on.
    pub(super) flows: u64,
}

/// The clocks of all pairs of places, the lower place first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Clocks(BTreeMap<(Vantage, Vantage), Difference>);

impl Clocks {
    /// Compares the clocks of all places at which connections were captured several times.
    pub(super) fn of(audit: &Audit) -> Self {
        let mut samples: BTreeMap<_, Vec<(Option<i64>, Option<i64>)>> = BTreeMap::new();
        for flow in &audit.sightings {
            if let Some((places, both)) = sample(flow) {
                samples.entry(places).or_default().push(both);
            }
        }
        let all = samples.into_iter();
        Self(all.filter_map(|(places, seen)| Some((places, difference(&seen)?))).collect())
    }

    /// Returns by how much the clock of a place is ahead of that of another, in nanoseconds.
    pub(super) fn ahead(&self, place: Vantage, of: Vantage) -> Option<i64> {
        if place == of {
            return Some(0);
        }
        let found = |low, high| self.0.get(&(low, high)).map(|found: &Difference| found.ahead_ns);
        found(of, place).or_else(|| found(place, of).map(i64::wrapping_neg))
    }

    /// Says which clocks differ, in words; nothing where none does.
    pub(super) fn sentences(&self, audit: &Audit) -> Vec<String> {
        let differs = |difference: &Difference| {
            difference.ahead_ns.abs() > difference.passing_ns.unwrap_or(0).max(LEAST_TOLD_NS)
        };
        let told = self.0.iter().filter(|(_, difference)| differs(difference)).take(MAX_TOLD);
        let sentence = |((low, high), difference): (&(Vantage, Vantage), &Difference)| {
            let words = if difference.ahead_ns > 0 { "ahead of" } else { "behind" };
            format!(
                "the clock of {} is {} {words} that of {}, by {}",
                place(audit, *high),
                seconds(difference.ahead_ns.abs()),
                place(audit, *low),
                counted(difference.flows, "connection")
            )
        };
        told.map(sentence).collect()
    }
}

/// Returns two places of a connection, the lower one first, and by how much later its SYN and its
/// SYN-ACK have the time of the other one.
fn sample(flow: &FlowSightings) -> Option<((Vantage, Vantage), (Option<i64>, Option<i64>))> {
    let opening = flow.sightings.way(flow.original);
    let answer = flow.sightings.way(flow.original.flip());
    let (syn, syn_ack) = (later(opening), later(answer));
    let places = syn.or(syn_ack)?.0;
    let of_these = |seen: Option<((Vantage, Vantage), i64)>| {
        seen.filter(|(found, _)| *found == places).map(|(_, later)| later)
    };
    Some((places, (of_these(syn), of_these(syn_ack))))
}

fn later(way: &Way) -> Option<((Vantage, Vantage), i64)> {
    let (here, there) = (way.here?, way.elsewhere?);
    let (one, other) = (here.mark.vantage, there.mark.vantage);
    let later = there.ts.nanos_since(here.ts);
    match one.cmp(&other) {
        std::cmp::Ordering::Less => Some(((one, other), later)),
        std::cmp::Ordering::Greater => Some(((other, one), -later)),
        std::cmp::Ordering::Equal => None,
    }
}

fn difference(samples: &[(Option<i64>, Option<i64>)]) -> Option<Difference> {
    let both: Vec<_> = samples.iter().filter_map(|(syn, ack)| Some(((*syn)?, (*ack)?))).collect();
    let flows = u64::try_from(if both.is_empty() { samples.len() } else { both.len() }).ok()?;
    if both.is_empty() {
        let any = samples.iter().filter_map(|(syn, ack)| syn.or(*ack)).collect();
        return Some(Difference { ahead_ns: median(any)?, passing_ns: None, flows });
    }
    let ahead = both.iter().map(|(syn, ack)| i64::midpoint(*syn, *ack)).collect();
    let passing = both.iter().map(|(syn, ack)| (syn.saturating_sub(*ack) / 2).abs()).collect();
    Some(Difference { ahead_ns: median(ahead)?, passing_ns: median(passing), flows })
}

/// Returns the middle one of these.
pub(super) fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_back_tells_clock_and_path_apart() {
        // 5 s ahead, 2 ms away.
        let found = difference(&[(Some(5_002_000_000), Some(4_998_000_000))]).unwrap();
        assert_eq!((found.ahead_ns, found.passing_ns), (5_000_000_000, Some(2_000_000)));
    }

    #[test]
    fn one_odd_connection_does_not_move_the_median() {
        let odd = (Some(90_000_000_000), Some(90_000_000_000));
        let usual = (Some(1_000), Some(3_000));
        assert_eq!(difference(&[usual, odd, usual]).unwrap().ahead_ns, 2_000);
        assert_eq!(difference(&[]), None);
    }
}
