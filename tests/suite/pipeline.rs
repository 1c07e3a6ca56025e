//! Conversations through the whole pipeline: written as captures of both formats, read back,
//! decoded, divided among shards and judged.

use tcp_window_audit::audit::{Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Policy, Profile, Reason, Setting, Sysctls};
use tcp_window_audit::pipeline::{Budget, Observer, Plan, Run, TableView, Wanted, Whole};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::rules::Exemptions;
use tcp_window_audit::source::{FrameSource, Timeline};
use tcp_window_audit::tuple::Share;
use tcp_window_audit::wire::{Checksums, Tunnels};

use crate::capture_writer::{MICROSECONDS, NANOSECONDS, Order, PcapWriter, PcapngWriter};
use crate::hostile::packet;
use crate::scenario::{
    Check, Host, PROFILES, Packet, Scenario, Settings, Step, scenarios, vectors,
};

/// The link type of bare IP packets.
const RAW: u32 = 101;
/// The time of the first packet: 2026-01-01.
const START_NS: u64 = 1_767_225_600_000_000_000;

#[test]
fn conversations_keep_their_verdicts_in_any_file_and_any_number_of_shards() {
    let newest = PROFILES.iter().position(|name| *name == Profile::DEFAULT.name()).unwrap();
    let mut compared = 0;
    for scenario in scenarios().iter().chain(&vectors()) {
        if !scenario.speaks_for(newest) {
            continue;
        }
        let checks = scenario.checks(newest);
        let packets: Vec<_> = packets(scenario);
        for (capture, threads) in [(micro(&packets), 1), (nano(&packets), 7), (ng(&packets), 2)] {
            let found = audit(capture, threads, &scenario.settings);
            assert_eq!(found.len(), checks.len(), "{}", scenario.name);
            for (found, check) in found.iter().zip(&checks) {
                let place = format!("{} line {}, {threads} threads", scenario.name, check.line);
                compare(found, check, &place);
                compared += 1;
            }
        }
    }
    assert!(compared > 11_000, "only {compared} packets compared");
}

fn compare(found: &PacketVerdict, check: &Check<'_>, place: &str) {
    assert_eq!(found.verdict.ctstate.name(), check.expected.ctstate, "{place}");
    let state = found.verdict.state.map(|state| state.name().to_owned());
    assert_eq!(state, check.expected.state, "{place}");
    let reason = found.verdict.reason.map(Reason::code);
    let expected = check.expected.reasons.iter().find(|reason| *reason != "timeout_lowered");
    // What this kernel never logs has a reason here all the same.
    let is_silent = matches!(reason, Some("tcp_short" | "pickup_disabled"));
    assert!(is_silent || reason == expected.map(String::as_str), "{place}: {reason:?}");
}

/// A packet of a conversation: nanoseconds since 1970 and the IP bytes.
type Sent = (u64, Vec<u8>);

fn packets(scenario: &Scenario) -> Vec<Sent> {
    let of_step = |step: &Step| {
        let time = START_NS + u64::try_from(step.time.0).unwrap();
        (time, ip_packet(step.from, &step.packet))
    };
    scenario.steps.iter().map(of_step).collect()
}

/// Returns a packet of a conversation as it is on the wire.
pub(crate) fn ip_packet(from: Host, packet: &Packet) -> Vec<u8> {
    let ends = [from, from.flip()].map(Host::endpoint);
    let [src, dst] = ends.map(|end| (end.addr, end.port));
    let Packet { seq, ack, flags, win, options, len, bad_checksum, raw } = packet.clone();
    if let Some(mut raw) = raw {
        // The recorded bytes name no ports: the conversation's are theirs.
        let ports = raw.len().min(4);
        raw.splice(..ports, [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat());
        return packet::tcp_datagram(src.0, dst.0, &raw);
    }
    let bare = packet::Packet::new(src, dst, flags);
    let payload_len = len as usize;
    packet::Packet { seq, ack, win, options, payload_len, is_checksum_wrong: bad_checksum, ..bare }
        .bytes()
}

fn micro(packets: &[Sent]) -> Vec<u8> {
    pcap(PcapWriter::new(Order::Big, MICROSECONDS, RAW), packets)
}

fn nano(packets: &[Sent]) -> Vec<u8> {
    pcap(PcapWriter::new(Order::Little, NANOSECONDS, RAW), packets)
}

fn pcap(mut writer: PcapWriter, packets: &[Sent]) -> Vec<u8> {
    for (time, packet) in packets {
        writer.frame(*time, packet.len() as u32, packet);
    }
    writer.bytes
}

fn ng(packets: &[Sent]) -> Vec<u8> {
    let mut writer = PcapngWriter::new(Order::Little);
    // if_tsresol 9: nanoseconds.
    writer.interface(RAW as u16, 0, &[(9, vec![9])]);
    for (time, packet) in packets {
        writer.enhanced(0, *time, packet.len() as u32, packet);
    }
    writer.bytes
}

fn audit(capture: Vec<u8>, threads: usize, settings: &Settings) -> Vec<PacketVerdict> {
    let switch = |value: u32| if value == 0 { Setting::Off } else { Setting::On };
    let mut sysctls = Sysctls {
        be_liberal: switch(settings.be_liberal),
        loose: switch(settings.loose),
        ignore_invalid_rst: switch(settings.ignore_invalid_rst),
        ..Sysctls::default()
    };
    sysctls.limits.max_retrans = u8::try_from(settings.max_retrans).unwrap();
    let checksums = if settings.checksum == 0 { Checksums::Ignored } else { Checksums::Verified };
    let policy = Policy::new(Profile::DEFAULT, &sysctls);
    let method = Method { policies: vec![policy, policy.liberal()], sysctls, notrack: Vec::new() };
    let tunnels = Tunnels::Closed;
    let plan = Plan {
        method,
        checksums,
        tunnels,
        exemptions: Exemptions::default(),
        threads,
        share: Share::ALL,
        frames: Whole::Capture,
        inputs: 1,
        wanted: Wanted::Verdicts,
        flows: Vec::new(),
        table: TableView::Counted,
        memory: Budget::DEFAULT,
    };
    let mut run = Run::new(&plan);
    let mut collector = Collector::default();
    let input = Box::new(std::io::Cursor::new(capture));
    let mut source =
        FileSource::from_reader("conversation".to_owned(), input, Timeline::default()).unwrap();
    run.read(&mut source, &mut collector);
    assert!(run.finish().incomplete.is_empty());
    collector.0
}

#[derive(Default)]
struct Collector(Vec<PacketVerdict>);

impl Observer for Collector {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        self.0.extend_from_slice(verdicts);
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}
