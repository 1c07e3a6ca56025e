//! C01: a device shifts sequence numbers and leaves the edges of SACK blocks alone.
//!
//! Does not: guess at shifts that lost frames explain as well.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, each_once, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::causes::load_balancer::Balanced;
use crate::diagnose::remedy::{
    COUNT_INVALID, MAX_PEERS, Remedy, Runner, Step, family, note_others,
};
use crate::diagnose::score::Score;
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted, remedy};
use crate::flow::SideSummary;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C01",
    name: "isn_randomiser_sack_not_rewritten",
    title: "sequence numbers shifted, SACK not rewritten",
    blames_a_device: true,
    mechanism: "A device adds a random constant per flow and direction to sequence numbers, \
                translates acknowledgements back, and forgets the edges of SACK blocks. Shifted up, \
                they lie above all data sent: the tracker calls the whole ACK INVALID (ACK over). \
                Shifted down, the tracker ignores them, and so does the sender, which then recovers \
                by timeouts. While a hole is left every ACK carries SACK, so every ACK is refused \
                and the connection dies. Cisco PIX, FWSM, ASA and FTD do this.",
    signature: "No SACK block lies between the acknowledgement and the data sent, and one constant, \
                often above 2^20, explains all of them; it differs from flow to flow. About half of \
                the flows that lose a packet die, the rest are slow, and those without loss never \
                show it.",
    look_alikes: "Frames lost while capturing (the excess is at most a window and varies); data \
                  direction not captured; SACK cut by the snap length; payload length changed by an \
                  inspection engine (small steps).",
    remedy: "Fix the device, or clear SACK there, or strip SACK-permitted on Linux towards that \
             path; be_liberal=1 only as a stop-gap: it turns dead into slow (9.3 s against 0.83 s \
             without SACK for the same upload).",
    references: "RFC 2018, section 3; tcp_sack() and tcp_in_window() (nf_conntrack_proto_tcp.c); \
                 Cisco FTD: Disable TCP Sequence Randomization",
    diagnose: Some(diagnose),
    remedies: |hosts| {
        vec![fix_randomiser(hosts.first().copied()), clear_sack_at_device(), strip_sack(hosts)]
    },
});

/// The least shift that counts: 1 MiB is more than lost frames explain, and a random 32-bit number
/// is smaller in 1 of 2000 flows.
const LEAST_SHIFT: i32 = 1 << 20;
/// Blocks that make the mechanism.
const LEAST_BLOCKS: u32 = 3;
/// Blocks from which on the shift may be taken as measured.
const MANY_BLOCKS: u32 = 10;
/// The segment size where no SYN told one.
const USUAL_MSS: u16 = 1460;
/// The segment size that PIX, ASA and FTD clamp to by default.
const CLAMPED_MSS: u16 = 1380;
/// The flows whose shift is listed.
const LISTED: usize = 8;

/// The rule by which the tracker refuses a shifted SACK.
const RULE: &[Reason] = &[Reason::AckOver];

/// A side of a flow whose SACK blocks are all shifted.
#[derive(Clone, Copy)]
struct Shifted<'a> {
    case: &'a Case<'a>,
    /// Which side sent the blocks.
    direction: Direction,
    side: &'a SideSummary,
    low: i32,
    high: i32,
}

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let shifted: Vec<_> = facts.cases.iter().flat_map(find).collect();
    if shifted.is_empty() {
        return None;
    }
    let cases = each_once(shifted.iter().map(|found| found.case));
    let flows = count(&cases);
    let finding = format!(
        "a device between the capture point and {} shifts sequence numbers of {} without \
         rewriting SACK",
        place(&shifted),
        counted(flows, "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    diagnosis.score = score(facts, &shifted, &cases);
    diagnosis.notes = notes(facts, &shifted, &cases);
    diagnosis.against = against(facts, &shifted);
    diagnosis.parameters = shifted.iter().take(LISTED).map(parameter).collect();
    diagnosis.evidence = evidence(&cases, RULE, MAX_EVIDENCE);
    let peers: BTreeSet<IpAddr> =
        shifted.iter().map(|found| found.case.address(found.direction)).collect();
    let hosts: BTreeSet<IpAddr> =
        shifted.iter().map(|found| found.case.address(found.direction.flip())).collect();
    diagnosis.remedies = vec![
        fix_randomiser(hosts.first().copied().filter(|_| hosts.len() == 1)),
        clear_sack_at_device(),
        strip_sack(&peers.into_iter().collect::<Vec<_>>()),
        remedy::be_liberal(),
    ];
    Some(diagnosis)
}

/// Finds the sides of a flow all of whose SACK blocks are moved by one large constant.
fn find<'a>(case: &'a Case<'a>) -> impl Iterator<Item = Shifted<'a>> {
    case.sides().filter_map(move |(direction, side)| {
        let outside = side.sack.beyond + side.sack.below;
        let (low, high) = side.sack.shift()?;
        let is_far = low >= LEAST_SHIFT || high <= -LEAST_SHIFT;
        let holds = outside >= LEAST_BLOCKS && side.sack.inside == 0;
        (holds && is_far && case.is_two_way()).then_some(Shifted {
            case,
            direction,
            side,
            low,
            high,
        })
    })
}

impl Shifted<'_> {
    /// Returns whether enough blocks bound the shift to within two segments.
    fn is_exact(&self) -> bool {
        let blocks = self.side.sack.beyond + self.side.sack.below;
        let mss = self.case.summary.sides[self.direction.flip()].mss.unwrap_or(USUAL_MSS);
        let width = self.high.saturating_sub(self.low);
        blocks >= MANY_BLOCKS && width <= 2 * i32::from(mss)
    }
}

fn score(facts: &Facts<'_>, shifted: &[Shifted<'_>], cases: &[&Case<'_>]) -> Score {
    let mut score = Score::new(40, facts.quality.percent);
    if shifted.iter().any(Shifted::is_exact) {
        score.add("exact shift", 20);
    } else {
        score.add("every block outside", 10);
    }
    if cases.iter().any(|case| case.drop_is_proven() && case.invalid(RULE) > 0) {
        score.add("drop proven", 20);
    }
    let lows: BTreeSet<i32> = shifted.iter().map(|found| found.low).collect();
    if cases.len() >= 2 && lows.len() >= 2 {
        score.add("independent flows", 15);
    }
    if facts.controls(cases) > 0 {
        score.add("clean control flows", 15);
    }
    let clamped = |case: &&Case<'_>| case.sides().any(|(_, side)| side.mss == Some(CLAMPED_MSS));
    if cases.iter().any(clamped) {
        score.add("MSS 1380", 10);
    }
    if seen_on_both_sides(facts, cases) > 0 {
        score.add("seen on both sides of the device", 20);
    }
    if contradicting(facts, shifted) > 0 {
        score.add("SACK blocks that are sound", -40);
    }
    score
}

/// Counts the blocks inside what was sent, from the peers whose other flows are shifted.
fn contradicting(facts: &Facts<'_>, shifted: &[Shifted<'_>]) -> u32 {
    let flows: BTreeSet<_> = shifted.iter().map(|found| found.case.audit.first_frame).collect();
    let peers: BTreeSet<_> =
        shifted.iter().map(|found| found.case.address(found.direction)).collect();
    let others = facts.cases.iter().filter(|case| !flows.contains(&case.audit.first_frame));
    let sound = others.flat_map(|case| {
        let of_peer = case.sides().filter(|(way, _)| peers.contains(&case.address(*way)));
        of_peer.map(|(_, side)| side.sack.inside).collect::<Vec<_>>()
    });
    sound.fold(0, u32::saturating_add)
}

fn against(facts: &Facts<'_>, shifted: &[Shifted<'_>]) -> Vec<String> {
    let mut against = Vec::new();
    let sound = contradicting(facts, shifted);
    if sound > 0 {
        against.push(format!("{sound} SACK blocks of the same hosts in other flows are sound"));
    }
    let missing = shifted.iter().filter(|found| found.case.misses_frames()).count();
    if missing > 0 {
        against.push(format!("{missing} of these flows miss frames in the capture"));
    }
    against
}

/// Names the side of the capture point on which the device stands.
fn place(shifted: &[Shifted<'_>]) -> String {
    let addresses: BTreeSet<IpAddr> =
        shifted.iter().map(|found| found.case.address(found.direction)).collect();
    let clients = shifted.iter().filter(|found| found.direction == Direction::Original).count();
    match (addresses.first(), addresses.len()) {
        (Some(only), 1) => only.to_string(),
        _ if clients == shifted.len() => "the clients".to_owned(),
        _ if clients == 0 => "the servers".to_owned(),
        _ => "hosts on both sides of it".to_owned(),
    }
}

fn notes(facts: &Facts<'_>, shifted: &[Shifted<'_>], cases: &[&Case<'_>]) -> Vec<String> {
    let up = shifted.iter().filter(|found| found.low > 0).count();
    let down = shifted.len() - up;
    let mut notes = vec![
        "An acknowledgement is translated on its way through the device and its SACK edges are \
         not: the device stands between the capture point and the host that sent the blocks."
            .to_owned(),
        format!(
            "The shift is random per flow and direction: {up} up (SACK above all data sent, the \
             ACK is INVALID), {down} down (ignored, but the sender recovers by timeouts)."
        ),
        "So about half of the flows that lose a packet die, the others are slow, and those without \
         loss show nothing."
            .to_owned(),
    ];
    let proven: u64 = cases.iter().map(|case| case.summary.effects.dropped).sum();
    if proven > 0 {
        notes.push(format!(
            "{} proven dropped behind the capture point: the firewall there drops INVALID.",
            counted(proven, "packet")
        ));
    }
    let both_sides = seen_on_both_sides(facts, cases);
    if both_sides > 0 {
        notes.push(format!(
            "Of these, {} captured on both sides of the device: the numbers differ there, see below.",
            counted(both_sides, "connection")
        ));
    }
    if let Some(balanced) = Balanced::find(facts) {
        notes.push(balanced.sentence());
    }
    let controls = facts.controls(cases);
    if controls > 0 {
        notes.push(format!("{} show none of it.", counted(controls, "other connection")));
    }
    notes.push(
        "Mend the device or SACK first: an upload over a path that loses 2 % took 0.83 s without \
         SACK, 9.3 s with be_liberal=1, and died with neither."
            .to_owned(),
    );
    notes
}

/// Counts the flows whose numbers differ at another place where they were captured.
fn seen_on_both_sides(facts: &Facts<'_>, cases: &[&Case<'_>]) -> u64 {
    let differs = |case: &&&Case<'_>| facts.has_other_numbers(case.audit.first_frame);
    u64::try_from(cases.iter().filter(differs).count()).unwrap_or(u64::MAX)
}

fn parameter(found: &Shifted<'_>) -> (String, String) {
    let Shifted { case, direction, side, low, high } = found;
    let flow = case.audit.first_frame;
    let blocks = side.sack.beyond + side.sack.below;
    let name = format!("flow {flow} {}", direction.name());
    let shift = if *high == i32::MAX {
        // Every block reports a duplicate: nothing bounds the shift from above.
        format!("at least {low:+}")
    } else {
        format!("{low:+} to {high:+}")
    };
    (name, format!("shifted by {shift} bytes, {blocks} blocks, 0 inside"))
}

/// Switches SACK rewriting or randomisation at the device: the cure of a sequence randomiser.
fn fix_randomiser(host: Option<IpAddr>) -> Remedy {
    let host = host.map_or_else(|| "192.0.2.10".to_owned(), |host| host.to_string());
    let lines = &format!(
        "access-list NO-RAND extended permit tcp any host {host}\n\
         class-map NO-RAND-CM\n match access-list NO-RAND\n\
         policy-map global_policy\n class NO-RAND-CM\n  \
         set connection random-sequence-number disable\n\
         service-policy global_policy global\n\
         clear conn address {host}"
    );
    Remedy {
        id: "C01-device",
        title: "switch sequence randomisation off at the device (Cisco ASA, FTD, PIX)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "initial numbers of old hosts become predictable; current systems choose them well",
        check: "capture again: SACK edges lie between the acknowledgement and the data sent",
        undo: "no set connection random-sequence-number disable",
    }
}

/// Has the device clear SACK from the handshake.
fn clear_sack_at_device() -> Remedy {
    let lines = "tcp-map NO-SACK\n tcp-options selective-ack clear\n\
                 policy-map global_policy\n class NO-RAND-CM\n  \
                 set connection advanced-options NO-SACK";
    Remedy {
        id: "C01-clear-sack",
        title: "or keep randomising, and clear SACK from the handshake at the device",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "without SACK, recovery from several losses in one round trip is slower",
        check: "capture again: no SYN of these connections permits SACK",
        undo: "no set connection advanced-options NO-SACK",
    }
}

/// Strips the permission of SACK from what this host sends to these addresses.
fn strip_sack(peers: &[IpAddr]) -> Remedy {
    let mut rules = String::new();
    for peer in peers.iter().take(MAX_PEERS) {
        let family = family(*peer);
        let _ = writeln!(rules, "    {family} daddr {peer} tcp flags & syn == syn \\");
        let _ = writeln!(rules, "      reset tcp option sack-perm");
    }
    note_others(peers, &mut rules);
    let script = format!(
        "table inet twa {{\n  chain sack {{\n    \
         type filter hook postrouting priority mangle; policy accept;\n{rules}  }}\n}}"
    );
    Remedy {
        id: "C01-strip-sack",
        title: "or strip the SACK permission on Linux, towards the bad path only",
        steps: vec![Step::new(Runner::Nft, &script)],
        persist: vec![Step::new(Runner::Shell, "nft list table inet twa >> /etc/nftables.conf")],
        risk: "recovery without SACK (0.60 s against 0.34 s measured on a lossy path); new \
               connections only; needs Linux 5.18 and nft 1.0.2 or later",
        check: COUNT_INVALID,
        undo: "nft delete table inet twa",
    }
}
