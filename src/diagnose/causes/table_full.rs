//! C21: the table would be full, counted entry by entry; or new connections find no answer while those
//! that exist go on.
//!
//! Does not: claim to see in a capture what only counters show.

use crate::audit::Server;
use crate::diagnose::case::first_frames;
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::occupancy::{Origin, Outcome};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C21",
    name: "conntrack_table_full",
    title: "the connection table is full",
    blames_a_device: true,
    mechanism: "With nf_conntrack_max entries the kernel drops what would make a new one: no \
                INVALID, but nothing. Connections that exist go on.",
    signature: "The entries that the capture's packets make, counted by the kernel's timeouts, \
                exceed nf_conntrack_max (--table); or SYNs without any answer while established \
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
    would_overflow(facts).or_else(|| unanswered(facts))
}

/// Finds more entries than the table holds.
///
/// A capture can only miss entries, so that its shortcomings do not weaken this.
fn would_overflow(facts: &Facts<'_>) -> Option<Diagnosis> {
    let capacity = facts.audit.capacity()?;
    let (max, reading) = (capacity.max?, facts.audit.totals.occupancy.peak()?);
    if reading.total() <= max {
        return None;
    }
    let percent = capacity.percent(reading.total()).unwrap_or(0);
    let finding = format!(
        "the connection table would hold {} entries, {percent} % of nf_conntrack_max={max}",
        reading.total()
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    let mut score = Score::of_any_capture(50);
    if capacity.max_from == Origin::Given {
        score.add("the limit is known", 20);
    } else {
        score.at_most = Level::Probable;
        diagnosis.against.push(
            "the limit is the kernel's default with more than 4 GiB of memory; give that of the \
             firewall with --sysctl nf_conntrack_max=N"
                .to_owned(),
        );
    }
    if let Some(table) = facts.audit.table.as_deref() {
        add_outcome(&mut diagnosis, &mut score, &table.outcome);
    }
    diagnosis.score = score;
    diagnosis.remedies = vec![ask()];
    Some(diagnosis)
}

/// Adds what a full table would have done with the flows of the capture.
fn add_outcome(diagnosis: &mut Diagnosis, score: &mut Score, outcome: &Outcome) {
    let dropped: u64 = outcome.dropped.values().sum();
    let given_up: u64 = outcome.early_dropped.values().chain(outcome.collected.values()).sum();
    if dropped + outcome.cut_off > 0 {
        score.add("flows would be dropped or cut off", 20);
    } else {
        diagnosis.against.push(
            "all that would be given up had no packets to come: nothing is lost as yet".to_owned(),
        );
    }
    diagnosis.notes.push(format!(
        "{} would have been dropped and {} given up, {} of them with packets to come.",
        counted(dropped, "new flow"),
        if given_up == 1 { "1 entry".to_owned() } else { format!("{given_up} entries") },
        outcome.cut_off
    ));
    diagnosis.flow_count = dropped + outcome.cut_off;
    let refused = outcome.first_dropped.iter().chain(&outcome.first_early_dropped);
    diagnosis.evidence = first_frames(refused.map(|refused| refused.life.frame));
}

/// Finds servers that leave new connections without answer while others of theirs go on.
fn unanswered(facts: &Facts<'_>) -> Option<Diagnosis> {
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
