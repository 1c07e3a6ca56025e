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

use tcp_window_audit::source::file::FileSource;
use tcp_window_audit::source::{Error, FrameSource, Timeline};

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};
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
fn a_source_that_is_dropped_early_lets_its_thread_end() {
    for (_, compress) in COMPRESSORS {
        let alive = std::sync::Arc::new(());
        let reader = Tracked { bytes: Cursor::new(compress(&capture())), _alive: alive.clone() };
        let opened = FileSource::from_reader(String::new(), Box::new(reader), Timeline::default());
        drop(opened.unwrap());
        // The thread holds the reader until it ends.
        while std::sync::Arc::strong_count(&alive) > 1 {
            std::thread::yield_now();
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
    _alive: std::sync::Arc<()>,
}

impl std::io::Read for Tracked {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(target)
    }
}
