//! Capture files are read as Wireshark reads them, whole, cut and damaged.

use std::io::{Cursor, Read};

use tcp_window_audit::frame::Place;
use tcp_window_audit::frame::{Batch, LinkType};
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Error, FrameSource, SourceSummary, Timeline};
use tcp_window_audit::time::{CaptureClock, Timestamp};

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

/// Gives so many bytes a read at most.
struct Trickling(Cursor<Vec<u8>>, usize);

impl Read for Trickling {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let most = target.len().min(self.1);
        self.0.read(&mut target[..most])
    }
}

#[test]
fn an_enhanced_packet_of_many_reads_is_read() {
    for (order, most) in [(Order::Little, 1 << 16), (Order::Big, 5000)] {
        // As long as a block may be: 16 MiB, of which 32 bytes are not data.
        let data: Vec<_> = (0..(16 << 20) - 32).map(|index: usize| (index >> 8) as u8).collect();
        let mut writer = PcapngWriter::new(order);
        writer.interface(1, 0, &[]);
        writer.enhanced(0, 1, 1, b"x");
        writer.enhanced(0, 2, 1 << 24, &data);
        writer.enhanced(0, 3, 3, b"yzy");
        let reader = Box::new(Trickling(Cursor::new(writer.bytes), most));
        let opened = FileSource::from_reader("test".to_owned(), reader, Timeline::default());
        let (frames, error) = drain(&mut opened.unwrap().with_block_bytes(4096));
        assert!(error.is_none(), "{error:?}");
        let seen: Vec<_> = frames.iter().map(|f| (f.number, f.ts, f.original_len)).collect();
        assert_eq!(seen, [(1, 1000, 1), (2, 2000, 1 << 24), (3, 3000, 3)]);
        assert!(frames[1].bytes == data);
        assert_eq!([&frames[0].bytes[..], &frames[2].bytes], [&b"x"[..], b"yzy"]);
    }
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
    let mut clock = CaptureClock::default();
    clock.advance(Timestamp(100_000_000_000));
    let timeline = Timeline { clock, ..Timeline::of_file(3) };
    let reader = Box::new(Cursor::new(second.bytes));
    let mut opened = FileSource::from_reader("b".to_owned(), reader, timeline).unwrap();
    let (frames, error) = drain(&mut opened);
    assert_eq!(Place::of(frames[0].number), Place { file: 3, frame: 1 });
    assert_eq!(frames[0].clock, 100_000_000_000);
    // The error counts the frames of its file.
    assert!(matches!(error, Some(Error::Truncated { frame: 2, .. })), "{error:?}");
}

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

pub fn try_source(bytes: &[u8], block_bytes: usize) -> Result<FileSource, Error> {
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let source = FileSource::from_reader("test".to_owned(), reader, Timeline::default())?;
    Ok(source.with_block_bytes(block_bytes))
}

pub fn read(bytes: &[u8]) -> Found {
    read_in_blocks(bytes, 1 << 18)
}

fn read_in_blocks(bytes: &[u8], block_bytes: usize) -> Found {
    let mut source = source(bytes, block_bytes);
    let (frames, error) = drain(&mut source);
    Found { frames, error: error.map(|error| error.to_string()), summary: source.summary() }
}

pub fn try_read(bytes: &[u8], block_bytes: usize) -> (Vec<Seen>, Option<Error>) {
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

pub fn small_pcap(order: Order, magic: u32) -> Vec<u8> {
    let mut writer = PcapWriter::new(order, magic, 1);
    writer.frame(1000 * SECOND, 5, b"first");
    writer.frame(4_294_967_295 * SECOND + 123_456_789, 1500, b"second!");
    writer.bytes
}

/// Ten blocks, the last of which is a packet.
pub fn small_pcapng() -> Vec<u8> {
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
