//! Where frames come from.
//!
//! Knows the capture file formats. Does not: know what is inside a frame.

use std::io;
use std::path::PathBuf;

use crate::frame::Batch;

pub mod file;

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

    /// Returns what is known of the input so far: formats, interfaces and drop counts.
    fn summary(&self) -> SourceSummary;
}

/// What a source says of its input; complete once the last frame has been read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SourceSummary {
    /// The name of the input as given: a path, or `-`.
    pub name: String,
    /// `pcap` or `pcapng`, with what is special about it, such as `pcap, nanoseconds, big-endian`.
    pub format: String,
    /// Bytes of the file read so far.
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

/// Why an input cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("{}: cannot open", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading failed.
    #[error("{name}: cannot read at byte {offset}")]
    Read {
        /// The input.
        name: String,
        /// Where in the (uncompressed) input, in bytes.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// The input is empty.
    #[error("{name}: empty file, not a capture")]
    Empty {
        /// The input.
        name: String,
    },
    /// The first bytes are of no known capture format.
    #[error("{name}: not a capture file (it begins with {magic:02x?})")]
    NotACapture {
        /// The input.
        name: String,
        /// The first bytes, up to four.
        magic: Vec<u8>,
    },
    /// The input ends inside a header, block or record.
    #[error(
        "{name}: cut short in frame {frame}, at byte {offset}: {needed} bytes needed, {present} there"
    )]
    Truncated {
        /// The input.
        name: String,
        /// The frame that could not be read whole, counted from 1.
        frame: u64,
        /// Where the incomplete element begins, in bytes.
        offset: u64,
        /// How many bytes it should have.
        needed: u64,
        /// How many are there.
        present: u64,
    },
    /// A header, block or record contradicts itself.
    #[error("{name}: damaged at byte {offset}, frame {frame}: {problem}")]
    Damaged {
        /// The input.
        name: String,
        /// The frame that could not be read, counted from 1.
        frame: u64,
        /// Where the damaged element begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: Damage,
    },
}

/// What is wrong with an element of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// A record claims more bytes than any capture has.
    #[error("a record of {0} bytes")]
    RecordLength(u32),
    /// A pcapng block's length is below its minimum or no multiple of four.
    #[error("a block of {0} bytes")]
    BlockLength(u32),
    /// The length at the end of a pcapng block differs from the one at its start.
    #[error("a block of {0} bytes that ends as one of {1}")]
    BlockTrailer(u32, u32),
    /// A packet block's captured length exceeds its block.
    #[error("a packet of {0} captured bytes in a block of {1}")]
    PacketLength(u32, u32),
    /// A packet block names an interface that was not described.
    #[error("a packet of interface {0}, which the file does not describe")]
    UnknownInterface(u32),
    /// A section header without a byte-order magic.
    #[error("a section header with byte-order magic {0:#010x}")]
    ByteOrderMagic(u32),
    /// A format version that is not known.
    #[error("version {0}.{1}")]
    Version(u16, u16),
}
