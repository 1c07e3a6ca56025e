//! C17: packets beyond a size do not arrive.
//!
//! Does not: blame window tracking.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::diagnose::case::{Case, each_once};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::flow::SideSummary;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C17",
    name: "pmtu_black_hole",
    title: "path MTU black hole or a size threshold",
    blames_a_device: true,
    mechanism: "A hop passes smaller packets only and its ICMP messages do not arrive, or packets \
                beyond a size are damaged on the way. Small segments pass, full ones are sent \
                again for ever. The tracker has no part in it.",
    signature: "All that is sent again is larger than some size and all that is smaller arrives; \
                no ICMP message of a smaller MTU comes, or the sender does not heed it. If pings \
                of that size fail too, it is the path and not TCP.",
    look_alikes: "Loss that hits large packets more because there are more of them; C03 with a \
                  window below the segment size.",
    remedy: "Clamp the MSS to the path's MTU, let ICMP pass, or net.ipv4.tcp_mtu_probing=1 on the \
             sender.",
    references: "RFC 2923, section 2.1; RFC 4821",
    diagnose: Some(diagnose),
    remedies: |hosts| vec![clamp_mss(), probe_mtu(), ping_with_size(hosts.first().copied())],
});

/// The smallest payload that a path may be too small for: every path carries IPv4 packets of 576
/// bytes (RFC 791, section 3.1).
const LEAST_PAYLOAD: u32 = 500;
/// Timeouts of segments that had timed out before, from which on they are in vain: the third in a row
/// is the second of these.
const LEAST_TIMEOUTS: u32 = 2;
/// So many times the size in vain delivered before: segments of that size had passed.
const BULK: u64 = 20;
/// Headers of IPv4 and TCP with timestamps, roughly what a size lacks to be that of a packet.
const HEADERS: u32 = 52;
/// Headers of IPv6 and TCP with all options: no packet of a segment is larger by more.
const LARGEST_HEADERS: u32 = 100;
/// An IPv4 header, what an ICMP message lacks to be a packet.
const IP_HEADER: u16 = 20;
/// The flows whose sizes are listed.
const LISTED: usize = 8;

/// A side whose large segments do not get through.
#[derive(Clone, Copy)]
struct Stuck<'a> {
    case: &'a Case<'a>,
    direction: Direction,
    side: &'a SideSummary,
}

/// The sizes of pings between which the path stops carrying them.
#[derive(Clone, Copy)]
struct Pings {
    /// The largest message that was answered.
    answered: u16,
    /// The smallest above it that never was.
    lost: u16,
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let stuck: Vec<_> = facts.cases.iter().flat_map(find).collect();
    let pings = pings(facts, &stuck);
    if stuck.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let cases = each_once(stuck.iter().map(|found| found.case));
    let smallest = stuck.iter().map(|found| found.side.stuck.smallest).min()?;
    let flows = u64::try_from(cases.len()).unwrap_or(u64::MAX);
    let size = pings.filter(|pings| agrees(*pings, smallest)).map_or_else(
        || format!("segments of {smallest} bytes and more"),
        |pings| format!("packets of {} bytes and more, pings too,", pings.lost + IP_HEADER),
    );
    let finding = format!(
        "{size} do not get through in {}: a fault of the path, not of the tracker",
        counted(flows, "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &stuck, pings.filter(|pings| agrees(*pings, smallest)));
    diagnosis.notes = notes(&stuck, pings);
    diagnosis.against = against(facts, &stuck, smallest);
    diagnosis.parameters = stuck.iter().take(LISTED).map(parameter).collect();
    let frames = stuck.iter().map(|found| found.side.stuck.first_frame);
    diagnosis.evidence = frames.take(MAX_EVIDENCE).collect();
    diagnosis.evidence.sort_unstable();
    let peers: BTreeSet<_> =
        stuck.iter().map(|found| found.case.address(found.direction.flip())).collect();
    diagnosis.remedies = vec![clamp_mss(), probe_mtu(), ping_with_size(peers.first().copied())];
    Some(diagnosis)
}

/// Finds the sides of a flow whose segments beyond a size time out again and again, while the
/// receiver is alive and no packet is INVALID.
fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Stuck<'a>> {
    case.sides().filter_map(move |(direction, side)| {
        let stuck = side.stuck;
        let peer = &case.summary.sides[direction.flip()];
        let is_large = stuck.smallest >= LEAST_PAYLOAD && stuck.timeouts >= LEAST_TIMEOUTS;
        let way = case.audit.directions()[direction];
        let delivered = way.bytes.saturating_sub(side.retransmitted.bytes);
        let delivered = delivered.saturating_sub(u64::from(side.max_flight));
        let had_passed = delivered >= BULK * u64::from(stuck.smallest);
        let holds = is_large
            && stuck.got_through < stuck.smallest
            && !had_passed
            && case.is_two_way()
            && case.all_invalid() == 0
            && side.window.longest_zero_us == 0
            && peer.window.longest_zero_us == 0
            && peer.sack.beyond + peer.sack.below == 0;
        holds.then_some(Stuck { case, direction, side })
    })
}

/// Returns whether smaller data of the same side arrived while the large did not.
const fn smaller_arrived(side: &SideSummary) -> bool {
    let stuck = side.stuck;
    let behind = stuck.arrived_behind > 0 && stuck.arrived_behind < stuck.smallest;
    behind || stuck.got_through > 0
}

/// Finds the size of pings to an end of these flows from which on none is answered, while smaller
/// ones are: the least of all ends. An end that answers larger ones is no witness.
fn pings(facts: &Facts<'_>, stuck: &[Stuck<'_>]) -> Option<Pings> {
    let queries = &facts.audit.totals.queries;
    let both = |found: &Stuck<'_>| Direction::BOTH.map(|way| found.case.address(way));
    let hosts: BTreeSet<IpAddr> = stuck.iter().flat_map(both).collect();
    let thresholds = hosts.into_iter().filter_map(|host| queries.threshold(host));
    let (answered, lost) = thresholds.min_by_key(|(_, lost)| *lost)?;
    Some(Pings { answered, lost })
}

/// Counts the far ends of these flows that answer pings as large as what does not get through.
fn hosts_that_answer(facts: &Facts<'_>, stuck: &[Stuck<'_>], smallest: u32) -> usize {
    let far = |found: &Stuck<'_>| found.case.address(found.direction.flip());
    let hosts: BTreeSet<IpAddr> = stuck.iter().map(far).collect();
    let queries = &facts.audit.totals.queries;
    let answers = |host: &&IpAddr| {
        let most = queries.largest_answered(**host).map(u32::from);
        // What is lost above it is a threshold of its own.
        queries.threshold(**host).is_none()
            && most.is_some_and(|most| most >= smallest + LARGEST_HEADERS)
    };
    hosts.iter().filter(answers).count()
}

/// Returns whether the sizes of pings and segments can have one bound.
fn agrees(pings: Pings, smallest: u32) -> bool {
    u32::from(pings.answered + IP_HEADER) < smallest + HEADERS
}

fn score(facts: &Facts<'_>, stuck: &[Stuck<'_>], pings: Option<Pings>) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    if stuck.iter().any(|found| smaller_arrived(found.side)) {
        score.add("smaller segments arrive", 20);
    }
    let cases = each_once(stuck.iter().map(|found| found.case));
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if pings.is_some() {
        score.add("pings of that size fail too", 20);
    }
    if stuck.iter().any(|found| found.side.stuck.too_big > 0) {
        score.add("ICMP says that it is too big", 20);
    }
    if facts.controls(&cases) > 0 {
        score.add("other flows get through", 10);
    }
    let has_passed = contradicting(facts, stuck);
    if has_passed > 0 {
        score.add("segments as large pass between the same hosts", -40);
    }
    // A receiver that died in the middle looks the same as long as nothing else arrives.
    let proven =
        stuck.iter().any(|found| smaller_arrived(found.side) || found.side.stuck.too_big > 0);
    if !proven && pings.is_none() {
        score.at_most = Level::Possible;
    }
    score
}

/// Counts flows between the same hosts whose segments as large did get through.
fn contradicting(facts: &Facts<'_>, stuck: &[Stuck<'_>]) -> usize {
    let ends = |case: &Case<'_>, way: Direction| (case.address(way), case.address(way.flip()));
    let hosts: BTreeSet<(IpAddr, IpAddr)> =
        stuck.iter().map(|found| ends(found.case, found.direction)).collect();
    let smallest = stuck.iter().map(|found| found.side.stuck.smallest).min().unwrap_or(0);
    let passes = |case: &&Case<'_>| {
        case.sides().any(|(way, side)| {
            let way_bytes = case.audit.directions()[way].bytes;
            hosts.contains(&ends(case, way))
                && u32::from(side.largest) >= smallest
                && side.stuck.timeouts == 0
                && way_bytes >= BULK * u64::from(smallest)
        })
    };
    facts.cases.iter().filter(passes).count()
}

fn notes(stuck: &[Stuck<'_>], pings: Option<Pings>) -> Vec<String> {
    let mut notes = vec![
        "No packet of these connections is INVALID: window tracking has no part in it, and \
         be_liberal=1 changes nothing."
            .to_owned(),
    ];
    let told: u32 = stuck.iter().map(|found| found.side.stuck.too_big).sum();
    notes.push(if told > 0 {
        format!(
            "{} of a packet that is too big, and the sender keeps its size: does ICMP reach it?",
            counted(u64::from(told), "ICMP message")
        )
    } else {
        "No ICMP message says that a packet is too big: a black hole, or a path that damages large \
         packets."
            .to_owned()
    });
    if let Some(Pings { answered, lost }) = pings {
        notes.push(format!(
            "Pings of {} bytes are answered, those of {} bytes are not: an echo is never out of a \
             window, so this is the path.",
            answered + IP_HEADER,
            lost + IP_HEADER
        ));
    }
    notes
}

fn against(facts: &Facts<'_>, stuck: &[Stuck<'_>], smallest: u32) -> Vec<String> {
    let mut against = Vec::new();
    let passes = contradicting(facts, stuck);
    if passes > 0 {
        let flows = counted(u64::try_from(passes).unwrap_or(u64::MAX), "connection");
        against.push(format!("{flows} of the same hosts pass segments of {smallest} bytes"));
    }
    let answering = hosts_that_answer(facts, stuck, smallest);
    if answering > 0 {
        let hosts = counted(u64::try_from(answering).unwrap_or(u64::MAX), "host");
        against.push(format!("pings as large are answered by {hosts}"));
    }
    if !stuck.iter().any(|found| smaller_arrived(found.side)) {
        against.push("nothing smaller was seen to arrive meanwhile".to_owned());
    }
    against
}

fn parameter(found: &Stuck<'_>) -> (String, String) {
    let stuck = found.side.stuck;
    let name = format!("flow {} {}", found.case.audit.first_frame, found.direction.name());
    let arrived = stuck.got_through.max(match stuck.arrived_behind {
        behind if behind < stuck.smallest => behind,
        _ => 0,
    });
    let smaller = if arrived > 0 { format!(", {arrived} bytes arrive") } else { String::new() };
    let sizes = if stuck.smallest == stuck.largest {
        stuck.smallest.to_string()
    } else {
        format!("{} to {}", stuck.smallest, stuck.largest)
    };
    (
        name,
        format!(
            "{} in vain with {sizes} bytes{smaller}",
            counted(stuck.timeouts.into(), "timeout")
        ),
    )
}

/// Lowers the segment size that SYNs announce to what the path carries.
fn clamp_mss() -> Remedy {
    let script = "table inet twa_mss {\n  chain fwd_mss {\n    \
                  type filter hook forward priority mangle; policy accept;\n    \
                  tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n  }\n}";
    Remedy {
        id: "C17-clamp",
        title: "clamp the segment size to the MTU of the route, on the router before the small link",
        steps: vec![Step::new(Runner::Nft, script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_mss >> /etc/nftables.conf",
        )],
        risk: "TCP only, and only where the MTU of the route is right; new connections only",
        check: "ping -M do -s 1472 HOST fails as before, and the transfer works",
        undo: "nft delete table inet twa_mss",
    }
}

/// Has the sender find the size that passes by itself.
fn probe_mtu() -> Remedy {
    Remedy {
        id: "C17-probe",
        title: "or have the sending host find the size by itself (RFC 4821)",
        steps: vec![Step::new(Runner::Sysctl, "net.ipv4.tcp_mtu_probing=1")],
        persist: vec![Step::new(
            Runner::Shell,
            "echo net.ipv4.tcp_mtu_probing = 1 > /etc/sysctl.d/90-mtu-probing.conf",
        )],
        risk: "each affected connection first stalls for some timeouts",
        check: "nstat -az TcpExtTCPMTUPSuccess grows, and the transfer works",
        undo: "sysctl -w net.ipv4.tcp_mtu_probing=0",
    }
}

/// Finds the size that passes.
fn ping_with_size(peer: Option<IpAddr>) -> Remedy {
    let peer = peer.map_or_else(|| "192.0.2.1".to_owned(), |peer| peer.to_string());
    Remedy {
        id: "C17-ping",
        title: "find the hop: the largest ping that passes, hop by hop",
        steps: vec![Step::new(
            Runner::Shell,
            &format!("tracepath -n {peer}\nping -M do -c 3 -s 965 {peer}"),
        )],
        persist: Vec::new(),
        risk: "none",
        check: "the size at which pings stop being answered is that of the fault",
        undo: "nothing to undo",
    }
}
