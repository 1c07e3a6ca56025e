//! Why an input cannot be read.

use std::io;
use std::path::PathBuf;

use super::libpcap::WITHOUT_LIBPCAP;

/// Why an input cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    #[error(
        "{name}: not a capture file (it begins with {magic:02x?}); what Wireshark opens, \
         editcap -F pcapng converts"
    )]
    NotACapture {
        /// The input.
        name: String,
        /// The first bytes, up to four.
        magic: Vec<u8>,
    },
    /// The input is a capture of a format that this program does not read: there is no well-kept
    /// crate for any. The one for snoop (1.0.2, of 2024) refuses packets above 4096 bytes; for
    /// Network Monitor and iptrace there is none.
    #[error("{name}: a capture in the format of {format}: convert it with editcap -F pcapng")]
    ForeignFormat {
        /// The input.
        name: String,
        /// The format's name.
        format: &'static str,
    },
    /// The input is compressed in a way that this build does not read.
    #[error("{name}: compressed with {codec}, which this build does not read: decompress it first")]
    NotBuiltIn {
        /// The input.
        name: String,
        /// The program that compresses so.
        codec: &'static str,
    },
    /// A compressed file cannot be followed: what is written last comes out late or never.
    #[error("{name}: compressed with {codec}: --follow needs a plain capture file")]
    FollowCompressed {
        /// The input.
        name: String,
        /// The program that compresses so.
        codec: &'static str,
    },
    /// The compressed data end early or are damaged.
    #[error(
        "{name}: cannot decompress ({codec}) after frame {frames}, at uncompressed byte {offset}"
    )]
    Compression {
        /// The input.
        name: String,
        /// The program that compresses so.
        codec: &'static str,
        /// The frames read before.
        frames: u64,
        /// How many bytes could be decompressed.
        offset: u64,
        /// The decompressor's reason.
        source: io::Error,
    },
    /// The input ends inside a header, block or record.
    #[error(
        "{name}: cut short in frame {frame}, at byte {offset}: {needed} bytes needed, {present} there"
    )]
    Truncated {
        /// The input.
        name: String,
        /// The frame that could not be read whole, counted from 1 in this input.
        frame: u64,
        /// Where the incomplete element begins, in bytes.
        offset: u64,
        /// How many bytes it should have.
        needed: u64,
        /// How many are there.
        present: u64,
    },
    /// The filter means nothing behind a link header of the capture.
    #[error("frames of link type {link} are left out, the filter cannot judge them: {reason}")]
    Filter {
        /// The link type, a LINKTYPE_ value.
        link: u16,
        /// What libpcap says.
        reason: String,
    },
    /// libpcap is not installed.
    #[error("capturing needs libpcap, {WITHOUT_LIBPCAP}")]
    NoLibpcap,
    /// The interfaces cannot be listed.
    #[error("cannot list the interfaces: {reason}")]
    Devices {
        /// What libpcap says.
        reason: String,
    },
    /// The permission to capture is missing.
    #[error(
        "{interface}: not permitted to capture: run as root, or give the program the capability: \
         setcap cap_net_raw,cap_net_admin=eip PROGRAM ({reason})"
    )]
    NotPermitted {
        /// The interface.
        interface: String,
        /// What libpcap says.
        reason: String,
    },
    /// The interface is another one now, and the permission to capture has been given up.
    #[error(
        "{interface}: came back as another interface, on which the capture cannot go on without \
         the right to make a new one; --keep-privileges keeps it"
    )]
    NotPermittedAgain {
        /// The interface.
        interface: String,
        /// Why the capture that there is cannot go on.
        source: io::Error,
    },
    /// There is no such interface.
    #[error("{interface}: no such interface; -D lists those that are there ({reason})")]
    NoSuchInterface {
        /// The interface.
        interface: String,
        /// What libpcap says.
        reason: String,
    },
    /// The interface is down.
    #[error("{interface}: the interface is down: ip link set {interface} up")]
    NotUp {
        /// The interface.
        interface: String,
    },
    /// The capture cannot begin, for another reason.
    #[error("{interface}: cannot capture: {reason}")]
    Capture {
        /// The interface.
        interface: String,
        /// What libpcap says.
        reason: String,
    },
    /// The filter of a capture is none.
    #[error("filter {expression}: {reason}")]
    LiveFilter {
        /// As given.
        expression: String,
        /// What libpcap says.
        reason: String,
    },
    /// Several captures cannot share the packets of an interface.
    #[error("--fanout: the kernel does not share packets among captures (PACKET_FANOUT)")]
    Fanout {
        /// The system's reason.
        source: io::Error,
    },
    /// The interface was down or gone for a while.
    #[error(
        "{interface}: was down or gone ({count} time{}); what passed meanwhile was not seen",
        if *count == 1 { "" } else { "s" }
    )]
    Outages {
        /// The interface.
        interface: String,
        /// How often.
        count: u64,
    },
    /// No packets can be kept.
    #[error("{}: cannot keep packets there", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Packets were not kept.
    #[error("{}: not all packets are kept, {missing} at least are missing", path.display())]
    NotKept {
        /// The file that was being written when the first could not be.
        path: PathBuf,
        /// How many.
        missing: u64,
        /// The system's first reason.
        source: io::Error,
    },
    /// A header, block or record contradicts itself.
    #[error("{name}: damaged at byte {offset}, frame {frame}: {problem}")]
    Damaged {
        /// The input.
        name: String,
        /// The frame that could not be read, counted from 1 in this input.
        frame: u64,
        /// Where the damaged element begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: Damage,
    },
}

/// What is wrong with an element of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// More interfaces than any capture has.
    #[error("more than {0} interfaces")]
    InterfaceCount(usize),
    /// The checksum of a piece of a capture is another one.
    #[error("its bytes are not those that were written")]
    Changed,
    /// A format version that is not known.
    #[error("version {0}.{1}")]
    Version(u16, u16),
}
