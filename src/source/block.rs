//! Blocks of pcapng as they are written, little-endian.
//!
//! Does not: know what blocks there are.

use std::io::{self, Write};

use crate::time::Timestamp;

/// Bytes of a block around its body: type, length, length again.
const BLOCK_OVERHEAD: u32 = 12;
const END_OF_OPTIONS: u16 = 0;

/// A block that is being put together.
#[derive(Debug)]
pub struct Block {
    kind: u32,
    body: Vec<u8>,
    has_options: bool,
}

impl Block {
    /// Begins a block of a kind.
    pub const fn new(kind: u32) -> Self {
        Self { kind, body: Vec::new(), has_options: false }
    }

    /// Begins another block in the place of one that is written.
    pub fn begin(&mut self, kind: u32) {
        self.kind = kind;
        self.body.clear();
        self.has_options = false;
    }

    /// Adds a number.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    /// Adds a number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.body.extend(value.to_le_bytes());
        self
    }

    /// Adds a time, its upper half first; there is none before 1970.
    pub fn time(&mut self, ts: Timestamp) -> &mut Self {
        let ticks = u64::try_from(ts.0).unwrap_or(0);
        let [upper, lower] = [ticks >> 32, ticks & u64::from(u32::MAX)];
        self.u32(u32::try_from(upper).unwrap_or(0)).u32(u32::try_from(lower).unwrap_or(0))
    }

    /// Adds bytes, with zeros up to a multiple of four.
    pub fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an option; a value too long for one is cut.
    pub fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.body.extend(code.to_le_bytes());
        self.body.extend(len.to_le_bytes());
        self.has_options = true;
        self.padded(value.get(..usize::from(len)).unwrap_or(value))
    }

    /// Writes the block.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.body.len() + BLOCK_OVERHEAD as usize);
        self.append_to(&mut bytes);
        out.write_all(&bytes)
    }

    /// Appends the block to a buffer.
    pub fn append_to(&mut self, buffer: &mut Vec<u8>) {
        if self.has_options {
            self.option(END_OF_OPTIONS, &[]);
        }
        let len = u32_len(&self.body).saturating_add(BLOCK_OVERHEAD).to_le_bytes();
        buffer.extend_from_slice(&self.kind.to_le_bytes());
        buffer.extend_from_slice(&len);
        buffer.extend_from_slice(&self.body);
        buffer.extend_from_slice(&len);
    }
}

/// Returns a length as it is written.
pub fn u32_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
