//! Bytes from a reader into the buffers of batches, with what one batch leaves for the next.
//!
//! Does not: know formats.

use std::io::{self, Read};

use super::Damage;

/// The most bytes that one record or block may have: 16 MiB, as in Wireshark.
///
/// A frame has at most 256 KiB (libpcap's `MAXIMUM_SNAPLEN`); blocks of keys and names may be
/// larger. A length above it comes from a damaged file, and must not become an allocation.
pub(super) const MAX_ELEMENT_BYTES: u32 = 16 << 20;

/// How far a format got in the bytes it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Walked {
    /// Bytes of whole elements.
    pub(super) consumed: usize,
    /// Why it went no further.
    pub(super) stop: Stop,
}

/// Why a format stopped at an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The element has at least so many bytes, and fewer are there.
    Incomplete(usize),
    /// The element contradicts itself.
    Damaged(Damage),
}

/// How the input ended.
#[derive(Debug)]
pub(super) enum End {
    /// There is no more.
    Eof,
    /// Reading failed.
    Failed(io::Error),
}

/// A reader, and the bytes read from it that belong to the next batch.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    /// Bytes read that no element has used: the beginning of the next load.
    carry: Vec<u8>,
    /// Where the carried bytes begin in the input.
    offset: u64,
    end: Option<End>,
    /// Whether a load takes what one read gives, and does not wait for more.
    is_eager: bool,
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, carry: Vec::new(), offset: 0, end: None, is_eager: false }
    }

    /// Lets each load return as soon as there is anything.
    pub(super) const fn be_eager(&mut self) {
        self.is_eager = true;
    }

    /// Returns the next bytes without using them: `wanted` of them, fewer only at the end.
    pub(super) fn peek(&mut self, wanted: usize) -> &[u8] {
        let mut buffer = std::mem::take(&mut self.carry);
        let present = buffer.len();
        buffer.resize(wanted.max(present), 0);
        let filled = self.read_into(&mut buffer, present, false);
        buffer.truncate(filled);
        self.carry = buffer;
        &self.carry
    }

    /// Returns all that is left as a reader.
    pub(super) fn into_reader(self) -> Box<dyn Read + Send> {
        Box::new(io::Cursor::new(self.carry).chain(self.reader))
    }

    /// Uses up the first `count` of the bytes peeked at.
    pub(super) fn skip(&mut self, count: usize) {
        self.offset += self.carry.drain(..count.min(self.carry.len())).len() as u64;
    }

    /// Puts the next `wanted` bytes at the start of `buffer`, fewer only at the end or when eager,
    /// and returns how many. The buffer grows where it must and never shrinks, so that it is cleared once.
    pub(super) fn load(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> usize {
        let present = self.carry.len();
        let wanted = wanted.max(present);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let target = buffer.get_mut(..wanted).unwrap_or_default();
        if let Some(carried) = target.get_mut(..present) {
            carried.copy_from_slice(&self.carry);
        }
        self.carry.clear();
        self.read_into(target, present, self.is_eager)
    }

    /// Keeps the unused `rest` of a load of which `consumed` bytes were used.
    pub(super) fn keep(&mut self, rest: &[u8], consumed: usize) {
        self.offset += consumed as u64;
        self.carry.extend_from_slice(rest);
    }

    /// Returns where the first unused byte stands in the input.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many unused bytes are there.
    pub(super) fn unused(&self) -> usize {
        self.carry.len()
    }

    /// Returns whether the reader has given its last byte.
    pub(super) const fn is_at_end(&self) -> bool {
        self.end.is_some()
    }

    /// Takes the reason for which reading failed, if it did.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        let end = self.end.take()?;
        self.end = Some(End::Eof);
        match end {
            End::Eof => None,
            End::Failed(error) => Some(error),
        }
    }

    /// Fills `target` from `filled` on, and returns how far it got.
    fn read_into(&mut self, target: &mut [u8], mut filled: usize, is_eager: bool) -> usize {
        while self.end.is_none() {
            let Some(free) = target.get_mut(filled..).filter(|free| !free.is_empty()) else {
                break;
            };
            match self.reader.read(free) {
                Ok(0) => self.end = Some(End::Eof),
                Ok(count) => {
                    filled += count;
                    if is_eager {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end = Some(End::Failed(error)),
            }
        }
        filled
    }
}
