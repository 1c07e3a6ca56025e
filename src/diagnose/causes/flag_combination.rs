//! C19: packets carry flags that no TCP sends, and are INVALID for that.
//!
//! Does not: judge single packets that another rule refuses.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::audit::Audit;
use crate::conntrack::Reason;
use crate::diagnose::case::{Case, count, evidence};
use crate::diagnose::cause::{Cause, Knowledge};
use crate::diagnose::remedy::{MAX_PEERS, Remedy, Runner, Step, family, note_others};
use crate::diagnose::score::Score;
use crate::diagnose::{Diagnosis, Facts, MAX_EVIDENCE, counted};
use crate::flow::KeyPacket;
use crate::segment::Direction;

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C19",
    name: "invalid_flag_combination",
    title: "flags that no TCP sends",
    blames_a_device: false,
    mechanism: "FIN without ACK, no flag at all, SYN with FIN or RST, FIN with RST, URG or PSH \
                alone: the tracker calls them INVALID whatever the window, and with be_liberal=1 \
                as well.",
    signature: "bad_flags, mostly from few hosts to many ports (a scan), or from one device to \
                its peer (a broken stack).",
    look_alikes: "A capture damaged or cut within the TCP header.",
    remedy: "None for scans: they are refused, as they should be. For a broken device an accept \
             rule before the drop, or notrack; no sysctl helps.",
    references: "tcp_valid_flags (nf_conntrack_proto_tcp.c); RFC 9293, section 3.1",
    diagnose: Some(diagnose),
    remedies: |hosts| vec![accept_broken(hosts)],
});

/// The rule that refuses such flags.
const RULE: &[Reason] = &[Reason::TcpBadFlags];
/// Packets that make the mechanism.
const SEVERAL: u64 = 3;
/// The combinations that the tracker lets pass, PSH, ECE and CWR aside: `tcp_valid_flags`
/// (`nf_conntrack_proto_tcp.c`, Linux 6.18).
const VALID: &str =
    "syn, syn | urg, syn | ack, rst, rst | ack, fin | ack, fin | ack | urg, ack, ack | urg";
/// Targets of one sender from which on it is a scan.
const SCAN: usize = 5;

fn diagnose(facts: &Facts<'_>) -> Option<Diagnosis> {
    let by_reason = &facts.audit.totals.invalid_by_reason;
    let packets = by_reason.get(&Reason::TcpBadFlags).copied().unwrap_or(0);
    let cases: Vec<_> = facts.cases.iter().filter(|case| case.invalid(RULE) > 0).collect();
    if cases.is_empty() {
        return None;
    }
    let flags: BTreeSet<String> = cases
        .iter()
        .flat_map(|case| case.key_packets(RULE))
        .map(|packet| packet.flags.letters())
        .collect();
    let finding = format!(
        "{} in {} with flags that no TCP sends",
        counted(packets, "packet"),
        counted(count(&cases), "connection")
    );
    let mut diagnosis = Diagnosis::of(CAUSE, finding, &cases);
    // The flags alone decide: neither another packet nor a missing one changes that.
    let mut score = Score::of_any_capture(if packets >= SEVERAL { 40 } else { 25 });
    score.add("the packet alone shows it", 40);
    diagnosis.score = score;
    let is_scan = is_scan(&cases);
    diagnosis.notes.push(if is_scan {
        "One sender, many targets: a scan. It is refused, as it should be.".to_owned()
    } else {
        "No sysctl lets them pass: if the sender is yours, repair it, or accept it by a rule."
            .to_owned()
    });
    let flags = flags.into_iter().take(8).collect::<Vec<_>>().join(", ");
    diagnosis.parameters = vec![("flags".to_owned(), flags)];
    diagnosis.evidence = evidence(&cases, RULE, MAX_EVIDENCE);
    if !is_scan {
        diagnosis.remedies = vec![accept_broken(&senders(&cases))];
    }
    Some(diagnosis)
}

/// Returns whether such packets are most of what is INVALID.
pub(in crate::diagnose) fn explains_most(audit: &Audit) -> bool {
    let of_flags = audit.totals.invalid_by_reason.get(&Reason::TcpBadFlags).copied().unwrap_or(0);
    of_flags > 0 && 2 * of_flags >= audit.strict().packets
}

/// Returns whether one address sends such packets to many endpoints.
fn is_scan(cases: &[&Case<'_>]) -> bool {
    let senders: BTreeSet<_> = cases.iter().map(|case| case.address(Direction::Original)).collect();
    let targets: BTreeSet<_> = cases.iter().map(|case| case.server()).collect();
    senders.len() == 1 && targets.len() >= SCAN
}

/// Returns who sends such packets.
fn senders(cases: &[&Case<'_>]) -> Vec<IpAddr> {
    let of = |case: &Case<'_>| -> Vec<IpAddr> {
        let sender = |packet: &KeyPacket| case.key.endpoints(packet.orientation).0.addr;
        case.key_packets(RULE).map(sender).collect()
    };
    let senders: BTreeSet<_> = cases.iter().flat_map(|case| of(case)).collect();
    senders.into_iter().collect()
}

/// Accepts broken devices before INVALID packets are dropped.
fn accept_broken(senders: &[IpAddr]) -> Remedy {
    let mut rules = String::new();
    for sender in senders.iter().take(MAX_PEERS) {
        let _ = writeln!(
            rules,
            "    {} saddr {sender} tcp flags & (fin | syn | rst | ack | urg) != {{ {VALID} }} notrack",
            family(*sender)
        );
    }
    note_others(senders, &mut rules);
    let script = format!(
        "table inet twa_flags {{\n  chain pre {{\n    \
         type filter hook prerouting priority raw; policy accept;\n{rules}  }}\n}}"
    );
    Remedy {
        id: "C19-accept",
        title: "only for a device of your own: leave these packets untracked, and accept untracked",
        steps: vec![Step::new(Runner::Nft, &script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_flags >> /etc/nftables.conf",
        )],
        risk: "scans in its name reach the host behind",
        check: "conntrack -S: invalid= stops rising while the device sends",
        undo: "nft delete table inet twa_flags",
    }
}
