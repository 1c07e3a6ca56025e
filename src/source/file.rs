//! Capture files as a stream, of a path, of standard input or of any reader, in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::input::{Input, Stop};
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::{Error, FrameSource, SourceSummary, Timeline};
use crate::frame::Batch;
use crate::time::CaptureClock;

/// How much is read at once: what stays in a core's own cache until the frames are decoded.
const DEFAULT_BLOCK_BYTES: usize = 256 << 10;
/// Larger blocks would allow more numbers without a frame than a batch can leave out.
const MAX_BLOCK_BYTES: usize = 512 << 10;
/// What formats are recognised by.
const MAGIC_BYTES: usize = 4;
/// Formats that other programs can convert, by the first bytes.
const FOREIGN_FORMATS: [([u8; MAGIC_BYTES], &str); 4] = [
    (*b"snoo", "snoop"),
    (*b"RTSS", "Network Monitor 1"),
    (*b"GMBU", "Network Monitor 2"),
    (*b"iptr", "iptrace"),
];

/// The frames of a capture file.
pub struct FileSource {
    name: String,
    file_len: Option<u64>,
    /// Bytes taken from the file itself, which another thread may be reading.
    bytes_read: Arc<AtomicU64>,
    input: Input,
    format: Format,
    block_bytes: usize,
    /// The number of the first frame.
    first_number: u64,
    timeline: Timeline,
    state: State,
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

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl FileSource {
    /// Opens a file, or standard input when `path` is `-`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the file cannot be opened or does not begin as a capture does.
    pub fn open(path: &Path, timeline: Timeline) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            return Self::from_reader("-".to_owned(), Box::new(io::stdin()), timeline);
        }
        let cannot_open = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(cannot_open)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        let file_len = metadata.is_file().then_some(metadata.len());
        let name = path.display().to_string();
        let source = Self::from_reader(name, Box::new(file), timeline)?;
        Ok(Self { file_len, ..source })
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
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { reader, bytes_read: Arc::clone(&bytes_read) };
        let mut input = Input::new(Box::new(counted));
        let format = Format::recognise(&name, &mut input)?;
        Ok(Self {
            name,
            file_len: None,
            bytes_read,
            input,
            format,
            block_bytes: DEFAULT_BLOCK_BYTES,
            first_number: timeline.next_number,
            timeline,
            state: State::Reads(DEFAULT_BLOCK_BYTES),
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

    /// Returns where the time line stands after the frames delivered so far.
    pub fn timeline(&self) -> Timeline {
        self.timeline
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
            let offset = offset + self.input.unused() as u64;
            return State::Fails(Error::Read { name, offset, source });
        }
        let (needed, present) = (needed as u64, self.input.unused() as u64);
        if present == 0 {
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
        let (format, interfaces) = match &self.format {
            Format::Pcap(pcap) => (pcap.describe(), vec![pcap.interface()]),
            Format::Pcapng(pcapng) => (pcapng.describe(), pcapng.interfaces()),
        };
        SourceSummary {
            name: self.name.clone(),
            format,
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            file_len: self.file_len,
            interfaces,
        }
    }
}

impl Format {
    /// Tells the format by its first bytes, and reads the header of the file.
    fn recognise(name: &str, input: &mut Input) -> Result<Self, Error> {
        let magic = input.peek(MAGIC_BYTES).to_vec();
        if let Some(source) = input.take_failure() {
            return Err(Error::Read { name: name.to_owned(), offset: 0, source });
        }
        if magic.is_empty() {
            return Err(Error::Empty { name: name.to_owned() });
        }
        if let Some((_, format)) = FOREIGN_FORMATS.iter().find(|(known, _)| *known == *magic) {
            return Err(Error::ForeignFormat { name: name.to_owned(), format });
        }
        let (is_pcap, is_pcapng) = (Pcap::recognises(&magic), magic == pcapng::MAGIC);
        if !is_pcap && !is_pcapng {
            return Err(Error::NotACapture { name: name.to_owned(), magic });
        }
        let needed = if is_pcap { pcap::HEADER_BYTES } else { pcapng::SECTION_HEADER_BYTES };
        let header = input.peek(needed);
        let present = header.len() as u64;
        let parsed = if is_pcap {
            Pcap::from_header(header).map(|parsed| parsed.map(Self::Pcap))
        } else {
            Pcapng::from_header(header).map(|parsed| parsed.map(Self::Pcapng))
        };
        if let Some(source) = input.take_failure() {
            return Err(Error::Read { name: name.to_owned(), offset: present, source });
        }
        let (name, frame, offset) = (name.to_owned(), 1, 0);
        let format = match parsed {
            Some(Ok(format)) if present == needed as u64 => format,
            Some(Err(problem)) => return Err(Error::Damaged { name, frame, offset, problem }),
            Some(Ok(_)) | None => {
                let needed = needed as u64;
                return Err(Error::Truncated { name, frame, offset, needed, present });
            }
        };
        // A pcapng section header is a block, and read as one.
        if is_pcap {
            input.skip(pcap::HEADER_BYTES);
        }
        Ok(format)
    }

    fn walk(
        &mut self,
        bytes: &[u8],
        batch: &mut Batch,
        clock: &mut CaptureClock,
    ) -> super::input::Walked {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, batch, clock),
            Self::Pcapng(pcapng) => pcapng.walk(bytes, batch, clock),
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
