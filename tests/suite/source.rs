//! Capture files are read as Wireshark reads them, whole, cut and damaged.

use std::io::Cursor;

use proptest::prelude::*;
use tcp_window_audit::frame::{Batch, LinkType};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Damage, Error, FrameSource, SourceSummary, Timeline};

use crate::capture_writer::{MICROSECONDS, MODIFIED, NANOSECONDS, Order, PcapWriter, PcapngWriter};

const SECOND: u64 = 1_000_000_000;

#[test]
fn every_kind_of_pcap_gives_the_same_frames() {
    for order in [Order::Little, Order::Big] {
        for (magic, tick_ns) in [(MICROSECONDS, 1000), (NANOSECONDS, 1), (MODIFIED, 1000)] {
            let found = read(&small_pcap(order, magic));
            let times: Vec<_> = found.frames.iter().map(|frame| frame.ts).collect();
            let fraction = 123_456_789 / tick_ns * tick_ns;
            assert_eq!(times, [1_000_000_000_000, 4_294_967_295_000_000_000 + fraction]);
            assert_eq!(found.frames[0].bytes, b"first");
            assert_eq!(found.frames[1].bytes, b"second!");
            assert_eq!(found.frames[1].original_len, 1500);
            assert_eq!(found.frames[1].link, LinkType::ETHERNET);
            assert_eq!([found.frames[0].number, found.frames[1].number], [1, 2]);
            assert!(found.error.is_none());
        }
    }
}

#[test]
fn the_upper_half_of_the_link_type_is_no_part_of_it() {
    let mut writer = PcapWriter::new(Order::Big, MICROSECONDS, 0x5400_0071);
    writer.frame(0, 1, b"x");
    let found = read(&writer.bytes);
    assert_eq!(found.frames[0].link, LinkType::LINUX_SLL);
    assert_eq!(found.summary.interfaces[0].link_type, 113);
}

#[test]
fn old_versions_have_the_lengths_exchanged() {
    for (version, lengths) in
        [((2, 2), [9, 3]), ((2, 3), [9, 3]), ((2, 3), [3, 9]), ((2, 4), [3, 9])]
    {
        let mut writer = PcapWriter::with_version(Order::Little, MICROSECONDS, 1, version);
        writer.record(0, lengths, b"abc");
        let found = read(&writer.bytes);
        assert_eq!(found.frames.len(), 1, "{version:?}");
        assert_eq!((found.frames[0].bytes.len(), found.frames[0].original_len), (3, 9));
    }
}

#[test]
fn the_summary_says_what_kind_of_file_it_is() {
    let cases = [
        (small_pcap(Order::Little, MICROSECONDS), "pcap"),
        (small_pcap(Order::Big, NANOSECONDS), "pcap, nanoseconds, big-endian"),
        (small_pcap(Order::Little, MODIFIED), "pcap, modified"),
        (small_pcapng(), "pcapng, big-endian"),
    ];
    for (bytes, format) in cases {
        let summary = read(&bytes).summary;
        assert_eq!(summary.format, format);
        assert_eq!(summary.bytes_read, bytes.len() as u64);
        assert_eq!(summary.file_len, None);
    }
}

#[test]
fn sections_of_both_byte_orders_each_have_their_interfaces() {
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(1, 0, &[(2, b"eth0".to_vec()), (9, vec![9])]);
    writer.interface(101, 64, &[(9, vec![0x8a])]);
    writer.enhanced(1, 1536, 9, b"abc");
    writer.enhanced(0, 5, 5, b"hello");
    writer.section(Order::Big);
    let offset = writer.number(14, (-2_i64).cast_unsigned());
    writer.interface(113, 0, &[offset]);
    writer.enhanced(0, 3_000_001, 1, b"x");
    let found = read(&writer.bytes);
    let seen: Vec<_> = found.frames.iter().map(|frame| (frame.ts, frame.link.0)).collect();
    assert_eq!(seen, [(1_500_000_000, 101), (5, 1), (1_000_001_000, 113)]);
    assert_eq!(found.frames[0].original_len, 9);
    let links: Vec<_> = found.summary.interfaces.iter().map(|i| (i.link_type, i.snaplen)).collect();
    assert_eq!(links, [(1, 0), (101, 64), (113, 0)]);
    assert_eq!(found.summary.interfaces[0].name.as_deref(), Some("eth0"));
}

#[test]
fn a_simple_packet_takes_the_first_interface_and_the_time_before_it() {
    let mut writer = PcapngWriter::new(Order::Big);
    writer.interface(1, 4, &[]);
    writer.simple(6, b"abcd");
    writer.enhanced(0, 7, 2, b"xy");
    writer.simple(3, b"abc");
    let found = read(&writer.bytes);
    let seen: Vec<_> = found
        .frames
        .iter()
        .map(|frame| (frame.ts, frame.bytes.len(), frame.original_len))
        .collect();
    assert_eq!(seen, [(0, 4, 6), (7000, 2, 2), (7000, 3, 3)]);
}

#[test]
fn obsolete_packets_are_read_and_their_drops_counted() {
    for order in [Order::Little, Order::Big] {
        let mut writer = PcapngWriter::new(order);
        writer.interface(1, 0, &[]);
        writer.interface(228, 0, &[]);
        writer.obsolete((1, 3), 1 << 32, b"abc");
        writer.obsolete((1, 0xffff), 0, b"");
        writer.obsolete((1, 4), 1, b"z");
        let found = read(&writer.bytes);
        assert_eq!(found.frames[0].ts, 4_294_967_296_000);
        assert_eq!(found.frames[0].bytes, b"abc");
        assert_eq!(found.frames[2].link, LinkType::IPV4);
        assert_eq!(found.summary.interfaces[1].dropped_by_host, Some(7));
        assert_eq!(found.summary.interfaces[0].dropped_by_host, None);
    }
}

#[test]
fn drop_counts_come_from_the_last_statistics_or_else_from_packets() {
    let mut writer = PcapngWriter::new(Order::Big);
    for _ in 0..3 {
        writer.interface(1, 0, &[]);
    }
    let drops = |writer: &PcapngWriter, count| vec![(1, b"odd".to_vec()), writer.number(4, count)];
    for interface in [0, 1, 1] {
        let options = drops(&writer, 5);
        writer.enhanced_with(interface, 0, (3, b"abc"), &options);
    }
    let early = [writer.number(5, 1), writer.number(7, 2)];
    let late = [writer.number(5, 10), writer.number(7, 20)];
    writer.statistics(0, &early);
    writer.statistics(0, &late);
    let interfaces = read(&writer.bytes).summary.interfaces;
    let seen = interfaces.iter().map(|i| (i.dropped_by_interface, i.dropped_by_host));
    assert_eq!(seen.collect::<Vec<_>>(), [(Some(10), Some(20)), (None, Some(10)), (None, None)]);
}

#[test]
fn other_blocks_are_passed_over_and_numbered_as_wireshark_does() {
    let mut writer = PcapngWriter::new(Order::Little);
    writer.interface(1, 0, &[]);
    writer.simple(1, b"a");
    for (kind, has_number) in [
        (4, false),
        (10, false),
        (0x8000_0abc, false),
        (9, true),
        (0xbad, true),
        (0x4000_0bad, true),
        (0x204, true),
    ] {
        writer.block(kind, &[1; 32]);
        let before = read(&writer.bytes).frames.last().unwrap().number;
        writer.simple(1, b"a");
        let after = read(&writer.bytes).frames.last().unwrap().number;
        assert_eq!(after - before, if has_number { 2 } else { 1 }, "block {kind:#x}");
    }
    assert_eq!(read_in_blocks(&writer.bytes, 1), read(&writer.bytes));
}

#[test]
fn extreme_times_do_not_panic() {
    let extremes = [0, 1, i64::MAX, i64::MIN, -1];
    for resolution in [0, 9, 10, 28, 29, 127, 0x80, 0xc0, 0xff] {
        for offset in extremes {
            let mut writer = PcapngWriter::new(Order::Little);
            let offset = writer.number(14, offset.cast_unsigned());
            writer.interface(1, 0, &[(9, vec![resolution]), offset]);
            writer.enhanced(0, u64::MAX, 1, b"x");
            writer.enhanced(0, 0, 1, b"x");
            assert_eq!(read(&writer.bytes).frames.len(), 2);
        }
    }
    let mut writer = PcapWriter::new(Order::Little, NANOSECONDS, 1);
    writer.bytes.extend([0xff; 8]);
    writer.bytes.extend([0; 8]);
    assert_eq!(read(&writer.bytes).frames[0].ts, 4_294_967_295_000_000_000 + 4_294_967_295);
}

#[test]
fn a_file_cut_anywhere_gives_the_frames_before_the_cut_and_says_so() {
    for bytes in [small_pcap(Order::Little, MICROSECONDS), small_pcapng()] {
        let whole = read(&bytes);
        assert!(whole.error.is_none());
        let mut clean_ends = 0;
        for cut in 0..bytes.len() {
            for block in [1, 7, 1 << 18] {
                let (found, end) = try_read(&bytes[..cut], block);
                assert!(whole.frames.starts_with(&found), "cut at {cut}");
                match end {
                    None => clean_ends += 1,
                    Some(Error::Empty { .. }) => assert_eq!(cut, 0),
                    Some(Error::NotACapture { magic, .. }) => assert_eq!(magic.len(), cut),
                    Some(Error::Truncated { frame, offset, needed, present, .. }) => {
                        let next = &whole.frames[found.len()];
                        assert!((found.len() as u64 + 1..=next.number).contains(&frame));
                        assert_eq!(offset + present, cut as u64);
                        assert!(needed > present);
                    }
                    other => panic!("cut at {cut}: {other:?}"),
                }
            }
        }
        let elements_before_the_last = if bytes[0] == 0x0a { 9 } else { 2 };
        assert_eq!(clean_ends, 3 * elements_before_the_last);
    }
}

#[test]
fn block_sizes_do_not_change_what_is_read() {
    for bytes in [long_pcap(), long_pcapng()] {
        let whole = read(&bytes);
        assert_eq!(whole.frames.len(), 3000);
        assert!(whole.error.is_none());
        for block in [1, 15, 16, 17, 100, 4096, 65_536] {
            assert!(read_in_blocks(&bytes, block) == whole, "blocks of {block}");
        }
    }
}

#[test]
fn a_record_far_larger_than_a_block_is_read() {
    let data = vec![7; 3_000_001];
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    writer.frame(0, 3_000_001, &data);
    writer.frame(0, 1, b"x");
    let found = read_in_blocks(&writer.bytes, 4096);
    assert!(found.frames[0].bytes == data);
    assert_eq!(found.frames[1].bytes, b"x");
    assert!(found.error.is_none());
}

#[test]
fn a_false_length_costs_little_memory() {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    writer.frame(0, 1, b"x");
    writer.record(0, [16 << 20, 16 << 20], b"short");
    let mut source = source(&writer.bytes, 4096);
    let mut batch = Batch::default();
    assert!(source.fill(&mut batch).unwrap());
    let error = source.fill(&mut batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "test: cut short in frame 2, at byte 41: 16777232 bytes needed, 21 there"
    );
    assert!(batch.buffer.len() < 16_384);
    assert!(!source.fill(&mut batch).unwrap());
}

#[test]
fn damage_is_named_after_the_frames_before_it() {
    let cases: [DamageCase; 8] = [
        (Damage::BlockLength(8), |w| w.bytes.extend([6, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0])),
        (Damage::BlockLength(13), |w| w.bytes.extend([6, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0])),
        (Damage::BlockTrailer(12, 16), |w| w.bytes.extend([4, 0, 0, 0, 12, 0, 0, 0, 16, 0, 0, 0])),
        (Damage::BlockLength(0x1000_0000), |w| {
            w.bytes.extend([4, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0]);
        }),
        (Damage::UnknownInterface(1), |w| w.enhanced(1, 0, 1, b"x")),
        (Damage::PacketLength(9, 24), |w| w.simple(9, b"12345678")),
        (Damage::BlockLength(16), |w| w.block(6, &[0; 4])),
        (Damage::ByteOrderMagic(0), |w| w.block(0x0a0d_0d0a, &[0; 16])),
    ];
    for (expected, damage) in cases {
        let mut writer = PcapngWriter::new(Order::Little);
        writer.interface(1, 0, &[]);
        writer.simple(1, b"a");
        let at = writer.bytes.len() as u64;
        damage(&mut writer);
        writer.simple(1, b"a");
        let (frames, error) = try_read(&writer.bytes, 1 << 18);
        assert_eq!(frames.len(), 1, "{expected}");
        match error {
            Some(Error::Damaged { frame: 2, offset, problem, .. }) => {
                assert_eq!((problem, offset), (expected, at));
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_record_beyond_the_limit_is_damage() {
    let mut writer = PcapWriter::new(Order::Big, MICROSECONDS, 1);
    writer.record(0, [(16 << 20) + 1, 0], b"");
    let (_, error) = try_read(&writer.bytes, 4096);
    let text = error.unwrap().to_string();
    assert_eq!(text, "test: damaged at byte 24, frame 1: a record of 16777217 bytes");
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let mut version_3 = small_pcap(Order::Big, MICROSECONDS);
    version_3[5] = 3;
    let cases: [(&[u8], &str); 7] = [
        (b"", "test: empty file, not a capture"),
        (b"hello", "test: not a capture file (it begins with [68, 65, 6c, 6c])"),
        (b"snoop\0\0\0", "test: a snoop capture: convert it with editcap -F pcapng"),
        (b"RTSS", "test: a Network Monitor 1 capture: convert it with editcap -F pcapng"),
        (b"GMBU", "test: a Network Monitor 2 capture: convert it with editcap -F pcapng"),
        (b"iptrace 2.0", "test: a iptrace capture: convert it with editcap -F pcapng"),
        (&version_3, "test: damaged at byte 0, frame 1: version 3.4"),
    ];
    for (bytes, expected) in cases {
        let (_, error) = try_read(bytes, 4096);
        assert_eq!(error.unwrap().to_string(), expected);
    }
    let missing = std::path::Path::new("no/such/file.pcap");
    let error = tcp_window_audit::source::open(missing, Timeline::default()).err().unwrap();
    assert_eq!(error.to_string(), "no/such/file.pcap: cannot open");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_read_that_fails_comes_after_the_frames_before_it() {
    let bytes = small_pcap(Order::Little, MICROSECONDS);
    let len = bytes.len() as u64;
    let reader = Failing(Cursor::new(bytes));
    let mut source =
        FileSource::from_reader("test".to_owned(), Box::new(reader), Timeline::default()).unwrap();
    let (frames, error) = drain(&mut source);
    assert_eq!(frames.len(), 2);
    assert!(matches!(error, Some(Error::Read { offset, .. }) if offset == len), "{error:?}");
}

#[test]
fn files_join_to_one_time_line() {
    let mut first = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    first.frame(100 * SECOND, 1, b"x");
    let mut second = PcapWriter::new(Order::Big, MICROSECONDS, 1);
    second.frame(99 * SECOND, 1, b"y");
    second.record(0, [1, 1], b"");
    let mut opened = source(&first.bytes, 4096);
    assert_eq!(drain(&mut opened).0.len(), 1);
    let timeline = opened.timeline();
    let reader = Box::new(Cursor::new(second.bytes));
    let mut opened = FileSource::from_reader("b".to_owned(), reader, timeline).unwrap();
    let (frames, error) = drain(&mut opened);
    assert_eq!((frames[0].number, frames[0].clock), (2, 100_000_000_000));
    // The error counts the frames of its file.
    assert!(matches!(error, Some(Error::Truncated { frame: 2, .. })), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic_and_never_depend_on_the_block_size(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        is_pcapng in any::<bool>(),
        block in 1_usize..300,
    ) {
        let mut bytes =
            if is_pcapng { small_pcapng() } else { small_pcap(Order::Big, MICROSECONDS) };
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let (frames, error) = try_read(&bytes, 1 << 18);
        let (again, error_again) = try_read(&bytes, block);
        prop_assert_eq!(&frames, &again);
        prop_assert_eq!(error.map(|e| e.to_string()), error_again.map(|e| e.to_string()));
        let total: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        prop_assert!(total <= bytes.len());
    }
}

/// What is found, and how the file is damaged.
type DamageCase = (Damage, fn(&mut PcapngWriter));

/// A frame with bytes of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub number: u64,
    pub ts: i64,
    pub clock: i64,
    pub link: LinkType,
    pub original_len: u32,
    pub bytes: Vec<u8>,
}

/// What reading a file to its end gave.
#[derive(PartialEq, Eq, Debug)]
pub struct Found {
    pub frames: Vec<Seen>,
    pub error: Option<String>,
    pub summary: SourceSummary,
}

pub fn source(bytes: &[u8], block_bytes: usize) -> FileSource {
    try_source(bytes, block_bytes).unwrap()
}

fn try_source(bytes: &[u8], block_bytes: usize) -> Result<FileSource, Error> {
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let source = FileSource::from_reader("test".to_owned(), reader, Timeline::default())?;
    Ok(source.with_block_bytes(block_bytes))
}

fn read(bytes: &[u8]) -> Found {
    read_in_blocks(bytes, 1 << 18)
}

fn read_in_blocks(bytes: &[u8], block_bytes: usize) -> Found {
    let mut source = source(bytes, block_bytes);
    let (frames, error) = drain(&mut source);
    Found { frames, error: error.map(|error| error.to_string()), summary: source.summary() }
}

fn try_read(bytes: &[u8], block_bytes: usize) -> (Vec<Seen>, Option<Error>) {
    match try_source(bytes, block_bytes) {
        Ok(mut source) => drain(&mut source),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Reads to the end, through one batch.
pub fn drain(source: &mut FileSource) -> (Vec<Seen>, Option<Error>) {
    let mut batch = Batch::default();
    let mut frames = Vec::new();
    let error = loop {
        match source.fill(&mut batch) {
            Ok(true) => assert!(!batch.is_empty()),
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
        frames.extend(batch.frames(0..batch.len()).map(|frame| Seen {
            number: frame.number,
            ts: frame.ts.0,
            clock: frame.clock.0,
            link: frame.link,
            original_len: frame.original_len,
            bytes: frame.bytes.to_vec(),
        }));
    };
    assert!(!source.fill(&mut batch).unwrap(), "a source at its end stays there");
    (frames, error)
}

fn small_pcap(order: Order, magic: u32) -> Vec<u8> {
    let mut writer = PcapWriter::new(order, magic, 1);
    writer.frame(1000 * SECOND, 5, b"first");
    writer.frame(4_294_967_295 * SECOND + 123_456_789, 1500, b"second!");
    writer.bytes
}

/// Ten blocks, the last of which is a packet.
fn small_pcapng() -> Vec<u8> {
    let mut writer = PcapngWriter::new(Order::Big);
    writer.interface(1, 0, &[(2, b"lo".to_vec())]);
    writer.enhanced(0, 5, 9, b"abcde");
    writer.obsolete((0, 1), 6, b"xyz");
    writer.simple(4, b"abcd");
    let drops = [writer.number(7, 3)];
    writer.statistics(0, &drops);
    writer.section(Order::Little);
    writer.interface(113, 0, &[(9, vec![9])]);
    writer.block(0xbad, b"data of their own");
    writer.enhanced(0, 7, 3, b"end");
    writer.bytes
}

fn long_pcap() -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    for index in 0..3000 {
        writer.frame(index * 1_000_000, 1500, &vec![index as u8; index as usize * 37 % 200]);
    }
    writer.bytes
}

fn long_pcapng() -> Vec<u8> {
    let mut writer = PcapngWriter::new(Order::Big);
    writer.interface(1, 0, &[]);
    for index in 0..3000 {
        if index % 7 == 0 {
            writer.block(0xbad, &[0; 20]);
        }
        writer.enhanced(0, index * 1000, 1500, &vec![index as u8; index as usize * 37 % 200]);
    }
    writer.bytes
}

/// Gives what it has, then an error.
struct Failing(Cursor<Vec<u8>>);

impl std::io::Read for Failing {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(target)? {
            0 => Err(std::io::Error::other("the cable was pulled")),
            count => Ok(count),
        }
    }
}
