//! C02: a device changes the length of payload, and with it all sequence numbers that follow.
//!
//! Does not: say more than probable: a few bytes have many explanations.

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, each_once, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{COUNT_INVALID, Remedy, Runner, Step};
use crate::diagnose::score::{Level, Score};
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::flow::SideSummary;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C02",
    name: "alg_changes_payload_length",
    title: "an inspection engine changes the length of payload",
    blames_a_device: true,
    mechanism: "An application gateway (SMTP, FTP, SIP inspection, a fixup) rewrites payload to \
                another length and moves the sequence numbers that follow by the difference. \
                Where it forgets SACK blocks, or what is sent again, the two sides disagree by \
                some bytes.",
    signature: "SACK edges or repeated data are off by a small constant, below 4096 bytes, which \
                changes in steps after certain payloads within one flow.",
    look_alikes: "C01 (one large constant per flow); frames lost while capturing. Linux's own NAT \
                  helpers do adjust SACK.",
    remedy: "Switch the inspection off: no inspect esmtp, no inspect sip; on Linux \
             nf_conntrack_helper=0.",
    references: "RFC 2018, section 3; tcp_sack() (nf_conntrack_proto_tcp.c); nf_ct_seq_adjust() \
                 (nf_conntrack_seqadj.c)",
    diagnose: Some(diagnose),
    remedies: |_| vec![inspection_off()],
});

/// The rule by which the tracker refuses a SACK edge above the data.
const RULE: &[Reason] = &[Reason::AckOver];
/// The most that an inspection engine adds to or takes from payload, in bytes.
const MOST: i32 = 1 << 12;
/// Blocks that make the mechanism.
const LEAST_BLOCKS: u32 = 3;
/// Ports of the protocols that inspection engines rewrite: FTP, SMTP, RTSP, submission, H.323,
/// SCCP, SIP.
const INSPECTED: [u16; 8] = [21, 25, 554, 587, 1720, 2000, 5060, 5061];

/// A side of a flow whose SACK blocks are off by a little.
#[derive(Clone, Copy)]
struct Off<'a> {
    case: &'a Case<'a>,
    direction: Direction,
    side: &'a SideSummary,
    low: i32,
    high: i32,
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    if is_out_of_order(facts) {
        return None;
    }
    let off: Vec<_> = facts.cases.iter().flat_map(find).collect();
    if off.is_empty() || facts.quality.cannot_judge() {
        return None;
    }
    let cases = each_once(off.iter().map(|found| found.case));
    let finding = format!(
        "SACK blocks off by some bytes in {}: something changes the length of payload and forgets \
         them",
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    let mut score = Score::new(40, facts.quality.percent);
    // Frames that the capture lost look much the same.
    score.at_most = Level::Probable;
    if cases.iter().any(|case| case.drop_is_proven() && case.invalid(RULE) > 0) {
        score.add("drop proven", 20);
    }
    if cases.len() >= 2 {
        score.add("several flows", 15);
    }
    if cases.iter().any(|case| is_inspected(case)) {
        score.add("port of an inspected protocol", 10);
    } else {
        score.add("no port of an inspected protocol", -10);
    }
    diagnosis.score = score;
    diagnosis.against.push("frames lost while capturing move edges by as little".to_owned());
    let told = |found: &Off<'_>| {
        let name = format!("flow {} {}", found.case.audit.first_frame, found.direction.name());
        let blocks = found.side.sack.beyond + found.side.sack.below;
        (name, format!("off by {:+} to {:+} bytes, {blocks} blocks", found.low, found.high))
    };
    diagnosis.parameters = off.iter().map(told).take(8).collect();
    diagnosis.evidence = evidence(&cases, RULE, MAX_EVIDENCE);
    diagnosis.remedies = vec![inspection_off()];
    Some(diagnosis)
}

/// Returns whether the capture has packets in another order than they passed: a SACK before its data
/// looks just so.
const fn is_out_of_order(facts: &Facts<'_>) -> bool {
    facts.audit.time_steps_back > 0 || facts.audit.totals.behaviour.data_after_ack > 0
}

/// Finds the sides of a flow whose blocks a small constant, and not 0, explains.
fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Off<'a>> {
    case.sides().filter_map(move |(direction, side)| {
        let (low, high) = side.sack.shift()?;
        let outside = side.sack.beyond + side.sack.below;
        let is_off = low > 0 && low < MOST || high < 0 && high > -MOST;
        let holds = outside >= LEAST_BLOCKS
            && is_off
            && case.is_two_way()
            && !case.audit.picked_up
            && !case.misses_frames();
        holds.then_some(Off { case, direction, side, low, high })
    })
}

fn is_inspected(case: &Case<'_>) -> bool {
    let (from, to) = case.key.endpoints(case.audit.original);
    INSPECTED.contains(&from.port) || INSPECTED.contains(&to.port)
}

/// Switches the inspection off.
fn inspection_off() -> Remedy {
    let lines = "policy-map global_policy\n class inspection_default\n  no inspect esmtp\n  \
                 no inspect sip\n  no inspect ftp";
    Remedy {
        id: "C02-inspection",
        title: "switch the inspection of that protocol off (Cisco ASA)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "protocols that carry addresses (FTP, SIP) no longer work through its translation",
        check: COUNT_INVALID,
        undo: "inspect esmtp, inspect sip, inspect ftp in the same class",
    }
}
