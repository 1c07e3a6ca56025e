//! Classic pcap: a header, then records of a header and a frame each.
//!
//! After the pcap-savefile(5) manual page of libpcap. Read besides: nanoseconds, Kuznetzov's
//! "modified" records, and the versions before 2.4 that exchange the two lengths of a record.

use super::bytes::Endian;
use super::input::{MAX_ELEMENT_BYTES, Stop, Walked};
use super::{Damage, Interface};
use crate::frame::{Batch, FrameHeader, LinkType};
use crate::time::{CaptureClock, NANOS_PER_SEC, Timestamp};

/// Bytes of the file header.
pub(super) const HEADER_BYTES: usize = 24;

/// The two kinds of record.
const RECORD_HEADER_BYTES: usize = 16;
/// Interface index, protocol and packet type follow the lengths.
const MODIFIED_RECORD_HEADER_BYTES: usize = 24;

/// Each magic number as it stands in the file: byte order, nanoseconds in a tick, record header.
const MAGICS: [([u8; 4], Endian, i64, usize); 6] = [
    ([0xa1, 0xb2, 0xc3, 0xd4], Endian::Big, 1000, RECORD_HEADER_BYTES),
    ([0xd4, 0xc3, 0xb2, 0xa1], Endian::Little, 1000, RECORD_HEADER_BYTES),
    ([0xa1, 0xb2, 0x3c, 0x4d], Endian::Big, 1, RECORD_HEADER_BYTES),
    ([0x4d, 0x3c, 0xb2, 0xa1], Endian::Little, 1, RECORD_HEADER_BYTES),
    ([0xa1, 0xb2, 0xcd, 0x34], Endian::Big, 1000, MODIFIED_RECORD_HEADER_BYTES),
    ([0x34, 0xcd, 0xb2, 0xa1], Endian::Little, 1000, MODIFIED_RECORD_HEADER_BYTES),
];

/// The order of the lengths in a record, which libpcap tells from the version (`sf-pcap.c`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lengths {
    /// Captured, then original: version 2.4.
    CapturedFirst,
    /// The smaller one is the captured one: version 2.3, written both ways.
    SmallerIsCaptured,
    /// Original, then captured: before version 2.3.
    OriginalFirst,
}

/// A pcap file after its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pcap {
    endian: Endian,
    tick_ns: i64,
    record_header_bytes: usize,
    lengths: Lengths,
    link: LinkType,
    snaplen: u32,
}

impl Pcap {
    /// Returns whether a file that begins with `magic` is of this format.
    pub(super) fn recognises(magic: &[u8]) -> bool {
        MAGICS.iter().any(|(known, ..)| known == magic)
    }

    /// Reads the file header; `None` when it is none.
    pub(super) fn from_header(header: &[u8]) -> Option<Result<Self, Damage>> {
        let magic = header.first_chunk::<4>()?;
        let (_, endian, tick_ns, record_header_bytes) =
            MAGICS.into_iter().find(|(known, ..)| known == magic)?;
        let [_, version, _, _, snaplen, link] = endian.words(header)?;
        let [major, minor] = endian.halves(version);
        let lengths = match (major, minor) {
            (2, 0..=2) => Lengths::OriginalFirst,
            (2, 3) => Lengths::SmallerIsCaptured,
            (2, _) => Lengths::CapturedFirst,
            _ => return Some(Err(Damage::Version(major, minor))),
        };
        // The upper half says whether frames end in a checksum, and how long it is.
        let link = LinkType((link & 0xffff) as u16);
        Some(Ok(Self { endian, tick_ns, record_header_bytes, lengths, link, snaplen }))
    }

    /// Adds the whole records that `bytes`, the start of the batch's buffer, consists of.
    pub(super) fn walk(&self, bytes: &[u8], batch: &mut Batch, clock: &mut CaptureClock) -> Walked {
        // A loop for each byte order, and one for the usual order of the lengths, so that no record
        // asks for them.
        let lengths = self.lengths;
        match (self.endian, lengths) {
            (Endian::Little, Lengths::CapturedFirst) => {
                self.walk_in(|head| head.map(u32::from_le_bytes), bytes, batch, clock)
            }
            (Endian::Little, _) => {
                let head = |head: [[u8; 4]; 4]| lengths.in_order(head.map(u32::from_le_bytes));
                self.walk_in(head, bytes, batch, clock)
            }
            (Endian::Big, _) => {
                let head = |head: [[u8; 4]; 4]| lengths.in_order(head.map(u32::from_be_bytes));
                self.walk_in(head, bytes, batch, clock)
            }
        }
    }

    /// Walks over records of which `numbers` reads the header: seconds, ticks, captured length,
    /// original length. Stands alone, so that its few variables stay in registers.
    #[inline(never)]
    fn walk_in(
        &self,
        numbers: impl Fn([[u8; 4]; 4]) -> [u32; 4],
        bytes: &[u8],
        batch: &mut Batch,
        clock: &mut CaptureClock,
    ) -> Walked {
        let Self { tick_ns, record_header_bytes, link, .. } = *self;
        // In a place of its own, which no record can be thought to change.
        let mut running = *clock;
        let mut rest = bytes;
        let stop = loop {
            let Some(head) = rest.as_chunks::<4>().0.first_chunk::<4>() else {
                break Stop::Incomplete(record_header_bytes);
            };
            let [seconds, ticks, captured_len, original_len] = numbers(*head);
            if captured_len > MAX_ELEMENT_BYTES {
                break Stop::Damaged(Damage::RecordLength(captured_len));
            }
            let needed = record_header_bytes + captured_len as usize;
            let Some(after) = rest.get(needed..) else { break Stop::Incomplete(needed) };
            // Two numbers of 32 bits, so that nothing can overflow.
            let ts = Timestamp(i64::from(seconds) * NANOS_PER_SEC + i64::from(ticks) * tick_ns);
            let start = buffer_offset(bytes.len() - rest.len() + record_header_bytes);
            let (interface, is_outbound) = (0, false);
            let header =
                FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound };
            batch.push(header, &mut running);
            rest = after;
        };
        *clock = running;
        Walked { consumed: bytes.len() - rest.len(), stop }
    }

    /// Returns the one interface that a pcap file has.
    pub(super) fn interface(&self) -> Interface {
        Interface { link_type: self.link.0, snaplen: self.snaplen, ..Interface::default() }
    }

    /// Returns what is special about the file.
    pub(super) fn describe(&self) -> String {
        let mut text = String::from("pcap");
        if self.record_header_bytes == MODIFIED_RECORD_HEADER_BYTES {
            text.push_str(", modified");
        }
        if self.tick_ns == 1 {
            text.push_str(", nanoseconds");
        }
        if self.endian == Endian::Big {
            text.push_str(", big-endian");
        }
        text
    }
}

impl Lengths {
    /// Returns the numbers of a record header with the captured length before the original one.
    #[inline]
    const fn in_order(self, [seconds, ticks, first, second]: [u32; 4]) -> [u32; 4] {
        match self {
            Self::OriginalFirst => [seconds, ticks, second, first],
            Self::SmallerIsCaptured if first > second => [seconds, ticks, second, first],
            Self::SmallerIsCaptured | Self::CapturedFirst => [seconds, ticks, first, second],
        }
    }
}

/// Returns an offset in a batch's buffer, which is always far smaller than 4 GiB.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "what is cut off is always 0")]
pub(super) const fn buffer_offset(offset: usize) -> u32 {
    debug_assert!(offset < 1 << 32, "elements have 16 MiB at most");
    offset as u32
}
