//! C15: something answers SYNs in place of the server, and loses options by it.
//!
//! Does not: blame a server that never offers these options.

use crate::audit::Server;
use crate::diagnose::case::{Case, count, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::{ShutSynAck, StandIn};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C15",
    name: "syn_proxy_or_cookies",
    title: "SYN proxy or SYN cookies",
    blames_a_device: false,
    mechanism: "A SYN proxy answers in the name of servers and opens the real connection \
                afterwards; what it offers need not be what the server offers. A server under a \
                flood of SYNs answers with cookies, which hold neither window scale nor SACK \
                where the client sends no timestamps. Nothing of that is INVALID, but 64 KiB a \
                round trip are the most.",
    signature: "SYN-ACKs with a window of zero followed by an update; SYN-ACKs that made fewer hops \
                than all that follows (a higher TTL), or began with another TTL; or SYN-ACKs that \
                lack scaling and SACK while others of the same server have them, in bursts.",
    look_alikes: "Clients that do not offer the options themselves; a device that strips them \
                  (C03); a route that changed between the SYN-ACK and what follows, which \
                  changes for other connections too; something nearer that acknowledges for \
                  the server (C25), whose SYN-ACK made more hops.",
    remedy: "A longer backlog (net.core.somaxconn, net.ipv4.tcp_max_syn_backlog) and \
             net.ipv4.tcp_timestamps=1; for SYNPROXY the server's own mss and wscale.",
    references: "RFC 4987, section 3.6; nft(8), synproxy statement",
    diagnose: Some(diagnose),
    remedies: |_| vec![longer_backlog(), match_proxy()],
});

/// Bare SYN-ACKs that make the mechanism of cookies.
const SEVERAL: u64 = 3;
/// The servers that are listed.
const LISTED: usize = 8;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    by_proxy(facts).or_else(|| by_cookies(facts))
}

// ---- SYN proxy ------------------------------------------------------------------------------------

fn shut(case: &Case<'_>) -> Option<ShutSynAck> {
    let shut = case.summary.signs.as_ref()?.shut_syn_ack?;
    shut.opened.is_some().then_some(shut)
}

fn stand_in(case: &Case<'_>) -> Option<StandIn> {
    // What answers for a server stands before it; who comes from behind it answers for itself (C25).
    case.summary.signs.as_ref()?.stand_in.filter(|stand_in| stand_in.is_before_server())
}

fn by_proxy(facts: &Facts<'_>) -> Option<Diagnosis> {
    let is_proxied = |case: &&Case<'_>| shut(case).is_some() || stand_in(case).is_some();
    let cases: Vec<_> = facts.cases.iter().filter(is_proxied).collect();
    if cases.is_empty() {
        return None;
    }
    let zero = cases.iter().filter(|case| shut(case).is_some()).count();
    let other = cases.iter().filter(|case| stand_in(case).is_some()).count();
    let kinds =
        [(zero, "with a window of zero at first"), (other, "over another way than what follows")];
    let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<_> = kinds.map(|(count, how)| format!("{count} {how}")).collect();
    let finding = format!(
        "something answers the SYN in place of the server in {}: {}",
        counted(count(&cases), "connection"),
        kinds.join(", ")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    match (zero > 0, cases.iter().any(|case| shut(case).is_some() && stand_in(case).is_some())) {
        (_, true) => score.add("window of zero, and TTL of another host", 20),
        (true, false) => score.add("window of zero, opened at once", 10),
        (false, false) => score.at_most = Level::Probable,
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(&cases) > 0 {
        score.add("clean control flows", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "What the proxy offers need not be what the server offers: compare mss, wscale and \
         timestamps with those of the server itself (C03 where the scale differs)."
            .to_owned(),
    );
    diagnosis.evidence = first_frames(cases.iter().flat_map(|case| {
        let shut = shut(case);
        let opened = shut.and_then(|shut| shut.opened);
        [shut.map(|s| s.frame), opened, stand_in(case).map(|s| s.frame)]
            .map(Option::unwrap_or_default)
    }));
    diagnosis.remedies = vec![match_proxy()];
    Some(diagnosis)
}

// ---- SYN cookies ----------------------------------------------------------------------------------

fn by_cookies(facts: &Facts<'_>) -> Option<Diagnosis> {
    let servers: Vec<_> = facts
        .audit
        .totals
        .peers
        .servers()
        .filter(|server| server.bare.flows > 0 && server.full.flows > 0)
        .collect();
    let bare: u64 = servers.iter().map(|server| server.bare.flows).sum();
    if bare == 0 {
        return None;
    }
    let finding = format!(
        "{} of {} lack scaling and SACK, which others of the same server have: SYN cookies",
        counted(bare, "SYN-ACK"),
        counted(servers.len() as u64, "server")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.flow_count = bare;
    let mut score = Score::new(if bare >= SEVERAL { 40 } else { 25 }, facts.quality.percent);
    score.at_most = Level::Probable;
    if servers.iter().any(|server| is_burst(server)) {
        score.add("in a burst", 15);
    }
    diagnosis.score = score;
    diagnosis.notes.push(
        "Nothing of that is INVALID; these connections carry 64 KiB a round trip at most."
            .to_owned(),
    );
    diagnosis.against =
        vec!["two kinds of backends behind one address would look the same".to_owned()];
    diagnosis.parameters = servers.iter().take(LISTED).map(|server| parameter(server)).collect();
    diagnosis.evidence = first_frames(servers.iter().map(|server| server.bare.first_frame));
    diagnosis.remedies = vec![longer_backlog()];
    Some(diagnosis)
}

/// Returns whether the server gave full answers before and after the bare ones, or none meanwhile.
fn is_burst(server: &Server) -> bool {
    let Server { bare, full, .. } = server;
    bare.flows >= SEVERAL && (full.last_ts < bare.first_ts || full.first_ts > bare.last_ts)
}

fn parameter(server: &Server) -> (String, String) {
    let Server { endpoint, bare, full, .. } = server;
    (format!("server {endpoint}"), format!("{} SYN-ACKs bare, {} full", bare.flows, full.flows))
}

/// Gives the server room for the SYNs.
fn longer_backlog() -> Remedy {
    Remedy {
        id: "C15-backlog",
        title: "on the server: a longer backlog, and timestamps, which hold what cookies cannot",
        steps: vec![
            Step::new(Runner::Sysctl, "net.core.somaxconn=4096"),
            Step::new(Runner::Sysctl, "net.ipv4.tcp_max_syn_backlog=4096"),
            Step::new(Runner::Sysctl, "net.ipv4.tcp_timestamps=1"),
        ],
        persist: vec![Step::new(
            Runner::Shell,
            "printf 'net.core.somaxconn = 4096\\nnet.ipv4.tcp_max_syn_backlog = 4096\\n\
             net.ipv4.tcp_timestamps = 1\\n' > /etc/sysctl.d/90-backlog.conf",
        )],
        risk: "memory for half-open connections; the application must ask for the backlog in listen()",
        check: "nstat -az TcpExtSyncookiesSent TcpExtListenOverflows stop rising",
        undo: "the values as they were: sysctl -n before",
    }
}

/// Has the proxy offer what the server offers.
fn match_proxy() -> Remedy {
    let script = "table inet twa_proxy {\n  chain pre {\n    \
                  type filter hook prerouting priority raw; policy accept;\n    \
                  tcp dport 443 tcp flags & (fin | syn | rst | ack) == syn notrack\n  }\n  \
                  chain here {\n    type filter hook input priority filter; policy accept;\n    \
                  tcp dport 443 ct state invalid,untracked \
                  synproxy mss 1460 wscale 7 timestamp sack-perm\n  }\n}";
    Remedy {
        id: "C15-proxy",
        title: "where it is SYNPROXY of netfilter: the server's own mss and wscale (7 is Linux' usual)",
        steps: vec![
            Step::new(Runner::Nft, script),
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_loose=0"),
        ],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_proxy >> /etc/nftables.conf",
        )],
        risk: "an example for port 443: a wrong wscale breaks every large transfer (C03)",
        check: "capture on the server: its SYN-ACK shows the mss and wscale to give",
        undo: "nft delete table inet twa_proxy; sysctl -w net.netfilter.nf_conntrack_tcp_loose=1",
    }
}
