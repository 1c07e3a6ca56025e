//! Several capture files as one time line: rotated files in any order, and files of several
//! interfaces or taps that overlap.
//!
//! The next frame is the earliest among the next frames of all files; of equal ones that of the
//! file named first. Each file keeps its own order: frames that it has in disorder stay so, and are
//! counted like those of a single file. Where the clock of a file is known to be ahead, that is taken
//! off its times. A file is opened when the time line comes to its first
//! frame, and read a block ahead, so that memory follows the files that overlap.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::FileSource;
use super::{Error, FrameSource, SetBack, SourceSummary, Timeline};
use crate::frame::{Batch, Frame};
use crate::time::{CaptureClock, Timestamp};

/// The most files that are read at one time; more wait until one has ended, and their frames then
/// come late. 256 take 64 MiB, and 256 MiB more where all are compressed.
const MAX_OPEN: usize = 256;
/// When a batch of frames from several files is handed over.
const BATCH_BYTES: usize = 256 << 10;
/// The same in frames.
const BATCH_FRAMES: usize = 8192;

/// The frames of several files, in the order of their times.
pub struct Merged {
    /// The files whose time has not come, the next one last.
    waiting: Vec<Waiting>,
    /// The files being read.
    open: Vec<Cursor>,
    /// What is known of each file, in the order given.
    summaries: Vec<SourceSummary>,
    /// What kept files from being read to their ends.
    problems: Vec<Error>,
    clock: CaptureClock,
    /// What is taken off the times of files.
    set_back: BTreeMap<PathBuf, SetBack>,
    /// The file read from last.
    current: usize,
}

/// A file whose first frame is known.
struct Waiting {
    first_ts: Timestamp,
    index: usize,
    source: Unopened,
}

/// What is left of a file after a look at its first frame.
enum Unopened {
    /// A file, which is closed until its time has come.
    File(PathBuf),
    /// A stream, which cannot be read twice.
    Stream(Box<Cursor>),
}

/// A file being read, and the frames read ahead.
struct Cursor {
    index: usize,
    source: FileSource,
    batch: Batch,
    /// The next frame in the batch.
    position: usize,
    /// What is taken off its times.
    set_back: Option<SetBack>,
}

impl Cursor {
    fn open(index: usize, path: &Path, set_back: Option<SetBack>) -> Result<Self, Error> {
        let source = FileSource::open_beside_others(path, Timeline::of_file(index))?;
        Ok(Self::new(index, source, set_back))
    }

    /// Opens a file while no other is being read, as of rotated files one follows upon the other.
    fn open_alone(index: usize, path: &Path, set_back: Option<SetBack>) -> Result<Self, Error> {
        let source = FileSource::open(path, Timeline::of_file(index))?;
        Ok(Self::new(index, source, set_back))
    }

    fn new(index: usize, source: FileSource, set_back: Option<SetBack>) -> Self {
        Self { index, source, batch: Batch::default(), position: 0, set_back }
    }

    fn next(&self) -> Option<Frame<'_>> {
        let frame = self.batch.frame(self.position)?;
        let ahead_ns = self.set_back.map_or(0, |found| found.ahead_ns);
        Some(Frame { ts: frame.ts.plus_nanos(-ahead_ns), ..frame })
    }

    fn summary(&self) -> SourceSummary {
        SourceSummary { set_back: self.set_back, ..self.source.summary() }
    }

    /// Reads the next block when all frames are used up; returns whether there is a frame.
    fn refill(&mut self) -> Result<bool, Error> {
        if self.position < self.batch.len() {
            return Ok(true);
        }
        self.position = 0;
        self.source.fill(&mut self.batch)
    }
}

impl Merged {
    /// Looks at all files; those that cannot be opened are left out, and the reasons returned.
    pub fn open(paths: &[PathBuf]) -> (Self, Vec<Error>) {
        Self::open_set_back(paths, BTreeMap::new())
    }

    /// Looks at all files, and sets the clocks of some back.
    pub fn open_set_back(
        paths: &[PathBuf],
        set_back: BTreeMap<PathBuf, SetBack>,
    ) -> (Self, Vec<Error>) {
        let mut merged = Self {
            waiting: Vec::new(),
            open: Vec::new(),
            summaries: Vec::new(),
            problems: Vec::new(),
            clock: CaptureClock::default(),
            set_back,
            current: 0,
        };
        let refused = paths.iter().filter_map(|path| merged.add(path).err()).collect();
        merged.waiting.sort_by_key(|file| Reverse((file.first_ts, file.index)));
        (merged, refused)
    }

    /// Returns whether not a single file could be opened.
    pub fn is_empty(&self) -> bool {
        self.summaries.is_empty()
    }

    /// Reads the first block of a file, to know when its time comes.
    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let index = self.summaries.len();
        let mut cursor = Cursor::open(index, path, self.set_back.get(path).copied())?;
        let filled = cursor.refill();
        let summary = cursor.summary();
        let can_be_read_again = summary.file_len.is_some();
        self.summaries.push(summary);
        let first_ts = cursor.next().map(|frame| frame.ts);
        if let Err(problem) = filled {
            self.problems.push(problem);
        }
        if let Some(first_ts) = first_ts {
            let source = if can_be_read_again {
                Unopened::File(path.to_owned())
            } else {
                Unopened::Stream(Box::new(cursor))
            };
            self.waiting.push(Waiting { first_ts, index, source });
        }
        Ok(())
    }

    /// Opens the files whose time has come.
    fn open_due(&mut self) {
        while self.open.len() < MAX_OPEN
            && let Some(next) = self.waiting.last()
            && self.earliest().is_none_or(|(ts, ..)| next.first_ts <= ts)
            && let Some(Waiting { index, source, .. }) = self.waiting.pop()
        {
            let cursor = match source {
                Unopened::Stream(cursor) => Ok(*cursor),
                Unopened::File(path) => {
                    let open = if self.open.is_empty() { Cursor::open_alone } else { Cursor::open };
                    open(index, &path, self.set_back.get(&path).copied())
                }
            };
            match cursor {
                Ok(cursor) => {
                    self.open.push(cursor);
                    self.refill(self.open.len() - 1);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// Sees to it that an open file has a next frame, or closes it.
    fn refill(&mut self, at: usize) {
        let Some(cursor) = self.open.get_mut(at) else { return };
        let has_frame = cursor.refill().unwrap_or_else(|problem| {
            self.problems.push(problem);
            false
        });
        if let Some(summary) = self.summaries.get_mut(cursor.index) {
            *summary = cursor.summary();
        }
        if !has_frame {
            self.open.swap_remove(at);
        }
    }

    /// Returns time, file and place in `open` of the earliest next frame.
    fn earliest(&self) -> Option<(Timestamp, usize, usize)> {
        let heads = self.open.iter().enumerate();
        heads.filter_map(|(at, file)| Some((file.next()?.ts, file.index, at))).min()
    }

    /// Hands a whole block over without copying it, when no other file has a frame to come between.
    fn hand_over(&mut self, at: usize, batch: &mut Batch) -> bool {
        let next = self.waiting.last().map(|file| file.first_ts);
        let is_only = self.open.len() == 1;
        let Some(cursor) = self.open.get_mut(at).filter(|_| is_only) else { return false };
        let latest = cursor.batch.latest();
        let is_alone = next.is_none_or(|next| latest.is_some_and(|latest| latest < next));
        if cursor.position > 0 || !is_alone || cursor.set_back.is_some() {
            return false;
        }
        std::mem::swap(batch, &mut cursor.batch);
        cursor.batch.clear(0);
        batch.set_clock(&mut self.clock);
        true
    }

    /// Copies frames in the order of their times.
    fn copy(&mut self, batch: &mut Batch) {
        batch.buffer.clear();
        while batch.len() < BATCH_FRAMES && batch.buffer.len() < BATCH_BYTES {
            self.open_due();
            let Some((_, index, at)) = self.earliest() else { return };
            self.current = index;
            let Some(cursor) = self.open.get_mut(at) else { return };
            if let Some(frame) = cursor.next() {
                batch.push_copy(&frame, &mut self.clock);
            }
            cursor.position += 1;
            if cursor.position >= cursor.batch.len() {
                self.refill(at);
            }
        }
    }
}

impl FrameSource for Merged {
    /// Never fails: what is wrong with one file keeps no other from being read.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear(0);
        self.open_due();
        let Some((_, index, at)) = self.earliest() else { return Ok(false) };
        self.current = index;
        if self.hand_over(at, batch) {
            self.refill(at);
        } else {
            self.copy(batch);
        }
        Ok(!batch.is_empty())
    }

    /// Describes the file read from last, with the bytes of all.
    fn summary(&self) -> SourceSummary {
        let current = self.summaries.get(self.current).cloned().unwrap_or_default();
        let file_len = self.summaries.iter().map(|file| file.file_len).sum();
        let bytes_read = self.summaries.iter().map(|file| file.bytes_read).sum();
        SourceSummary { bytes_read, file_len, ..current }
    }

    fn summaries(&self) -> Vec<SourceSummary> {
        self.summaries.clone()
    }

    fn take_problems(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.problems)
    }
}
