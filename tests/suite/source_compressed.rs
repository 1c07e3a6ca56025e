//! Compressed captures give the frames of what was compressed.

use std::io::Cursor;
#[cfg(any(
    feature = "gzip",
    feature = "zstd",
    feature = "lz4",
    feature = "xz",
    feature = "bzip2"
))]
use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tcp_window_audit::frame::Batch;
use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Error, FrameSource, Timeline};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};
use crate::program::{STORY, Scratch, run, status, text};
use crate::scenario::testdata;
use crate::source::{Seen, drain, source};

/// A kind of compression: its name, and how a member or frame is made.
type Compressor = (&'static str, fn(&[u8]) -> Vec<u8>);

const COMPRESSORS: &[Compressor] = &[
    #[cfg(feature = "gzip")]
    ("gzip", gzip),
    #[cfg(feature = "zstd")]
    ("zstd", |bytes| zstd::encode_all(bytes, 3).unwrap()),
    #[cfg(feature = "lz4")]
    ("lz4", lz4),
    #[cfg(feature = "xz")]
    ("xz", xz),
    #[cfg(feature = "bzip2")]
    ("bzip2", bzip2),
];

#[test]
fn each_kind_of_compression_gives_the_same_frames() {
    let plain = capture();
    let (expected, _) = drain(&mut source(&plain, 1 << 18));
    assert_eq!(expected.len(), 20_000);
    for (name, compress) in COMPRESSORS {
        let bytes = compress(&plain);
        let mut source = source(&bytes, 1 << 18);
        let (frames, error) = drain(&mut source);
        assert!(frames == expected && error.is_none(), "{name}: {error:?}");
        let summary = source.summary();
        assert_eq!(summary.format, format!("pcap, {name}"));
        assert_eq!(summary.bytes_read, bytes.len() as u64, "{name}");
    }
}

#[test]
fn several_members_are_one_capture() {
    let plain = capture();
    let (expected, _) = drain(&mut source(&plain, 1 << 18));
    for (name, compress) in COMPRESSORS {
        for cut in [5, 100_000] {
            let (first, second) = plain.split_at(cut);
            let bytes = [first, b"", second, b""].map(compress).concat();
            let (frames, error) = drain(&mut source(&bytes, 4096));
            assert!(frames == expected && error.is_none(), "{name}: {} {error:?}", frames.len());
        }
    }
}

#[test]
fn compressed_data_cut_short_give_the_frames_before_and_an_error() {
    let plain = capture();
    let (expected, _) = drain(&mut source(&plain, 1 << 18));
    for (name, compress) in COMPRESSORS {
        let bytes = compress(&plain);
        for kept in [bytes.len() * 3 / 4, bytes.len() - 4, bytes.len() - 1] {
            let (frames, error) = drain(&mut source(&bytes[..kept], 1 << 18));
            assert!(expected.starts_with(&frames), "{name}");
            assert!(!frames.is_empty(), "{name}");
            let frames_read = frames.len() as u64;
            match error {
                Some(Error::Compression { codec, frames, .. }) => {
                    assert_eq!((codec, frames), (*name, frames_read));
                }
                other => panic!("{name}, {kept} of {} bytes: {other:?}", bytes.len()),
            }
        }
    }
}

/// The beginning of a member or frame that no decoder can take: of its name, the header that it has, and a
/// block of a kind that there is not, or longer than any.
const BROKEN: [(&str, &[u8]); 5] = [
    ("gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 7, 0, 0, 0]),
    ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 7, 0, 0, 0]),
    ("lz4", &[0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0, 0xff, 0xff, 0xff, 0x7f]),
    ("xz", &[0xfd, b'7', b'z', b'X', b'Z', 0, 0xff, 0xff, 0, 0, 0, 0]),
    ("bzip2", b"BZh9\0\0\0\0\0\0\0\0"),
];

/// Returns what is compressed, and after it a member that is broken.
fn broken(name: &str, compressed: &[u8]) -> Vec<u8> {
    let (_, member) = BROKEN.iter().find(|(broken, _)| *broken == name).unwrap();
    [compressed, member].concat()
}

/// More than may wait to be read, so that the decompressing thread meets the damage late, or waits itself.
fn long_capture() -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    for index in 0..LONG_FRAMES {
        writer.frame(index * 1_000_000, 9000, &[index as u8; 9000]);
    }
    writer.bytes
}

const LONG_FRAMES: u64 = 1500;

#[test]
fn what_was_decompressed_before_the_damage_is_read_to_the_last_frame() {
    let plain = long_capture();
    for (name, compress) in COMPRESSORS {
        let whole = compress(&plain);
        let (frames, error) = read(broken(name, &whole));
        let Some(Error::Compression { codec, frames: told, offset, .. }) = error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!((codec, told), (*name, frames.len() as u64));
        let missing = plain.len() as u64 - offset;
        // The decoder of xz gives nothing of the call in which it meets the damage.
        assert!(missing == 0 || *name == "xz" && missing <= 256 << 10, "{name}: {missing} bytes");
        assert!(missing > 0 || told == LONG_FRAMES, "{name}: {told} frames");
    }
}

#[test]
fn a_damaged_compressed_capture_is_reported_as_far_as_it_goes_and_called_incomplete() {
    let folder = testdata().join("captures").join(STORY);
    let plain = std::fs::read(folder.join("capture.pcapng")).unwrap();
    let scratch = Scratch::new("compressed_damaged");
    let json = |name: &str| -> (i32, String, serde_json::Value) {
        let output = run(&scratch.0, &["--format", "json", name]);
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", text(&output.stderr)));
        (status(&output), text(&output.stderr).to_owned(), report)
    };
    scratch.write("plain", &plain);
    let whole = json("plain").2;
    let frames = whole["capture"]["frames"].as_u64().unwrap();
    // The capture is less than a block of bzip2, and than xz gives at once.
    let of_small_blocks = |(name, _): &&Compressor| ["gzip", "zstd", "lz4"].contains(name);
    for (name, compress) in COMPRESSORS.iter().filter(of_small_blocks) {
        let compressed = compress(&plain);
        scratch.write("broken", &broken(name, &compressed));
        // Some give nothing of a block that is cut.
        let halves = plain.split_at(plain.len() / 2);
        let members = [compress(halves.0), compress(halves.1)].concat();
        scratch.write("cut", &members[..members.len() - 5]);
        for file in ["broken", "cut"] {
            let (status, told, report) = json(file);
            let before = report["capture"]["frames"].as_u64().unwrap();
            let problem = format!("{file}: cannot decompress ({name}) after frame {before}, ");
            assert_eq!((status, told.lines().count()), (2, 1), "{name}: {told}");
            assert!(told.starts_with(&format!("tcp-window-audit: {problem}")), "{name}: {told}");
            let problems = report["problems"].as_array().unwrap();
            assert_eq!((&report["complete"], problems.len()), (&false.into(), 1), "{name}");
            assert!(problems[0].as_str().unwrap().starts_with(&problem), "{problems:?}");
            assert!(before > 0 && before <= frames, "{name}: {before} of {frames}");
            if before == frames {
                assert_eq!(report["verdict"]["invalid"], whole["verdict"]["invalid"], "{name}");
            }
        }
    }
}

#[test]
fn damaged_compressed_data_never_panic() {
    for (name, compress) in COMPRESSORS {
        let bytes = compress(&capture()[..50_000]);
        for at in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let (frames, _) = read(damaged);
            assert!(frames.len() < 20_000, "{name}");
        }
    }
}

#[test]
fn what_is_compressed_must_be_a_capture_too() {
    for (name, compress) in COMPRESSORS {
        let error = read(compress(b"hello")).1.unwrap();
        assert_eq!(
            error.to_string(),
            "test: not a capture file (it begins with [68, 65, 6c, 6c]); what Wireshark opens, \
             editcap -F pcapng converts",
            "{name}"
        );
        let error = read(compress(b"")).1.unwrap();
        assert_eq!(error.to_string(), "test: empty file, not a capture", "{name}");
    }
}

#[cfg(not(feature = "bzip2"))]
#[test]
fn a_compression_that_is_not_built_in_is_refused_by_name() {
    let error = read(b"BZh91AY&SY".to_vec()).1.unwrap();
    assert_eq!(
        error.to_string(),
        "test: compressed with bzip2, which this build does not read: decompress it first"
    );
}

#[cfg(feature = "zstd")]
#[test]
fn a_window_beyond_the_limit_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(28).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&capture()).unwrap();
    let error = read(encoder.finish().unwrap()).1.unwrap();
    assert!(matches!(error, Error::Compression { codec: "zstd", frames: 0, .. }), "{error:?}");
}

#[test]
fn a_source_that_is_left_early_lets_its_thread_end() {
    // A record that cannot be, before all others.
    let mut bad = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    bad.record(0, [(16 << 20) + 1, 0], b"");
    bad.bytes.extend(&long_capture()[24..]);
    for plain in [long_capture(), bad.bytes] {
        for (name, compress) in COMPRESSORS {
            let (alive, ended) = mpsc::channel();
            let reader = Box::new(Tracked { bytes: Cursor::new(compress(&plain)), _alive: alive });
            let opened = FileSource::from_reader("test".to_owned(), reader, Timeline::default());
            let mut source = opened.unwrap();
            let filled = source.fill(&mut Batch::default());
            let problem = filled.err().map(|error| error.to_string());
            let expected = "test: damaged at byte 24, frame 1: a record of 16777217 bytes";
            assert!(problem.is_none_or(|problem| problem == expected), "{name}");
            drop(source);
            // The thread holds the reader until it ends.
            let end = ended.recv_timeout(Duration::from_mins(1));
            assert_eq!(end, Err(RecvTimeoutError::Disconnected), "{name}: the thread lives on");
        }
    }
}

fn read(bytes: Vec<u8>) -> (Vec<Seen>, Option<Error>) {
    let reader = Box::new(Cursor::new(bytes));
    match FileSource::from_reader("test".to_owned(), reader, Timeline::default()) {
        Ok(mut source) => drain(&mut source),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Twenty thousand frames, several times what is handed over at once, and hard to compress.
fn capture() -> Vec<u8> {
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, 1);
    let mut state = 1_u64;
    for index in 0..20_000 {
        let data: Vec<u8> = (0..90)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        writer.frame(index * 1_000_000, 1500, &data);
    }
    writer.bytes
}

#[cfg(feature = "gzip")]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(feature = "lz4")]
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut info = lz4_flex::frame::FrameInfo::new();
    info.block_size = lz4_flex::frame::BlockSize::Max64KB;
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(feature = "xz")]
fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(feature = "bzip2")]
fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A reader of which a test can tell whether it is still there.
struct Tracked {
    bytes: Cursor<Vec<u8>>,
    _alive: mpsc::Sender<()>,
}

impl std::io::Read for Tracked {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(target)
    }
}
