//! C13: a SYN reuses a connection that the other end or a tracker still holds.
//!
//! Does not: speak of ports that are used again with success.

use crate::audit::UNANSWERED_RETRIES;
use crate::diagnose::case::{Case, count, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::{ChallengedSyn, ConnState};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C13",
    name: "port_reuse_time_wait",
    title: "a port is used again too soon",
    blames_a_device: true,
    mechanism: "A client opens a connection from a port whose last one the server still remembers \
                (TIME_WAIT, half-open, or lost at a restart). The server answers with an ACK of \
                the old numbers, a challenge; the client resets that and tries again. A firewall \
                that drops this ACK or RST makes the attempt time out.",
    signature: "A SYN is answered by an ACK that acknowledges something else than the SYN, then \
                RST, then the SYN again after a second; or the SYN is repeated without any answer \
                where the same pair of ports was in use before.",
    look_alikes: "A host that is down; a full accept queue; a lost SYN.",
    remedy: "Let the ACK and the RST pass; more ephemeral ports or fewer short connections on the \
             client; tcp_tw_reuse=1 with timestamps on the client.",
    references: "RFC 9293, section 3.6.1; RFC 6191; RFC 5961, section 4",
    diagnose: Some(diagnose),
    remedies: |_| vec![more_ports(), shorter_time_wait(), let_reset_pass()],
});

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let challenged: Vec<_> = facts.cases.iter().filter(|case| challenge(case).is_some()).collect();
    let unanswered: Vec<_> = facts.cases.iter().filter(|case| is_unanswered(case)).collect();
    let cases: Vec<_> = challenged.iter().chain(&unanswered).copied().collect();
    if cases.is_empty() {
        return None;
    }
    let finding = format!(
        "{} reuse a port that the other end or a tracker still holds: {} challenged, {} unanswered",
        counted(count(&cases), "connection"),
        challenged.len(),
        unanswered.len()
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &challenged, &unanswered);
    diagnosis.notes = notes(&challenged);
    if !cases.iter().any(|case| is_stuck(case)) {
        diagnosis.against.push("all of them were opened at last: a second is lost".to_owned());
    }
    diagnosis.evidence = first_frames(cases.iter().flat_map(|case| {
        let ChallengedSyn { ack_frame, reset_frame, retry_frame, .. } =
            challenge(case).unwrap_or_default();
        let first = if ack_frame == 0 { case.audit.first_frame } else { ack_frame };
        [first, reset_frame.unwrap_or(0), retry_frame.unwrap_or(0)]
    }));
    diagnosis.remedies = vec![more_ports(), shorter_time_wait(), let_reset_pass()];
    Some(diagnosis)
}

/// Returns the challenge of a SYN, if a RST or another SYN came after it.
fn challenge(case: &Case<'_>) -> Option<ChallengedSyn> {
    let challenged = case.summary.signs.as_ref()?.challenged_syn?;
    let goes_on = challenged.reset_frame.is_some() || challenged.retry_frame.is_some();
    (goes_on && case.is_two_way()).then_some(challenged)
}

/// Returns whether a SYN between endpoints that the tracker still knew has no answer.
fn is_unanswered(case: &Case<'_>) -> bool {
    let retries = case.summary.handshake.syn_retries_us.len();
    case.audit.reopened && case.summary.conn_state == ConnState::S0 && retries >= UNANSWERED_RETRIES
}

/// Returns whether the answer or the RST did not get through: the SYN comes again and no RST came.
fn is_stuck(case: &Case<'_>) -> bool {
    let unheard = |c: ChallengedSyn| c.retry_frame.is_some() && c.reset_frame.is_none();
    is_unanswered(case) || challenge(case).is_some_and(unheard)
}

fn score(facts: &Facts<'_>, challenged: &[&Case<'_>], unanswered: &[&Case<'_>]) -> Score {
    let mechanism = if challenged.is_empty() { 25 } else { 40 };
    let mut score = Score::new(mechanism, facts.quality.percent);
    let is_stuck = challenged.iter().chain(unanswered).any(|case| is_stuck(case));
    if is_stuck {
        score.add("the connection is not opened", 20);
    } else {
        score.at_most = Level::Possible;
    }
    if challenged.len() + unanswered.len() >= 2 {
        score.add("several flows", 15);
    }
    let all: Vec<_> = challenged.iter().chain(unanswered).copied().collect();
    if facts.controls(&all) > 0 {
        score.add("clean control flows", 15);
    }
    if challenged.is_empty() {
        // A server that is down gives the same picture.
        score.at_most = Level::Possible;
    }
    score
}

fn notes(challenged: &[&Case<'_>]) -> Vec<String> {
    let unheard = challenged
        .iter()
        .filter_map(|case| challenge(case))
        .filter(|challenged| challenged.reset_frame.is_none())
        .count();
    let mut notes = Vec::new();
    if !challenged.is_empty() {
        notes.push(format!(
            "The answer acknowledges something else than the SYN, because its sender remembers \
             another connection; a RST should follow. In {unheard} of them none does: the answer or \
             the RST is dropped."
        ));
    }
    notes
}

/// Gives the client more ports to choose from.
fn more_ports() -> Remedy {
    Remedy {
        id: "C13-ports",
        title: "on the client: more ports, and reuse of those in TIME_WAIT by timestamps",
        steps: vec![
            Step::new(Runner::Sysctl, "net.ipv4.ip_local_port_range=10240 65535"),
            Step::new(Runner::Sysctl, "net.ipv4.tcp_tw_reuse=1"),
        ],
        persist: vec![Step::new(
            Runner::Shell,
            "printf 'net.ipv4.ip_local_port_range = 10240 65535\\nnet.ipv4.tcp_tw_reuse = 1\\n' \
             > /etc/sysctl.d/90-ports.conf",
        )],
        risk: "ports of services in that range must be reserved (ip_local_reserved_ports)",
        check: "ss -s shows fewer timewait; capture again: SYNs are answered by SYN-ACKs",
        undo: "sysctl -w net.ipv4.ip_local_port_range='32768 60999'; net.ipv4.tcp_tw_reuse=2",
    }
}

/// Has the tracker forget closed connections as soon as sockets do.
fn shorter_time_wait() -> Remedy {
    Remedy {
        id: "C13-timewait",
        title: "on the tracker: forget closed connections after 60 s, as the sockets do",
        steps: vec![Step::new(
            Runner::Sysctl,
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait=60",
        )],
        persist: vec![Step::new(
            Runner::Shell,
            "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
             echo net.netfilter.nf_conntrack_tcp_timeout_time_wait = 60 \
             > /etc/sysctl.d/90-conntrack-timewait.conf",
        )],
        risk: "very late packets of a closed connection are taken for a new one",
        check: "conntrack -L -p tcp --state TIME_WAIT | wc -l falls",
        undo: "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=120",
    }
}

/// Accepts the RST that answers a challenge, where rules drop INVALID packets.
fn let_reset_pass() -> Remedy {
    let script = "table inet twa_reuse {\n  chain through {\n    \
                  type filter hook forward priority filter - 1; policy accept;\n    \
                  ct state invalid tcp flags & (syn | rst) == rst counter\n    \
                  ct state invalid tcp flags & (syn | ack | rst) == ack counter\n  }\n}";
    Remedy {
        id: "C13-count",
        title: "on the firewall: count the INVALID ACKs and RSTs first; then accept those before the \
                drop",
        steps: vec![Step::new(Runner::Nft, script)],
        persist: Vec::new(),
        risk: "none while it only counts; with accept in place of counter, INVALID RSTs pass",
        check: "nft list table inet twa_reuse: the counters rise with each failed attempt",
        undo: "nft delete table inet twa_reuse",
    }
}
