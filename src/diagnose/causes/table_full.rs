//! C21: new connections find no answer while those that exist go on.
//!
//! Does not: claim to see in a capture what only counters show.

use crate::audit::Server;
use crate::diagnose::case::first_frames;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C21",
    name: "conntrack_table_full",
    title: "the connection table is full",
    blames_a_device: true,
    mechanism: "With nf_conntrack_max entries the kernel drops what would make a new one: no \
                INVALID, but nothing. Connections that exist go on.",
    signature: "Not visible in a capture but for SYNs without any answer while established \
                connections of the same server run. The kernel log says: nf_conntrack: table \
                full, dropping packet; conntrack -S counts drop, early_drop and insert_failed.",
    look_alikes: "A server that is down or drops SYNs for a full accept queue; a rule of the \
                  firewall.",
    remedy: "Ask conntrack -S and dmesg; raise nf_conntrack_max, shorten timeouts, and leave DNS \
             untracked.",
    references: "nf_conntrack_max (nf_conntrack-sysctl.rst); nf_conntrack_alloc() \
                 (nf_conntrack_core.c)",
    diagnose: Some(diagnose),
    remedies: |_| vec![ask(), larger_table()],
});

/// Attempts without answer that make the mechanism.
const SEVERAL: u64 = 3;
/// The servers that are listed.
const LISTED: usize = 8;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    if facts.quality.cannot_judge() {
        return None;
    }
    let servers: Vec<_> =
        facts.audit.totals.peers.servers().filter(|server| is_alive(server)).collect();
    let attempts: u64 = servers.iter().map(|server| server.unanswered.flows).sum();
    if attempts < SEVERAL {
        return None;
    }
    let finding = format!(
        "{} to {} get no answer while connections that exist go on: a full table would look so, and \
         is not visible in a capture",
        counted(attempts, "SYN"),
        counted(servers.len() as u64, "server")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.flow_count = attempts;
    let mut score = Score::new(40, facts.quality.percent);
    score.at_most = Level::Possible;
    if servers.len() >= 2 {
        score.add("several servers", 15);
    }
    if servers.iter().any(|server| answers_meanwhile(server)) {
        score.add("others are answered meanwhile", -10);
        diagnosis.against.push("some new connections are answered meanwhile".to_owned());
    }
    diagnosis.score = score;
    diagnosis.against.push(
        "a server with a full accept queue, or a rule that drops, gives the same picture"
            .to_owned(),
    );
    diagnosis.notes.push(
        "Ask the firewall and not the capture: conntrack -S (drop, early_drop, insert_failed), dmesg \
         (nf_conntrack: table full), and nf_conntrack_count beside nf_conntrack_max."
            .to_owned(),
    );
    diagnosis.parameters = servers.iter().take(LISTED).map(|server| parameter(server)).collect();
    diagnosis.evidence = first_frames(servers.iter().map(|server| server.unanswered.first_frame));
    diagnosis.remedies = vec![ask(), larger_table()];
    Some(diagnosis)
}

/// Returns whether a connection of the server lasts through all attempts that have no answer.
fn is_alive(server: &Server) -> bool {
    let Server { unanswered, longest, .. } = server;
    let Some((first, last)) = longest else { return false };
    let (Some(begin), Some(end)) = (unanswered.first_ts, unanswered.last_ts) else { return false };
    unanswered.flows > 0 && *first < begin && *last > end
}

/// Returns whether the server answers new connections between those that it does not answer.
fn answers_meanwhile(server: &Server) -> bool {
    let Server { unanswered, answered, .. } = server;
    let within = |ts| ts > unanswered.first_ts && ts < unanswered.last_ts;
    within(answered.first_ts) || within(answered.last_ts)
}

fn parameter(server: &Server) -> (String, String) {
    let Server { endpoint, unanswered, answered, .. } = server;
    let counts = format!("{} SYNs unanswered, {} answered", unanswered.flows, answered.flows);
    (format!("server {endpoint}"), counts)
}

/// Asks the counters.
fn ask() -> Remedy {
    Remedy {
        id: "C21-ask",
        title: "ask the firewall",
        steps: vec![Step::new(
            Runner::Shell,
            "conntrack -S\n\
             sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max\n\
             dmesg | grep 'table full'",
        )],
        persist: Vec::new(),
        risk: "none: it only looks",
        check: "drop= and insert_failed= rise while connections fail",
        undo: "nothing to take back",
    }
}

/// Makes room in the table.
fn larger_table() -> Remedy {
    Remedy {
        id: "C21-room",
        title: "if the table is full: more entries, and sooner gone",
        steps: vec![
            Step::new(Runner::Shell, "sysctl -w net.netfilter.nf_conntrack_max=1048576"),
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_timeout_established=86400"),
        ],
        persist: vec![Step::new(
            Runner::Shell,
            "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
             printf 'net.netfilter.nf_conntrack_max = 1048576\\n\
             net.netfilter.nf_conntrack_tcp_timeout_established = 86400\\n' \
             > /etc/sysctl.d/90-conntrack-table.conf",
        )],
        risk: "about 400 bytes of kernel memory an entry; idle connections of more than a day are \
               forgotten; nf_conntrack_max is one for the whole machine",
        check: "conntrack -S: drop= and early_drop= stop rising",
        undo: "the values as they were: sysctl -n before",
    }
}
