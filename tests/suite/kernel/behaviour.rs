//! What the live kernel says of single conversations.

use std::net::IpAddr;

use tcp_window_audit::conntrack::TcpState;
use tcp_window_audit::kernel::TimeMode;
use tcp_window_audit::kernel::{CtState, Error, KernelVerdict, Oracle, OracleSettings, Timeout};
use tcp_window_audit::segment::{Direction, PerDirection};

use super::oracle;
use crate::hostile::packet::{self, ACK, FIN, PSH, Packet, RST, SYN};

const NANOS_PER_SEC: i64 = 1_000_000_000;
const MSS_AND_SCALE_7: [u8; 8] = [2, 4, 5, 0xb4, 1, 3, 3, 7];

/// An oracle, two ends, and the time.
struct Stage {
    oracle: Oracle,
    client: (IpAddr, u16),
    server: (IpAddr, u16),
    now_ns: i64,
}

impl Stage {
    fn new(settings: &OracleSettings) -> Option<Self> {
        Some(Self {
            oracle: oracle(settings)?,
            client: ("192.0.2.10".parse().unwrap(), 40_000),
            server: ("198.51.100.5".parse().unwrap(), 443),
            now_ns: 1_700_000_000 * NANOS_PER_SEC,
        })
    }

    fn of_ipv6() -> Option<Self> {
        let mut stage = Self::new(&OracleSettings::default())?;
        stage.client.0 = "2001:db8::1".parse().unwrap();
        stage.server.0 = "2001:db8::2".parse().unwrap();
        Some(stage)
    }

    fn there(&self, flags: u8, seq: u32, ack: u32) -> Packet {
        Packet { seq, ack, win: 1000, ..Packet::new(self.client, self.server, flags) }
    }

    fn back(&self, flags: u8, seq: u32, ack: u32) -> Packet {
        Packet { seq, ack, win: 1000, ..Packet::new(self.server, self.client, flags) }
    }

    fn judge(&mut self, packet: &Packet) -> KernelVerdict {
        self.judge_bytes(&packet.bytes())
    }

    fn judge_bytes(&mut self, bytes: &[u8]) -> KernelVerdict {
        self.oracle.judge(bytes, self.now_ns).unwrap()
    }

    fn wait(&mut self, seconds: i64) {
        self.now_ns += seconds * NANOS_PER_SEC;
    }

    /// Opens a connection: the client's first byte is 101, the server's 5001.
    fn handshake(&mut self) -> [KernelVerdict; 3] {
        let options = MSS_AND_SCALE_7.to_vec();
        let syn = Packet { options: options.clone(), ..self.there(SYN, 100, 0) };
        let syn_ack = Packet { options, ..self.back(SYN | ACK, 5000, 101) };
        let ack = self.there(ACK, 101, 5001);
        [syn, syn_ack, ack].map(|packet| self.judge(&packet))
    }
}

fn tcp_state(verdict: &KernelVerdict) -> Option<TcpState> {
    Some(verdict.entry?.tcp?.state)
}

fn summary(verdict: &KernelVerdict) -> (CtState, Option<Direction>, Option<TcpState>) {
    (verdict.state, verdict.direction, tcp_state(verdict))
}

fn ends_with(verdict: &KernelVerdict, text: &str) -> bool {
    verdict.reasons.len() == 1 && verdict.reasons[0].ends_with(text)
}

#[test]
fn a_handshake_opens_a_connection() {
    for stage in [Stage::new(&OracleSettings::default()), Stage::of_ipv6()] {
        let Some(mut stage) = stage else { return };
        let verdicts = stage.handshake();
        let (there, back) = (Some(Direction::Original), Some(Direction::Reply));
        let expected = [
            (CtState::New, there, Some(TcpState::SynSent)),
            (CtState::Established, back, Some(TcpState::SynRecv)),
            (CtState::Established, there, Some(TcpState::Established)),
        ];
        assert_eq!(verdicts.each_ref().map(summary), expected);
        let entry = verdicts[2].entry.unwrap();
        assert_eq!(entry.tcp.unwrap().wscale, PerDirection { original: 7, reply: 7 });
        assert_eq!(entry.timeout_s, Some(432_000));
        assert!(verdicts.iter().all(|verdict| verdict.reasons.is_empty()));
        let data = Packet { payload_len: 100, ..stage.there(ACK | PSH, 101, 5001) };
        let entry = stage.judge(&data).entry.unwrap();
        assert_eq!(entry.timeout_s, Some(300), "data that is not acknowledged");
    }
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_invalid_unless_liberal() {
    for be_liberal in [false, true] {
        let settings = OracleSettings { be_liberal, ..OracleSettings::default() };
        let Some(mut stage) = Stage::new(&settings) else { return };
        stage.handshake();
        let exact = stage.there(ACK, 101, 5001);
        assert_eq!(stage.judge(&exact).state, CtState::Established);
        let over = stage.judge(&stage.there(ACK, 101, 5002));
        assert_eq!(tcp_state(&over), Some(TcpState::Established), "the entry stays");
        if be_liberal {
            assert_eq!((over.state, over.reasons.len()), (CtState::Established, 0));
        } else {
            assert_eq!((over.state, over.direction), (CtState::Invalid, None));
            assert!(over.reasons[0].contains("ACK is over"), "{:?}", over.reasons);
        }
    }
}

#[test]
fn headers_that_make_no_sense_are_invalid() {
    let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
    let flags = stage.judge(&stage.there(SYN | FIN, 100, 0));
    assert_eq!(summary(&flags), (CtState::Invalid, None, None));
    assert!(ends_with(&flags, "invalid tcp flag combination"), "{:?}", flags.reasons);
    let checksum = Packet { is_checksum_wrong: true, ..stage.there(SYN, 100, 0) };
    assert!(ends_with(&stage.judge(&checksum), "bad checksum"));
    let offset = Packet { wrong_offset: Some(4), ..stage.there(SYN, 100, 0) };
    assert!(ends_with(&stage.judge(&offset), "truncated packet"));
    let mut header = stage.there(SYN, 100, 0).bytes();
    header[10] ^= 0xff;
    assert_eq!(stage.judge_bytes(&header).state, CtState::Unseen);
    assert_eq!(stage.judge_bytes(&[0x00, 0x01]).state, CtState::Unseen);
    assert_eq!(stage.judge_bytes(&[]).state, CtState::Unseen);
}

#[test]
fn checksums_and_midstream_packets_are_judged_as_told() {
    let settings = OracleSettings { checksum: false, loose: false, ..OracleSettings::default() };
    let Some(mut stage) = Stage::new(&settings) else { return };
    let midstream = stage.judge(&stage.there(ACK, 100, 200));
    assert_eq!(summary(&midstream), (CtState::Invalid, None, None));
    let wrong = Packet { is_checksum_wrong: true, ..stage.there(SYN, 100, 0) };
    assert_eq!(stage.judge(&wrong).state, CtState::New);
}

#[test]
fn a_reset_closes_and_one_without_a_reply_before_it_deletes() {
    let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
    stage.judge(&stage.there(SYN, 100, 0));
    let refused = stage.judge(&stage.back(RST | ACK, 0, 101));
    assert_eq!(summary(&refused), (CtState::Established, Some(Direction::Reply), None));
    stage.handshake();
    let reset = stage.judge(&stage.back(RST, 5001, 0));
    assert_eq!(tcp_state(&reset), Some(TcpState::Close));
    assert_eq!(reset.entry.unwrap().timeout_s, Some(10));
}

#[test]
fn an_icmp_error_is_related_when_it_quotes_a_known_connection() {
    let kinds = [(3, 4), (1, 0)];
    for (stage, kind) in
        [Stage::new(&OracleSettings::default()), Stage::of_ipv6()].into_iter().zip(kinds)
    {
        let Some(mut stage) = stage else { return };
        stage.handshake();
        let quoted = stage.there(ACK, 101, 5001).bytes();
        let (client, server) = (stage.client.0, stage.server.0);
        let error = packet::icmp_error(server, client, kind, &quoted);
        let related = stage.judge_bytes(&error);
        let expected = (CtState::Related, Some(Direction::Reply), Some(TcpState::Established));
        assert_eq!(summary(&related), expected);
        assert_eq!(related.entry.unwrap().timeout_s, None, "errors keep nothing alive");
        let mut unknown = stage.there(ACK, 101, 5001);
        unknown.src.1 += 1;
        let error = packet::icmp_error(server, client, kind, &unknown.bytes());
        assert_eq!(summary(&stage.judge_bytes(&error)), (CtState::Invalid, None, None));
    }
}

#[test]
fn fragments_are_judged_when_the_datagram_is_whole() {
    for (stage, id) in
        [Stage::new(&OracleSettings::default()), Stage::of_ipv6()].into_iter().zip(7..)
    {
        let Some(mut stage) = stage else { return };
        stage.handshake();
        let data = Packet { payload_len: 100, ..stage.there(ACK | PSH, 101, 5001) };
        let mut pieces = packet::fragments(&data.bytes(), 48, id);
        pieces.reverse();
        let verdicts: Vec<_> = pieces.iter().map(|piece| stage.judge_bytes(piece)).collect();
        let states: Vec<_> = verdicts.iter().map(|verdict| verdict.state).collect();
        assert_eq!(states, [CtState::FragmentHeld, CtState::FragmentHeld, CtState::Established]);
        assert_eq!(tcp_state(&verdicts[2]), Some(TcpState::Established));
        assert_eq!(verdicts[2].entry.unwrap().timeout_s, Some(300));
    }
}

#[test]
fn an_entry_ends_by_the_clock_of_the_capture() {
    let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
    stage.judge(&stage.there(SYN, 100, 0));
    stage.now_ns += 120 * NANOS_PER_SEC - 1;
    assert_eq!(stage.judge(&stage.back(SYN | ACK, 5000, 101)).state, CtState::Established);
    stage.wait(60);
    let late = stage.judge(&stage.back(SYN | ACK, 5000, 101));
    assert_eq!(summary(&late), (CtState::Invalid, None, None));
}

#[test]
fn nothing_ends_in_fast_mode() {
    let settings = OracleSettings { time: TimeMode::Fast, ..OracleSettings::default() };
    let Some(mut stage) = Stage::new(&settings) else { return };
    stage.judge(&stage.there(SYN, 100, 0));
    stage.wait(1_000_000);
    let answer = stage.judge(&stage.back(SYN | ACK, 5000, 101));
    assert_eq!((answer.state, answer.entry.unwrap().timeout_s), (CtState::Established, Some(60)));
}

#[test]
fn timeouts_are_as_told() {
    let sysctl = "nf_conntrack_tcp_timeout_syn_sent".to_owned();
    let timeouts = vec![Timeout { sysctl, seconds: 5 }];
    let settings = OracleSettings { timeouts, ..OracleSettings::default() };
    let Some(mut stage) = Stage::new(&settings) else { return };
    assert_eq!(stage.judge(&stage.there(SYN, 100, 0)).entry.unwrap().timeout_s, Some(5));
    stage.wait(5);
    let late = stage.judge(&stage.back(SYN | ACK, 5000, 101));
    assert_eq!(late.state, CtState::Invalid);
    let timeouts = vec![Timeout { sysctl: "nf_conntrack_none".to_owned(), seconds: 5 }];
    let settings = OracleSettings { timeouts, ..OracleSettings::default() };
    assert!(matches!(Oracle::new(&settings), Err(Error::UnknownTimeout { .. })));
}

/// A FIN outside the window from either side shortens the life of an entry to 300 s, but not of one
/// that has no more than that left.
#[test]
fn a_life_that_ends_soon_is_not_shortened() {
    if !super::release_is(&["6.1.", "6.6.", "6.12.", "6.18."]) {
        return println!("skipped: this kernel shortens no lives, or says so otherwise");
    }
    for (unacknowledged, texts) in [(0, 2), (100, 1)] {
        let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
        stage.handshake();
        let data = Packet { payload_len: unacknowledged, ..stage.there(ACK | PSH, 101, 5001) };
        stage.judge(&data);
        stage.wait(1);
        assert_eq!(stage.judge(&stage.there(FIN | ACK, 101, 6001)).state, CtState::Invalid);
        let answer = stage.judge(&stage.back(FIN | ACK, 5001, 6001));
        assert_eq!((answer.state, answer.reasons.len()), (CtState::Invalid, texts));
    }
}

#[test]
fn neighbour_discovery_is_untracked() {
    let Some(mut stage) = Stage::of_ipv6() else { return };
    let solicitation = packet::icmp_error(stage.client.0, stage.server.0, (135, 0), &[0; 16]);
    assert_eq!(summary(&stage.judge_bytes(&solicitation)), (CtState::Untracked, None, None));
}

#[test]
fn an_oracle_that_was_cleared_knows_nothing() {
    let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
    stage.handshake();
    stage.oracle.clear().unwrap();
    stage.wait(-1_000_000);
    let again = stage.handshake();
    assert_eq!(again.each_ref().map(|v| v.state)[0], CtState::New);
    assert_eq!(again[2].entry.unwrap().timeout_s, Some(432_000));
}

#[test]
fn the_callers_namespace_stays_what_it_was() {
    let namespace = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let interfaces =
        || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().lines().count();
    let before = (namespace(), interfaces());
    let Some(mut stage) = Stage::new(&OracleSettings::default()) else { return };
    stage.handshake();
    assert_eq!((namespace(), interfaces()), before);
}
