//! The answer in one line, and the rules behind it.

use std::collections::BTreeMap;

use crate::audit::Audit;
use crate::conntrack::{CtState, Reason, Setting};
use crate::report::{counted, grouped};

/// How often a rule spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleCount {
    /// The rule.
    pub reason: Reason,
    /// Packets.
    pub packets: u64,
}

/// Says in one line what the tracker would have done, and what being liberal changes.
pub(super) fn answer(audit: &Audit) -> String {
    let (strict, liberal) = (audit.strict(), audit.liberal());
    let packets = counted(audit.tally.segments, "packet");
    let flows = counted(audit.totals.flows, "connection");
    if strict.packets == 0 {
        let errors = audit.totals.errors_invalid;
        if errors > 0 {
            let errors = counted(errors, "ICMP error");
            return format!("INVALID: {errors} about TCP; all of {packets}, {flows} pass");
        }
        return format!("Nothing INVALID: {packets}, {flows}");
    }
    format!(
        "INVALID: {} of {packets}, {} of {flows}: {}; be_liberal=1 leaves {}",
        grouped(strict.packets),
        grouped(strict.flows),
        rules(audit),
        grouped(liberal.packets),
    )
}

/// Says what the rules of `--notrack` did; none without such rules.
pub(super) fn exempt(audit: &Audit) -> Option<String> {
    let totals = &audit.totals;
    let others = totals.datagrams.iter().filter(|((_, state), _)| *state == CtState::Untracked);
    let others = totals.errors_untracked + others.map(|(_, count)| count).sum::<u64>();
    let rules = audit.method.notrack.join(", ");
    (!rules.is_empty()).then(|| {
        let packets = counted(totals.untracked, "packet");
        format!("UNTRACKED: {packets} of TCP, {} others (--notrack {rules})", grouped(others))
    })
}

/// Names the rules that made packets INVALID: the two that did most, and how many more there are.
fn rules(audit: &Audit) -> String {
    const NAMED: usize = 2;
    let ranked = ranked_rules(&audit.totals.invalid_by_reason);
    let name = |rule: &RuleCount| format!("{} {}", rule.reason.code(), grouped(rule.packets));
    let mut names: Vec<_> = ranked.iter().take(NAMED).map(name).collect();
    if ranked.len() > NAMED {
        let others = ranked.iter().skip(NAMED).map(|rule| rule.packets).sum();
        names.push(format!("others {}", grouped(others)));
    }
    names.join(", ")
}

/// Names the kernel that judged, and how strictly.
pub(super) fn judge_name(audit: &Audit) -> String {
    let Some(policy) = audit.method.policies.first() else { return String::new() };
    let mode = if policy.be_liberal == Setting::On { "liberal" } else { "strict" };
    format!("a {mode} Linux {}", policy.profile.name())
}

/// Sorts rules by their counts, highest first; among equals in the order of the tests.
pub(super) fn ranked_rules(counts: &BTreeMap<Reason, u64>) -> Vec<RuleCount> {
    let mut ranked: Vec<_> =
        counts.iter().map(|(&reason, &packets)| RuleCount { reason, packets }).collect();
    ranked.sort_by_key(|rule| (u64::MAX - rule.packets, rule.reason));
    ranked
}
