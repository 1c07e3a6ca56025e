//! Connections that stand twice in what one interface captured, at different times: captures of several
//! places were merged into one, and their clocks differ; or one was appended to itself.
//!
//! The SYN tells: a host that sends it again, or opens another connection, has moved the clock of its
//! timestamps on by then (RFC 7323, section 4.1: a tick a second at least).
//!
//! Does not: join them, as is done where files or interfaces tell the places apart.

use crate::audit::{Audit, Opening};
use crate::diagnose::counted;
use crate::diagnose::quality::seconds;
use crate::segment::Flags;
use crate::time::NANOS_PER_SEC;

/// The time from which on two sights are apart: within less a SYN passes a device and comes again.
const APART_NS: i64 = NANOS_PER_SEC / 10;
/// Timestamps that programs write which build SYNs by hand: no clock stands behind them.
const NO_CLOCK: [u32; 2] = [0, u32::MAX];

/// Says which connections stand there again, in words; nothing where none does.
pub(super) fn opened_again(audit: &Audit) -> Option<String> {
    let is_syn = |opening: &&Opening| !opening.segment.has(Flags::ACK);
    let named = |opening| Some((identity(opening)?, opening));
    let mut syns: Vec<_> = audit.openings.iter().filter(is_syn).filter_map(named).collect();
    syns.sort_by_key(|(identity, opening)| (*identity, opening.ts, opening.frame));
    let pairs = syns.iter().zip(syns.iter().skip(1));
    let again = pairs.filter(|((one, _), (other, _))| one == other);
    let apart = again.map(|((_, one), (_, other))| other.ts.nanos_since(one.ts));
    let apart: Vec<i64> = apart.filter(|apart| *apart >= APART_NS).collect();
    let (least, most) = (*apart.iter().min()?, *apart.iter().max()?);
    let connections = counted(u64::try_from(apart.len()).unwrap_or(u64::MAX), "connection");
    let times = if most - least < APART_NS {
        format!("{} apart", seconds(least))
    } else {
        format!("{} to {} apart", seconds(least), seconds(most))
    };
    Some(format!(
        "the SYN of {connections} is there again, its clock the same, {times}: captures whose clocks \
         differ, merged into one; give the program each as it was"
    ))
}

/// Returns what is the same in two sights of one SYN at one interface, if a clock names it.
fn identity(opening: &Opening) -> Option<impl Ord + Copy + use<>> {
    let clock = opening.segment.options.timestamps?.value;
    let is_named = !NO_CLOCK.contains(&clock);
    is_named.then_some((opening.endpoints(), opening.vantage, opening.segment.seq.0, clock))
}
