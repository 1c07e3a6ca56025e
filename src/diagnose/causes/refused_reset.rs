//! C10: a RST is refused, and its receiver goes on.
//!
//! Does not: speak of a late RST that changes nothing.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::Score;
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::time::NANOS_PER_SEC;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C10",
    name: "rst_refused",
    title: "RST refused as INVALID",
    blames_a_device: true,
    mechanism: "A RST below the highest acknowledgement of the other side is INVALID, with \
                be_liberal=1 as well. Where rules drop INVALID the other end never learns that the \
                connection is gone and keeps sending.",
    signature: "rst_invalid, and the receiver of the RST goes on sending or sends again.",
    look_alikes: "A late RST of a connection that is over anyway: harmless.",
    remedy: "nf_conntrack_tcp_ignore_invalid_rst=1 (Linux 5.14 and later), or repair what sends \
             resets with old numbers.",
    references: "RFC 5961, section 3; nf_conntrack_tcp_ignore_invalid_rst \
                 (nf_conntrack-sysctl.rst)",
    diagnose: Some(diagnose),
    remedies: |_| vec![ignore_invalid_rst()],
});

/// The rule that refuses resets.
const RULE: &[Reason] = &[Reason::RstInvalid];
/// How long a flow must go on after a refused RST for that to be its consequence: longer than what
/// is already under way takes to arrive.
const GOES_ON_NS: i64 = NANOS_PER_SEC;
/// Refused resets that make the mechanism.
const SEVERAL: u64 = 3;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let cases: Vec<_> = facts.cases.iter().filter(|case| case.invalid(RULE) > 0).collect();
    let resets: u64 = cases.iter().map(|case| case.invalid(RULE)).sum();
    if resets == 0 {
        return None;
    }
    let survivors = cases.iter().filter(|case| goes_on(case)).count();
    let flows = count(&cases);
    let finding = format!(
        "the tracker refuses {} in {}, of which {survivors} went on afterwards",
        counted(resets, "RST"),
        counted(flows, "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(if resets >= SEVERAL { 40 } else { 25 }, facts.quality.percent);
    if survivors > 0 {
        score.add("the receiver went on", 20);
    } else {
        diagnosis.against.push(
            "no connection went on for a second after its RST: harmless, late resets look like this"
                .to_owned(),
        );
        score.add("nobody went on", -15);
    }
    if survivors >= 2 {
        score.add("several flows", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push("be_liberal=1 does not change it.".to_owned());
    diagnosis.evidence = evidence(&cases, RULE, MAX_EVIDENCE);
    diagnosis.remedies = vec![ignore_invalid_rst(), remedy::log_invalid()];
    Some(diagnosis)
}

/// Returns whether the flow was alive well after a refused RST, and something was sent again.
fn goes_on(case: &Case<'_>) -> bool {
    let Some(reset) = case.key_packets(RULE).next() else { return false };
    let receiver = case.audit.direction_of(reset.orientation).flip();
    let repeats = case.summary.sides[receiver].retransmitted.packets > 0;
    repeats && case.audit.last_ts.nanos_since(reset.ts) >= GOES_ON_NS
}

/// Has the tracker accept resets below what was acknowledged.
fn ignore_invalid_rst() -> Remedy {
    let key = "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst";
    let persist = format!(
        "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
         echo {key} = 1 > /etc/sysctl.d/90-conntrack-rst.conf"
    );
    Remedy {
        id: "C10-ignore",
        title: "let such resets through (Linux 5.14 and later); be_liberal does not",
        steps: vec![Step::new(Runner::Sysctl, &format!("{key}=1"))],
        persist: vec![Step::new(Runner::Shell, &persist)],
        risk: "a forged RST moves the tracker's state; the ends still check it (RFC 5961)",
        check: COUNT_INVALID,
        undo: "sysctl -w net.netfilter.nf_conntrack_tcp_ignore_invalid_rst=0",
    }
}
