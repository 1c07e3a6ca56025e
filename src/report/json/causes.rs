//! Why it happened, as JSON: the verdict, the causes, and what the capture is good for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Inputs;
use crate::diagnose::{Diagnoses, Diagnosis, Level, Quality as Gate, Remedy as Advice, Step};

/// The conclusion; its fields stand beside the counts.
#[derive(Serialize)]
pub(super) struct Conclusion {
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<u32>,
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
pub(super) struct Cause {
    id: &'static str,
    name: &'static str,
    level: &'static str,
    score: u32,
    parts: BTreeMap<&'static str, i32>,
    quality_percent: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<&'static str>,
    finding: String,
    notes: Vec<String>,
    against: Vec<String>,
    flow_count: u64,
    flows: Vec<u64>,
    params: BTreeMap<String, String>,
    evidence: Vec<Frame>,
    remedies: Vec<Remedy>,
}

#[derive(Serialize)]
struct Frame {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<usize>,
    frame: u64,
}

#[derive(Serialize)]
struct Remedy {
    id: &'static str,
    title: &'static str,
    steps: Vec<Lines>,
    persist: Vec<Lines>,
    risk: &'static str,
    check: &'static str,
    undo: &'static str,
}

#[derive(Serialize)]
struct Lines {
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
            quality_percent: found.score.quality,
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
    fn of(advice: &Advice) -> Self {
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
pub(super) struct SeenTwice {
    flow: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_flow: Option<u64>,
    copies: u64,
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
pub(super) struct Quality {
    percent: u32,
    shortcomings: Vec<Shortcoming>,
}

#[derive(Serialize)]
struct Shortcoming {
    code: &'static str,
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
