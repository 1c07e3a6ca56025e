//! By how much the clocks of two places differ, from the handshakes that both of them captured.
//!
//! Does not: change any time.

use std::collections::BTreeMap;

use crate::audit::{Audit, ClockDifference};
use crate::diagnose::seen_twice::place;
use crate::diagnose::{counted, quality::seconds};
use crate::flow::{FlowSightings, Way};
use crate::tuple::Vantage;

/// A difference that is told: 1 ms is more than two taps of one machine differ by.
const LEAST_TOLD_NS: i64 = 1_000_000;
/// The pairs of places that are told.
const MAX_TOLD: usize = 4;

/// Two places, the lower one first.
type Places = (Vantage, Vantage);
/// By how much later the second of two places has the SYN, and the SYN-ACK.
type Later = (Option<i64>, Option<i64>);

/// The clocks of all pairs of places, the lower place first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Clocks(BTreeMap<(Vantage, Vantage), ClockDifference>);

impl Clocks {
    /// Compares the clocks of all places at which connections were captured several times.
    pub(super) fn of(audit: &Audit) -> Self {
        let mut samples: BTreeMap<Places, Vec<Later>> = BTreeMap::new();
        for flow in &audit.sightings {
            if let Some((places, both)) = sample(flow) {
                samples.entry(places).or_default().push(both);
            }
        }
        let all = samples.into_iter();
        Self(all.filter_map(|(places, seen)| Some((places, ClockDifference::of(&seen)?))).collect())
    }

    /// Returns by how much the clock of a place is ahead of that of another, in nanoseconds.
    pub(super) fn ahead(&self, place: Vantage, of: Vantage) -> Option<i64> {
        if place == of {
            return Some(0);
        }
        let found =
            |low, high| self.0.get(&(low, high)).map(|found: &ClockDifference| found.ahead_ns);
        found(of, place).or_else(|| found(place, of).map(i64::wrapping_neg))
    }

    /// Says which clocks differ, in words; nothing where none does.
    pub(super) fn sentences(&self, audit: &Audit) -> Vec<String> {
        let told = self.0.iter().filter(|(_, found)| found.matters(LEAST_TOLD_NS)).take(MAX_TOLD);
        let sentence = |((low, high), difference): (&(Vantage, Vantage), &ClockDifference)| {
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
fn sample(flow: &FlowSightings) -> Option<(Places, Later)> {
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
