//! C25: a box in the path speaks TCP for the ends.
//!
//! Does not: blame it where the tracker has no fault to show.

use std::collections::BTreeSet;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, MAX_NAMED_FLOWS, counted};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C25",
    name: "wan_optimiser_or_proxy",
    title: "a WAN optimiser or proxy in the path",
    blames_a_device: true,
    mechanism: "WAN optimisers find one another by options of their own in the SYN, acknowledge \
                locally and send on as they see fit. Traffic that passes one of them and not the \
                other, or goes beyond the window that the far end offered, meets a tracker that \
                knows only one of the legs.",
    signature: "SYNs with TCP option 76 or 78, or one pair of hosts with two fingerprints or two \
                TTLs, or acknowledgements sooner than the far end could send them.",
    look_alikes: "Load balancers (C04); several hosts behind one translated address.",
    remedy: "Route both legs through it (C08), or have it keep to the window (C05).",
    references: "IANA TCP option kinds 76 and 78 (Riverbed)",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

/// What a tracker says when one leg passes it by, or is sent more than the far end asked for.
const RULES: &[Reason] = &[
    Reason::SeqOver,
    Reason::SeqOvershoot,
    Reason::AckOver,
    Reason::StateInvalid,
    Reason::InvalidNew,
];

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let probed = facts
        .audit
        .openings
        .iter()
        .filter(|opening| opening.segment.options.layout.has_optimiser());
    let flows: BTreeSet<u64> = probed.clone().map(|opening| opening.flow).collect();
    if flows.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let is_refused =
        |case: &&Case<'_>| flows.contains(&case.audit.first_frame) && case.invalid(RULES) > 0;
    let refused: Vec<_> = facts.cases.iter().filter(is_refused).collect();
    let count = u64::try_from(flows.len()).unwrap_or(u64::MAX);
    let finding = format!(
        "WAN optimisers announce themselves by TCP options 76 to 78 in {}, {} with INVALID packets",
        counted(count, "connection"),
        refused.len()
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &refused);
    diagnosis.flow_count = count;
    diagnosis.flows = flows.iter().copied().take(MAX_NAMED_FLOWS).collect();
    let mut score = Score::new(40, facts.quality.percent);
    // That one is there is certain; that it is the reason for anything is not.
    score.at_most = if refused.is_empty() { Level::Possible } else { Level::Probable };
    if flows.len() >= 2 {
        score.add("several flows", 15);
    }
    if !refused.is_empty() {
        score.add("packets INVALID in them", 20);
    }
    let others = facts.audit.strict().flows > u64::try_from(refused.len()).unwrap_or(u64::MAX);
    if others {
        score.add("others without the option have INVALID packets too", -20);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "Such boxes acknowledge locally and send on as they see fit: compare with connections that \
         they leave alone, and have both legs of each pass the tracker, or none."
            .to_owned(),
    );
    diagnosis.evidence = evidence(&refused, RULES, MAX_EVIDENCE);
    if diagnosis.evidence.is_empty() {
        diagnosis.evidence = probed.map(|opening| opening.frame).take(MAX_EVIDENCE).collect();
    }
    Some(diagnosis)
}
