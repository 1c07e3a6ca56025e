//! Why it happened: from the facts of a run to causes that an engineer can act on.
//!
//! A cause is a pure function over an [`Audit`]: facts in, a [`Diagnosis`] out, with a score whose
//! parts are printed, and with what argues against it. Each cause is a file in `causes`. The quality
//! of the capture is computed first and multiplies every score. "Cannot judge" is an answer.
//!
//! Does not: read packets, judge them, or format anything but single sentences.

mod case;
mod cause;
mod causes;
mod clocks;
mod exhibit;
mod explain;
mod opened_again;
mod pairs;
mod quality;
mod relieve;
mod remedy;
mod score;
mod seen_twice;
mod upgrade;
mod verdict;

use std::cmp::Reverse;

use crate::audit::Audit;
use case::{Case, cases, count};
use clocks::Clocks;
use pairs::{Pair, pairs};

pub use cause::Cause;
pub use exhibit::{MAX_SHOWN_FLOWS, wish};
pub use explain::{explain, known_ids};
pub use quality::{Quality, Shortcoming};
pub use relieve::relieve;
pub use remedy::{Remedy, Runner, Step};
pub use score::{Level, Part, Score};
pub use seen_twice::{MAX_NAMED, SeenTwice};
use verdict::Outlook;
pub use verdict::{Conclusion, VerdictLevel};

/// The flows that a diagnosis names; the others are counted.
pub const MAX_NAMED_FLOWS: usize = 20;
/// The frames that a diagnosis names as evidence.
pub const MAX_EVIDENCE: usize = 10;

/// What a run's facts say of one cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// How sure, with its parts.
    pub score: Score,
    /// What was found, in one sentence without a full stop.
    pub finding: String,
    /// What explains the picture further: sentences.
    pub notes: Vec<String>,
    /// What argues against the cause.
    pub against: Vec<String>,
    /// The flows affected.
    pub flow_count: u64,
    /// The first of them by their ids; at most [`MAX_NAMED_FLOWS`].
    pub flows: Vec<u64>,
    /// Measured numbers: name and value.
    pub parameters: Vec<(String, String)>,
    /// Frames that show it, numbered within the run; at most [`MAX_EVIDENCE`].
    pub evidence: Vec<u64>,
    /// What to do, the best first.
    pub remedies: Vec<Remedy>,
}

/// Everything that was concluded from a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnoses {
    /// What the capture is good for.
    pub quality: Quality,
    /// The verdict.
    pub conclusion: Conclusion,
    /// The causes that reach the least score, the surest first.
    pub causes: Vec<Diagnosis>,
    /// The connections captured at several places, the first of them; at most [`MAX_NAMED`].
    pub seen_twice: Vec<SeenTwice>,
    /// What an upgrade of the kernel would change: a sentence, where the run was judged as by a kernel
    /// before Linux 6.1.
    pub upgrade: Option<String>,
}

/// The facts that every cause looks at.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    audit: &'a Audit,
    cases: Vec<Case<'a>>,
    /// Connections seen before and after address translation.
    pairs: Vec<Pair<'a>>,
    quality: &'a Quality,
}

/// Names the causes that the facts of a run support.
pub fn diagnose(audit: &Audit) -> Diagnoses {
    let clocks = Clocks::of(audit);
    let quality = Quality::of(audit, &clocks);
    let pairs = pairs(audit, &clocks);
    let twins = pairs.iter().map(|pair| pair.before.flow).collect();
    let seen_twice = seen_twice::seen_twice(audit, &pairs);
    let facts = Facts { audit, cases: cases(audit, &twins), pairs, quality: &quality };
    let found = Cause::all().filter_map(|cause| cause.knowledge().diagnose?(&facts));
    let mut causes: Vec<_> = found.filter(|found| found.score.level().is_some()).collect();
    // Causes that speak of a fault come before those that clear one, then the surest.
    causes.sort_by_key(|found| (!found.cause.blames_a_device(), Reverse(found.score.total())));
    let conclusion = Conclusion::of(audit, &quality, &causes, Outlook::of(&facts));
    Diagnoses { quality, conclusion, causes, seen_twice, upgrade: upgrade::advice(audit) }
}

impl Facts<'_> {
    /// Returns whether sequence numbers differ at another place where the flow was captured.
    fn has_other_numbers(&self, flow: u64) -> bool {
        let sightings = &self.audit.sightings;
        let at = sightings.binary_search_by_key(&flow, |flow| flow.first_frame).ok();
        let within = at.and_then(|at| sightings.get(at)).is_some_and(|seen| {
            let offset = |way| seen.sightings.way(way).offset();
            offset(seen.original) != 0 || offset(seen.original.flip()) != 0
        });
        let across = |pair: &&Pair<'_>| pair.after.flow == flow;
        let moved = |pair: &Pair<'_>| pair.before.segment.seq != pair.after.segment.seq;
        within || self.pairs.iter().find(across).is_some_and(moved)
    }

    /// Returns the flows that were judged from their SYN in both directions and show nothing
    /// INVALID, apart from those affected: the control group.
    fn controls(&self, affected: &[&Case<'_>]) -> u64 {
        let totals = &self.audit.totals;
        let is_clean = |case: &&&Case<'_>| {
            case.all_invalid() == 0 && case.is_two_way() && !case.audit.picked_up
        };
        // Those that are INVALID and of one direction, or begun before, stand in two of the totals.
        let stands_twice = |case: &&Case<'_>| {
            case.all_invalid() > 0 && (case.audit.picked_up || !case.is_two_way())
        };
        let clean = affected.iter().filter(is_clean).count();
        let twice = self.cases.iter().filter(stands_twice).count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let apart = [
            totals.flows_picked_up,
            totals.flows_one_way,
            self.audit.strict().flows.saturating_sub(number(twice)),
            number(clean),
        ];
        apart.into_iter().fold(totals.flows, u64::saturating_sub)
    }
}

impl Diagnosis {
    /// Starts a diagnosis of these flows, with nothing but its finding.
    fn of(cause: Cause, finding: String, cases: &[&Case<'_>]) -> Self {
        Self {
            cause,
            score: Score::default(),
            finding,
            notes: Vec::new(),
            against: Vec::new(),
            flow_count: count(cases),
            flows: cases.iter().take(MAX_NAMED_FLOWS).map(|case| case.audit.first_frame).collect(),
            parameters: Vec::new(),
            evidence: Vec::new(),
            remedies: Vec::new(),
        }
    }
}

/// Counts a noun: `1 connection`, `2 connections`.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
