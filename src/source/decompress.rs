//! Compressed captures, decompressed by a thread of their own.
//!
//! Knows compression formats by their first bytes. Does not: know what was compressed.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

/// How much is handed over at once.
const CHUNK_BYTES: usize = 256 << 10;
/// How many chunks of a file that is read alone may wait, 8 MiB: so many that neither thread often sleeps,
/// as waking one takes longer than decompressing a chunk.
pub(super) const AHEAD_ALONE: usize = 32;
/// The same for each of several files that are read at one time, 1 MiB: there may be hundreds.
pub(super) const AHEAD_BESIDE_OTHERS: usize = 4;

/// The largest window of zstd, as a power of two: 128 MiB, what the zstd tool allows unasked.
#[cfg(feature = "zstd")]
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// The most memory that xz may use: `xz -9` needs 65 MiB.
#[cfg(feature = "xz")]
const MAX_XZ_MEMORY_BYTES: u64 = 128 << 20;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    Gzip,
    Zstd,
    Lz4,
    Xz,
    Bzip2,
}

/// Each kind of compression by the first bytes.
const MAGICS: [(&[u8], Codec); 5] = [
    (&[0x1f, 0x8b], Codec::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Codec::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Codec::Lz4),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Codec::Xz),
    (b"BZh", Codec::Bzip2),
];

impl Codec {
    /// How many bytes tell the kind of compression.
    pub(super) const MAGIC_BYTES: usize = 6;

    /// Returns how a file that begins with `magic` is compressed, if it is.
    pub(super) fn of(magic: &[u8]) -> Option<Self> {
        let known = MAGICS.iter().find(|(known, _)| magic.starts_with(known));
        known.map(|&(_, codec)| codec)
    }

    /// Returns the name of the program that compresses so.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Returns whether this build can decompress it.
    pub(super) const fn is_built_in(self) -> bool {
        match self {
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Xz => cfg!(feature = "xz"),
            Self::Bzip2 => cfg!(feature = "bzip2"),
        }
    }

    /// Starts to decompress, and returns what comes out, of which so many chunks may wait.
    pub(super) fn decompress(
        self,
        compressed: Box<dyn Read + Send>,
        chunks_ahead: usize,
    ) -> io::Result<Box<dyn Read + Send>> {
        let (chunks, incoming) = mpsc::sync_channel(chunks_ahead);
        let (spent, reusable) = mpsc::channel();
        thread::Builder::new()
            .name(format!("{} decompressor", self.name()))
            .spawn(move || self.run(compressed, &chunks, &reusable))?;
        let ended = false;
        Ok(Box::new(Decompressed { incoming, spent, chunk: Vec::new(), position: 0, ended }))
    }

    /// Decompresses until the end, an error, or until nobody wants the rest.
    fn run(
        self,
        compressed: Box<dyn Read + Send>,
        chunks: &SyncSender<io::Result<Vec<u8>>>,
        reusable: &Receiver<Vec<u8>>,
    ) {
        let mut decoder = match self.decoder(compressed) {
            Ok(decoder) => decoder,
            Err(error) => {
                // Only a reader that is gone does not take it.
                let _ = chunks.send(Err(error));
                return;
            }
        };
        loop {
            let mut chunk = reusable.try_recv().unwrap_or_default();
            chunk.resize(CHUNK_BYTES, 0);
            let (filled, end) = fill(&mut *decoder, &mut chunk);
            chunk.truncate(filled);
            let is_wanted = chunk.is_empty() || chunks.send(Ok(chunk)).is_ok();
            match end {
                None if is_wanted => {}
                None => return,
                Some(end) => {
                    let _ = chunks.send(end.map(|()| Vec::new()));
                    return;
                }
            }
        }
    }

    /// Returns the decoder, which reads all members or frames of a file that has several.
    #[cfg_attr(
        not(any(
            feature = "gzip",
            feature = "zstd",
            feature = "lz4",
            feature = "xz",
            feature = "bzip2"
        )),
        expect(
            unused_variables,
            clippy::needless_pass_by_value,
            reason = "a build without any decoder has none to give it to"
        )
    )]
    fn decoder(self, compressed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read>> {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(
                io::BufReader::with_capacity(CHUNK_BYTES, compressed),
            ))),
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(compressed)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Ok(Box::new(decoder))
            }
            #[cfg(feature = "lz4")]
            Self::Lz4 => Ok(Box::new(Lz4Frames::new(compressed))),
            #[cfg(feature = "xz")]
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    MAX_XZ_MEMORY_BYTES,
                    liblzma::stream::CONCATENATED,
                )?;
                Ok(Box::new(liblzma::read::XzDecoder::new_stream(compressed, stream)))
            }
            #[cfg(feature = "bzip2")]
            Self::Bzip2 => Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(
                io::BufReader::with_capacity(CHUNK_BYTES, compressed),
            ))),
            #[cfg(not(feature = "gzip"))]
            Self::Gzip => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(not(feature = "zstd"))]
            Self::Zstd => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(not(feature = "lz4"))]
            Self::Lz4 => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(not(feature = "xz"))]
            Self::Xz => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(not(feature = "bzip2"))]
            Self::Bzip2 => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Fills `chunk`, and returns how far, and how the decoder ended if it did.
fn fill(decoder: &mut dyn Read, chunk: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while let Some(free) = chunk.get_mut(filled..).filter(|free| !free.is_empty()) {
        match decoder.read(free) {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
}

/// Reads one lz4 frame after the other; the decoder says at the end of each that it is the last,
/// and says the same of a file cut between two blocks.
#[cfg(feature = "lz4")]
struct Lz4Frames<R: Read>(lz4_flex::frame::FrameDecoder<NotesEnd<R>>);

#[cfg(feature = "lz4")]
impl<R: Read> Lz4Frames<R> {
    fn new(reader: R) -> Self {
        let reader = io::BufReader::with_capacity(CHUNK_BYTES, reader);
        Self(lz4_flex::frame::FrameDecoder::new(NotesEnd { reader, is_at_end: false }))
    }
}

#[cfg(feature = "lz4")]
impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.0.read(target)?;
            let input = self.0.get_mut();
            if count > 0 {
                return Ok(count);
            }
            // The mark at the end of a frame is read without asking for more.
            if input.is_at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if io::BufRead::fill_buf(&mut input.reader)?.is_empty() {
                return Ok(0);
            }
        }
    }
}

/// A reader that notes whether it was asked for more than there is.
#[cfg(feature = "lz4")]
struct NotesEnd<R> {
    reader: io::BufReader<R>,
    is_at_end: bool,
}

#[cfg(feature = "lz4")]
impl<R: Read> Read for NotesEnd<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(target)?;
        self.is_at_end |= count == 0 && !target.is_empty();
        Ok(count)
    }
}

/// What comes out of the decompressing thread.
struct Decompressed {
    incoming: Receiver<io::Result<Vec<u8>>>,
    /// Where chunks go back to be filled again.
    spent: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    /// How much of the chunk has been read.
    position: usize,
    ended: bool,
}

impl Read for Decompressed {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.chunk.len() && !self.ended {
            // The thread may have ended already, and need no more chunks.
            let _ = self.spent.send(std::mem::take(&mut self.chunk));
            self.position = 0;
            let stopped = |_| io::Error::other("the decompressing thread stopped early");
            let received = self.incoming.recv().map_err(stopped).flatten();
            self.ended = !received.as_ref().is_ok_and(|chunk| !chunk.is_empty());
            self.chunk = received?;
        }
        let rest = self.chunk.get(self.position..).unwrap_or_default();
        let count = rest.len().min(target.len());
        if let (Some(to), Some(from)) = (target.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.position += count;
        Ok(count)
    }
}

#[cfg(feature = "gzip")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::io::Write;
    use std::time::Duration;

    /// A reader that tells how much each read has given.
    struct Telling(io::Cursor<Vec<u8>>, Sender<usize>);

    impl Read for Telling {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(target)?;
            self.1.send(count).map_err(io::Error::other)?;
            Ok(count)
        }
    }

    #[test]
    fn no_more_is_decompressed_than_may_wait() {
        let mut random = Random(1);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        let noise: Vec<_> =
            (0..CHUNK_BYTES).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        (0..2 * AHEAD_ALONE).for_each(|_| encoder.write_all(&noise).unwrap());
        let compressed = encoder.finish().unwrap();
        for chunks_ahead in [AHEAD_ALONE, AHEAD_BESIDE_OTHERS] {
            let (telling, told) = mpsc::channel();
            let reader = Telling(io::Cursor::new(compressed.clone()), telling);
            let output = Codec::Gzip.decompress(Box::new(reader), chunks_ahead).unwrap();
            // Until nothing more is read.
            let pause = Duration::from_millis(300);
            let read: usize = std::iter::from_fn(|| told.recv_timeout(pause).ok()).sum();
            // Besides those that wait one is held by the thread, and one is still compressed.
            let chunks = read / CHUNK_BYTES;
            assert!((chunks_ahead..=chunks_ahead + 3).contains(&chunks), "{chunks} chunks");
            drop(output);
        }
    }
}
