//! A piece on its way to a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use twox_hash::XxHash3_128;

use super::{
    BYTE_ORDER_MAGIC, COMMENT, END, ENHANCED_PACKET, EPB_FLAGS, EPB_PACKETID, IF_NAME, IF_TSRESOL,
    INTERFACE_DESCRIPTION, NANOSECONDS, OUTBOUND, SECTION_HEADER, TITLE, VERSION,
};
use crate::frame::{Frame, LinkType, Tick};
use crate::source::block::{Block, u32_len};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes that one comment holds, in hexadecimal digits.
const COMMENT_BYTES: usize = 30_000;

/// Writes a piece; one that is not finished is none.
pub struct PieceWriter<W> {
    out: Hashed<W>,
    /// The interfaces described so far: file and position there, and what frames begin with.
    interfaces: BTreeMap<(u64, u16, LinkType), u32>,
    /// The block that is being put together.
    block: Block,
}

/// Something written, and the hash of all that was.
struct Hashed<W> {
    out: W,
    hash: XxHash3_128,
    /// What is still to be written.
    buffer: Vec<u8>,
}

impl<W: Write> PieceWriter<W> {
    /// Begins a piece; `about` says which one of what.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(out: W, about: &str) -> io::Result<Self> {
        let mut out = Hashed { out, hash: XxHash3_128::new(), buffer: Vec::new() };
        section([format!("{TITLE}{about}").as_str()].into_iter(), &mut out)?;
        Ok(Self { out, interfaces: BTreeMap::new(), block: Block::new(ENHANCED_PACKET) })
    }

    /// Adds a frame of file `file`, of which `kept` bytes are kept; `name` is that of its interface.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn frame(
        &mut self,
        (file, name): (u64, Option<&str>),
        frame: &Frame<'_>,
        kept: usize,
        tick: Option<Tick>,
    ) -> io::Result<()> {
        let interface = self.interface((file, frame.interface, frame.link), name)?;
        let bytes = frame.bytes.get(..kept).unwrap_or(frame.bytes);
        let block = &mut self.block;
        block.begin(ENHANCED_PACKET);
        block.u32(interface).time(frame.ts);
        block.u32(u32_len(bytes)).u32(frame.original_len).padded(bytes);
        if frame.is_outbound {
            block.option(EPB_FLAGS, &OUTBOUND.to_le_bytes());
        }
        block.option(EPB_PACKETID, &frame.number.to_le_bytes());
        if frame.clock != frame.ts {
            block.option(COMMENT, format!("clock {}", frame.clock.0).as_bytes());
        }
        if frame.ts.0 < 0 {
            block.option(COMMENT, format!("time {}", frame.ts.0).as_bytes());
        }
        if let Some(Tick { from, to }) = tick {
            block.option(COMMENT, format!("frames {from} {to}").as_bytes());
        }
        block.append_to(&mut self.out.buffer);
        self.out.flush_if_full()
    }

    /// Ends the piece with what is said of the whole capture, and returns what it was written to.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(mut self, whole: &[u8]) -> io::Result<W> {
        self.out.flush()?;
        let print = self.out.hash.finish_128();
        let end = format!("{END}{print:032x}");
        let said: Vec<_> = whole.chunks(COMMENT_BYTES).map(hex).collect();
        let comments = [end.as_str()].into_iter().chain(said.iter().map(String::as_str));
        section(comments, &mut self.out)?;
        self.out.flush()?;
        Ok(self.out.out)
    }

    /// Returns the number of an interface, which is described when it is met first.
    fn interface(&mut self, key: (u64, u16, LinkType), name: Option<&str>) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(&key) {
            return Ok(*number);
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert(key, number);
        let (_, position, link) = key;
        let mut block = Block::new(INTERFACE_DESCRIPTION);
        block.u32(u32::from(link.0)).u32(0);
        if let Some(name) = name {
            block.option(IF_NAME, name.as_bytes());
        }
        block.option(IF_TSRESOL, &[NANOSECONDS]);
        block.option(COMMENT, format!("interface {position}").as_bytes());
        block.end(&mut self.out)?;
        Ok(number)
    }
}

/// Writes the header of a section with these comments.
fn section<'a>(comments: impl Iterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
    let mut block = Block::new(SECTION_HEADER);
    block.u32(BYTE_ORDER_MAGIC).u32(VERSION).u64(u64::MAX);
    for comment in comments {
        block.option(COMMENT, comment.as_bytes());
    }
    block.end(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl<W: Write> Hashed<W> {
    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.write(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
