//! Capture files as a stream, of a path, of standard input or of any reader, in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::decompress::{AHEAD_ALONE, AHEAD_BESIDE_OTHERS, Codec};
use super::follow::Growing;
use super::input::{Input, Stop};
use super::open::{Format, Opened};
use super::{Error, FrameSource, SourceSummary, Timeline};
use crate::frame::Batch;

/// How much is read at once: what stays in a core's own cache until the frames are decoded.
const DEFAULT_BLOCK_BYTES: usize = 256 << 10;
/// Larger blocks would allow more numbers without a frame than a batch can leave out.
const MAX_BLOCK_BYTES: usize = 512 << 10;

/// The frames of a capture file.
pub struct FileSource {
    name: String,
    file_len: Option<u64>,
    /// Bytes taken from the file itself, which another thread may be reading.
    bytes_read: Arc<AtomicU64>,
    input: Input,
    codec: Option<Codec>,
    format: Format,
    block_bytes: usize,
    /// The number of the first frame.
    first_number: u64,
    timeline: Timeline,
    state: State,
    /// Whether the end is where the person wanted it, inside a record or not.
    is_followed: bool,
}

/// What a source does next.
enum State {
    /// Reads so many bytes.
    Reads(usize),
    /// Says why it cannot go on; the frames before have been delivered.
    Fails(Error),
    /// Nothing, for ever.
    Ended,
}

impl FileSource {
    /// Opens a file, compressed or not, or standard input when `path` is `-`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the file cannot be opened or does not begin as a capture does.
    pub fn open(path: &Path, timeline: Timeline) -> Result<Self, Error> {
        Self::open_ahead(path, timeline, AHEAD_ALONE)
    }

    /// Opens one of several files that are read at one time, so that all together take little memory.
    pub(super) fn open_beside_others(path: &Path, timeline: Timeline) -> Result<Self, Error> {
        Self::open_ahead(path, timeline, AHEAD_BESIDE_OTHERS)
    }

    /// Opens a file, of which so many chunks are decompressed ahead.
    fn open_ahead(path: &Path, timeline: Timeline, chunks_ahead: usize) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            return Self::of("-".to_owned(), Box::new(io::stdin()), timeline, chunks_ahead);
        }
        let cannot_open = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(cannot_open)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        let file_len = metadata.is_file().then_some(metadata.len());
        let name = path.display().to_string();
        let source = Self::of(name, Box::new(file), timeline, chunks_ahead)?;
        Ok(Self { file_len, ..source })
    }

    /// Opens a file that is still being written, and reads it until `stop` is set.
    ///
    /// # Errors
    ///
    /// [`Error`] when the file cannot be opened, is compressed, or does not begin as a capture does.
    pub fn follow(path: &Path, stop: &'static AtomicBool) -> Result<Self, Error> {
        let cannot_open = |source| Error::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(cannot_open)?;
        let name = path.display().to_string();
        let mut magic = [0; Codec::MAGIC_BYTES];
        // A file without as many bytes is waited for, and a capture has no such beginning.
        let is_there = file.read_exact(&mut magic).is_ok();
        if let Some(codec) = Codec::of(&magic).filter(|_| is_there) {
            return Err(Error::FollowCompressed { name, codec: codec.name() });
        }
        let file = File::open(path).map_err(cannot_open)?;
        let growing = Box::new(Growing::new(file, stop));
        let mut source = Self::from_reader(name, growing, Timeline::default())?;
        source.input.be_eager();
        source.is_followed = true;
        Ok(source)
    }

    /// Reads a capture from any reader, which errors call `name`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the input does not begin as a capture does.
    pub fn from_reader(
        name: String,
        reader: Box<dyn Read + Send>,
        timeline: Timeline,
    ) -> Result<Self, Error> {
        Self::of(name, reader, timeline, AHEAD_ALONE)
    }

    fn of(
        name: String,
        reader: Box<dyn Read + Send>,
        timeline: Timeline,
        chunks_ahead: usize,
    ) -> Result<Self, Error> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { reader, bytes_read: Arc::clone(&bytes_read) };
        let input = Input::new(Box::new(counted));
        let Opened { input, codec, format } = Opened::new(&name, input, chunks_ahead)?;
        Ok(Self {
            name,
            file_len: None,
            bytes_read,
            input,
            codec,
            format,
            block_bytes: DEFAULT_BLOCK_BYTES,
            first_number: timeline.next_number,
            timeline,
            state: State::Reads(DEFAULT_BLOCK_BYTES),
            is_followed: false,
        })
    }

    /// Sets how many bytes are read at once, between 1 and 512 KiB; a longer record is still read.
    ///
    /// The frames are the same for any size.
    pub fn with_block_bytes(mut self, block_bytes: usize) -> Self {
        self.block_bytes = block_bytes.clamp(1, MAX_BLOCK_BYTES);
        self.state = State::Reads(self.block_bytes);
        self
    }

    /// Loads blocks until `batch` has frames or the source cannot go on.
    fn fill_from_blocks(&mut self, buffer: &mut Vec<u8>, batch: &mut Batch) {
        while batch.is_empty()
            && let State::Reads(wanted) = self.state
        {
            batch.clear(self.timeline.next_number);
            let loaded = self.input.load(buffer, wanted);
            let bytes = buffer.get(..loaded).unwrap_or_default();
            let walked = self.format.walk(bytes, batch, &mut self.timeline.clock);
            self.timeline.next_number = batch.next_number();
            self.input.keep(bytes.get(walked.consumed..).unwrap_or_default(), walked.consumed);
            self.state = match walked.stop {
                Stop::Damaged(problem) => State::Fails(Error::Damaged {
                    name: self.name.clone(),
                    frame: self.frame(),
                    offset: self.input.offset(),
                    problem,
                }),
                Stop::Incomplete(needed) if self.input.is_at_end() => self.end_inside(needed),
                // A claimed length is believed step by step, so that a false one costs little.
                Stop::Incomplete(needed) => {
                    State::Reads(needed.min(loaded.saturating_mul(2)).max(self.block_bytes))
                }
            };
        }
    }

    /// Judges the end of the input before an element of `needed` bytes.
    fn end_inside(&mut self, needed: usize) -> State {
        let (name, offset) = (self.name.clone(), self.input.offset());
        if let Some(source) = self.input.take_failure() {
            let at = (self.frame() - 1, offset + self.input.unused() as u64);
            return State::Fails(Error::of_reading(name, self.codec, at, source));
        }
        let (needed, present) = (needed as u64, self.input.unused() as u64);
        if present == 0 || self.is_followed {
            return State::Ended;
        }
        State::Fails(Error::Truncated { name, frame: self.frame(), offset, needed, present })
    }

    /// Returns the number of the next frame in this file.
    fn frame(&self) -> u64 {
        self.timeline.next_number - self.first_number + 1
    }
}

impl FrameSource for FileSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear(self.timeline.next_number);
        if matches!(self.state, State::Reads(_)) {
            let mut buffer = std::mem::take(&mut batch.buffer);
            self.fill_from_blocks(&mut buffer, batch);
            batch.buffer = buffer;
        }
        if !batch.is_empty() {
            return Ok(true);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Fails(error) => Err(error),
            State::Reads(_) | State::Ended => Ok(false),
        }
    }

    fn summary(&self) -> SourceSummary {
        let mut format = self.format.describe();
        if let Some(codec) = self.codec {
            format.push_str(", ");
            format.push_str(codec.name());
        }
        SourceSummary {
            name: self.name.clone(),
            format,
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            file_len: self.file_len,
            interfaces: self.format.interfaces(),
            set_back: None,
        }
    }
}

/// A reader that counts what it gives.
struct Counted {
    reader: Box<dyn Read + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(target)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
