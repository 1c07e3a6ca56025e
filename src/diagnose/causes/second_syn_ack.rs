//! C14: two backends answer one SYN.
//!
//! Does not: speak of a SYN-ACK that is sent again as it was.

use std::collections::BTreeSet;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{self, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::SecondSynAck;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C14",
    name: "second_syn_ack_other_isn",
    title: "a second SYN-ACK with another initial number",
    blames_a_device: true,
    mechanism: "A SYN that is multiplied or sent again reaches another backend (ECMP rehash, a balancer \
                without state, a SYN proxy that hands over), which answers with its own initial \
                number. A tracker that saw one SYN judges by the first answer: what acknowledges a \
                higher second one is INVALID; what acknowledges a lower one is let through without \
                its data being taken, so that the answer to a request is INVALID. One that saw the \
                SYN again takes the numbers anew.",
    signature: "Two SYN-ACKs acknowledge the same SYN with different sequence numbers, mostly \
                with another TTL or timestamp base.",
    look_alikes: "A port used again for a new connection, whose SYN has another number; a spoofed \
                  SYN-ACK.",
    remedy: "Make the balancer consistent: hash by the connection and keep state for SYNs that \
             are sent again; be_liberal=1 lets the data of the second pass.",
    references: "tcp_in_window() and the SYN-ACK case of nf_conntrack_tcp_packet() \
                 (nf_conntrack_proto_tcp.c)",
    diagnose: Some(diagnose),
    remedies: |_| vec![keep_to_one_backend()],
});

/// The rules that the numbers of the second SYN-ACK violate.
const RULES: &[Reason] =
    &[Reason::AckOver, Reason::SeqOver, Reason::SeqOvershoot, Reason::RstInvalid];
/// The flows whose SYN-ACKs are listed.
const LISTED: usize = 8;

/// A flow whose SYN was answered twice.
struct Twice<'a> {
    case: &'a Case<'a>,
    second: SecondSynAck,
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let found: Vec<_> = facts.cases.iter().filter_map(find).collect();
    if found.is_empty() {
        return None;
    }
    let cases: Vec<_> = found.iter().map(|twice| twice.case).collect();
    let higher = found.iter().filter(|twice| twice.second.offset > 0).count();
    let finding = format!(
        "{} answered twice, with different initial numbers: in {higher} the second is higher",
        counted(count(&cases), "SYN")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &found);
    let invalid: u64 = cases.iter().map(|case| case.invalid(RULES)).sum();
    diagnosis.notes.push(format!(
        "A tracker that saw one SYN judges by the first answer: what acknowledges a higher second one \
         is INVALID; what acknowledges a lower one is let through, but not its data, and the answer to \
         that is INVALID ({} here).",
        counted(invalid, "packet")
    ));
    if !found.iter().any(Twice::takes_another_way) {
        diagnosis.against.push(
            "both arrive with one TTL: a host that answers a SYN anew, or with SYN cookies, looks \
             the same"
                .to_owned(),
        );
    }
    diagnosis.parameters = found.iter().take(LISTED).map(parameter).collect();
    diagnosis.evidence = first_frames(found.iter().map(|twice| twice.second.frame));
    diagnosis.remedies = vec![keep_to_one_backend(), remedy::be_liberal()];
    Some(diagnosis)
}

fn find<'a>(case: &'a Case<'a>) -> Option<Twice<'a>> {
    let second = case.summary.signs.as_ref()?.second_syn_ack?;
    Some(Twice { case, second })
}

impl Twice<'_> {
    const fn takes_another_way(&self) -> bool {
        self.second.first_ttl != self.second.ttl
    }
}

fn score(facts: &Facts<'_>, found: &[Twice<'_>]) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    if found.iter().any(|twice| twice.case.invalid(RULES) > 0) {
        score.add("packets INVALID by it", 20);
    }
    let offsets: BTreeSet<i32> = found.iter().map(|twice| twice.second.offset).collect();
    if offsets.len() >= 2 {
        score.add("independent flows", 15);
    }
    if found.iter().any(Twice::takes_another_way) {
        score.add("TTL of another host", 10);
    } else {
        score.at_most = Level::Probable;
    }
    let cases: Vec<_> = found.iter().map(|twice| twice.case).collect();
    if facts.controls(&cases) > 0 {
        score.add("clean control flows", 15);
    }
    score
}

fn parameter(twice: &Twice<'_>) -> (String, String) {
    let SecondSynAck { offset, first_ttl, ttl, .. } = twice.second;
    let name = format!("flow {}", twice.case.audit.first_frame);
    (
        name,
        format!("second initial number {offset:+} bytes from the first, TTL {first_ttl} and {ttl}"),
    )
}

/// Has the balancer send what belongs together to one backend.
fn keep_to_one_backend() -> Remedy {
    Remedy {
        id: "C14-hash",
        title: "have routers and balancers choose by the whole connection, and keep to it",
        steps: vec![Step::new(Runner::Sysctl, "net.ipv4.fib_multipath_hash_policy=1")],
        persist: vec![Step::new(
            Runner::Shell,
            "echo net.ipv4.fib_multipath_hash_policy = 1 > /etc/sysctl.d/90-multipath.conf",
        )],
        risk: "flows are spread anew once; backends that come and go still move them, unless the \
               hash is consistent",
        check: "capture again: each SYN is answered with one initial number",
        undo: "sysctl -w net.ipv4.fib_multipath_hash_policy=0",
    }
}
