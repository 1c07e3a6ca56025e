//! Keeps the packets of a source in capture files, as they pass.
//!
//! What cannot be written is said and not kept; the packets pass all the same. Files that rotate are
//! tried again later, when the disk may have room.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, FilterSummary, FrameSource, SourceSummary};
use crate::frame::{Batch, Frame, LinkType};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Frames of a batch below which there is time to bring all of them into the file.
const FEW: usize = 256;
/// How long nothing is kept after a file could not be written, in time of the capture.
const PAUSE: Duration = Duration::from_mins(1);
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
        let path = keeping.path.clone();
        let mut keeper = Keeper::new(keeping, snaplen);
        let begun = if keeper.keeping.rotates() {
            // Leaves nothing behind: the names are not known before the first packet.
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            std::fs::read_dir(folder.unwrap_or(Path::new("."))).map(drop)
        } else {
            // A capture without packets is a file too.
            let link = source.summary().interfaces.first().map(|interface| interface.link_type);
            keeper.begin(LinkType(link.unwrap_or_default()), Timestamp(0)).map(drop)
        };
        begun.map_err(|source| Error::Keep { path, source })?;
        Ok(Self { source, keeper })
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
        problems.extend(self.keeper.take_problem());
        problems
    }

    fn take_events(&mut self) -> Vec<String> {
        let mut events = self.source.take_events();
        events.append(&mut self.keeper.events);
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
    /// The first file that could not be written, and why.
    problem: Option<(PathBuf, io::Error)>,
    /// Packets that were not kept.
    missing: u64,
    /// The time of the last packet.
    now: Timestamp,
    /// Until when nothing is kept; none where all is well.
    pause: Option<Timestamp>,
    events: Vec<String>,
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
            problem: None,
            missing: 0,
            now: Timestamp(0),
            pause: None,
            events: Vec::new(),
        }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        self.now = frame.ts;
        if self.pause.is_some_and(|until| frame.ts < until) {
            self.missing += 1;
            return;
        }
        match self.write(frame) {
            Ok(()) if self.pause.take().is_some() => {
                let path = self.current.as_ref().map(|current| &current.path);
                let path = path.unwrap_or(&self.keeping.path).display();
                self.events.push(format!("{path}: packets are kept again"));
            }
            Ok(()) => {}
            Err(source) => self.give_up(source),
        }
    }

    /// Keeps nothing for a while; for ever, where there is one file.
    fn give_up(&mut self, source: io::Error) {
        let current = self.current.take().map(|current| current.path);
        let path = current.clone().unwrap_or_else(|| self.keeping.path.clone());
        if let Some(cut) = current.filter(|_| self.keeping.rotates()) {
            // What cannot be deleted now is no worse than what cannot be written.
            let _ = if is_empty(&cut) { std::fs::remove_file(cut) } else { self.remember(cut) };
        }
        if self.pause.is_none() {
            self.events.push(format!("{}: {source}; the capture goes on", path.display()));
        }
        self.missing += 1;
        let pause = i64::try_from(PAUSE.as_nanos()).unwrap_or(i64::MAX);
        let later = self.now.plus_nanos(pause);
        self.pause = Some(if self.keeping.rotates() { later } else { Timestamp(i64::MAX) });
        self.problem.get_or_insert((path, source));
    }

    fn take_problem(&mut self) -> Option<Error> {
        let (path, source) = self.problem.take()?;
        Some(Error::NotKept { path, missing: self.missing, source })
    }

    fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let record = frame.bytes.len() as u64 + RECORD_HEADER_BYTES;
        if self.current.as_ref().is_some_and(|current| self.is_full(current, record, frame.ts))
            && let Some(mut current) = self.current.take()
        {
            current.file.flush()?;
            self.remember(current.path)?;
        }
        let current = match &mut self.current {
            Some(current) => current,
            None => self.begin(frame.link, frame.ts)?,
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

    /// Begins the next file.
    fn begin(&mut self, link: LinkType, begins: Timestamp) -> io::Result<&mut Current> {
        self.files += 1;
        let path = self.keeping.name(self.files, begins);
        Ok(self.current.insert(Current::create(path, link, begins, self.snaplen)?))
    }

    /// Remembers a file that is complete, and deletes the oldest where that is one too many.
    fn remember(&mut self, path: PathBuf) -> io::Result<()> {
        let Some(most) = self.keeping.most_files else { return Ok(()) };
        self.complete.push_back(path);
        // One more is about to begin.
        while self.complete.len() >= most.max(1)
            && let Some(oldest) = self.complete.pop_front()
        {
            match std::fs::remove_file(oldest) {
                // Somebody has taken it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
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

/// Returns whether a file holds nothing.
fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

impl Current {
    fn create(path: PathBuf, link: LinkType, begins: Timestamp, snaplen: u32) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path)?);
        file.write_all(&MAGIC.to_ne_bytes())?;
        for half in VERSION {
            file.write_all(&half.to_ne_bytes())?;
        }
        // Two words of the time zone, which nobody uses.
        for word in [0, 0, snaplen, u32::from(link.0)] {
            file.write_all(&word.to_ne_bytes())?;
        }
        Ok(Self { path, file, bytes: FILE_HEADER_BYTES, begins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(keeper: &mut Keeper, seconds: i64) {
        let ts = Timestamp::from_parts(seconds, 0);
        let (link, bytes) = (LinkType::RAW, &[0x45][..]);
        keeper.keep(&Frame {
            number: 1,
            ts,
            clock: ts,
            link,
            interface: 0,
            original_len: 1,
            is_outbound: false,
            bytes,
        });
    }

    #[test]
    fn files_that_rotate_are_tried_again_and_what_is_missing_is_counted() {
        let folder = std::env::temp_dir().join(format!("twa-keep-{}", std::process::id()));
        let keeping = Keeping {
            path: folder.join("kept.pcap"),
            most_bytes: None,
            most_time: Some(Duration::from_secs(10)),
            most_files: Some(2),
        };
        let mut keeper = Keeper::new(keeping, 64);
        // There is no such folder yet.
        keep(&mut keeper, 100);
        keep(&mut keeper, 159);
        std::fs::create_dir(&folder).unwrap();
        keep(&mut keeper, 159);
        for seconds in [160, 161, 171, 181] {
            keep(&mut keeper, seconds);
        }
        keeper.flush();
        let files = std::fs::read_dir(&folder).unwrap().count();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files, 2);
        let [failed, again] = &keeper.events[..] else { panic!("{:?}", keeper.events) };
        assert!(failed.contains("the capture goes on"), "{failed}");
        assert!(again.contains("packets are kept again"), "{again}");
        let missing = keeper.take_problem();
        assert!(matches!(missing, Some(Error::NotKept { missing: 3, .. })), "{missing:?}");
    }
}
