//! Keeps the packets of a source in capture files, as they pass.
//!
//! What cannot be written is said once and not kept; the packets pass all the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, FilterSummary, FrameSource, SourceSummary};
use crate::frame::{Batch, Frame};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Frames of a batch below which there is time to bring all of them into the file.
const FEW: usize = 256;
const BUFFER_BYTES: usize = 256 << 10;
/// Classic pcap with nanoseconds, in this machine's byte order.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const FILE_HEADER_BYTES: u64 = 24;
const RECORD_HEADER_BYTES: u64 = 16;

/// Where packets are kept, and in how many files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// The file; with a limit, what the names of the files are made from.
    pub path: PathBuf,
    /// Bytes after which the next file begins.
    pub most_bytes: Option<u64>,
    /// Time of the capture after which the next file begins.
    pub most_time: Option<Duration>,
    /// Files that are kept; the oldest are deleted. All, where there is no number.
    pub most_files: Option<usize>,
}

impl Keeping {
    const fn rotates(&self) -> bool {
        self.most_bytes.is_some() || self.most_time.is_some()
    }

    /// Returns the name of a file that begins at this time: `trace_00001_20151231235959.pcap` for
    /// `trace.pcap`, as dumpcap has it.
    fn name(&self, number: u64, begins: Timestamp) -> PathBuf {
        if !self.rotates() {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        let digits: String =
            begins.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        name.push(format!("_{number:05}_{digits}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }
}

/// A source whose packets are kept.
pub struct Kept<S> {
    source: S,
    keeper: Keeper,
}

impl<S: FrameSource> Kept<S> {
    /// Keeps the packets of `source`, none of which is longer than `snaplen`.
    ///
    /// # Errors
    ///
    /// [`Error::Keep`] when files cannot be made there.
    pub fn new(source: S, keeping: Keeping, snaplen: u32) -> Result<Self, Error> {
        let probe = if keeping.rotates() {
            // Leaves nothing behind: the names are not known before the first packet.
            let folder = keeping.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            std::fs::read_dir(folder.unwrap_or(Path::new("."))).map(drop)
        } else {
            File::options().append(true).create(true).open(&keeping.path).map(drop)
        };
        let path = keeping.path.clone();
        probe.map_err(|source| Error::Keep { path, packets: 0, source })?;
        Ok(Self { source, keeper: Keeper::new(keeping, snaplen) })
    }
}

impl<S: FrameSource> FrameSource for Kept<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let filled = self.source.fill(batch)?;
        for frame in batch.frames(0..batch.len()) {
            self.keeper.keep(&frame);
        }
        if !filled || batch.len() < FEW {
            self.keeper.flush();
        }
        Ok(filled)
    }

    fn summary(&self) -> SourceSummary {
        self.source.summary()
    }

    fn summaries(&self) -> Vec<SourceSummary> {
        self.source.summaries()
    }

    fn take_problems(&mut self) -> Vec<Error> {
        let mut problems = self.source.take_problems();
        problems.extend(self.keeper.problem.take());
        problems
    }

    fn take_events(&mut self) -> Vec<String> {
        let mut events = self.source.take_events();
        events.extend(self.keeper.event.take());
        events
    }

    fn filter(&self) -> Option<FilterSummary> {
        self.source.filter()
    }
}

/// Who writes the files.
struct Keeper {
    keeping: Keeping,
    snaplen: u32,
    current: Option<Current>,
    /// The files that are complete, the oldest first.
    complete: VecDeque<PathBuf>,
    files: u64,
    packets: u64,
    /// Why nothing more is kept, for the report, and for now.
    problem: Option<Error>,
    event: Option<String>,
    failed: bool,
}

/// The file that is being written.
struct Current {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    begins: Timestamp,
}

impl Keeper {
    fn new(keeping: Keeping, snaplen: u32) -> Self {
        Self {
            keeping,
            snaplen,
            current: None,
            complete: VecDeque::new(),
            files: 0,
            packets: 0,
            problem: None,
            event: None,
            failed: false,
        }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        if self.failed {
            return;
        }
        match self.write(frame) {
            Ok(()) => self.packets += 1,
            Err(source) => self.give_up(source),
        }
    }

    fn give_up(&mut self, source: io::Error) {
        let current = self.current.take().map(|current| current.path);
        let path = current.unwrap_or_else(|| self.keeping.path.clone());
        self.event = Some(format!("{}: {source}; the capture goes on", path.display()));
        self.problem = Some(Error::Keep { path, packets: self.packets, source });
        self.failed = true;
    }

    fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let record = frame.bytes.len() as u64 + RECORD_HEADER_BYTES;
        if self.current.as_ref().is_some_and(|current| self.is_full(current, record, frame.ts))
            && let Some(mut current) = self.current.take()
        {
            current.file.flush()?;
            self.complete.push_back(current.path);
            self.forget_the_oldest()?;
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => self.current.insert(Current::create(
                {
                    self.files += 1;
                    self.keeping.name(self.files, frame.ts)
                },
                frame,
                self.snaplen,
            )?),
        };
        current.bytes += record;
        let seconds = frame.ts.0.div_euclid(NANOS_PER_SEC);
        let words = [
            u32::try_from(seconds).unwrap_or_default(),
            u32::try_from(frame.ts.0.rem_euclid(NANOS_PER_SEC)).unwrap_or_default(),
            u32::try_from(frame.bytes.len()).unwrap_or_default(),
            frame.original_len,
        ];
        for word in words {
            current.file.write_all(&word.to_ne_bytes())?;
        }
        current.file.write_all(frame.bytes)
    }

    fn is_full(&self, current: &Current, record: u64, now: Timestamp) -> bool {
        let time = |most: Duration| {
            let passed = u64::try_from(now.nanos_since(current.begins)).unwrap_or_default();
            Duration::from_nanos(passed) >= most
        };
        self.keeping.most_bytes.is_some_and(|most| current.bytes + record > most)
            || self.keeping.most_time.is_some_and(time)
    }

    fn forget_the_oldest(&mut self) -> io::Result<()> {
        let Some(most) = self.keeping.most_files else { return Ok(()) };
        // One more is about to begin.
        while self.complete.len() >= most.max(1)
            && let Some(oldest) = self.complete.pop_front()
        {
            std::fs::remove_file(oldest)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        let flushed = self.current.as_mut().map_or(Ok(()), |current| current.file.flush());
        if let Err(source) = flushed {
            self.give_up(source);
        }
    }
}

impl Current {
    fn create(path: PathBuf, first: &Frame<'_>, snaplen: u32) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path)?);
        file.write_all(&MAGIC.to_ne_bytes())?;
        for half in VERSION {
            file.write_all(&half.to_ne_bytes())?;
        }
        // Two words of the time zone, which nobody uses.
        for word in [0, 0, snaplen, u32::from(first.link.0)] {
            file.write_all(&word.to_ne_bytes())?;
        }
        Ok(Self { path, file, bytes: FILE_HEADER_BYTES, begins: first.ts })
    }
}
