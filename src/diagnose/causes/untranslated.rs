//! C09: packets with private addresses appear outside a translating router.
//!
//! Does not: take a private network for the outside.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::segment::Flags;
use crate::tuple::Endpoint;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C09",
    name: "invalid_leaves_untranslated",
    title: "INVALID packets leave untranslated",
    blames_a_device: true,
    mechanism: "A packet that conntrack calls INVALID is not translated. Where the rules let it \
                pass, it leaves a masquerading router with its private source address, and nobody \
                answers it, or a provider complains.",
    signature: "Beside flows with the public address, packets with a private source and the same \
                ports and numbers: mostly RST, FIN and late acknowledgements.",
    look_alikes: "A capture before the translation, or on both sides of it; private networks \
                  routed on purpose.",
    remedy: "Drop INVALID in FORWARD on the translating router, and find out why the packets are \
             INVALID: this is a symptom.",
    references: "nf_nat_inet_fn() (nf_nat_core.c); netfilter bugzilla 693",
    diagnose: Some(diagnose),
    remedies: |_| vec![drop_invalid()],
});

/// What a tracker says of a packet without a connection.
const RULES: &[Reason] =
    &[Reason::StateInvalid, Reason::InvalidNew, Reason::PickupDisabled, Reason::RstInvalid];

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    if facts.quality.cannot_judge() || sees_inside(facts) {
        return None;
    }
    let (translated, private) = (translated(facts), &facts.audit.provenance.private);
    let twin = |case: &Case<'_>| {
        let (from, to) = case.key.endpoints(case.audit.original);
        let leaks = private.holds(from.addr) && !private.holds(to.addr);
        let is_late = !case.audit.directions().original.syn_seen && !case.is_two_way();
        let twin = translated.get(&(from.port, to)).copied();
        twin.filter(|_| leaks && is_late && case.invalid(RULES) > 0)
    };
    let cases: Vec<_> = facts.cases.iter().filter(|case| twin(case).is_some()).collect();
    if cases.is_empty() {
        return None;
    }
    let packets: u64 = cases.iter().map(|case| case.all_invalid()).sum();
    let flows = counted(u64::try_from(cases.len()).unwrap_or(u64::MAX), "connection");
    let finding = format!(
        "{} of {flows} with private source addresses, INVALID here, belong to connections that \
         are translated: they leave untranslated",
        counted(packets, "packet")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    // The translating router itself is not in the capture.
    score.at_most = Level::Probable;
    score.add("the same ports under a public address", 20);
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "This is a symptom: on the router that translates, these packets were INVALID for a reason \
         of its own, and its rules let them pass."
            .to_owned(),
    );
    let told = |case: &&Case<'_>| {
        let (from, to) = case.key.endpoints(case.audit.original);
        let (public, flow) = twin(case)?;
        Some((
            format!("flow {}", case.audit.first_frame),
            format!("{from} to {to}, elsewhere {public} (flow {flow})"),
        ))
    };
    diagnosis.parameters = cases.iter().filter_map(told).take(8).collect();
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    diagnosis.remedies = vec![drop_invalid()];
    Some(diagnosis)
}

/// Returns whether connections are opened from private addresses here: the capture is not, or not
/// only, beyond the translation.
fn sees_inside(facts: &Facts<'_>) -> bool {
    let private = &facts.audit.provenance.private;
    !facts.pairs.is_empty()
        || facts.audit.openings.iter().any(|opening| {
            let (from, to) = opening.endpoints();
            !opening.segment.has(Flags::ACK) && private.holds(from.addr) && !private.holds(to.addr)
        })
}

/// Lists the connections of public addresses: source port and destination, with source and flow.
fn translated(facts: &Facts<'_>) -> BTreeMap<(u16, Endpoint), (IpAddr, u64)> {
    let syns = facts.audit.openings.iter().filter(|opening| !opening.segment.has(Flags::ACK));
    let opened = syns.map(|opening| {
        let (from, to) = opening.endpoints();
        ((from.port, to), (from.addr, opening.flow))
    });
    let known = facts.cases.iter().filter(|case| case.is_two_way()).map(|case| {
        let (from, to) = case.key.endpoints(case.audit.original);
        ((from.port, to), (from.addr, case.audit.first_frame))
    });
    let private = &facts.audit.provenance.private;
    known.chain(opened).filter(|(_, (source, _))| !private.holds(*source)).collect()
}

/// Keeps what cannot be translated from leaving.
fn drop_invalid() -> Remedy {
    let script = "table inet twa_leak {\n  chain forward_leak {\n    \
                  type filter hook forward priority filter; policy accept;\n    \
                  ct state invalid counter drop\n  }\n}";
    Remedy {
        id: "C09-drop",
        title: "drop INVALID on the router that translates, and find out why they are INVALID there",
        steps: vec![Step::new(Runner::Nft, script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_leak >> /etc/nftables.conf",
        )],
        risk: "with asymmetric routes (C08) this drops whole connections",
        check: COUNT_INVALID,
        undo: "nft delete table inet twa_leak",
    }
}
