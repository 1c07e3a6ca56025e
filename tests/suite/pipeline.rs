//! Conversations through the whole pipeline: written as captures of both formats, read back,
//! decoded, divided among shards and judged.

use std::sync::mpsc;
use std::time::Duration;

use tcp_window_audit::audit::{Audit, Inputs, Method, PacketVerdict};
use tcp_window_audit::conntrack::{Profile, Reason, Setting, Sysctls};
use tcp_window_audit::frame::Batch;
use tcp_window_audit::pipeline::{Observer, Plan, Run, Wanted};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Error, FrameSource, SourceSummary, Timeline};

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
    audit_as(&plan(settings, threads, Wanted::Verdicts), capture).1
}

fn plan(settings: &Settings, threads: usize, wanted: Wanted) -> Plan {
    let switch = |value: u32| if value == 0 { Setting::Off } else { Setting::On };
    let mut sysctls = Sysctls {
        checksum: switch(settings.checksum),
        be_liberal: switch(settings.be_liberal),
        loose: switch(settings.loose),
        ignore_invalid_rst: switch(settings.ignore_invalid_rst),
        ..Sysctls::default()
    };
    sysctls.limits.max_retrans = u8::try_from(settings.max_retrans).unwrap();
    let method = Method::new(Profile::DEFAULT, sysctls);
    Plan { threads, wanted, ..Plan::new(method) }
}

/// Audits a capture; returns the audit, and the verdicts that were told.
fn audit_as(plan: &Plan, capture: Vec<u8>) -> (Audit, Vec<PacketVerdict>) {
    let mut run = Run::new(plan);
    let mut collector = Collector::default();
    let input = Box::new(std::io::Cursor::new(capture));
    let mut source =
        FileSource::from_reader("conversation".to_owned(), input, Timeline::default()).unwrap();
    run.read(&mut source, &mut collector);
    let audit = run.finish();
    assert!(audit.incomplete.is_empty());
    (audit, collector.0)
}

/// Options of a SYN: MSS, SACK permitted, timestamps, window scale.
const OF_SYN: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];
/// Those of any other segment: timestamps.
const OF_OTHERS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 7];

/// A segment of a conversation: whether the server sends it, its flags, and its payload.
type Said = (bool, u8, usize);

/// Writes conversations, one after the other, of which the snap length leaves so many bytes of the
/// options.
fn conversations_cut(conversations: &[&[Said]], kept: usize) -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
    let (mut time, [client, server]) = (START_NS, [[10, 0, 0, 1], [10, 0, 0, 2]]);
    for (port, said) in (30_000..).zip(conversations) {
        let ends = [(client.into(), port), (server.into(), 443)];
        let mut next = [1000_u32, 7_000_000];
        for &(is_reply, flags, payload_len) in *said {
            let (own, peer) = (usize::from(is_reply), usize::from(!is_reply));
            let is_syn = flags & packet::SYN != 0;
            let bytes = packet::Packet {
                seq: next[own],
                ack: if flags & packet::ACK == 0 { 0 } else { next[peer] },
                win: 8000,
                options: if is_syn { OF_SYN.to_vec() } else { OF_OTHERS.to_vec() },
                payload_len,
                ..packet::Packet::new(ends[own], ends[peer], flags)
            }
            .bytes();
            next[own] += payload_len as u32 + u32::from(is_syn);
            time += 1_000_000;
            writer.frame(time, bytes.len() as u32, &bytes[..40 + kept]);
        }
    }
    writer.bytes
}

#[test]
fn cut_options_are_counted_by_the_short_ways_as_by_the_long_one() {
    const SYN: u8 = packet::SYN;
    const ACK: u8 = packet::ACK;
    const RST: u8 = packet::RST;
    let opened = [(false, SYN, 0), (true, SYN | ACK, 0), (false, ACK, 0)];
    let refused = [(false, SYN, 0), (true, RST | ACK, 0)];
    let talk = [(false, ACK, 100), (true, ACK, 0), (true, ACK, 900), (false, ACK, 0)];
    let answered = [&opened[..], &talk].concat();
    let talked = [&opened[..], &talk, &talk, &talk].concat();
    let all = [&opened[..1], &opened[..2], &opened, &refused, &answered, &talked];
    let settings = Settings::default();
    for conversations in all.iter().map(std::slice::from_ref).chain([&all[..]]) {
        let segments: usize = conversations.iter().map(|said| said.len()).sum();
        for kept in [0, 4, 12] {
            let capture = conversations_cut(conversations, kept);
            let is_cut = |said: &Said| kept < if said.1 & SYN == 0 { 12 } else { 20 };
            let cut = conversations.iter().flat_map(|said| said.iter()).filter(|s| is_cut(s));
            let cut = cut.count() as u64;
            let expected = (cut, conversations.len() as u64, segments as u64);
            for (wanted, threads) in
                [(Wanted::Verdicts, 1), (Wanted::Findings, 1), (Wanted::Findings, 3)]
            {
                let (audit, _) = audit_as(&plan(&settings, threads, wanted), capture.clone());
                let totals = &audit.totals;
                let found = (totals.options_cut, totals.new, totals.new + totals.established);
                assert_eq!(found, expected, "{wanted:?}, {kept} bytes of options");
            }
        }
    }
}

/// A source of many batches of small frames, which tells when it is at its end, where it may fail.
struct Many {
    batches: Vec<FileSource>,
    current: usize,
    fails: bool,
    at_end: mpsc::Sender<()>,
}

impl Many {
    /// Eight batches until the other workers are called, and as many more as all of them may have on their
    /// way while nobody takes verdicts.
    const BATCHES: u64 = 8 + 6;
    const FRAMES: u64 = 100;

    fn new(fails: bool) -> (Self, mpsc::Receiver<()>) {
        let (at_end, ended) = mpsc::channel();
        let batch = |number: u64| {
            let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, RAW);
            for frame in 0..Self::FRAMES {
                let port = u16::try_from(number * Self::FRAMES + frame).unwrap();
                let (client, server) =
                    (([10, 0, 0, 1].into(), port), ([192, 0, 2, 80].into(), 443));
                let syn = packet::Packet::new(client, server, packet::SYN).bytes();
                writer.frame(START_NS, u32::try_from(syn.len()).unwrap(), &syn);
            }
            let input = Box::new(std::io::Cursor::new(writer.bytes));
            let mut timeline = Timeline::default();
            timeline.next_number += number * Self::FRAMES;
            FileSource::from_reader("many".to_owned(), input, timeline).unwrap()
        };
        let batches = (0..Self::BATCHES).map(batch).collect();
        (Self { batches, current: 0, fails, at_end }, ended)
    }
}

impl FrameSource for Many {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        while let Some(file) = self.batches.get_mut(self.current) {
            if file.fill(batch)? {
                return Ok(true);
            }
            self.current += 1;
        }
        let _ = self.at_end.send(());
        if self.fails { Err(Error::Empty { name: "many".to_owned() }) } else { Ok(false) }
    }

    fn summary(&self) -> SourceSummary {
        self.batches[0].summary()
    }
}

/// Who, once all workers are there, takes no verdicts before another one has read the source to its end.
struct Slow {
    ended: Option<mpsc::Receiver<()>>,
    verdicts: u64,
    told: u64,
}

impl Observer for Slow {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        if self.told >= 8 * Many::FRAMES
            && let Some(ended) = self.ended.take()
        {
            ended.recv_timeout(Duration::from_mins(1)).expect("another worker reads on");
        }
        self.verdicts += verdicts.len() as u64;
        Ok(())
    }

    fn progress(&mut self, frames: u64, _: &dyn FrameSource) {
        assert!(frames > self.told);
        self.told = frames;
    }
}

#[test]
fn frames_are_told_to_the_last_where_the_source_ended_before_they_were_audited() {
    for (threads, fails) in [(1, true), (2, false), (2, true), (7, true)] {
        let (mut source, ended) = Many::new(fails);
        let ended = Some(ended).filter(|_| threads > 1);
        let mut slow = Slow { ended, verdicts: 0, told: 0 };
        let mut run = Run::new(&plan(&Settings::default(), threads, Wanted::Verdicts));
        run.read(&mut source, &mut slow);
        let frames = Many::BATCHES * Many::FRAMES;
        assert_eq!(run.frames(), frames, "{threads} threads");
        assert_eq!((slow.told, slow.verdicts), (frames, frames), "{threads} threads");
        let audit = run.finish();
        assert_eq!((audit.tally.frames(), audit.incomplete.len()), (frames, usize::from(fails)));
    }
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
