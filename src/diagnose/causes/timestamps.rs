//! C16: timestamps from behind one address do not rise together, and a server drops SYNs by them.
//!
//! Does not: speak of timestamps alone, where the SYNs are answered.

use crate::audit::Clocks;
use crate::diagnose::case::{Case, count, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::Seen;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C16",
    name: "timestamps_behind_nat",
    title: "timestamps and NAT",
    blames_a_device: true,
    mechanism: "Hosts behind one translated address have clocks of their own. A server with \
                tcp_tw_recycle (Linux before 4.12), or a balancer of that habit, drops SYNs whose \
                timestamp is older than the last one of that address. And segments without the \
                timestamp that was negotiated are discarded by their receiver (RFC 7323), which \
                is a silent stall.",
    signature: "From one address, SYNs with lower timestamps stay unanswered while those with \
                higher ones are answered, within a minute; or segments other than RST lack the \
                timestamps that both SYNs agreed upon.",
    look_alikes: "An overloaded server, which drops SYNs whatever their timestamps; options cut \
                  by the snap length.",
    remedy: "net.ipv4.tcp_tw_recycle=0 on the server, or Linux 4.12 and later; have the device \
             keep the option.",
    references: "RFC 7323, sections 3.2 and 5; Linux commit 4396e46187ca (tcp: remove \
                 tcp_tw_recycle)",
    diagnose: Some(diagnose),
    remedies: |_| vec![no_recycling(), no_timestamps()],
});

/// How far clocks behind one address must be apart to be several: 1 s, in milliseconds.
const APART_MS: i32 = 1000;
/// Attempts without answer, or segments without timestamp, that make the mechanism.
const SEVERAL: u64 = 3;
/// The pairs of hosts that are listed.
const LISTED: usize = 8;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    behind_nat(facts).or_else(|| missing(facts))
}

// ---- several clocks behind one address ------------------------------------------------------------

fn behind_nat(facts: &Facts<'_>) -> Option<Diagnosis> {
    let clocks = facts.audit.totals.peers.clocks();
    let found: Vec<_> = clocks.filter(|clocks| is_refused_by_clock(clocks)).collect();
    let attempts: u64 = found.iter().map(|clocks| clocks.unanswered_flows.flows).sum();
    if attempts == 0 {
        return None;
    }
    let finding = format!(
        "{} without any answer whose timestamps are behind those that are answered, from {}",
        counted(attempts, "SYN"),
        counted(found.len() as u64, "address")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &[]);
    diagnosis.flow_count = attempts;
    let mut score = Score::new(if attempts >= SEVERAL { 40 } else { 25 }, facts.quality.percent);
    score.at_most = Level::Probable;
    if found.len() >= 2 {
        score.add("several addresses", 15);
    }
    if found.iter().all(|clocks| is_separated(clocks)) {
        score.add("no SYN behind them is answered", 15);
    } else {
        diagnosis.against.push("SYNs of the same clock are answered at other times".to_owned());
    }
    diagnosis.score = score;
    diagnosis.notes.push("No tracker has a part in it: the server drops these SYNs.".to_owned());
    diagnosis.parameters = found.iter().take(LISTED).map(|clocks| parameter(clocks)).collect();
    diagnosis.evidence =
        first_frames(found.iter().map(|clocks| clocks.unanswered_flows.first_frame));
    diagnosis.remedies = vec![no_recycling()];
    Some(diagnosis)
}

/// Returns whether all clocks without an answer are behind one that has.
fn is_refused_by_clock(clocks: &Clocks) -> bool {
    let (Some((_, highest)), Some((_, unanswered))) = (clocks.answered, clocks.unanswered) else {
        return false;
    };
    highest.wrapping_sub(unanswered).cast_signed() >= APART_MS
}

/// Returns whether no clock that is answered is as low as those that are not.
fn is_separated(clocks: &Clocks) -> bool {
    let (Some((lowest, _)), Some((_, unanswered))) = (clocks.answered, clocks.unanswered) else {
        return false;
    };
    lowest.wrapping_sub(unanswered).cast_signed() > 0
}

fn parameter(clocks: &Clocks) -> (String, String) {
    let behind = match (clocks.answered, clocks.unanswered) {
        (Some((_, highest)), Some((_, unanswered))) => highest.wrapping_sub(unanswered),
        _ => 0,
    };
    let attempts = counted(clocks.unanswered_flows.flows, "SYN");
    let name = format!("{} to {}", clocks.client, clocks.server);
    (name, format!("{attempts} unanswered, their clock {behind} ms or more behind"))
}

// ---- segments without the timestamp that was agreed upon ------------------------------------------

fn unstamped(case: &Case<'_>) -> impl Iterator<Item = Seen> {
    let of = |direction| case.summary.side_signs(direction).unstamped;
    Direction::BOTH.map(of).into_iter().filter(|seen| seen.packets > 0)
}

fn missing(facts: &Facts<'_>) -> Option<Diagnosis> {
    let packets =
        |case: &Case<'_>| unstamped(case).map(|seen| u64::from(seen.packets)).sum::<u64>();
    let cases: Vec<_> = facts.cases.iter().filter(|case| packets(case) >= SEVERAL).collect();
    if cases.is_empty() {
        return None;
    }
    let total: u64 = cases.iter().map(|case| packets(case)).sum();
    let finding = format!(
        "{} in {} lack the timestamp that both SYNs agreed upon",
        counted(total, "segment"),
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    score.at_most = Level::Probable;
    let is_sent_again =
        |case: &&Case<'_>| case.sides().any(|(_, side)| side.retransmitted.packets > 0);
    if cases.iter().any(is_sent_again) {
        score.add("sent again", 10);
    } else {
        score.at_most = Level::Possible;
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    diagnosis.score = score;
    diagnosis
        .notes
        .push("Their receiver discards them silently (RFC 7323, section 3.2).".to_owned());
    diagnosis.evidence =
        first_frames(cases.iter().flat_map(|case| unstamped(case).map(|seen| seen.first_frame)));
    diagnosis.remedies = vec![no_timestamps()];
    Some(diagnosis)
}

/// Switches off what drops SYNs by their timestamps.
fn no_recycling() -> Remedy {
    Remedy {
        id: "C16-recycle",
        title: "on a server before Linux 4.12: no tcp_tw_recycle (later ones have none)",
        steps: vec![Step::new(
            Runner::Shell,
            "test ! -e /proc/sys/net/ipv4/tcp_tw_recycle || sysctl -w net.ipv4.tcp_tw_recycle=0",
        )],
        persist: vec![Step::new(
            Runner::Shell,
            "grep -rn tcp_tw_recycle /etc/sysctl.conf /etc/sysctl.d",
        )],
        risk: "more sockets in TIME_WAIT",
        check: "nstat -az TcpExtPAWSPassive stops rising",
        undo: "sysctl -w net.ipv4.tcp_tw_recycle=1",
    }
}

/// Does without timestamps while a device removes them.
fn no_timestamps() -> Remedy {
    Remedy {
        id: "C16-off",
        title: "stop-gap on an end host: no timestamps, until the device keeps them",
        steps: vec![Step::new(Runner::Sysctl, "net.ipv4.tcp_timestamps=0")],
        persist: vec![Step::new(
            Runner::Shell,
            "echo net.ipv4.tcp_timestamps = 0 > /etc/sysctl.d/90-no-timestamps.conf",
        )],
        risk: "no protection against wrapped sequence numbers, coarser round trips, bare SYN cookies",
        check: "capture again: no SYN has the option, and nothing stalls",
        undo: "sysctl -w net.ipv4.tcp_timestamps=1",
    }
}
