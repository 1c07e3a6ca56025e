//! The clocks of several files: by how much each is ahead of another that holds the same
//! connections.
//!
//! The beginning of every file is looked at for SYNs and SYN-ACKs, and for some of all other segments,
//! the same ones in every file. One that two files hold, by its endpoints, number, clock and
//! identification, tells by how much later the one has it; from those of both ways the difference of
//! the clocks follows. Files whose clocks differ by less than the path
//! between them explains are left as they are: they are in order.
//!
//! Does not: change anything itself; what is not found here is left out flow by flow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::audit::{ClockDifference, median};
use crate::flow::is_same_elsewhere;
use crate::frame::Batch;
use crate::segment::{Flags, Segment};
use crate::source::{self, FrameSource, SetBack, Timeline};
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::{FlowKey, Orientation};
use crate::wire::{Decoded, Tunnels, decode, decode_innermost, packets};

/// Frames that are looked at of all files together: a second's work.
const MAX_FRAMES: usize = 2_000_000;
/// The same of one file.
const MAX_FRAMES_EACH: usize = 400_000;
/// Segments that are kept of one file.
const MAX_SIGHTS: usize = 10_000;
/// SYNs and SYN-ACKs of the same endpoints and way that are kept of all files: beyond is a scan.
const MAX_ALIKE: usize = 64;
/// Other segments of the same endpoints and way that are kept of one file.
const MAX_SAMPLES: usize = 32;
/// One of so many other segments is looked at.
const SAMPLED: u64 = 32;
/// A difference of clocks that matters: 1 ms.
const LEAST_NS: i64 = 1_000_000;
/// The same where only one way was captured, so that the path cannot be told from the clocks.
const LEAST_ONE_WAY_NS: i64 = NANOS_PER_SEC;
/// How far most differences may lie from the one in the middle.
const SPREAD_NS: i64 = NANOS_PER_SEC / 10;

/// A segment in one of the files.
#[derive(Clone, Copy)]
struct Sight {
    file: usize,
    ts: Timestamp,
    segment: Segment,
}

type Ways = BTreeMap<(FlowKey, bool), Vec<Sight>>;
/// By how much later the second of two files has segments of either way, flow by flow.
type Samples = BTreeMap<(usize, usize), BTreeMap<FlowKey, (Option<i64>, Option<i64>)>>;

/// Compares the clocks of files; returns those that are ahead of, or behind, an earlier one.
pub fn align(paths: &[PathBuf], tunnels: Tunnels) -> BTreeMap<PathBuf, SetBack> {
    let each = (MAX_FRAMES / paths.len().max(1)).min(MAX_FRAMES_EACH);
    let mut ways = Ways::new();
    for (file, path) in paths.iter().enumerate() {
        look(path, (file, each), tunnels, &mut ways);
    }
    let mut samples = Samples::new();
    for ((key, is_high), sights) in &ways {
        compare((key, *is_high), sights, &mut samples);
    }
    let links = samples.into_iter().filter_map(|(files, seen)| Some((files, link(&seen)?)));
    let set_back = spread(&links.collect(), paths.len());
    let of = |(file, back): (usize, SetBack)| Some((paths.get(file)?.clone(), back));
    set_back.into_iter().filter_map(of).collect()
}

/// Collects the SYNs and SYN-ACKs at the beginning of a file.
fn look(path: &Path, (file, most): (usize, usize), tunnels: Tunnels, ways: &mut Ways) {
    let Ok(mut source) = source::open(path, Timeline::default()) else { return };
    let (mut batch, mut frames, mut kept) = (Batch::default(), 0, 0);
    while frames < most && kept < MAX_SIGHTS && source.fill(&mut batch).is_ok_and(|more| more) {
        for frame in batch.frames(0..batch.len()).flat_map(|frame| packets(&frame)) {
            let decoded = match tunnels {
                Tunnels::Opened => decode_innermost(&frame, crate::wire::Checksums::Ignored),
                Tunnels::Closed => decode(&frame),
            };
            let Decoded::Segment(packet) = decoded else { continue };
            let segment = packet.segment;
            if segment.fault.is_some() || !segment.has(Flags::SYN) && !is_sampled(&segment) {
                continue;
            }
            let is_high = packet.orientation == Orientation::HighToLow;
            let seen = ways.entry((packet.key, is_high)).or_default();
            let (most, counted) = if segment.has(Flags::SYN) {
                (MAX_ALIKE, seen.iter().filter(|it| it.segment.has(Flags::SYN)).count())
            } else {
                (MAX_SAMPLES, seen.iter().filter(|it| it.file == file).count())
            };
            if counted < most {
                seen.push(Sight { file, ts: frame.ts, segment });
                kept += 1;
            }
        }
        frames += batch.len();
    }
}

/// Chooses segments that tell themselves from all others of their sender, by what they are.
fn is_sampled(segment: &Segment) -> bool {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let Some(timestamps) = segment.options.timestamps.filter(|_| segment.ip_id != 0) else {
        return false;
    };
    let name = u64::from(timestamps.value) << 16 | u64::from(segment.ip_id);
    (name.wrapping_mul(GOLDEN) >> 32).is_multiple_of(SAMPLED)
}

/// Compares the sights of one way of a pair of endpoints.
fn compare((key, is_high): (&FlowKey, bool), sights: &[Sight], samples: &mut Samples) {
    for (at, one) in sights.iter().enumerate() {
        for other in sights.iter().skip(at + 1).filter(|other| other.file != one.file) {
            let (first, second) = if one.file < other.file { (one, other) } else { (other, one) };
            if !is_one(&first.segment, &second.segment) {
                continue;
            }
            let later = second.ts.nanos_since(first.ts);
            let flows = samples.entry((first.file, second.file)).or_default();
            let (low, high) = flows.entry(*key).or_default();
            let way = if is_high { high } else { low };
            way.get_or_insert(later);
        }
    }
}

/// Returns whether two segments between the same endpoints are one. The clock alone tells answers to
/// a SYN: a device may have changed their numbers, and most have no identification.
fn is_one(first: &Segment, second: &Segment) -> bool {
    let clock = |segment: &Segment| segment.options.timestamps.map(|ts| ts.value);
    let same_clock = clock(first).is_some() && clock(first) == clock(second);
    if first.flags != second.flags {
        return false;
    }
    if !first.has(Flags::SYN) {
        return same_clock && first.ip_id == second.ip_id && first.len == second.len;
    }
    is_same_elsewhere(first, second) || first.has(Flags::ACK) && same_clock
}

/// Returns the difference of two clocks, if most connections agree on it.
fn link(seen: &BTreeMap<FlowKey, (Option<i64>, Option<i64>)>) -> Option<ClockDifference> {
    let samples: Vec<_> = seen.values().copied().collect();
    let found = ClockDifference::of(&samples)?;
    let middle = |(low, high): &(Option<i64>, Option<i64>)| match (low, high) {
        (Some(low), Some(high)) => Some(i64::midpoint(*low, *high)),
        _ if found.passing_ns.is_none() => low.or(*high),
        _ => None,
    };
    let off = samples.iter().filter_map(middle);
    let off: Vec<i64> = off.map(|ahead| (ahead - found.ahead_ns).saturating_abs()).collect();
    median(off).is_some_and(|off| off < SPREAD_NS).then_some(found)
}

/// Sets every file back to the clock of the earliest file that it is joined to.
fn spread(
    links: &BTreeMap<(usize, usize), ClockDifference>,
    files: usize,
) -> BTreeMap<usize, SetBack> {
    let mut clocks: Vec<Option<SetBack>> = vec![None; files];
    for first in 0..files {
        if clocks.get(first).is_some_and(Option::is_some) {
            continue;
        }
        let mut next = vec![(first, SetBack { ahead_ns: 0, flows: 0 })];
        while let Some((file, back)) = next.pop() {
            match clocks.get_mut(file) {
                Some(clock @ None) => *clock = Some(back),
                _ => continue,
            }
            for ((low, high), found) in links {
                let (other, ahead_ns) = match (*low == file, *high == file) {
                    (true, _) => (*high, found.ahead_ns),
                    (_, true) => (*low, -found.ahead_ns),
                    _ => continue,
                };
                let least = if found.passing_ns.is_none() { LEAST_ONE_WAY_NS } else { LEAST_NS };
                let step = if found.matters(least) { ahead_ns } else { 0 };
                let ahead_ns = back.ahead_ns.saturating_add(step);
                next.push((other, SetBack { ahead_ns, flows: found.flows }));
            }
        }
    }
    let told = clocks.into_iter().enumerate();
    let told = told.filter_map(|(file, back)| Some((file, back?)));
    told.filter(|(_, back)| back.ahead_ns != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(ahead_ns: i64) -> ClockDifference {
        ClockDifference { ahead_ns, passing_ns: Some(1000), flows: 3 }
    }

    #[test]
    fn clocks_are_carried_on_from_file_to_file() {
        let links = [((0, 2), ahead(5_000_000_000)), ((1, 2), ahead(2_000_000_000))];
        let found = spread(&links.into_iter().collect(), 4);
        let found: Vec<_> = found.into_iter().map(|(file, back)| (file, back.ahead_ns)).collect();
        assert_eq!(found, [(1, 3_000_000_000), (2, 5_000_000_000)]);
    }

    #[test]
    fn files_in_order_keep_their_clocks() {
        assert!(spread(&[((0, 1), ahead(900))].into_iter().collect(), 2).is_empty());
        assert!(spread(&[((0, 1), ahead(900_000))].into_iter().collect(), 2).is_empty());
    }
}
