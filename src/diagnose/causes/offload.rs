//! C07: data passes in hardware or firmware, and the tracker sees only the packets around it.
//!
//! Does not: speak where a capture may have lost some frames.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence, first_frames};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{self, COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::flow::{Leap, Offer};
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C07",
    name: "hardware_offload_hides_data",
    title: "offload hides data from the tracker",
    blames_a_device: true,
    mechanism: "Flow offload in a switch, a network card or a vendor's firmware forwards the data \
                of established connections past the kernel and hands it only SYN, FIN and RST. \
                The tracker's bounds stay behind, and the first packet that it meets again \
                acknowledges megabytes which it never saw: INVALID (ACK over), and a FIN or RST \
                is lost.",
    signature: "In every longer flow, handshake and first packets, then nothing in either \
                direction, then a FIN or RST whose sequence and acknowledgement numbers are far \
                ahead.",
    look_alikes: "Capture loss, which leaves some packets between the gaps and hits some flows \
                  only; a capture that was filtered to flags.",
    remedy: "Switch the offload off to see whether that is it; be_liberal=1 on that box; a \
             firmware that tells conntrack.",
    references: "flow_offload_fixup_tcp() (nf_flow_table_core.c); OpenWrt: NSS acceleration and \
                 rule Prevent NAT leakage",
    diagnose: Some(diagnose),
    remedies: |_| vec![switch_off(), switch_off_openwrt()],
});

/// The rules that a packet after hidden data violates.
const RULES: &[Reason] = &[Reason::AckOver, Reason::SeqOver, Reason::RstInvalid];
/// Flows that must show it before a lossy capture is ruled out.
const SEVERAL: usize = 3;
/// The flows whose hidden data is listed.
const LISTED: usize = 8;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let cases: Vec<_> = facts.cases.iter().filter(|case| is_hidden(case)).collect();
    if cases.is_empty() {
        return None;
    }
    let bytes: u64 = cases.iter().map(|case| hidden_bytes(case)).sum();
    let finding = format!(
        "the data of {} passes unseen between handshake and end: {}",
        counted(count(&cases), "connection"),
        counted(bytes, "byte")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &cases);
    diagnosis.notes.push(
        "Neither the tracker nor a capture on its host sees what hardware or firmware forwards; the \
         closing FIN or RST is far ahead of all they know, and INVALID."
            .to_owned(),
    );
    diagnosis.against = against(facts, &cases);
    diagnosis.parameters = cases.iter().take(LISTED).map(|case| parameter(case)).collect();
    diagnosis.evidence = evidence(&cases, RULES, MAX_EVIDENCE);
    if diagnosis.evidence.is_empty() {
        let leaps = cases.iter().flat_map(|case| leaps(case));
        diagnosis.evidence = first_frames(leaps.map(|leap| leap.seen.first_frame));
    }
    diagnosis.remedies = vec![switch_off(), switch_off_openwrt(), remedy::be_liberal()];
    Some(diagnosis)
}

/// Returns whether gaps at the end of flows, and nowhere else, point at offload and not at a capture
/// that lost frames.
pub(super) fn explains_gaps(facts: &Facts<'_>) -> bool {
    let hidden = facts.cases.iter().filter(|case| is_hidden(case)).count();
    hidden >= SEVERAL && torn(facts) == 0
}

/// Returns whether all data of a flow but its beginning is missing, up to the FIN or RST.
pub(super) fn is_hidden(case: &Case<'_>) -> bool {
    let sides = &case.summary.sides;
    let opened = sides.original.offer != Offer::NotSeen && sides.reply.offer != Offer::NotSeen;
    let ways = case.audit.directions();
    let seen = ways.original.bytes + ways.reply.bytes;
    let hidden = hidden_bytes(case);
    // A filter on flags would hide the first data as well.
    opened && seen > 0 && leaps(case).any(|leap| leap.closes) && hidden / 4 > seen
}

fn leaps(case: &Case<'_>) -> impl Iterator<Item = Leap> {
    let of = |direction| case.summary.side_signs(direction).leap;
    Direction::BOTH.map(of).into_iter().filter(|leap| leap.seen.packets > 0)
}

/// Returns the bytes that passed unseen in both directions, as the first packet behind them tells.
fn hidden_bytes(case: &Case<'_>) -> u64 {
    let of = |leap: Leap| u64::from(leap.seq_bytes) + u64::from(leap.ack_bytes);
    leaps(case).map(of).max().unwrap_or(0)
}

/// Counts the flows that miss frames in another way.
fn torn(facts: &Facts<'_>) -> usize {
    facts.cases.iter().filter(|case| case.misses_frames() && !is_hidden(case)).count()
}

fn score(facts: &Facts<'_>, cases: &[&Case<'_>]) -> Score {
    // What is missing in the capture is what it rests on: its quality does not count against it.
    let mut score = Score::of_any_capture(40);
    if cases.len() >= SEVERAL {
        score.add("several flows", 15);
    } else {
        score.at_most = Level::Possible;
    }
    if cases.iter().any(|case| case.invalid(RULES) > 0) {
        score.add("packets INVALID by it", 20);
    }
    if cases.iter().any(|case| case.drop_is_proven()) {
        score.add("drop proven", 10);
    }
    if torn(facts) > 0 {
        score.add("other flows miss frames in between", -40);
    }
    if whole_data(facts) {
        score.add("other flows show their data", -20);
    }
    if facts.quality.shortcomings.iter().any(|found| found.code == "drops") {
        score.add("the capture itself lost frames", -20);
    }
    if score.at_most == Level::Confirmed && !cases.iter().any(|case| case.drop_is_proven()) {
        score.at_most = Level::Probable;
    }
    score
}

/// Returns whether the capture holds more data than the hidden flows began with.
fn whole_data(facts: &Facts<'_>) -> bool {
    let bytes = |case: &Case<'_>| {
        let ways = case.audit.directions();
        ways.original.bytes + ways.reply.bytes
    };
    let hidden = || facts.cases.iter().filter(|case| is_hidden(case));
    let begun: u64 = hidden().map(bytes).sum();
    let unseen: u64 = hidden().map(hidden_bytes).sum();
    facts.audit.totals.payload_bytes.saturating_sub(begun) > unseen / 10
}

fn against(facts: &Facts<'_>, cases: &[&Case<'_>]) -> Vec<String> {
    let mut against = Vec::new();
    if cases.len() < SEVERAL {
        against.push("too few connections to tell it from a capture that lost frames".to_owned());
    }
    if torn(facts) > 0 {
        let others = counted(torn(facts) as u64, "other connection");
        against.push(format!("{others} miss frames in between, as in a capture that loses some"));
    }
    if whole_data(facts) {
        against.push("the data of other connections is there".to_owned());
    }
    against
}

fn parameter(case: &Case<'_>) -> (String, String) {
    let ways = case.audit.directions();
    let seen = ways.original.bytes + ways.reply.bytes;
    let (flow, hidden) = (case.audit.first_frame, hidden_bytes(case));
    (format!("flow {flow}"), format!("{seen} bytes seen, {hidden} passed unseen"))
}

/// Takes flows out of the kernel's own fast path.
fn switch_off() -> Remedy {
    Remedy {
        id: "C07-off",
        title: "to see whether that is it: switch the offload off",
        steps: vec![Step::new(
            Runner::Shell,
            "nft -a list ruleset | grep -e flowtable -e 'flow add'\n\
             # then delete the rule by its handle: nft delete rule FAMILY TABLE CHAIN handle N\n\
             ethtool -K DEV hw-tc-offload off",
        )],
        persist: Vec::new(),
        risk: "the processor forwards everything: less throughput",
        check: COUNT_INVALID,
        undo: "add the rule again; ethtool -K DEV hw-tc-offload on",
    }
}

/// The same on `OpenWrt`.
fn switch_off_openwrt() -> Remedy {
    let lines = "uci set firewall.@defaults[0].flow_offloading=0\n\
                 uci set firewall.@defaults[0].flow_offloading_hw=0\n\
                 uci commit firewall\n\
                 service firewall restart\n\
                 # Qualcomm NSS: unload its connection manager\n\
                 rmmod ecm";
    Remedy {
        id: "C07-openwrt",
        title: "the same on OpenWrt",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: Vec::new(),
        risk: "the processor forwards everything: less throughput",
        check: COUNT_INVALID,
        undo: "the values as they were",
    }
}
