//! The verdict of a run in one sentence.
//!
//! Does not: find causes.

use crate::audit::Audit;
use crate::diagnose::case::Case;
use crate::diagnose::causes::{capture_loss, flag_combination, not_the_firewall};
use crate::diagnose::{Cause, Diagnosis, Facts, Level, Quality, counted};

/// How a run is concluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerdictLevel {
    /// A cause is as sure as the score says.
    Cause(Level),
    /// Nothing that a tracker had a part in.
    Nothing,
    /// The capture, or what is known, does not suffice.
    CannotJudge,
}

impl VerdictLevel {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cause(level) => level.code(),
            Self::Nothing => "none",
            Self::CannotJudge => "cannot_judge",
        }
    }
}

/// What can be said of the connections without a cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outlook {
    /// Connections in which an end repeats what is not heard.
    unheard: usize,
    /// Whether all that is INVALID belongs to connections begun before the capture.
    misses_beginnings: bool,
}

impl Outlook {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let mut invalid = facts.cases.iter().filter(|case| case.all_invalid() > 0).peekable();
        let is_any = invalid.peek().is_some() && facts.audit.findings_not_kept == 0;
        Self {
            unheard: facts.cases.iter().filter(|case| case.repeats_unheard()).count(),
            misses_beginnings: is_any && invalid.all(Case::misses_only_its_beginning),
        }
    }
}

/// The conclusion of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// How sure.
    pub level: VerdictLevel,
    /// The cause that it rests on.
    pub cause: Option<Cause>,
    /// The score of that cause, 0–100.
    pub score: u32,
    /// All in one sentence.
    pub sentence: String,
}

impl Conclusion {
    /// Concludes from the causes found, the surest first, and from what can be said without one.
    pub(super) fn of(
        audit: &Audit,
        quality: &Quality,
        causes: &[Diagnosis],
        outlook: Outlook,
    ) -> Self {
        if quality.cannot_judge() {
            let worst = quality.shortcomings.first().map_or("", |worst| worst.what.as_str());
            return Self::without(VerdictLevel::CannotJudge, format!("Cannot judge: {worst}."));
        }
        let is_invalid = audit.strict().packets > 0;
        let blamed = causes.iter().find(|found| found.cause.blames_a_device());
        if let Some(found) = blamed
            && found.score.level() >= Some(Level::Probable)
        {
            return Self::with(found);
        }
        let find = |cause| causes.iter().find(|found| found.cause == cause);
        if let Some(found) = find(capture_loss::CAUSE) {
            return Self::with(found);
        }
        if is_invalid && outlook.misses_beginnings {
            return Self::without(VerdictLevel::CannotJudge, begun_before(audit));
        }
        if is_invalid {
            let flags = find(flag_combination::CAUSE);
            let by_flags = flags.filter(|_| flag_combination::explains_most(audit));
            return by_flags.or(blamed).map_or_else(|| unexplained(audit), Self::with);
        }
        if outlook.unheard > 0 {
            let sentence = || not_heard(outlook.unheard);
            let out_of_sight = || Self::without(VerdictLevel::CannotJudge, sentence());
            return blamed.map_or_else(out_of_sight, Self::with);
        }
        if let Some(found) = find(not_the_firewall::CAUSE) {
            return Self {
                level: VerdictLevel::Nothing,
                sentence: format!("Not the firewall: {}.", found.finding),
                ..Self::with(found)
            };
        }
        if audit.totals.flows > 0 && audit.totals.flows_picked_up == audit.totals.flows {
            let flows = counted(audit.totals.flows, "connection");
            return Self::without(
                VerdictLevel::CannotJudge,
                format!("Cannot judge strictly: the capture holds the SYN of none of {flows}."),
            );
        }
        blamed.map_or_else(nothing, Self::with)
    }

    fn with(found: &Diagnosis) -> Self {
        let level = found.score.level().map_or(VerdictLevel::CannotJudge, VerdictLevel::Cause);
        let score = found.score.total();
        let (id, finding) = (found.cause.id(), &found.finding);
        let name = match level {
            VerdictLevel::Cause(Level::Confirmed) => "Confirmed",
            VerdictLevel::Cause(Level::Probable) => "Probable",
            _ => "Possible",
        };
        let sentence = format!("{name} {id} ({score}/100): {finding}.");
        Self { level, cause: Some(found.cause), score, sentence }
    }

    const fn without(level: VerdictLevel, sentence: String) -> Self {
        Self { level, cause: None, score: 0, sentence }
    }
}

fn begun_before(audit: &Audit) -> String {
    let flows = counted(audit.strict().flows, "connection");
    format!(
        "Cannot judge: what is INVALID are the first packets that the capture holds of {flows}, whose \
         beginnings it misses."
    )
}

fn unexplained(audit: &Audit) -> Conclusion {
    let flows = counted(audit.strict().flows, "connection");
    Conclusion::without(
        VerdictLevel::CannotJudge,
        format!("No known cause explains the INVALID packets of {flows}."),
    )
}

fn not_heard(connections: usize) -> String {
    let connections = counted(u64::try_from(connections).unwrap_or(u64::MAX), "connection");
    format!(
        "Cannot judge from here: to the end of {connections} segments are repeated as if nobody heard \
         them, and what takes them is out of sight; capture beside the other end as well."
    )
}

fn nothing() -> Conclusion {
    let sentence = "Nothing here points at a firewall or connection tracker.".to_owned();
    Conclusion::without(VerdictLevel::Nothing, sentence)
}
