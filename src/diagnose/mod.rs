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
mod exhibit;
mod explain;
mod quality;
mod relieve;
mod remedy;
mod score;
mod upgrade;
mod verdict;

use std::cmp::Reverse;

use crate::audit::Audit;
use case::{Case, cases};

pub use cause::Cause;
pub use exhibit::{MAX_SHOWN_FLOWS, wish};
pub use explain::{explain, known_ids};
pub use quality::{Quality, Shortcoming};
pub use relieve::relieve;
pub use remedy::{Remedy, Runner, Step};
pub use score::{Level, Part, Score};
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
    /// What an upgrade of the kernel would change: a sentence, where the run was judged as by a kernel
    /// before Linux 6.1.
    pub upgrade: Option<String>,
}

/// The facts that every cause looks at.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    audit: &'a Audit,
    cases: Vec<Case<'a>>,
    quality: &'a Quality,
}

/// Names the causes that the facts of a run support.
pub fn diagnose(audit: &Audit) -> Diagnoses {
    let quality = Quality::of(audit);
    let facts = Facts { audit, cases: cases(audit), quality: &quality };
    let found = Cause::all().filter_map(|cause| cause.knowledge().diagnose?(&facts));
    let mut causes: Vec<_> = found.filter(|found| found.score.level().is_some()).collect();
    // Causes that speak of a fault come before those that clear one, then the surest.
    causes.sort_by_key(|found| (!found.cause.blames_a_device(), Reverse(found.score.total())));
    let conclusion = Conclusion::of(audit, &quality, &causes);
    Diagnoses { quality, conclusion, causes, upgrade: upgrade::advice(audit) }
}

impl Facts<'_> {
    /// Returns the flows that were judged from their SYN in both directions and show nothing
    /// INVALID, apart from those affected: the control group.
    fn controls(&self, affected_and_clean: u64) -> u64 {
        let totals = &self.audit.totals;
        let apart = [
            totals.flows_picked_up,
            totals.flows_one_way,
            self.audit.strict().flows,
            affected_and_clean,
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
            flow_count: u64::try_from(cases.len()).unwrap_or(u64::MAX),
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
