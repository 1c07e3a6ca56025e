//! What an id means: a cause, or a reason of the tracker.
//!
//! Does not: look at facts.

use std::fmt::Write as _;

use crate::conntrack::Reason;
use crate::diagnose::Cause;

/// Columns of a line.
const WIDTH: usize = 100;

/// Explains a cause by its id, or a reason by its code; none where the id is not known.
pub fn explain(id: &str) -> Option<String> {
    let cause = Cause::all().find(|cause| cause.id().eq_ignore_ascii_case(id));
    let reason = Reason::ALL.into_iter().find(|reason| reason.code().eq_ignore_ascii_case(id));
    cause.map(of_cause).or_else(|| reason.map(of_reason))
}

/// Returns every id that can be explained.
pub fn known_ids() -> Vec<&'static str> {
    let causes = Cause::all().map(Cause::id);
    causes.chain(Reason::ALL.into_iter().map(Reason::code)).collect()
}

fn of_cause(cause: Cause) -> String {
    let known = cause.knowledge();
    let mut text = format!("{} {} ({})\n", cause.id(), cause.title(), cause.name());
    for (title, words) in [
        ("Mechanism", known.mechanism),
        ("Signature", known.signature),
        ("Look-alikes", known.look_alikes),
        ("Remedy", known.remedy),
        ("References", known.references),
    ] {
        section(title, words, &mut text);
    }
    text
}

fn of_reason(reason: Reason) -> String {
    let mut text = format!("{} {}\n", reason.code(), reason.words());
    let Lore { signature, look_alikes, remedy } = lore(reason);
    section("Mechanism", mechanism(reason), &mut text);
    section("Signature", signature, &mut text);
    section("Look-alikes", look_alikes, &mut text);
    section("Remedy", remedy, &mut text);
    let source = match reason {
        Reason::IcmpUnknown | Reason::IcmpOuterMismatch => "nf_conntrack_proto_icmp.c",
        _ => "nf_conntrack_proto_tcp.c",
    };
    section("References", source, &mut text);
    text
}

fn section(title: &str, words: &str, text: &mut String) {
    let _ = writeln!(text, "\n{title}");
    let mut line = String::from(" ");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// What is known of a reason beyond its rule.
struct Lore {
    signature: &'static str,
    look_alikes: &'static str,
    remedy: &'static str,
}

const fn mechanism(reason: Reason) -> &'static str {
    match reason {
        Reason::NotTrackable | Reason::TcpShort | Reason::TcpTruncated => {
            "The header does not hold what it says; conntrack takes no such packet."
        }
        Reason::TcpBadCsum => "nf_conntrack_checksum=1 and the checksum is wrong, in PREROUTING.",
        Reason::TcpBadFlags => {
            "FIN, FIN+PSH, none, SYN+FIN, SYN+RST, FIN+RST, URG or PSH alone: no TCP sends that."
        }
        Reason::InvalidNew => "No entry is found, and the segment is none that may make one.",
        Reason::PickupDisabled => "No entry is found, and nf_conntrack_tcp_loose=0.",
        Reason::StateIgnored | Reason::ChallengeAckIgnored => {
            "Out of place in this state, but perhaps right at the ends: it passes and moves nothing."
        }
        Reason::StateInvalid => "The state table has no way for this packet in this state.",
        Reason::RstInvalid => "The RST lies below the highest byte that its receiver acknowledged.",
        Reason::SeqOver => {
            "seq lies above td_maxend: the segment begins beyond the window offered."
        }
        Reason::SeqOvershoot => {
            "The segment ends beyond the window by no more than the receiver's largest window."
        }
        Reason::AckOver => {
            "The acknowledgement, or the highest SACK edge, lies above td_end of the other side: \
             data that the tracker has not seen."
        }
        Reason::SeqUnder => "The segment ends more than a window below the highest byte sent.",
        Reason::AckUnder => "The acknowledgement lies more than a window below the highest byte.",
        Reason::OutOfSyncKilled => {
            "A SYN-ACK answers a SYN that was ignored: the tracker deletes its entry and drops."
        }
        Reason::IcmpUnknown => "The ICMP error quotes a packet of no tracked connection.",
        Reason::IcmpOuterMismatch => "The ICMP error goes to another host than the quoted sender.",
    }
}

const fn lore(reason: Reason) -> Lore {
    match reason {
        Reason::AckOver => Lore {
            signature: "Margin ack_upper is negative; its size is the excess in bytes.",
            look_alikes: "C01 (a SACK edge far above), C03 and C05 (data refused before), C07 \
                          (hidden data), capture_loss.",
            remedy: "That of the cause; be_liberal=1 lets it pass.",
        },
        Reason::SeqOver | Reason::SeqOvershoot => Lore {
            signature: "Margin seq_upper is negative; its size is the excess in bytes.",
            look_alikes: "C03 (scaling not seen by the tracker), C05, capture_loss.",
            remedy: "That of the cause; be_liberal=1 lets it pass.",
        },
        Reason::SeqUnder | Reason::AckUnder => Lore {
            signature: "Margin seq_lower or ack_lower is negative.",
            look_alikes: "C06 (late copies from the network), retransmissions far behind.",
            remedy: "A kernel from 6.1 on lets it pass, and so does be_liberal=1.",
        },
        Reason::RstInvalid => Lore {
            signature: "A RST with an old number.",
            look_alikes: "C10; a late RST of a finished connection.",
            remedy: "nf_conntrack_tcp_ignore_invalid_rst=1; be_liberal=1 does not help.",
        },
        Reason::PickupDisabled | Reason::InvalidNew => Lore {
            signature: "No entry: `state` is null.",
            look_alikes: "C08 (the other direction came another way), C20, an entry that expired \
                          (C12).",
            remedy: "nf_conntrack_tcp_loose=1, mended routes, or keepalives.",
        },
        Reason::StateInvalid | Reason::StateIgnored | Reason::ChallengeAckIgnored => Lore {
            signature: "The entry's state, and the flags of the packet.",
            look_alikes: "C08; C13 (a port used again); C14; scans.",
            remedy: "That of the cause; be_liberal=1 does not help.",
        },
        _ => Lore {
            signature: "The packet alone shows it.",
            look_alikes: "C19 (scans, broken stacks), C18, and captures with unfinished checksums.",
            remedy: "Repair the sender, or accept it by a rule before INVALID is dropped.",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_explained_within_a_hundred_columns() {
        for id in known_ids() {
            let text = explain(id).unwrap();
            assert!(text.starts_with(id), "{text}");
            for title in ["Mechanism", "Signature", "Look-alikes", "Remedy", "References"] {
                assert!(text.contains(&format!("\n{title}\n  ")), "{id} has no {title}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
    }

    #[test]
    fn an_id_is_found_in_either_case_and_an_unknown_one_is_not() {
        assert_eq!(explain("c01"), explain("C01"));
        assert_eq!(explain("C99"), None);
    }
}
