//! Capture files that are cut, damaged or none are read as far as they go, and named.

use std::io::Cursor;

use proptest::prelude::*;
use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Damage, Error, FrameSource, Timeline};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter, PcapngWriter};
use crate::source::{drain, read, small_pcap, small_pcapng, source, try_read};

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
fn an_enhanced_packet_beyond_the_limit_is_damage_though_it_is_all_there() {
    for order in [Order::Little, Order::Big] {
        let mut writer = PcapngWriter::new(order);
        writer.interface(1, 0, &[]);
        writer.enhanced(0, 1, 1, b"x");
        let at = writer.bytes.len();
        writer.enhanced(0, 2, 9, &vec![0; (16 << 20) - 31]);
        writer.enhanced(0, 3, 1, b"y");
        for block in [17, 4096, 1 << 18] {
            let (frames, error) = try_read(&writer.bytes, block);
            assert_eq!(frames.len(), 1);
            let text = error.unwrap().to_string();
            let expected =
                format!("test: damaged at byte {at}, frame 2: a block of 16777220 bytes");
            assert_eq!(text, expected);
        }
    }
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let mut version_3 = small_pcap(Order::Big, MICROSECONDS);
    version_3[5] = 3;
    let cases: [(&[u8], &str); 7] = [
        (b"", "test: empty file, not a capture"),
        (
            b"hello",
            "test: not a capture file (it begins with [68, 65, 6c, 6c]); what Wireshark opens, \
             editcap -F pcapng converts",
        ),
        (
            b"snoop\0\0\0",
            "test: a capture in the format of snoop: convert it with editcap -F pcapng",
        ),
        (
            b"RTSS",
            "test: a capture in the format of Network Monitor 1: convert it with editcap -F pcapng",
        ),
        (
            b"GMBU",
            "test: a capture in the format of Network Monitor 2: convert it with editcap -F pcapng",
        ),
        (
            b"iptrace 2.0",
            "test: a capture in the format of iptrace: convert it with editcap -F pcapng",
        ),
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
