//! Why it happened, as JSON: the verdict, the causes, and what the capture is good for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Inputs;
use crate::diagnose::{Diagnoses, Diagnosis, Level, Quality as Gate, Remedy as Advice, Step};

/// The conclusion; its fields stand beside the counts.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Conclusion {
    /// `confirmed`, `probable`, `possible`, `none` or `cannot_judge`.
    level: &'static str,
    /// Id of the cause that it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    /// Score of that cause, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<u32>,
    /// The verdict in one sentence.
    sentence: String,
}

impl Conclusion {
    pub(super) fn of(diagnoses: &Diagnoses) -> Self {
        let conclusion = &diagnoses.conclusion;
        Self {
            level: conclusion.level.code(),
            cause: conclusion.cause.map(crate::diagnose::Cause::id),
            score: conclusion.cause.map(|_| conclusion.score),
            sentence: conclusion.sentence.clone(),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Cause {
    id: &'static str,
    name: &'static str,
    /// `confirmed`, `probable` or `possible`.
    level: &'static str,
    /// 0 to 100: the sum of the parts times the quality of the capture.
    score: u32,
    /// Points and what they are for.
    parts: BTreeMap<&'static str, i32>,
    /// Percent by which the quality of the capture multiplies the sum; 100 where it does not matter to
    /// this cause.
    quality_percent: u32,
    /// The most that this cause can be, where its facts allow another reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<&'static str>,
    /// What was found, in one sentence.
    finding: String,
    /// What explains it further.
    notes: Vec<String>,
    /// What argues against it.
    against: Vec<String>,
    /// Flows affected.
    flow_count: u64,
    /// Ids of the first of them.
    flows: Vec<u64>,
    /// Measured numbers.
    params: BTreeMap<String, String>,
    /// Frames that show it.
    evidence: Vec<Frame>,
    /// What to do, the best first.
    remedies: Vec<Remedy>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Frame {
    /// Position of its file, when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<usize>,
    /// The number of the frame in its file, from 1.
    frame: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Remedy {
    id: &'static str,
    title: &'static str,
    /// What takes effect at once.
    steps: Vec<Lines>,
    /// What makes it survive a reboot.
    persist: Vec<Lines>,
    /// What it may break.
    risk: &'static str,
    /// How to see whether it helped.
    check: &'static str,
    /// How to take it back.
    undo: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Lines {
    /// Who runs them: `nft`, `sysctl`, `shell` or `vendor`.
    runner: &'static str,
    lines: Vec<String>,
}

impl Cause {
    pub(super) fn all(diagnoses: &Diagnoses, inputs: &Inputs) -> Vec<Self> {
        diagnoses.causes.iter().map(|found| Self::of(found, inputs)).collect()
    }

    fn of(found: &Diagnosis, inputs: &Inputs) -> Self {
        let frame = |frame: &u64| {
            let place = inputs.place(*frame);
            Frame { file: place.file, frame: place.frame }
        };
        Self {
            id: found.cause.id(),
            name: found.cause.name(),
            level: found.score.level().map_or("none", Level::code),
            score: found.score.total(),
            parts: found.score.parts.iter().map(|part| (part.name, part.points)).collect(),
            quality_percent: found.score.quality.unwrap_or(100),
            at_most: Some(found.score.at_most)
                .filter(|level| *level != Level::Confirmed)
                .map(Level::code),
            finding: found.finding.clone(),
            notes: found.notes.clone(),
            against: found.against.clone(),
            flow_count: found.flow_count,
            flows: found.flows.clone(),
            params: found.parameters.iter().cloned().collect(),
            evidence: found.evidence.iter().map(frame).collect(),
            remedies: found.remedies.iter().map(Remedy::of).collect(),
        }
    }
}

impl Remedy {
    pub(super) fn of(advice: &Advice) -> Self {
        let lines = |step: &Step| Lines { runner: step.runner.code(), lines: step.lines.clone() };
        Self {
            id: advice.id,
            title: advice.title,
            steps: advice.steps.iter().map(lines).collect(),
            persist: advice.persist.iter().map(lines).collect(),
            risk: advice.risk,
            check: advice.check,
            undo: advice.undo,
        }
    }
}

/// A connection captured at several places.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct SeenTwice {
    flow: u64,
    /// The same connection behind address translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_flow: Option<u64>,
    /// Packets left out as copies.
    copies: u64,
    /// What differs at the other place.
    changes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_place: Option<String>,
}

impl SeenTwice {
    pub(super) fn all(diagnoses: &Diagnoses) -> Vec<Self> {
        let of = |seen: &crate::diagnose::SeenTwice| Self {
            flow: seen.flow,
            other_flow: seen.other_flow,
            copies: seen.copies,
            changes: seen.changes.clone(),
            place: seen.places.as_ref().map(|(here, _)| here.clone()),
            other_place: seen.places.as_ref().map(|(_, there)| there.clone()),
        };
        diagnoses.seen_twice.iter().map(of).collect()
    }
}

/// What the capture is good for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Quality {
    /// Percent that the worst shortcoming leaves of a score.
    percent: u32,
    shortcomings: Vec<Shortcoming>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Shortcoming {
    code: &'static str,
    /// Percent that it leaves of a score.
    percent: u32,
    what: String,
}

impl Quality {
    pub(super) fn of(gate: &Gate) -> Self {
        let shortcoming = |found: &crate::diagnose::Shortcoming| Shortcoming {
            code: found.code,
            percent: found.percent,
            what: found.what.clone(),
        };
        let shortcomings = gate.shortcomings.iter().map(shortcoming).collect();
        Self { percent: gate.percent, shortcomings }
    }
}
