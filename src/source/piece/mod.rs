//! Pieces of a capture: the frames of one share of its flows, without what they carry, in a pcapng
//! file that every tool can read.
//!
//! A piece is one section, with a comment that says what it is, and a second section without frames
//! that ends it. Beside what pcapng has for everybody it says, in options for everybody:
//!
//! * of each frame: its number in the capture (`epb_packetid`); where the tracker's clock differs
//!   from the time of the frame, a comment `clock 1431…` in nanoseconds; on one frame in 2048 of the
//!   capture, which every piece has, a comment `frames 2048 4096`: how many come before the
//!   last such frame, and before this one;
//! * of each interface: a comment `interface 3`, its position in the file that it is from;
//! * at the end: a comment `end`, with the XXH3 of all bytes before, and comments that hold, in
//!   hexadecimal digits, what whoever made the piece says of the whole capture.
//!
//! Does not: know what is in a frame, or what is said of the capture.

mod read;
mod write;

use std::path::PathBuf;

pub use read::{PieceFile, PieceSource};
pub use write::PieceWriter;

/// What the comment of a piece begins with.
const TITLE: &str = "tcp-window-audit piece ";
/// What the first comment at the end begins with.
const END: &str = "end ";

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Version 1.0: major and minor number, both of 16 bits.
const VERSION: u32 = 1;

const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_PACKETID: u16 = 5;
/// Nanoseconds: ten to the power of minus nine.
const NANOSECONDS: u8 = 9;
/// The value of `epb_flags` of what the capturing host sent.
const OUTBOUND: u32 = 0b10;

/// Why a file is not read as a piece.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// It cannot be read.
    #[error("{}: cannot read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is a capture of another kind, or none.
    #[error("{}: not a piece that tcp-window-audit split has made", .0.display())]
    NotAPiece(PathBuf),
    /// It was cut short or changed.
    #[error("{}: damaged: a piece of a capture that does not end as one", .0.display())]
    Damaged(PathBuf),
}
