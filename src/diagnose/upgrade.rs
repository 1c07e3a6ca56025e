//! What an upgrade of the kernel would change, by the what-if table of the run.
//!
//! Does not: judge anew.

use crate::audit::{Audit, Hits};
use crate::conntrack::{Policy, Profile};
use crate::diagnose::counted;

/// The first kernel that lets overly late packets pass, and small overshoots.
const TOLERANT: &str = "6.1.0";

/// Says what Linux 6.1 or later would call INVALID of this run; none where the run was judged as by
/// such a kernel, where nothing is INVALID, or where the panel holds no other.
pub(super) fn advice(audit: &Audit) -> Option<String> {
    let own = *audit.method.policies.first()?;
    let profile = Profile::named(TOLERANT)?;
    if own.profile >= profile {
        return None;
    }
    let (now, then) = (audit.hits(own)?, audit.hits(Policy { profile, ..own })?);
    if now == Hits::default() && then == now {
        return None;
    }
    let kernel = own.profile.name();
    if now == then {
        return Some(format!(
            "An upgrade from {kernel} to Linux 6.1 or later would change nothing here: {}.",
            words(now)
        ));
    }
    Some(format!(
        "An upgrade from {kernel} to Linux 6.1 or later would leave {} in place of {}.",
        words(then),
        words(now)
    ))
}

fn words(hits: Hits) -> String {
    let packets = counted(hits.packets, "INVALID packet");
    format!("{packets} in {}", counted(hits.flows, "connection"))
}
