//! The captures of the bench that `testdata/captures` holds, and what is to be said of them.

use std::fmt::Write as _;
use std::path::Path;

use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::wire::{self, Decoded};

use super::judge::{confirmed, verdict};
use crate::scenario::testdata;

/// Captures are small enough to be read in a review and to be tested with in no time.
const MAX_LEN: usize = 120_000;

/// A capture of the bench that is kept.
struct Kept {
    case: &'static str,
    tap: &'static str,
    /// Folder below `testdata/captures`.
    name: &'static str,
    /// What the capture shows, in one sentence.
    purpose: &'static str,
    /// How the path was built and what is to be found, for README.md.
    story: &'static str,
    /// Level and cause of the verdict.
    verdict: (&'static str, Option<&'static str>),
    /// A cause that may be confirmed beside it, since it harms nobody.
    beside: Option<&'static str>,
}

const KEPT: [Kept; 27] = [
    Kept {
        case: "randomiser",
        tap: "server",
        name: "randomiser_seen_beside_the_sender",
        purpose: "Downloads die behind a firewall that shifts numbers and forgets SACK: on the server.",
        story: "\
Six clients download; a device shifts sequence numbers per flow and direction and leaves SACK alone; 4 %
of the data of the first four flows are lost behind it. The server drops what its tracker calls INVALID
(`ct state invalid drop`). Of the flows that lose segments those shifted up stop, those shifted down
are slow.",
        verdict: ("confirmed", Some("C01")),
        beside: None,
    },
    Kept {
        case: "randomiser",
        tap: "client",
        name: "randomiser_seen_from_the_far_side",
        purpose: "The same connections on the side of the clients, where numbers and SACK agree.",
        story: "\
Acknowledgements and SACK blocks are those that the clients wrote: nothing shows the shift, and a tracker
here has nothing to refuse. What shows is that the server repeats what was acknowledged.",
        verdict: ("cannot_judge", None),
        beside: None,
    },
    Kept {
        case: "size_threshold_993",
        tap: "client",
        name: "size_threshold_of_993_bytes",
        purpose: "Packets of 993 bytes and more vanish, ICMP echo too: a fault of the path.",
        story: "\
A device drops IP packets of 993 bytes and more, both ways, whatever they carry. Echo requests of 84 to
992 bytes are answered, those of 993 to 1500 are not; connections stall at their first segment of more
than 940 bytes of data. The server drops INVALID, and finds none.",
        verdict: ("confirmed", Some("C17")),
        beside: None,
    },
    Kept {
        case: "load_balancer",
        tap: "server",
        name: "load_balancer_as_control_group",
        purpose: "Connections through a load balancer are spared by the randomiser that kills others.",
        story: "\
Every second connection goes through a proxy (192.0.2.8), the others straight to the server, all past a
device that shifts sequence numbers and forgets SACK, and all lose segments. The proxy ends the clients'
connections and opens its own: their SACK blocks are sound.",
        verdict: ("confirmed", Some("C01")),
        beside: None,
    },
    Kept {
        case: "wscale_nop_syn_ack",
        tap: "client",
        name: "scaling_taken_from_the_syn_ack",
        purpose: "Uploads crawl in windows of 500 bytes that were meant as 64000.",
        story: "\
A device puts NOPs in the place of the window scale option of the SYN-ACK. The server scales its windows,
the client takes them as they stand. Nothing is INVALID.",
        verdict: ("probable", Some("C03")),
        beside: None,
    },
    Kept {
        case: "scale_rewriter_down",
        tap: "server",
        name: "shift_written_down_on_the_way",
        purpose: "Downloads crawl because the client's shift of 7 arrives as 2.",
        story: "\
A device rewrites the window scale option of the SYN from 7 to 2. The client means 64000 bytes, the server
sends 2000 at a time. Nothing is INVALID.",
        verdict: ("probable", Some("C03")),
        beside: None,
    },
    Kept {
        case: "syn_proxy",
        tap: "client",
        name: "syn_proxy_answers_first",
        purpose: "A SYN proxy that does its work well.",
        story: "\
A proxy answers the SYN with a number of its own and a window of zero, opens towards the server once
the client has answered, and translates numbers and SACK blocks from then on.",
        verdict: ("none", None),
        beside: Some("C15"),
    },
    Kept {
        case: "second_syn_ack",
        tap: "far",
        name: "second_syn_ack_of_another_backend",
        purpose: "Two servers answer each SYN, and the tracker believes the one that the client did not take.",
        story: "\
Captured at the server's side of a router that drops INVALID. The first SYN-ACK is lost behind the
router; the second has another number. Where that is higher the client's ACK is refused (ACK over).",
        verdict: ("confirmed", Some("C14")),
        beside: None,
    },
    Kept {
        case: "rst_injector",
        tap: "client",
        name: "resets_sent_from_between",
        purpose: "A device resets downloads in the name of both ends.",
        story: "\
After 30 segments with data a device sends three RSTs to the client (TTL 128, at the next number, 1460 and
4380 further) and one to the server. Data of the server goes on arriving after its alleged RST. Two
downloads are too short to be hit.",
        verdict: ("confirmed", Some("C11")),
        beside: None,
    },
    Kept {
        case: "idle_killer_drops",
        tap: "client",
        name: "idle_connections_forgotten_silently",
        purpose: "A device forgets connections after 3.2 s without a packet and drops what comes then.",
        story: "Pauses of 0.5, 1 and 2.1 s are survived, those of 4.2, 4.7 and 5.2 s are not.",
        verdict: ("probable", Some("C12")),
        beside: None,
    },
    Kept {
        case: "idle_killer_resets",
        tap: "client",
        name: "idle_connections_reset",
        purpose: "A device forgets connections after 3.2 s without a packet and resets who goes on.",
        story: "Pauses of 0.5, 1 and 2.1 s are survived, those of 4.2, 4.7 and 5.2 s are not.",
        verdict: ("probable", Some("C12")),
        beside: None,
    },
    Kept {
        case: "mtu_black_hole",
        tap: "server",
        name: "full_segments_vanish",
        purpose: "Packets of more than 1400 bytes vanish, and no ICMP message tells the server.",
        story: "Two connections get a small answer and never the large one after it; small answers pass.",
        verdict: ("confirmed", Some("C17")),
        beside: None,
    },
    Kept {
        case: "offload",
        tap: "router",
        name: "offload_hides_data_from_the_router",
        purpose: "A router's tracker sees how connections begin and end, and nothing between.",
        story: "\
From the seventh packet of a flow on only SYN, FIN and RST pass the tracker and the capture; the rest
takes a short cut, as with a hardware offload. The router drops INVALID.",
        verdict: ("probable", Some("C07")),
        beside: None,
    },
    Kept {
        case: "asymmetric_path",
        tap: "router",
        name: "answers_take_another_path",
        purpose: "Of every second client a router sees only what it sends.",
        story: "The router drops INVALID: connections whose SYN-ACK it does not see never open.",
        verdict: ("probable", Some("C08")),
        beside: None,
    },
    Kept {
        case: "nat_leak_fin",
        tap: "outside",
        name: "packets_leave_untranslated",
        purpose: "Late FINs leave a translating router with their private source address.",
        story: "\
The router masquerades its clients as 198.51.100.1, forgets connections after a second without a packet, and
lets pass what is INVALID. Three clients close after a pause: their FINs belong to nothing that it knows.",
        verdict: ("probable", Some("C09")),
        beside: None,
    },
    Kept {
        case: "any_interface",
        tap: "any",
        name: "two_hops_in_one_capture",
        purpose: "Both interfaces of a router in one capture: every packet twice, its TTL one apart.",
        story: "The connections are healthy; 1 % of the data of the server is lost before the router.",
        verdict: ("none", Some("C24")),
        beside: None,
    },
    Kept {
        case: "any_interface_randomiser",
        tap: "any",
        name: "both_sides_of_a_randomiser",
        purpose: "One capture of both sides of a device that shifts numbers and forgets SACK.",
        story: "Each segment is there as it came and as it left. The server drops INVALID.",
        verdict: ("confirmed", Some("C01")),
        beside: None,
    },
    Kept {
        case: "odd_flags",
        tap: "server",
        name: "flags_that_no_tcp_sends",
        purpose: "Beside each SYN come segments without flags, FIN, FIN PSH, SYN FIN and SYN RST.",
        story: "The server drops INVALID; the connections themselves are healthy.",
        verdict: ("confirmed", Some("C19")),
        beside: None,
    },
    Kept {
        case: "clocks_behind_nat",
        tap: "server",
        name: "clocks_behind_one_address",
        purpose: "Two hosts behind one address, and a server that drops the SYNs of the slower clock.",
        story: "\
Eight connections from one address; the timestamps of every second one are 90 s behind. SYNs older than
the newest of their address are dropped behind the capture point, as with `tcp_tw_recycle`.",
        verdict: ("probable", Some("C16")),
        beside: None,
    },
    Kept {
        case: "lro_on_a_router",
        tap: "both",
        name: "joined_packets_go_out_nowhere",
        purpose: "A router's card joins segments that the router cannot split again: both sides of it.",
        story: "\
What comes in a burst is joined into packets of up to 14480 bytes, and none of those leaves the router;
single segments do. Downloads go on one segment a round trip, by tail probes and timeouts.",
        verdict: ("confirmed", Some("C23")),
        beside: None,
    },
    Kept {
        case: "lro_on_a_router",
        tap: "in",
        name: "joined_packets_come_in_and_are_lost",
        purpose: "The same, where the packets come in only: of the joined ones nothing arrives.",
        story: "\
SACK tells what arrives behind each joined packet, and never a byte of one; what is sent again segment by
segment arrives.",
        verdict: ("probable", Some("C23")),
        beside: None,
    },
    Kept {
        case: "gro_on_a_lossy_path",
        tap: "in",
        name: "joined_packets_are_split_again",
        purpose: "A router joins segments and splits them again, on a path that loses 6 % of them.",
        story: "\
The look-alike of a card that joins what it cannot split: of each joined packet that is sent again
something arrives, as SACK tells.",
        verdict: ("none", Some("C24")),
        beside: None,
    },
    Kept {
        case: "optimiser",
        tap: "client",
        name: "optimiser_acknowledges_for_the_server",
        purpose: "A WAN optimiser beside the clients acknowledges their data in the name of the server.",
        story: "\
SYNs are answered after 44 ms by the server, data after 2 ms by the optimiser, with another TTL. It does its
work well. What it puts into SYNs, TCP option 76, is behind it.",
        verdict: ("possible", Some("C25")),
        beside: None,
    },
    Kept {
        case: "optimiser_bypassed",
        tap: "router",
        name: "optimisers_leg_passes_the_router_by",
        purpose: "Answers to optimised connections come another way, past a tracker that drops INVALID.",
        story: "\
The SYNs of every second client carry TCP option 76; the router sees what these clients send and nothing
that they are answered: connections whose SYN-ACK it does not see never open. The others are healthy.",
        verdict: ("probable", Some("C25")),
        beside: None,
    },
    Kept {
        case: "slow_first_packets",
        tap: "client",
        name: "first_packets_wait",
        purpose: "Each SYN waits on the way, for 25 to 170 ms, and nothing after it does.",
        story: "\
The look-alike of a box that acknowledges in the name of the server: a path that is set up on demand. Data
is answered far sooner than SYNs; the SYNs of one server wait for times that have nothing in common.",
        verdict: ("none", Some("C24")),
        beside: None,
    },
    Kept {
        case: "old_resets",
        tap: "client",
        name: "resets_with_old_numbers_are_refused",
        purpose: "Connections end on the way, and the resets that tell clients are 1500 bytes behind.",
        story: "\
From the third request of three connections on a device answers by RSTs in the name of the server. The
client drops what its tracker calls INVALID, and sends its request again and again.",
        verdict: ("probable", Some("C10")),
        beside: None,
    },
    Kept {
        case: "challenge_unheard",
        tap: "server",
        name: "challenges_of_reused_ports_are_not_heard",
        purpose: "Three clients die without a word and come back from the ports they had.",
        story: "\
The server answers the new SYN by an ACK of the connection that it still holds, which is lost on the way:
no RST comes, and the SYN comes again each second. The connection of another client is healthy.",
        verdict: ("confirmed", Some("C13")),
        beside: None,
    },
];

/// Keeps a capture that was just recorded, if it is one of those and that is wanted.
pub(super) fn keep(case: &str, tap: &str, capture: &Path) {
    let Some(kept) = KEPT.iter().find(|kept| kept.case == case && kept.tap == tap) else { return };
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let folder = testdata().join("captures").join(kept.name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(capture, folder.join("capture.pcapng")).unwrap();
        std::fs::write(folder.join("README.md"), kept.readme(capture)).unwrap();
    }
}

impl Kept {
    fn readme(&self, capture: &Path) -> String {
        let mut text = format!("# {}\n\n{}\n\n{}\n\n", self.name, self.purpose, self.story);
        text.push_str("| flow | from | to | frames |\n| --- | --- | --- | --- |\n");
        for (index, (from, to, frames)) in flows(capture).into_iter().enumerate() {
            writeln!(text, "| {index} | {from} | {to} | {frames} |").unwrap();
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let version = release.split('-').next().unwrap_or_default();
        let origin = format!(
            "Origin: hosts with Linux {version} in network namespaces, joined by the path of
`tests/suite/bench`; case `{}`, captured at the {}; frames cut to 128 bytes.
`UPDATE_EXPECT=1 cargo test --test suite -- --ignored bench`, as root, records another one.",
            self.case, self.tap
        );
        format!("{text}\n{origin}\n")
    }
}

/// Returns the flows of a capture in their order: who sent first, to whom, and how many frames.
fn flows(capture: &Path) -> Vec<(String, String, usize)> {
    let mut file = source::open(capture, Timeline::default()).unwrap();
    let mut batch = Batch::default();
    let mut flows = Vec::new();
    let mut counts: Vec<(String, String, usize)> = Vec::new();
    while file.fill(&mut batch).unwrap() {
        for frame in batch.frames(0..batch.len()) {
            let Decoded::Segment(packet) = wire::decode(&frame) else { continue };
            let at = flows.iter().position(|key| *key == packet.key).unwrap_or_else(|| {
                let (from, to) = packet.key.endpoints(packet.orientation);
                flows.push(packet.key);
                counts.push((from.to_string(), to.to_string(), 0));
                flows.len() - 1
            });
            counts[at].2 += 1;
        }
    }
    counts
}

#[test]
fn each_kept_capture_has_its_verdict_and_no_other_cause_is_confirmed() {
    for kept in &KEPT {
        let file = testdata().join("captures").join(kept.name).join("capture.pcapng");
        let len = std::fs::metadata(&file).unwrap().len();
        assert!(len < MAX_LEN as u64, "{}: {len} bytes", kept.name);
        let (level, cause) = kept.verdict;
        assert_eq!(verdict(&file), (level.to_owned(), cause.map(str::to_owned)), "{}", kept.name);
        let only = if level == "confirmed" { cause } else { kept.beside };
        assert!(confirmed(&file).iter().all(|id| Some(id.as_str()) == only), "{}", kept.name);
    }
}
