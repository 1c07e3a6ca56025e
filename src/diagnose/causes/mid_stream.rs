//! C20: flows that began before the capture, which are not judged strictly.
//!
//! Does not: count them as clean or guilty.

use crate::diagnose::case::Case;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted, quality};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C20",
    name: "mid_stream_start",
    title: "connections begun before the capture",
    blames_a_device: false,
    mechanism: "With nf_conntrack_tcp_loose=1 the tracker picks up a flow whose SYN it did not see, \
                and judges its windows liberally for its whole life. A capture that begins later \
                than the tracker cannot show what the tracker knew.",
    signature: "No SYN in the capture.",
    look_alikes: "A reload or fail-over of the firewall itself, after which it has no entries. A filter on \
                  content, which leaves out SYNs and bare acknowledgements alike, and a capture of one \
                  direction: the capture's quality tells these.",
    remedy: "Capture again, and have the connections opened anew while it runs.",
    references: "nf_conntrack_tcp_loose (nf_conntrack-sysctl.rst)",
    diagnose: Some(diagnose),
    remedies: |_| Vec::new(),
});

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let totals = &facts.audit.totals;
    let begun_before = quality::begun_before(facts.audit);
    if begun_before == 0 {
        return None;
    }
    let finding = format!(
        "{begun_before} of {} began before the capture and are not judged strictly",
        counted(totals.flows, "connection")
    );
    let is_one = |case: &&Case<'_>| case.audit.picked_up && !case.lacks_one_direction();
    let cases: Vec<_> = facts.cases.iter().filter(is_one).collect();
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.flow_count = begun_before;
    let mut score = Score::of_any_capture(40);
    score.at_most = Level::Probable;
    if begun_before == totals.flows {
        score.add("all flows", 30);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "The tracker takes them up with open windows (nf_conntrack_tcp_loose=1): nothing about \
         their windows can be INVALID, and a tracker that saw the SYN may judge otherwise. Have \
         them opened anew while capturing."
            .to_owned(),
    );
    Some(diagnosis)
}
