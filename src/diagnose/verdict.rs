//! The verdict of a run in one sentence.
//!
//! Does not: find causes.

use crate::audit::Audit;
use crate::diagnose::causes::{capture_loss, flag_combination, not_the_firewall};
use crate::diagnose::{Cause, Diagnosis, Level, Quality, counted};

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
    /// Concludes from the causes found, the surest first.
    pub(super) fn of(audit: &Audit, quality: &Quality, causes: &[Diagnosis]) -> Self {
        if quality.cannot_judge() {
            let worst = quality.shortcomings.first().map_or("", |worst| worst.what.as_str());
            return Self::without(
                VerdictLevel::CannotJudge,
                format!("Cannot judge: {worst}; capture both directions."),
            );
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
        if is_invalid {
            let flags = find(flag_combination::CAUSE);
            let by_flags = flags.filter(|_| flag_combination::explains_most(audit));
            return by_flags.or(blamed).map_or_else(|| unexplained(audit), Self::with);
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

fn unexplained(audit: &Audit) -> Conclusion {
    let flows = counted(audit.strict().flows, "connection");
    Conclusion::without(
        VerdictLevel::CannotJudge,
        format!("No known cause explains the INVALID packets of {flows}."),
    )
}

fn nothing() -> Conclusion {
    let sentence = "Nothing here points at a firewall or connection tracker.".to_owned();
    Conclusion::without(VerdictLevel::Nothing, sentence)
}
