//! Where frames come from.
//!
//! Knows the capture file formats. Does not: know what is inside a frame.

use std::path::Path;

use crate::frame::Batch;
use crate::time::CaptureClock;

mod bytes;
mod decompress;
mod error;
pub mod file;
mod input;
mod interface;
mod open;
mod pcap;
mod pcapng;

pub use error::{Damage, Error};
use file::FileSource;

/// Opens a capture file, or standard input when `path` is `-`, whatever its format.
///
/// `timeline` is where the frames of the file join those read before:
/// [`Timeline::default()`] for the first file, [`FileSource::timeline`] of the previous one after.
///
/// # Errors
///
/// [`Error`] when the file cannot be opened or does not begin as a capture does.
pub fn open(path: &Path, timeline: Timeline) -> Result<FileSource, Error> {
    FileSource::open(path, timeline)
}

/// Where a time line of one or several files stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeline {
    /// The number of the next frame.
    pub next_number: u64,
    /// The tracker's clock, as the last frame left it.
    pub clock: CaptureClock,
}

impl Default for Timeline {
    /// Returns the beginning: frame 1, a clock that was never set.
    fn default() -> Self {
        Self { next_number: 1, clock: CaptureClock::default() }
    }
}

/// A stream of frames in capture order.
pub trait FrameSource {
    /// Refills `batch` with the next frames, and returns whether there were any.
    ///
    /// After an error the source is at its end: frames read before the error have been delivered
    /// by earlier calls.
    ///
    /// # Errors
    ///
    /// [`Error`] when the input cannot be read or is damaged at this point.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error>;

    /// Returns the number of the next frame.
    fn next_number(&self) -> u64;

    /// Returns what is known of the input so far: formats, interfaces and drop counts.
    fn summary(&self) -> SourceSummary;
}

/// What a source says of its input; complete once the last frame has been read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
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
}

/// An interface as the capture describes it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
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
