//! The tracker and the analysis of a flow without a capture: a conversation fed by hand.
//!
//! ```text
//! cargo run --example by_hand
//! ```
//!
//! A client downloads; one segment is lost, and the client's SACK comes back moved by a million bytes, as
//! behind a device that shifts sequence numbers and forgets SACK. The tracker refuses it; with
//! `nf_conntrack_tcp_be_liberal=1` it would pass.
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::net::{IpAddr, Ipv4Addr};

use tcp_window_audit::conntrack::{Arrival, Opinions, Panel, Policy, Profile, Sysctls, Track};
use tcp_window_audit::flow::{FlowAudit, Observation};
use tcp_window_audit::segment::{Flags, Options, SackBlock, Segment};
use tcp_window_audit::seq::SeqNum;
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::{Endpoint, FlowKey, TCP};

const ACK: Flags = Flags::ACK;
const SYN: Flags = Flags::SYN;
/// Where the server's sequence numbers begin; the client's begin at 0.
const SERVER: u32 = 5_000;

/// A segment of the client, and whether the server sent it instead.
type Sent = (bool, Segment);

fn segment(flags: Flags, seq: u32, ack: u32, len: u32) -> Segment {
    let (seq, ack) = (SeqNum(seq), SeqNum(ack));
    Segment { flags, seq, ack, len, win: 500, header_len: 20, ..Segment::default() }
}

/// The handshake with window scaling and SACK.
fn syn(flags: Flags, seq: u32, ack: u32) -> Segment {
    let options =
        Options { mss: Some(1460), wscale: Some(7), sack_permitted: true, ..Options::default() };
    Segment { options, header_len: 32, ..segment(flags, seq, ack, 0) }
}

fn conversation() -> Vec<Sent> {
    let begin = SERVER + 1;
    // The second segment was lost before this place; the third was sent, and is acknowledged by SACK.
    let mut options = Options::default();
    let moved = 1_000_000;
    let (left, right) = (SeqNum(begin + 2920 + moved), SeqNum(begin + 4380 + moved));
    options.sack.push(SackBlock { left, right });
    vec![
        (false, syn(SYN, 0, 0)),
        (true, syn(SYN.with(ACK), SERVER, 1)),
        (false, segment(ACK, 1, begin, 0)),
        (false, segment(ACK.with(Flags::PSH), 1, begin, 100)),
        (true, segment(ACK, begin, 101, 1460)),
        (true, segment(ACK, begin + 2920, 101, 1460)),
        (false, Segment { options, header_len: 32, ..segment(ACK, 101, begin + 1460, 0) }),
    ]
}

fn main() {
    for line in told() {
        println!("{line}");
    }
}

/// Judges the conversation, and tells a line for each segment, and one for the flow.
pub(crate) fn told() -> Vec<String> {
    let mut lines = Vec::new();
    // Two judges at once: the newest kernel, and the same one with be_liberal=1.
    let strict = Policy::new(Profile::DEFAULT, &Sysctls::default());
    let policies = vec![strict.features(), strict.liberal().features()];
    let panel = Panel::new(policies, Sysctls::default().limits);

    let endpoint = |last, port| Endpoint { addr: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port };
    let (client, server) = (endpoint(1, 40_000), endpoint(80, 443));
    let mut track = Track::default();
    let mut opinions = Opinions::default();
    let mut flow: Option<FlowAudit> = None;
    for (frame, (by_server, segment)) in (1..).zip(conversation()) {
        let (from, to) = if by_server { (server, client) } else { (client, server) };
        let (_, orientation) = FlowKey::of(TCP, from, to);
        let now = Timestamp(i64::try_from(frame).unwrap_or_default() * 10_000_000);
        let arrival = Arrival { segment: &segment, orientation, now };

        let verdict = track.judge(&arrival, &panel, &mut opinions);
        let liberal = opinions.of(1, &verdict).ctstate;
        let invalid_for = opinions.invalid_for(&panel, &verdict);
        let flow = flow.get_or_insert_with(|| FlowAudit::new(frame, now, &arrival));
        flow.observe(&Observation { frame, ts: now, arrival, verdict, liberal, invalid_for });

        let why = verdict.reason.map_or("", |reason| reason.code());
        let state = verdict.state.map_or("-", |state| state.name());
        let (flags, strict, liberal) = (segment.flags.letters(), verdict.ctstate, liberal.name());
        lines.push(format!("{frame} {flags} {} liberal {liberal} {state} {why}", strict.name()));
    }
    if let Some(flow) = flow {
        let summary = flow.summary();
        lines.push(format!("{:?}, history {}", summary.conn_state, summary.history()));
    }
    lines
}
