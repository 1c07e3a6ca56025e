//! The border between `source` and `wire`: captured bytes with their circumstances, in batches.
//!
//! Does not: know file formats, packets or flows.

use std::hint::cold_path;

use crate::time::{CaptureClock, Timestamp};

/// What the first bytes of a frame are: a LINKTYPE_ value of the pcap registry
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet II and IEEE 802.3.
    pub const ETHERNET: Self = Self(1);
    /// Raw IPv4 or IPv6.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Netlink messages, as an interface of the kind `nlmon` shows them.
    pub const NETLINK: Self = Self(253);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// Where a frame stands: its file, and its number there.
///
/// One number holds both, and stands for the frame in a run over several files; with a single file
/// it is the plain number of the frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Place {
    /// Position of the file among those of the run, from 0.
    pub file: usize,
    /// The number of the frame in its file, from 1, as Wireshark counts it.
    pub frame: u64,
}

impl Place {
    /// What the file's position is multiplied by: more frames than a file of 60 TB has, and a power
    /// of ten, so that a person can read both parts.
    const FILE_STRIDE: u64 = 1_000_000_000_000;

    /// Returns the number that stands for the frame.
    pub const fn number(self) -> u64 {
        (self.file as u64).saturating_mul(Self::FILE_STRIDE).saturating_add(self.frame)
    }

    /// Returns the position of the file that a number stands for.
    #[inline]
    pub const fn file_of(number: u64) -> u64 {
        if number < Self::FILE_STRIDE { 0 } else { number / Self::FILE_STRIDE }
    }

    /// Returns the place that a number stands for.
    pub fn of(number: u64) -> Self {
        Self {
            file: usize::try_from(number / Self::FILE_STRIDE).unwrap_or(usize::MAX),
            frame: number % Self::FILE_STRIDE,
        }
    }
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Position in the input, counted from 1 as Wireshark does; in a run over several files it
    /// holds the file too, see [`Place::number`].
    pub number: u64,
    /// Capture time as recorded.
    pub ts: Timestamp,
    /// Tracker time: capture time that never goes back.
    pub clock: Timestamp,
    /// What the first bytes are.
    pub link: LinkType,
    /// The position of the interface among those of the file, from 0.
    pub interface: u16,
    /// Bytes on the wire.
    pub original_len: u32,
    /// Whether the file says, beside the frame, that the capturing host sent it.
    pub is_outbound: bool,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
}

/// One captured frame as most of them need to be known: see [`Frame`].
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    /// Position in the input.
    pub number: u64,
    /// Capture time as recorded.
    pub ts: Timestamp,
    /// Tracker time.
    pub clock: Timestamp,
    /// What the first bytes are.
    pub link: LinkType,
    /// The position of the interface.
    pub interface: u16,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
}

/// Where a frame stands in a [`Batch`].
#[derive(Clone, Copy, Debug)]
struct Record {
    ts: Timestamp,
    clock: Timestamp,
    start: u32,
    captured: Captured,
    original_len: u32,
    link: LinkType,
    /// How many numbers between the first frame of the batch and this one belong to no frame.
    numbers_skipped: u16,
}

const _: () = assert!(size_of::<Record>() == 32, "two records share a cache line");

/// How many bytes were captured, and in the uppermost bit, which no length needs, whether the
/// capturing host sent them.
#[derive(Clone, Copy, Debug)]
struct Captured(u32);

impl Captured {
    const OUTBOUND: u32 = 1 << 31;
    const MAX_LEN: u32 = Self::OUTBOUND - 1;

    #[inline]
    fn new(len: u32, is_outbound: bool) -> Self {
        Self(len.min(Self::MAX_LEN) | if is_outbound { Self::OUTBOUND } else { 0 })
    }

    #[inline]
    const fn len(self) -> usize {
        (self.0 & Self::MAX_LEN) as usize
    }

    #[inline]
    const fn is_outbound(self) -> bool {
        self.0 & Self::OUTBOUND != 0
    }
}

/// A run of consecutive frames over one buffer, filled by a source and read by many threads.
///
/// The buffer is reused from batch to batch, so that reading allocates nothing in steady state.
#[derive(Default, Debug)]
pub struct Batch {
    /// The bytes that the frames lie in, with whatever the file format puts between them.
    pub buffer: Vec<u8>,
    records: Vec<Record>,
    first_number: u64,
    numbers_skipped: u16,
    /// One more than the interface of all frames, where it is one; else 0.
    interface: u32,
    /// The interface of each frame, where there are several; else empty.
    interfaces: Vec<u16>,
    /// The number of each frame, where they do not follow one another; else empty.
    numbers: Vec<u64>,
    /// Frames before which it is known how many came, by position.
    ticks: Vec<(usize, Tick)>,
}

/// How many frames of a capture come before one, where a batch does not hold all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick {
    /// At the tick before, or 0.
    pub from: u64,
    /// At this one.
    pub to: u64,
}

impl Batch {
    /// Forgets the frames, keeps the buffers; the next frame pushed is number `first_number`.
    pub fn clear(&mut self, first_number: u64) {
        self.records.clear();
        self.numbers.clear();
        self.ticks.clear();
        self.interface = 0;
        self.interfaces.clear();
        self.first_number = first_number;
        self.numbers_skipped = 0;
    }

    /// Adds a frame that lies at `start..start + captured_len` of the buffer.
    #[inline]
    pub fn push(&mut self, header: FrameHeader, clock: &mut CaptureClock) {
        self.push_at(header, clock.advance(header.ts));
    }

    /// Adds a frame whose tracker's time is known.
    #[inline]
    fn push_at(&mut self, header: FrameHeader, clock: Timestamp) {
        let FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound } =
            header;
        let captured = Captured::new(captured_len, is_outbound);
        let numbers_skipped = self.numbers_skipped;
        if self.interface != u32::from(interface) + 1 {
            self.note_interface(interface);
        }
        let record = Record { ts, clock, start, captured, original_len, link, numbers_skipped };
        self.records.push(record);
    }

    /// Adds a frame whose number and tracker's time are known, because another run has read the
    /// capture that it was taken from.
    pub fn push_known(&mut self, header: FrameHeader, number: u64, clock: Timestamp) {
        self.numbers.push(number);
        self.push_at(header, clock);
    }

    /// Notes how many frames of the whole capture come before the next frame.
    pub fn note_tick(&mut self, tick: Tick) {
        self.ticks.push((self.records.len(), tick));
    }

    /// Returns what was noted of how many frames come before which, by positions in the batch; none
    /// where the batch holds all frames of the capture.
    pub fn ticks(&self) -> &[(usize, Tick)] {
        &self.ticks
    }

    /// Notes the interface of the next frame, which is not that of all frames before.
    #[cold]
    fn note_interface(&mut self, interface: u16) {
        if self.records.is_empty() {
            self.interface = u32::from(interface) + 1;
            return;
        }
        if self.interfaces.is_empty() {
            let before = u16::try_from(self.interface - 1).unwrap_or(u16::MAX);
            self.interfaces.resize(self.records.len(), before);
            self.interface = 0;
        }
        self.interfaces.push(interface);
    }

    /// Adds a copy of a frame of another batch, with its number.
    pub fn push_copy(&mut self, frame: &Frame<'_>, clock: &mut CaptureClock) {
        let Frame { number, ts, link, interface, original_len, is_outbound, bytes, .. } = *frame;
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (start, captured_len) = (len(&self.buffer), len(bytes));
        self.buffer.extend_from_slice(bytes);
        self.numbers.push(number);
        let header =
            FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound };
        self.push(header, clock);
    }

    /// Sets the tracker's time of all frames by another clock.
    pub fn set_clock(&mut self, clock: &mut CaptureClock) {
        for record in &mut self.records {
            record.clock = clock.advance(record.ts);
        }
    }

    /// Drops the frames that are not wanted; the others keep their numbers.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&Frame<'_>) -> bool) {
        let mut records = std::mem::take(&mut self.records);
        let (mut position, mut dropped) = (0, 0);
        let (mut listed, mut interfaces) = (Vec::new(), Vec::new());
        records.retain_mut(|record| {
            let frame = self.frame_of(position, record);
            position += 1;
            if !is_wanted(&frame) {
                dropped += 1;
                return false;
            }
            if !self.numbers.is_empty() {
                listed.push(frame.number);
            }
            if !self.interfaces.is_empty() {
                interfaces.push(frame.interface);
            }
            record.numbers_skipped = record.numbers_skipped.saturating_add(dropped);
            true
        });
        self.records = records;
        self.numbers = listed;
        self.interfaces = interfaces;
        self.numbers_skipped = self.numbers_skipped.saturating_add(dropped);
    }

    /// Returns the latest capture time.
    pub fn latest(&self) -> Option<Timestamp> {
        self.records.iter().map(|record| record.ts).max()
    }

    /// Leaves out a number: Wireshark counts some records of a capture that hold no frame.
    ///
    /// At most 65535 numbers can be left out in a batch.
    pub fn skip_number(&mut self) {
        debug_assert!(self.numbers_skipped < u16::MAX, "sources keep batches small enough");
        self.numbers_skipped = self.numbers_skipped.saturating_add(1);
    }

    /// Returns the number that the next frame pushed would have.
    pub fn next_number(&self) -> u64 {
        self.first_number + self.records.len() as u64 + u64::from(self.numbers_skipped)
    }

    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the number of the first frame, or of a record before it that holds no frame.
    pub const fn first_number(&self) -> u64 {
        self.first_number
    }

    /// Returns the frames `range` of this batch, counted from 0, in capture order.
    pub fn frames(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Frame<'_>> {
        let records = self.records.get(range.clone()).unwrap_or_default();
        range.zip(records).map(|(position, record)| self.frame_of(position, record))
    }

    /// Returns the frames `range` without what few ask for.
    #[inline]
    pub fn outlines(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Outline<'_>> {
        let records = self.records.get(range.clone()).unwrap_or_default();
        // Most batches list neither numbers nor interfaces: one question for both.
        let is_listed = !self.numbers.is_empty() || self.interface == 0;
        let first = self.first_number + range.start as u64;
        let only = self.interface_of(range.start);
        records.iter().enumerate().map(move |(at, record)| {
            let Record { ts, clock, link, numbers_skipped, .. } = *record;
            let (number, interface) = if is_listed {
                let position = range.start + at;
                (self.number_of(position, numbers_skipped), self.interface_of(position))
            } else {
                (first + at as u64 + u64::from(numbers_skipped), only)
            };
            Outline { number, ts, clock, link, interface, bytes: self.bytes_of(record) }
        })
    }

    /// Returns the capture times of the frames `range`.
    pub fn times(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Timestamp> {
        self.records.get(range).unwrap_or_default().iter().map(|record| record.ts)
    }

    /// Returns the frame at `position` of this batch, counted from 0.
    pub fn frame(&self, position: usize) -> Option<Frame<'_>> {
        self.records.get(position).map(|record| self.frame_of(position, record))
    }

    /// Returns the first and the last number of the frames `range`, where numbers ascend; none where
    /// they may not, or where there is no frame.
    pub fn numbers(&self, range: &std::ops::Range<usize>) -> Option<(u64, u64)> {
        let number = |position: usize| {
            let record = self.records.get(position)?;
            Some(self.number_of(position, record.numbers_skipped))
        };
        let ascend = self.numbers.is_empty();
        ascend.then(|| number(range.start).zip(number(range.end.checked_sub(1)?))).flatten()
    }

    /// Returns the frame with this number among the frames `range`, where numbers ascend.
    pub fn numbered(&self, number: u64, range: &std::ops::Range<usize>) -> Option<Frame<'_>> {
        let (mut from, mut to) = (range.start, range.end);
        while from < to {
            let middle = from.midpoint(to);
            if self.frame(middle)?.number < number {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        self.frame(from).filter(|frame| frame.number == number)
    }

    #[inline]
    fn number_of(&self, position: usize, skipped: u16) -> u64 {
        let follows = self.first_number + position as u64 + u64::from(skipped);
        self.numbers.get(position).copied().unwrap_or(follows)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "one more than 16 bits hold")]
    fn interface_of(&self, position: usize) -> u16 {
        if self.interface == 0 {
            return self.interfaces.get(position).copied().unwrap_or_default();
        }
        (self.interface - 1) as u16
    }

    #[inline]
    fn bytes_of(&self, record: &Record) -> &[u8] {
        let start = record.start as usize;
        if let Some(bytes) = self.buffer.get(start..start + record.captured.len()) {
            bytes
        } else {
            // Never so: a branch costs less than to choose between both.
            cold_path();
            &[]
        }
    }

    #[inline]
    fn frame_of(&self, position: usize, record: &Record) -> Frame<'_> {
        Frame {
            number: self.number_of(position, record.numbers_skipped),
            ts: record.ts,
            clock: record.clock,
            link: record.link,
            interface: self.interface_of(position),
            original_len: record.original_len,
            is_outbound: record.captured.is_outbound(),
            bytes: self.bytes_of(record),
        }
    }
}

/// What a source knows of a frame: its circumstances, and where its bytes lie in the buffer.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    /// Capture time as recorded.
    pub ts: Timestamp,
    /// What the first bytes are.
    pub link: LinkType,
    /// The position of the interface among those of the file, from 0.
    pub interface: u16,
    /// Offset of the first byte in the buffer.
    pub start: u32,
    /// Bytes that were captured, less than 2 GiB.
    pub captured_len: u32,
    /// Bytes on the wire.
    pub original_len: u32,
    /// Whether the file says, beside the frame, that the capturing host sent it.
    pub is_outbound: bool,
}
