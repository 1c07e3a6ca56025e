//! What every report for people tells, in the order in which it is told: the one model that the
//! formats render.
//!
//! 1 the answer and the verdict, 2 who is affected, 3 the causes, 4 what another kernel or setting
//! would change, 5 the evidence, 6 what to do, 7 the connection table, 8 what the capture is good for,
//! 9 how it was judged, 10 how to do it again, 11 what the report gives away, 12 what was not judged. Words are plain
//! text, not escaped for any format; a list of [`Fact`]s is a line each.
//!
//! Does not: lay anything out, or know a format.

mod affected;
mod answer;
mod capture;
mod evidence;
mod method;
mod table;
mod what_if;

use crate::audit::Audit;
use crate::diagnose::{Diagnoses, Diagnosis, Level, Remedy, diagnose};
use crate::flow::{Kind, KindCount};

pub use affected::{Affected, Peer};
pub use answer::RuleCount;
pub use evidence::{EvidenceFlow, EvidencePacket, Excess};
pub use table::{Grid, TableFacts};
pub use what_if::{WhatIf, WhatIfRow};

pub(super) use evidence::{community, ending, holding, millis, offset, place_name, seconds, span};
pub(super) use method::{ASSUMPTION, switches};
pub(super) use table::change;

/// A name and what there is to say under it; either may come from the capture, and is not escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// What there is to say.
    pub words: String,
}

impl Fact {
    pub(in crate::report) fn new(name: &'static str, words: impl Into<String>) -> Self {
        Self { name, words: words.into() }
    }
}

/// How much of the evidence is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Flows, the worst first.
    pub flows: usize,
    /// Packets of each.
    pub packets: usize,
}

impl Extent {
    /// What a document holds: five flows, ten packets each.
    pub const DOCUMENT: Self = Self { flows: 5, packets: 10 };
}

/// Everything that a report tells.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// What the report rests on.
    pub audit: &'a Audit,
    /// How many packets of how many connections are INVALID, by which rules, in one line.
    pub answer: String,
    /// Verdict, causes and quality of the capture.
    pub diagnoses: Diagnoses,
    /// Who judged, such as `a strict Linux 6.18.44`.
    pub judge: String,
    /// What rules exempted from tracking, in one line, with words from outside; none without rules.
    pub exempt: Option<String>,
    /// Who is affected; none when nobody is.
    pub affected: Option<Affected>,
    /// What other kernels and settings would call INVALID; none when nothing is.
    pub what_if: Option<WhatIf>,
    /// How full the connection table would be; none when that is of no interest.
    pub table: Option<TableFacts>,
    /// Rules by which packets are INVALID, the most frequent first.
    pub invalid_by_rule: Vec<RuleCount>,
    /// Rules that speak of packets which pass.
    pub passed_by_rule: Vec<RuleCount>,
    /// The worst flows with their key packets.
    pub evidence: Vec<EvidenceFlow<'a>>,
    /// Flows with INVALID packets beyond those.
    pub evidence_not_shown: u64,
    /// What was sent below the highest number, by kind: what was sent again and why, copies,
    /// reordering.
    pub sent_again: Vec<(Kind, KindCount)>,
    /// What was captured.
    pub capture: Vec<Fact>,
    /// Kernel, settings and where they came from, assumptions.
    pub method: Vec<Fact>,
    /// Tool, command and inputs, to do it again.
    pub reproduce: Vec<Fact>,
    /// What the report gives away of the capture.
    pub privacy: Vec<Fact>,
    /// What was not judged, or not strictly, and why.
    pub limits: Vec<String>,
}

impl<'a> View<'a> {
    /// Collects what there is to tell.
    pub fn of(audit: &'a Audit, extent: Extent) -> Self {
        let diagnoses = diagnose(audit);
        let evidence = evidence::all(audit, extent);
        let all = audit.strict().flows;
        Self {
            answer: answer::answer(audit),
            judge: answer::judge_name(audit),
            exempt: answer::exempt(audit),
            affected: Affected::of(audit, &diagnoses),
            what_if: WhatIf::of(audit),
            table: TableFacts::of(audit),
            invalid_by_rule: answer::ranked_rules(&audit.totals.invalid_by_reason),
            passed_by_rule: answer::ranked_rules(&audit.totals.passed_by_reason),
            evidence_not_shown: all.saturating_sub(evidence.len() as u64),
            evidence,
            sent_again: audit.totals.behaviour.kinds.iter().collect(),
            capture: capture::facts(audit),
            method: method::method(audit),
            reproduce: method::reproduce(audit),
            privacy: method::privacy(audit),
            limits: method::limits(audit),
            diagnoses,
            audit,
        }
    }

    /// Returns the cause whose remedies are shown: the surest that is at least probable.
    pub fn cause_to_mend(&self) -> Option<&Diagnosis> {
        let surest = |found: &&Diagnosis| found.score.level() >= Some(Level::Probable);
        let mut causes = self.diagnoses.causes.iter().filter(surest);
        causes.find(|found| !found.remedies.is_empty())
    }

    /// Returns what to do, the best first.
    pub fn remedies(&self) -> &[Remedy] {
        self.cause_to_mend().map_or(&[], |found| &found.remedies)
    }

    /// Returns the names of the frames that show a cause.
    pub fn places(&self, found: &Diagnosis) -> Vec<String> {
        found.evidence.iter().map(|frame| place_name(self.audit.inputs.place(*frame))).collect()
    }
}
