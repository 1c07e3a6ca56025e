//! C06: a packet arrives that is older than the whole window, and draws a RST.
//!
//! Does not: speak of late packets that nobody answers.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, each_once, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{self, COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, counted};
use crate::flow::{ConnState, Stale};
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C06",
    name: "stale_packet_below_window",
    title: "stale packet far below the window",
    blames_a_device: true,
    mechanism: "A cloud fabric, a second path or a queue delivers a copy of a segment long after \
                it was acknowledged. Kernels before 6.1 call it INVALID (SEQ or ACK under the \
                lower bound). Where the connection is translated (DNAT, masquerading, IPVS), an \
                INVALID packet keeps its outer address, meets no socket, and the host answers \
                with a RST that kills the real connection.",
    signature: "A segment ends more than a window below the highest byte sent, with a timestamp \
                and an IP id older than its neighbours', and within a millisecond or so a RST \
                carries its acknowledgement number; then the far end falls silent.",
    look_alikes: "Ordinary retransmissions, which have a new timestamp and IP id; the same packet \
                  captured twice at one moment; a RST that belongs to the close.",
    remedy: "Linux 6.1 or later, which lets such packets pass; or drop INVALID packets before \
             they reach the host; or nf_conntrack_tcp_be_liberal=1.",
    references: "Linux commit 6e250dcbff1d (netfilter: conntrack: ignore overly delayed tcp \
                 packets); kubernetes issue 74839",
    diagnose: Some(diagnose),
    remedies: |_| vec![drop_invalid()],
});

/// The rules that a stale packet violates on kernels before 6.1.
const RULES: &[Reason] = &[Reason::SeqUnder, Reason::AckUnder];
/// Packets that make the mechanism where none drew a RST.
const SEVERAL: u32 = 3;
/// The flows whose packets are listed.
const LISTED: usize = 8;

/// A side that stale packets came from.
struct Late<'a> {
    case: &'a Case<'a>,
    direction: Direction,
    stale: Stale,
}

impl Late<'_> {
    const fn drew_reset(&self) -> bool {
        self.stale.drew_resets.packets > 0
    }

    /// Returns whether the connection ended by the RST that the packet drew.
    const fn died(&self) -> bool {
        let reset = matches!(self.case.summary.conn_state, ConnState::Rsto | ConnState::Rstr);
        reset && self.drew_reset()
    }
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let late: Vec<_> = facts.cases.iter().flat_map(find).collect();
    if late.is_empty() {
        return None;
    }
    let cases = each_once(late.iter().map(|late| late.case));
    let packets: u32 = late.iter().map(|late| late.stale.seen.packets).sum();
    let resets: u32 = late.iter().map(|late| late.stale.drew_resets.packets).sum();
    let finding = format!(
        "{} of {} arrive long after their time, and {resets} drew a RST",
        counted(u64::from(packets), "packet"),
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let invalid: u64 = cases.iter().map(|case| case.invalid(RULES)).sum();
    diagnosis.score = score(facts, &late, packets, invalid);
    diagnosis.notes.push(
        "Kernels before 6.1 call such a packet INVALID and do not translate it: behind DNAT, \
         masquerading or IPVS it meets no socket, and the host resets the real connection."
            .to_owned(),
    );
    if resets == 0 {
        diagnosis.against.push("none of them drew a RST: nobody minded".to_owned());
    }
    diagnosis.parameters = late.iter().take(LISTED).map(parameter).collect();
    diagnosis.evidence = first_frames(
        late.iter().flat_map(|l| [l.stale.seen.first_frame, l.stale.drew_resets.first_frame]),
    );
    diagnosis.remedies = vec![drop_invalid(), remedy::be_liberal(), remedy::log_invalid()];
    Some(diagnosis)
}

fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Late<'a>> {
    Direction::BOTH.into_iter().filter_map(move |direction| {
        let stale = case.summary.side_signs(direction).stale;
        (stale.seen.packets > 0).then_some(Late { case, direction, stale })
    })
}

fn score(facts: &Facts<'_>, late: &[Late<'_>], packets: u32, invalid: u64) -> Score {
    let drew = late.iter().filter(|late| late.drew_reset()).count();
    let holds = drew > 0 || packets >= SEVERAL;
    let mut score = Score::new(if holds { 40 } else { 25 }, facts.quality.percent);
    if drew > 0 {
        score.add("a RST answers it", 20);
    }
    if late.iter().any(Late::died) {
        score.add("the connection ends by it", 15);
    }
    if drew >= 2 {
        score.add("several flows", 15);
    }
    if facts.controls(&each_once(late.iter().map(|late| late.case))) > 0 {
        score.add("clean control flows", 15);
    }
    if drew == 0 {
        score.at_most = if invalid > 0 { Level::Probable } else { Level::Possible };
    }
    score
}

fn parameter(late: &Late<'_>) -> (String, String) {
    let Stale { seen, behind, drew_resets, .. } = late.stale;
    let name = format!("flow {} {}", late.case.audit.first_frame, late.direction.name());
    let (packets, resets) = (u64::from(seen.packets), u64::from(drew_resets.packets));
    let packets = counted(packets, "packet");
    (name, format!("{packets}, the first {behind} bytes behind, {} drawn", counted(resets, "RST")))
}

/// Drops INVALID packets before they reach a socket, as kube-proxy does.
fn drop_invalid() -> Remedy {
    let script = "table inet twa_stale {\n  chain here {\n    \
                  type filter hook input priority filter; policy accept;\n    \
                  ct state invalid counter drop\n  }\n  chain through {\n    \
                  type filter hook forward priority filter; policy accept;\n    \
                  ct state invalid counter drop\n  }\n}";
    Remedy {
        id: "C06-drop",
        title: "drop INVALID packets on the translating host, so that it sends no RST (or Linux 6.1)",
        steps: vec![Step::new(Runner::Nft, script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_stale >> /etc/nftables.conf",
        )],
        risk: "connections of which only one direction passes here die (C08)",
        check: COUNT_INVALID,
        undo: "nft delete table inet twa_stale",
    }
}
