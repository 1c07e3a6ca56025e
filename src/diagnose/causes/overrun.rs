//! C05: a sender goes beyond the window that it was offered, and the receiver takes it.
//!
//! Does not: speak where hidden scaling or missing frames explain it.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::flow::Scaling;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C05",
    name: "sender_overruns_window",
    title: "sender overruns the window",
    blames_a_device: true,
    mechanism: "WAN optimisers and some stacks send more than the receiver offered. Kernels before \
                6.1 call it INVALID and then refuse the acknowledgements of it as well; later ones \
                tolerate up to one window.",
    signature: "Segments end beyond every window offered, by a bounded amount, now and then, and the \
                receiver acknowledges them.",
    look_alikes: "Acknowledgements missing in the capture; hidden window scaling (C03).",
    remedy: "A kernel from 6.1 on, or be_liberal=1.",
    references: "Linux commits cf97769c761a and 6e250dcbff1d",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// The rules that an overrun violates.
const RULES: &[Reason] = &[Reason::SeqOver, Reason::SeqOvershoot, Reason::AckOver];
/// Segments beyond the window that make the mechanism.
const LEAST_OVERRUN: u32 = 3;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let cases: Vec<_> = facts.cases.iter().filter(|case| is_overrun(case)).collect();
    if cases.is_empty() {
        return None;
    }
    let flows = count(&cases);
    let segments: u32 = cases.iter().map(|case| overruns(case)).sum();
    let finding = format!(
        "{} beyond every window offered, in {}",
        counted(u64::from(segments), "segment"),
        counted(flows, "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    // Acknowledgements missing in the capture would look the same.
    score.at_most = Level::Probable;
    if cases.iter().any(|case| case.drop_is_proven()) {
        score.add("drop proven", 20);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    diagnosis.score = score;
    diagnosis.against =
        vec!["acknowledgements missing in the capture would look the same".to_owned()];
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    diagnosis.remedies = vec![remedy::be_liberal(), remedy::log_invalid()];
    Some(diagnosis)
}

fn overruns(case: &Case<'_>) -> u32 {
    case.sides().map(|(_, side)| side.window.overrun).fold(0, u32::saturating_add)
}

fn is_overrun(case: &Case<'_>) -> bool {
    let explained = case.sides().any(|(_, side)| {
        let is_unscaled = side.scaling == Scaling::Off && side.hidden_shift.is_some();
        is_unscaled || side.suspected_shift.is_some() || side.scaling == Scaling::Unknown
    });
    !explained
        && !case.misses_frames()
        && case.invalid(RULES) > 0
        && overruns(case) >= LEAST_OVERRUN
}
