//! Where frames come from.
//!
//! Knows the capture file formats. Does not: know what is inside a frame.

use std::path::Path;

use crate::frame::{Batch, Place};
use crate::time::CaptureClock;

pub mod block;
mod bytes;
mod decompress;
pub mod digest;
mod error;
#[cfg(unix)]
pub mod fanout;
pub mod file;
pub mod filter;
mod follow;
mod input;
mod interface;
pub mod interrupt;
pub mod keep;
#[cfg(unix)]
mod libpcap;
#[cfg(not(unix))]
#[path = "libpcap/elsewhere.rs"]
mod libpcap;
#[cfg(unix)]
mod link;
#[cfg(unix)]
pub mod live;
pub mod merged;
mod open;
mod pcap;
mod pcapng;
pub mod piece;
pub mod rules;

pub use error::{Damage, Error};
use file::FileSource;
#[cfg(unix)]
pub use libpcap::Device;

/// Opens a capture file, or standard input when `path` is `-`, whatever its format.
///
/// `timeline` is where its frames begin: [`Timeline::default()`] for a file alone.
///
/// # Errors
///
/// [`Error`] when the file cannot be opened or does not begin as a capture does.
pub fn open(path: &Path, timeline: Timeline) -> Result<FileSource, Error> {
    FileSource::open(path, timeline)
}

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        (**self).fill(batch)
    }

    fn summary(&self) -> SourceSummary {
        (**self).summary()
    }

    fn summaries(&self) -> Vec<SourceSummary> {
        (**self).summaries()
    }

    fn take_problems(&mut self) -> Vec<Error> {
        (**self).take_problems()
    }

    fn take_events(&mut self) -> Vec<String> {
        (**self).take_events()
    }

    fn filter(&self) -> Option<FilterSummary> {
        (**self).filter()
    }
}

/// Where the frames of a file begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Timeline {
    /// The number of the next frame.
    pub next_number: u64,
    /// The tracker's clock, as the frame before left it.
    pub clock: CaptureClock,
}

impl Default for Timeline {
    /// Returns the beginning: frame 1, a clock that was never set.
    fn default() -> Self {
        Self { next_number: 1, clock: CaptureClock::default() }
    }
}

impl Timeline {
    /// Returns the beginning of a file among others, in the order given.
    pub fn of_file(file: usize) -> Self {
        let first = Place { file, frame: 1 };
        Self { next_number: first.number(), ..Self::default() }
    }
}

/// A stream of frames in capture order.
pub trait FrameSource {
    /// Refills `batch` with the next frames, and returns whether there may be more.
    ///
    /// A batch without frames is not the end of an interface, on which nothing happens at times.
    ///
    /// After an error the source is at its end: frames read before the error have been delivered
    /// by earlier calls.
    ///
    /// # Errors
    ///
    /// [`Error`] when the input cannot be read or is damaged at this point.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error>;

    /// Returns what is known of the input so far: formats, interfaces and drop counts.
    fn summary(&self) -> SourceSummary;

    /// Returns the same of each file, where there are several.
    fn summaries(&self) -> Vec<SourceSummary> {
        vec![self.summary()]
    }

    /// Takes what kept one of several files from being read to its end.
    fn take_problems(&mut self) -> Vec<Error> {
        Vec::new()
    }

    /// Takes what happened to the input since this was last asked for, in sentences.
    fn take_events(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns what a filter left out, where there is one.
    fn filter(&self) -> Option<FilterSummary> {
        None
    }
}

/// What a source says of its input; complete once the last frame has been read.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct SourceSummary {
    /// The name of the input as given: a path, or `-`.
    pub name: String,
    /// `pcap` or `pcapng`, with what is special about it, such as
    /// `pcap, nanoseconds, big-endian, gzip`.
    pub format: String,
    /// Bytes of the file, compressed as it may be, read so far.
    pub bytes_read: u64,
    /// The size of the file, where it has one.
    pub file_len: Option<u64>,
    /// The interfaces of the capture, in order of appearance; one for classic pcap.
    pub interfaces: Vec<Interface>,
    /// What was taken off all its times, where its clock is known to be ahead of that of another file.
    pub set_back: Option<SetBack>,
}

/// By how much the clock of a file is ahead of that of another, and how that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SetBack {
    /// The difference in nanoseconds; negative where the clock is behind.
    pub ahead_ns: i64,
    /// Connections that both files hold, by which it was measured.
    pub flows: u64,
}

/// What a filter did.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FilterSummary {
    /// The expression, in the words of the user.
    pub expression: String,
    /// Frames that it did not let pass; none where the kernel filtered, which does not count them.
    pub left_out: Option<u64>,
}

/// An interface as the capture describes it.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Interface {
    /// Its name, where the file has one. Text from the capture: data, to be escaped.
    pub name: Option<String>,
    /// Its link type, a LINKTYPE_ value.
    pub link_type: u16,
    /// Bytes captured of each packet at most; 0 when unlimited.
    pub snaplen: u32,
    /// Packets that the interface dropped, if the capture says so (`isb_ifdrop`).
    pub dropped_by_interface: Option<u64>,
    /// Packets that the capturing host dropped, if the capture says so (`isb_osdrop`, drop counts).
    pub dropped_by_host: Option<u64>,
}
