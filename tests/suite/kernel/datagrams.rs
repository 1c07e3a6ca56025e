//! UDP, GRE, ICMP and other protocols: what rules see is what the live kernel says, on traffic made
//! by a seeded generator.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::IpAddr;

use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Profile, Sysctls};
use tcp_window_audit::kernel::OracleSettings;
use tcp_window_audit::pipeline::{Observer, Plan, Run, Wanted};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{FrameSource, Timeline};

use super::oracle;
use crate::capture_writer::{NANOSECONDS, Order, PcapWriter};
use crate::hostile::packet::{ACK, Packet, SYN, of_protocol};
use crate::hostile::random::Random;

const RAW: u32 = 101;
const START_NS: u64 = 1_700_000_000_000_000_000;
const PACKETS: usize = 200;
const SEEDS: u64 = 20;

/// Makes packets of few flows, so that they meet.
struct Maker {
    random: Random,
    sent: Vec<Vec<u8>>,
    /// Protocols that this kernel has no tracker for.
    without_tracker: &'static [u8],
}

impl Maker {
    fn packet(&mut self) -> Vec<u8> {
        let is_v6 = self.random.percent(50);
        let there = self.random.percent(50);
        let pair = if is_v6 { ["fe80::1", "2001:db8::2"] } else { ["192.0.2.1", "198.51.100.2"] };
        let [first, second]: [IpAddr; 2] = pair.map(|text| text.parse().unwrap());
        let (src, dst) = if there { (first, second) } else { (second, first) };
        let payload = |protocol, bytes: &[u8]| of_protocol(src, dst, protocol, bytes);
        let bytes = match self.random.below(8) {
            0 => {
                let ports = if there { [4, 5] } else { [5, 4] };
                let (len, sum) =
                    (self.random.pick(&[8, 8, 8, 0, 7, 9]), self.random.below(2) as u8);
                let header = [0, ports[0], 0, ports[1], 0, len, 0, sum];
                payload(self.random.pick(&[17, 136]), &header)
            }
            1 => payload(47, &[0x20, 0, 8, 0, 0, 0, 0, 7]),
            2 => payload(47, &[0x30, 1, 0x88, self.random.pick(&[0x0b, 0]), 0, 4, 0, 7]),
            3 => {
                // Ports, where the protocol has any.
                let [source, target] = [4, 5].map(|port| port + self.random.below(2) as u8);
                payload(self.random.pick(self.without_tracker), &[0, source, 0, target, 9, 9, 9, 9])
            }
            4 => {
                let (src, dst) = if there { ((src, 4), (dst, 5)) } else { ((src, 5), (dst, 4)) };
                let flags = if there { SYN } else { SYN | ACK };
                Packet { seq: 100, ack: 101, ..Packet::new(src, dst, flags) }.bytes()
            }
            5 => self.message(is_v6, src, dst),
            _ => self.error(is_v6, src, dst),
        };
        self.sent.push(bytes.clone());
        bytes
    }

    /// A query, its answer, or a message of any other type.
    fn message(&mut self, is_v6: bool, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let (protocol, types) = if is_v6 {
            (58, [128, 129, 139, 140, 133, 143, 151, 152, 150, 137])
        } else {
            (1, [8, 0, 13, 14, 15, 16, 17, 18, 9, 20])
        };
        of_protocol(src, dst, protocol, &[self.random.pick(&types), 0, 0, 0, 0, 5, 0, 0])
    }

    /// An error, or a redirect, about a packet that was sent, with a quote of any length.
    fn error(&mut self, is_v6: bool, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let at = self.random.below(self.sent.len() as u32 + 1) as usize;
        let quoted = self.sent.get(at).cloned().unwrap_or_default();
        let header_len = if is_v6 { 40 } else { 20 };
        let len = header_len + self.random.pick(&[0, 3, 4, 7, 8, 20]);
        let quoted = &quoted[..quoted.len().min(len)];
        let code = self.random.below(2) as u8;
        if !is_v6 {
            let kind = self.random.pick(&[3, 4, 5, 11, 12]);
            let head = [kind, code, 0, 0, 0, 0, 0, 0];
            return of_protocol(src, dst, 1, &[&head, quoted].concat());
        }
        let mut head = vec![self.random.pick(&[1, 2, 3, 4, 137, 137, 137]), code];
        if head[0] != 137 {
            head.resize(8, 0);
            return of_protocol(src, dst, 58, &[&head, quoted].concat());
        }
        head.resize(40, 0);
        head.extend([4, 7, 0, 0, 0, 0, 0, 0]);
        let mut redirect = of_protocol(src, dst, 58, &[&head, quoted].concat());
        redirect[7] = self.random.pick(&[255, 255, 254]);
        redirect
    }
}

/// The last verdict on a TCP packet: its frame and what rules see.
#[derive(Default)]
struct Last(Option<(u64, &'static str)>);

impl Observer for Last {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        let told = verdicts.last().map(|told| (told.frame, told.verdict.ctstate.name()));
        self.0 = told.or(self.0);
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

/// Counts what rules see of these packets, by the model; says what they see of the last one if that
/// is TCP, which may be left out of the counts as a copy of another.
fn model(packets: &[Vec<u8>]) -> (BTreeMap<&'static str, u64>, Option<&'static str>) {
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    for (number, bytes) in (0..).zip(packets) {
        writer.frame(START_NS + number, u32::try_from(bytes.len()).unwrap(), bytes);
    }
    let method = Method::new(Profile::DEFAULT, Sysctls::default());
    let mut run = Run::new(&Plan { wanted: Wanted::Verdicts, ..Plan::new(method) });
    let input = Box::new(Cursor::new(writer.bytes));
    let mut source = FileSource::from_reader("a".to_owned(), input, Timeline::default()).unwrap();
    let mut last = Last::default();
    run.read(&mut source, &mut last);
    let last = last.0.filter(|(frame, _)| *frame == packets.len() as u64);
    let totals = run.finish().totals;
    let mut counts = BTreeMap::from([
        ("NEW", totals.new),
        ("ESTABLISHED", totals.established),
        ("INVALID", totals.invalid + totals.errors_invalid),
        ("RELATED", totals.errors_related),
    ]);
    for ((_, state), count) in totals.datagrams {
        *counts.entry(state.name()).or_default() += count;
    }
    (counts, last.map(|(_, state)| state))
}

/// Names the state that the last of these packets has by the model.
fn last_state(packets: &[Vec<u8>], before: &BTreeMap<&'static str, u64>) -> &'static str {
    let (after, last) = model(packets);
    if let Some(state) = last {
        return state;
    }
    let grown = |(state, count): &(&&'static str, &u64)| before.get(*state).unwrap_or(&0) < count;
    after.iter().find(grown).map_or("none", |(state, _)| state)
}

#[test]
fn other_protocols_are_tracked_as_the_kernel_does() {
    if !super::release_is(&["6.12.", "6.18.", "7."]) {
        return println!("skipped: the kernel that runs here is not the one that is modelled");
    }
    let settings = OracleSettings { checksum: false, ..OracleSettings::default() };
    let Some(mut oracle) = oracle(&settings) else { return };
    // DCCP (33) lost its tracker, and with it the ports in its tuples.
    let without_tracker: &[u8] =
        if super::release_is(&["6.12."]) { &[50, 89, 200] } else { &[33, 50, 89, 200] };
    let mut seen = BTreeMap::<_, u32>::new();
    for seed in 0..SEEDS {
        oracle.clear().unwrap();
        let mut maker = Maker { random: Random::new(seed), sent: Vec::new(), without_tracker };
        let mut packets = Vec::new();
        for number in 0..PACKETS {
            let (before, _) = model(&packets);
            packets.push(maker.packet());
            let now_ns = (START_NS + number as u64).cast_signed();
            let said = oracle.judge(&packets[number], now_ns).unwrap().state.name().to_uppercase();
            let judged = last_state(&packets, &before);
            assert_eq!(judged, said, "seed {seed}, packet {number}: {:02x?}", packets[number]);
            *seen.entry((packets[number][0] >> 4, said)).or_default() += 1;
        }
    }
    println!("{seen:?}");
    assert!(seen.len() >= 9, "every state of both families but UNTRACKED of IPv4: {seen:?}");
}
