//! A capture file as it is written: blocks of pcapng.
//!
//! After draft-ietf-opsawg-pcapng; little-endian, one section, times in nanoseconds.
//!
//! Does not: know what is in a packet.

use std::io::{self, Write};

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
/// Bytes of a block around its body: type, length, length again.
const BLOCK_OVERHEAD: u32 = 12;

const END_OF_OPTIONS: u16 = 0;
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

/// A block that is being put together.
struct Block {
    kind: u32,
    body: Vec<u8>,
    has_options: bool,
}

impl Block {
    const fn new(kind: u32) -> Self {
        Self { kind, body: Vec::new(), has_options: false }
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    /// Adds a time, its upper half first; there is none before 1970.
    fn time(&mut self, ts: Timestamp) -> &mut Self {
        let ticks = u64::try_from(ts.0).unwrap_or(0);
        let [upper, lower] = [ticks >> 32, ticks & u64::from(u32::MAX)];
        self.u32(u32::try_from(upper).unwrap_or(0)).u32(u32::try_from(lower).unwrap_or(0))
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an option; a value too long for one is cut.
    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.body.extend(code.to_le_bytes());
        self.body.extend(len.to_le_bytes());
        self.has_options = true;
        self.padded(value.get(..usize::from(len)).unwrap_or(value))
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.has_options {
            self.option(END_OF_OPTIONS, &[]);
        }
        let len = u32_len(&self.body).saturating_add(BLOCK_OVERHEAD).to_le_bytes();
        out.write_all(&self.kind.to_le_bytes())?;
        out.write_all(&len)?;
        out.write_all(&self.body)?;
        out.write_all(&len)
    }
}

fn u32_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
