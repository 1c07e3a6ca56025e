//! Connections seen before and after address translation: two flows of the capture, one connection.
//!
//! Their SYNs are one packet: two of initial number, clock and identification are the same, within a
//! moment, at different hops or interfaces, and between endpoints of which one is the same. The flow
//! whose SYN has passed more hops, or else comes later, is nearer to the responder, and causes look
//! at that one; the other is evidence of what the device between them does.
//!
//! Between two places a moment is what is left once the difference of their clocks is taken off. It is
//! that of the connections captured at both, or the median of all SYNs that may be pairs. Two flows of
//! the same endpoints are one connection where the one was forgotten before the other came.
//!
//! Does not: join flows of which the capture holds no SYN.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{Audit, Opening, median};
use crate::diagnose::clocks::Clocks;
use crate::segment::{Flags, Segment};
use crate::time::NANOS_PER_SEC;
use crate::tuple::Vantage;

/// The time within which a SYN passes a device.
const PASSING_NS: i64 = NANOS_PER_SEC / 10;
/// SYNs that look alike: from this number on it is a scan.
const SCAN: usize = 4;

/// Two sights of one connection under different addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pair<'a> {
    /// The SYN nearer to the originator.
    pub(super) before: &'a Opening,
    /// The SYN nearer to the responder.
    pub(super) after: &'a Opening,
}

impl Pair<'_> {
    /// Returns whether the source was translated.
    pub(super) fn changes_source(&self) -> bool {
        self.before.endpoints().0 != self.after.endpoints().0
    }

    /// Returns whether the destination was translated.
    pub(super) fn changes_destination(&self) -> bool {
        self.before.endpoints().1 != self.after.endpoints().1
    }

    /// Says what else is different at the place nearer to the originator.
    pub(super) fn changes(&self) -> Vec<String> {
        changes(&self.after.segment, &self.before.segment)
    }
}

/// Says what differs between two sights of one SYN, from the first to the second.
pub(super) fn changes(one: &Segment, other: &Segment) -> Vec<String> {
    let mut changes = Vec::new();
    let (old, new) = (&one.options, &other.options);
    let shift = other.seq.0.wrapping_sub(one.seq.0).cast_signed();
    if shift != 0 {
        changes.push(format!("sequence numbers {shift:+}"));
    }
    if one.ttl != other.ttl {
        changes.push(format!("TTL {} to {}", one.ttl, other.ttl));
    }
    let mss = |mss: Option<u16>| mss.map_or_else(|| "none".to_owned(), |mss| mss.to_string());
    if old.mss != new.mss {
        changes.push(format!("MSS {} to {}", mss(old.mss), mss(new.mss)));
    }
    let scale = |scale: Option<u8>| scale.map_or_else(|| "none".to_owned(), |s| s.to_string());
    if old.wscale != new.wscale {
        changes.push(format!("window scale {} to {}", scale(old.wscale), scale(new.wscale)));
    }
    let told = |is_there: bool| if is_there { "added" } else { "removed" };
    if old.sack_permitted != new.sack_permitted {
        changes.push(format!("SACK permission {}", told(new.sack_permitted)));
    }
    if old.timestamps.is_some() != new.timestamps.is_some() {
        changes.push(format!("timestamps {}", told(new.timestamps.is_some())));
    }
    changes
}

/// What a device that translates addresses leaves as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    clock: Option<u32>,
    ip_id: u16,
    /// The initial number, where nothing else tells SYNs apart.
    seq: u32,
}

/// Finds the connections that are there as two flows.
pub(super) fn pairs<'a>(audit: &'a Audit, clocks: &Clocks) -> Vec<Pair<'a>> {
    let mut alike: Vec<(Identity, &Opening)> = Vec::new();
    for opening in audit.openings.iter().filter(|opening| !opening.segment.has(Flags::ACK)) {
        let clock = opening.segment.options.timestamps.map(|timestamps| timestamps.value);
        let (ip_id, seq) = (opening.segment.ip_id, opening.segment.seq.0);
        alike.push((Identity { clock, ip_id: 0, seq }, opening));
        if clock.is_some() && ip_id != 0 {
            // A device that changes numbers as well.
            alike.push((Identity { clock, ip_id, seq: 0 }, opening));
        }
    }
    alike.sort_unstable_by_key(|(identity, opening)| (*identity, opening.clock, opening.frame));
    let mut candidates = Vec::new();
    for openings in alike.chunk_by(|(one, _), (other, _)| one == other) {
        if !(2..SCAN).contains(&openings.len()) {
            continue;
        }
        let neighbours = openings.iter().zip(openings.iter().skip(1));
        let pairs = neighbours.map(|((_, first), (_, second))| in_order(first, second));
        candidates.extend(pairs.filter(|pair| is_one(pair.before, pair.after)));
    }
    let ahead = ahead(&candidates, clocks);
    let mut taken = BTreeSet::new();
    candidates.retain(|pair| is_soon(pair, &ahead) && taken.insert(pair.after.flow));
    candidates.sort_by_key(|pair| pair.before.frame);
    candidates
}

/// Puts the sight nearer to the originator first.
fn in_order<'a>(first: &'a Opening, second: &'a Opening) -> Pair<'a> {
    let is_elsewhere = first.vantage != second.vantage;
    if is_elsewhere && first.segment.ttl < second.segment.ttl {
        return Pair { before: second, after: first };
    }
    Pair { before: first, after: second }
}

/// Returns whether two SYNs are one packet as far as they tell themselves.
fn is_one(before: &Opening, after: &Opening) -> bool {
    let (one, other) = (&before.segment, &after.segment);
    let (from, to) = (before.endpoints(), after.endpoints());
    let keeps_an_end = from.0 == to.0 || from.1 == to.1;
    let same_id = one.ip_id == other.ip_id && one.ip_id != 0;
    let same_clock = one.options.timestamps.is_some()
        && one.options.timestamps.map(|ts| ts.value) == other.options.timestamps.map(|ts| ts.value);
    let same_seq = one.seq == other.seq;
    let is_named = [same_clock, same_id, same_seq].into_iter().filter(|holds| *holds).count() > 1;
    let is_other_place = before.vantage != after.vantage;
    let is_elsewhere = one.ttl != other.ttl || is_other_place;
    let is_other_flow = before.key != after.key || is_other_place;
    before.flow != after.flow && is_other_flow && is_elsewhere && is_named && keeps_an_end
}

/// The place of the sight before, and that of the sight after.
const fn places(pair: &Pair<'_>) -> (Vantage, Vantage) {
    (pair.before.vantage, pair.after.vantage)
}

const fn later(pair: &Pair<'_>) -> i64 {
    pair.after.ts.nanos_since(pair.before.ts)
}

/// Returns by how much the clock of one place is ahead of that of another, for all that may be pairs.
fn ahead(candidates: &[Pair<'_>], clocks: &Clocks) -> BTreeMap<(Vantage, Vantage), i64> {
    let mut seen: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for pair in candidates.iter().filter(|pair| pair.before.vantage != pair.after.vantage) {
        seen.entry(places(pair)).or_default().push(later(pair));
    }
    let of = |((here, there), later): ((Vantage, Vantage), Vec<i64>)| {
        let known = clocks.ahead(there, here).or_else(|| median(later))?;
        Some(((here, there), known))
    };
    seen.into_iter().filter_map(of).collect()
}

/// Returns whether the sight after comes a moment after the one before, once the difference of the
/// clocks is taken off.
fn is_soon(pair: &Pair<'_>, ahead: &BTreeMap<(Vantage, Vantage), i64>) -> bool {
    match ahead.get(&places(pair)) {
        Some(ahead) => later(pair).saturating_sub(*ahead).abs() < PASSING_NS,
        None => (0..PASSING_NS).contains(&later(pair)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Options, TcpTimestamps};
    use crate::seq::SeqNum;
    use crate::time::Timestamp;
    use crate::tuple::{FlowKey, Orientation};

    fn syn() -> Segment {
        let timestamps = Some(TcpTimestamps { value: 9, echo: 0 });
        let options =
            Options { mss: Some(1460), wscale: Some(7), timestamps, ..Options::default() };
        Segment { seq: SeqNum(100), ttl: 64, options, ..Segment::default() }
    }

    /// A SYN from 10.0.0.1 at the first interface, at the beginning.
    fn opening() -> Opening {
        let (key, orientation) = flow([10, 0, 0, 1], [192, 0, 2, 80]);
        Opening {
            frame: 1,
            ts: Timestamp(0),
            clock: Timestamp(0),
            flow: 1,
            key,
            orientation,
            vantage: Vantage::default(),
            segment: Segment { ip_id: 7, ..syn() },
        }
    }

    fn flow(from: [u8; 4], to: [u8; 4]) -> (FlowKey, Orientation) {
        FlowKey::of_v4(6, (u32::from_be_bytes(from), 4000), (u32::from_be_bytes(to), 443))
    }

    /// The same SYN behind a router that translates, a moment later.
    fn translated() -> Opening {
        let (key, orientation) = flow([198, 51, 100, 1], [192, 0, 2, 80]);
        let segment = Segment { ttl: 63, ..opening().segment };
        Opening { frame: 2, ts: Timestamp(50_000), flow: 2, key, orientation, segment, ..opening() }
    }

    fn other_place(opening: Opening) -> Opening {
        let vantage = Vantage { interface: 1, ..opening.vantage };
        Opening { vantage, ..opening }
    }

    #[test]
    fn two_sights_are_one_packet_where_two_of_its_names_agree_at_another_hop_and_one_end() {
        assert!(is_one(&opening(), &translated()));
        let same_hop = Opening { segment: opening().segment, ..translated() };
        assert!(!is_one(&opening(), &same_hop));
        assert!(is_one(&opening(), &other_place(same_hop)));
        let (key, orientation) = flow([198, 51, 100, 1], [192, 0, 2, 81]);
        assert!(!is_one(&opening(), &Opening { key, orientation, ..translated() }));
        let mut renamed = translated();
        (renamed.segment.ip_id, renamed.segment.options.timestamps) = (8, None);
        assert!(!is_one(&opening(), &renamed), "nothing but its number");
        let here =
            Opening { key: opening().key, orientation: opening().orientation, ..translated() };
        assert!(!is_one(&opening(), &here), "the same endpoints at the same place");
        assert!(is_one(&opening(), &other_place(here)));
    }

    #[test]
    fn the_sight_of_more_hops_is_nearer_to_the_responder_whatever_the_clocks_of_two_places_say() {
        let (near, far) = (opening(), translated());
        assert_eq!(in_order(&far, &near).before.frame, 2, "one place has one clock");
        let far = other_place(far);
        assert_eq!(in_order(&far, &near).before.frame, 1);
        assert_eq!(in_order(&near, &far).before.frame, 1);
    }

    #[test]
    fn a_moment_is_what_is_left_without_the_difference_of_the_clocks() {
        let late = |nanos| Opening { ts: Timestamp(nanos), ..translated() };
        let soon = |after: &Opening, ahead: &BTreeMap<_, _>| {
            is_soon(&Pair { before: &opening(), after }, ahead)
        };
        let unknown = BTreeMap::new();
        assert!(soon(&late(PASSING_NS - 1), &unknown));
        assert!(!soon(&late(PASSING_NS), &unknown));
        assert!(!soon(&late(-1), &unknown));
        let after = other_place(late(5 * NANOS_PER_SEC + PASSING_NS / 2));
        let places = (opening().vantage, after.vantage);
        assert!(soon(&after, &BTreeMap::from([(places, 5 * NANOS_PER_SEC)])));
        assert!(!soon(&after, &BTreeMap::from([(places, 4 * NANOS_PER_SEC)])));
    }

    #[test]
    fn what_a_device_changed_is_told_in_words() {
        let mut after = Segment { seq: SeqNum(40), ttl: 63, ..syn() };
        after.options.mss = Some(1380);
        after.options.wscale = None;
        after.options.timestamps = None;
        assert_eq!(
            changes(&syn(), &after),
            [
                "sequence numbers -60",
                "TTL 64 to 63",
                "MSS 1460 to 1380",
                "window scale 7 to none",
                "timestamps removed"
            ]
        );
        assert!(changes(&syn(), &syn()).is_empty());
    }
}
