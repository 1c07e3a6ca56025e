//! C11: a RST comes from something else than the host whose address it carries.
//!
//! Does not: speak of a RST that agrees with its host in all.

use std::collections::BTreeSet;

use crate::diagnose::case::{Case, count, each_once, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::SideSigns;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C11",
    name: "rst_injection",
    title: "RST injected on the path",
    blames_a_device: true,
    mechanism: "An intrusion prevention system, a censor or a load balancer that ends idle \
                connections sends RSTs in the name of an end. The alleged sender knows nothing of \
                it and goes on.",
    signature: "The RST's TTL differs by two or more from the other packets of that host, its IP \
                id falls out of their series, or several RSTs come at guessed numbers; and \
                packets of the alleged sender arrive after it.",
    look_alikes: "A crash and a half-open connection (the RST then has the host's own TTL and \
                  nothing follows); data that was under way when a host reset.",
    remedy: "Find the device by the TTL of its RSTs, and have it let the connection be; if an \
             idle gap goes before, see C12.",
    references: "RFC 5961, section 3; RFC 9293, section 3.10.7",
    diagnose: Some(diagnose),
    remedies: |_| vec![find_device(60), ignore_by_ttl(60)],
});

/// The flows whose RST is listed.
const LISTED: usize = 8;

/// A side in whose name a RST came that it did not send.
struct Injected<'a> {
    case: &'a Case<'a>,
    direction: Direction,
    signs: SideSigns,
}

impl Injected<'_> {
    const fn is_foreign(&self) -> bool {
        self.signs.foreign_resets.seen.packets > 0
    }

    const fn went_on(&self) -> bool {
        self.signs.after_reset.packets > 0
    }

    const fn is_certain(&self) -> bool {
        self.is_foreign() && self.went_on()
    }
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let found: Vec<_> = facts.cases.iter().flat_map(find).collect();
    if found.is_empty() {
        return None;
    }
    let cases = each_once(found.iter().map(|injected| injected.case));
    let alive = found.iter().filter(|injected| injected.went_on()).count();
    let finding = format!(
        "something on the path resets {} in the name of an end, which goes on in {alive} of them",
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &found, &cases);
    diagnosis.notes = notes(&found);
    if alive == 0 {
        diagnosis.against.push(
            "no alleged sender goes on: a host that sends its RSTs with another TTL than its data \
             looks the same"
                .to_owned(),
        );
    } else if !found.iter().any(Injected::is_foreign) {
        diagnosis.against.push("the TTL of these RSTs is that of their hosts".to_owned());
    }
    diagnosis.parameters = found.iter().take(LISTED).map(parameter).collect();
    diagnosis.evidence = first_frames(found.iter().flat_map(|injected| {
        let SideSigns { foreign_resets, after_reset, .. } = injected.signs;
        [foreign_resets.seen.first_frame, after_reset.first_frame]
    }));
    let ttls: BTreeSet<u8> = found
        .iter()
        .filter(|injected| injected.is_foreign())
        .map(|injected| injected.signs.foreign_resets.ttl)
        .collect();
    if let Some(ttl) = ttls.first().filter(|_| ttls.len() == 1) {
        diagnosis.remedies = vec![find_device(*ttl), ignore_by_ttl(*ttl)];
    }
    Some(diagnosis)
}

fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Injected<'a>> {
    Direction::BOTH.into_iter().filter_map(move |direction| {
        let signs = case.summary.side_signs(direction);
        // A RST that a stale packet drew comes from a host that has no such connection: C06.
        let is_drawn = case.summary.side_signs(direction.flip()).stale.drew_resets.packets > 0;
        let injected = Injected { case, direction, signs };
        let holds = injected.is_foreign() || injected.went_on();
        (holds && !is_drawn && case.is_two_way()).then_some(injected)
    })
}

fn score(facts: &Facts<'_>, found: &[Injected<'_>], cases: &[&Case<'_>]) -> Score {
    let alive = found.iter().any(Injected::went_on);
    let mut score = Score::new(if alive { 40 } else { 25 }, facts.quality.percent);
    if alive {
        score.add("the alleged sender goes on", 20);
    }
    if found.iter().any(Injected::is_certain) {
        score.add("TTL of another box", 20);
    } else {
        score.at_most = Level::Probable;
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(cases) > 0 {
        score.add("clean control flows", 15);
    }
    score
}

fn notes(found: &[Injected<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let foreign = || found.iter().filter(|injected| injected.is_foreign());
    let ttls: BTreeSet<u8> = foreign().map(|injected| injected.signs.foreign_resets.ttl).collect();
    if let (Some(ttl), 1) = (ttls.first(), ttls.len()) {
        notes.push(format!(
            "All of these RSTs arrive with TTL {ttl}: about {} from here.",
            counted(hops(*ttl), "hop")
        ));
    }
    let idle = foreign().filter(|injected| injected.signs.foreign_resets.idle_s >= 2).count();
    if idle > 0 {
        notes.push(format!(
            "In {idle} of them nothing had passed for seconds before: a box that ends idle \
             connections (C12)."
        ));
    }
    notes
}

/// Returns how many hops a packet has made if it began with a usual TTL.
fn hops(ttl: u8) -> u64 {
    let first = [64, 128, 255].into_iter().find(|first| *first >= ttl).unwrap_or(u8::MAX);
    u64::from(first - ttl)
}

fn parameter(found: &Injected<'_>) -> (String, String) {
    let SideSigns { foreign_resets, after_reset, .. } = found.signs;
    let (flow, direction) = (found.case.audit.first_frame, found.direction.name());
    let path = if foreign_resets.seen.packets > 0 {
        format!("RST with TTL {}, its host's {}", foreign_resets.ttl, foreign_resets.host_ttl)
    } else {
        "RST with the TTL of its host".to_owned()
    };
    let after = counted(u64::from(after_reset.packets), "packet");
    (format!("flow {flow} {direction}"), format!("{path}, {after} of the host after it"))
}

/// Finds the box by its RSTs.
fn find_device(ttl: u8) -> Remedy {
    let lines = format!("tcpdump -eni any 'tcp[tcpflags] & tcp-rst != 0 and ip[8] = {ttl}'");
    Remedy {
        id: "C11-find",
        title: "find the box by its RSTs: link address and distance; have it let these pass",
        steps: vec![Step::new(Runner::Shell, &lines)],
        persist: Vec::new(),
        risk: "none: it only looks",
        check: "capture on both sides of the suspect: the RST is there on one side only",
        undo: "nothing to take back",
    }
}

/// Drops the RSTs by their TTL before anything hears of them.
fn ignore_by_ttl(ttl: u8) -> Remedy {
    let script = format!(
        "table inet twa_rst {{\n  chain seen {{\n    \
         type filter hook prerouting priority raw; policy accept;\n    \
         tcp flags & rst == rst ip ttl {ttl} counter drop\n  }}\n}}"
    );
    Remedy {
        id: "C11-ttl",
        title: "stop-gap on the host that is reset: drop RSTs that arrive with this TTL",
        steps: vec![Step::new(Runner::Nft, &script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_rst >> /etc/nftables.conf",
        )],
        risk: "genuine RSTs from the same distance are dropped as well: their connections hang; \
               where the box also drops the data it helps nothing",
        check: "nft list table inet twa_rst counts packets, and the connections live",
        undo: "nft delete table inet twa_rst",
    }
}
