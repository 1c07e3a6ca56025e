//! A capture file as it is written: blocks of pcapng.
//!
//! After draft-ietf-opsawg-pcapng; little-endian, one section, times in nanoseconds.
//!
//! Does not: know what is in a packet.

use std::io::{self, Write};

use crate::source::block::{Block, u32_len};
use crate::time::Timestamp;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Version 1.0: major and minor number, both of 16 bits.
const VERSION: u32 = 1;
/// The length of the section is not told.
const UNKNOWN_LEN: u64 = u64::MAX;

const COMMENT: u16 = 1;
const SHB_USER_APPLICATION: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;
/// Nanoseconds: ten to the power of minus nine.
const NANOSECONDS: u8 = 9;

/// An interface as it is described.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Described {
    /// A LINKTYPE_ value.
    pub(super) link_type: u16,
    /// Its name.
    pub(super) name: Option<String>,
    /// What it is.
    pub(super) description: String,
}

/// Packets that were lost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Drops {
    /// By the interface.
    pub(super) by_interface: Option<u64>,
    /// By the capturing host.
    pub(super) by_host: Option<u64>,
}

/// A packet as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet<'a> {
    /// The number of its interface, from 0.
    pub(super) interface: u32,
    pub(super) ts: Timestamp,
    /// Bytes on the wire.
    pub(super) original_len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) comments: &'a [String],
}

/// Writes the header of the only section.
pub(super) fn write_section(comment: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut body = Block::new(SECTION_HEADER);
    body.u32(BYTE_ORDER_MAGIC).u32(VERSION).u64(UNKNOWN_LEN);
    let program = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    body.option(COMMENT, comment.as_bytes()).option(SHB_USER_APPLICATION, program.as_bytes());
    body.end(out)
}

/// Describes the next interface.
pub(super) fn write_interface(interface: &Described, out: &mut dyn Write) -> io::Result<()> {
    let mut body = Block::new(INTERFACE_DESCRIPTION);
    body.u32(u32::from(interface.link_type)).u32(0);
    if let Some(name) = &interface.name {
        body.option(IF_NAME, name.as_bytes());
    }
    body.option(IF_DESCRIPTION, interface.description.as_bytes());
    body.option(IF_TSRESOL, &[NANOSECONDS]);
    body.end(out)
}

/// Writes a packet.
pub(super) fn write_packet(packet: &Packet<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut body = Block::new(ENHANCED_PACKET);
    body.u32(packet.interface).time(packet.ts);
    body.u32(u32_len(packet.bytes)).u32(packet.original_len).padded(packet.bytes);
    for comment in packet.comments {
        body.option(COMMENT, comment.as_bytes());
    }
    body.end(out)
}

/// Writes what an interface lost up to a time.
pub(super) fn write_statistics(
    interface: u32,
    until: Timestamp,
    drops: Drops,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut body = Block::new(INTERFACE_STATISTICS);
    body.u32(interface).time(until);
    for (code, count) in [(ISB_IFDROP, drops.by_interface), (ISB_OSDROP, drops.by_host)] {
        if let Some(count) = count {
            body.option(code, &count.to_le_bytes());
        }
    }
    body.end(out)
}
