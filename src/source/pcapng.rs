//! pcapng: blocks in sections, each section with its byte order and its interfaces.
//!
//! After draft-ietf-opsawg-pcapng; what the draft leaves open is read as Wireshark's `pcapng.c`
//! does.

use super::bytes::Endian;
use super::input::{MAX_ELEMENT_BYTES, Stop, Walked};
use super::interface::{Described, Options};
use super::pcap::buffer_offset;
use super::{Damage, Interface};
use crate::frame::{Batch, FrameHeader, LinkType};
use crate::time::{CaptureClock, Timestamp};

/// The first bytes of a file, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Bytes of a section header without options.
pub(super) const SECTION_HEADER_BYTES: usize = 28;

const SECTION_HEADER: u32 = u32::from_be_bytes(MAGIC);
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const SYSTEMD_JOURNAL: u32 = 9;
const CUSTOM: u32 = 0x0bad;
const CUSTOM_NOT_TO_COPY: u32 = 0x4000_0bad;
/// Sysdig's events: versions 1 and 2, plain, with flags, and both in large.
const SYSDIG_EVENTS: [u32; 6] = [0x204, 0x208, 0x216, 0x217, 0x221, 0x222];

/// The flags of a packet, in an enhanced packet block and in an obsolete one.
const PACKET_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
/// The two bits of the flags that hold the direction, and their value for what was sent.
const DIRECTION: u32 = 0b11;
const OUTBOUND: u32 = 0b10;
/// In an obsolete packet block: the number of drops is not known.
const DROPS_UNKNOWN: u16 = u16::MAX;

/// The least that a block has: type, length, length again.
const BLOCK_OVERHEAD: usize = 12;
/// What stands before the data of a packet block, enhanced or obsolete.
const PACKET_HEADER_BYTES: usize = 28;
const SIMPLE_PACKET_HEADER_BYTES: usize = 12;
/// The length that is repeated at the end.
const TRAILER_BYTES: usize = 4;

/// A file has one interface or more for each capture that was joined to it: hourly captures reach
/// this in seven years. More are damage, or an attack on the memory.
const MAX_INTERFACES: usize = 1 << 16;

/// A pcapng file, somewhere in the middle.
#[derive(Clone, Debug)]
pub(super) struct Pcapng {
    /// The byte order of this section.
    endian: Endian,
    /// The byte order of the first section.
    first_endian: Endian,
    /// The interfaces of all sections; those of this section from `section_start` on.
    interfaces: Vec<Described>,
    section_start: usize,
    /// Simple packets have no time: they take that of the frame before them.
    last_ts: Timestamp,
}

/// A whole block.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    kind: u32,
    endian: Endian,
    /// All of it, the type and the trailer too.
    bytes: &'a [u8],
    /// Where it begins in the buffer.
    at: usize,
}

/// The numbers of a packet block, whichever kind.
#[derive(Clone, Copy, Debug)]
struct Packet {
    interface: u32,
    ticks: u64,
    captured_len: u32,
    original_len: u32,
}

/// What the options of a packet block say.
#[derive(Clone, Copy, Default, Debug)]
struct PacketOptions {
    /// Whether the capturing host sent the packet (pcapng, section 4.3.1).
    is_outbound: bool,
    /// Packets lost between the one before and this; enhanced packet blocks only.
    drops: Option<u64>,
}

impl PacketOptions {
    fn read(options: Options<'_>) -> Self {
        let endian = options.endian;
        let mut said = Self::default();
        for (code, value) in options {
            match code {
                PACKET_FLAGS => {
                    let flags = endian.words(value).map_or(0, |[flags]| flags);
                    said.is_outbound = flags & DIRECTION == OUTBOUND;
                }
                EPB_DROPCOUNT => said.drops = endian.u64(value),
                _ => {}
            }
        }
        said
    }
}

impl Pcapng {
    /// Checks the section header that a file begins with; `None` when it is none.
    pub(super) fn from_header(header: &[u8]) -> Option<Result<Self, Damage>> {
        let endian = match section_endian(header)? {
            Ok(endian) => endian,
            Err(damage) => return Some(Err(damage)),
        };
        let [_, _, _, version] = endian.words(header)?;
        Some(check_version(endian, version).map(|()| Self {
            endian,
            first_endian: endian,
            interfaces: Vec::new(),
            section_start: 0,
            last_ts: Timestamp(0),
        }))
    }

    /// Adds the frames of the whole blocks that `bytes`, the start of the batch's buffer, has.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        batch: &mut Batch,
        clock: &mut CaptureClock,
    ) -> Walked {
        let mut consumed = 0;
        loop {
            consumed += match self.endian {
                Endian::Little => {
                    self.walk_plain(u32::from_le_bytes, consumed, bytes, (batch, clock))
                }
                Endian::Big => self.walk_plain(u32::from_be_bytes, consumed, bytes, (batch, clock)),
            };
            match self.take_block(consumed, bytes, (batch, clock)) {
                Ok(len) => consumed += len,
                Err(stop) => return Walked { consumed, stop },
            }
        }
    }

    /// Takes in the block at `at`, plain or not, adds its frame if it has one, and returns its length.
    fn take_block(
        &mut self,
        at: usize,
        bytes: &[u8],
        (batch, clock): (&mut Batch, &mut CaptureClock),
    ) -> Result<usize, Stop> {
        let block = self.block_at(bytes, at)?;
        if let Some(header) = self.read(block, batch).map_err(Stop::Damaged)? {
            self.last_ts = header.ts;
            batch.push(header, clock);
        }
        Ok(block.bytes.len())
    }

    /// Adds the frames of the plain blocks from `at` on, and returns how many bytes they have. Stands
    /// alone, so that its variables stay in registers.
    #[inline(never)]
    fn walk_plain(
        &mut self,
        number: impl Fn([u8; 4]) -> u32,
        at: usize,
        bytes: &[u8],
        (batch, clock): (&mut Batch, &mut CaptureClock),
    ) -> usize {
        // In a place of its own, which no frame can be thought to change.
        let mut running = *clock;
        let section = self.interfaces.get(self.section_start..).unwrap_or_default();
        let mut rest = bytes.get(at..).unwrap_or_default();
        while let Some((packet, after)) = plain_packet(&number, rest)
            && let Some(described) = section.get(packet.interface as usize)
        {
            let Packet { interface, ticks, captured_len, original_len } = packet;
            let start = buffer_offset(bytes.len() - rest.len() + PACKET_HEADER_BYTES);
            let (ts, link) = (described.timestamp(ticks), described.link);
            let (interface, is_outbound) = (self.position(interface), false);
            let header =
                FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound };
            batch.push(header, &mut running);
            self.last_ts = ts;
            rest = after;
        }
        *clock = running;
        bytes.len() - at - rest.len()
    }

    /// Returns what the file says of its interfaces, those of all sections.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        self.interfaces.iter().map(Described::summary).collect()
    }

    /// Returns what is special about the file.
    pub(super) fn describe(&self) -> String {
        let order = if self.first_endian == Endian::Big { ", big-endian" } else { "" };
        format!("pcapng{order}")
    }

    /// Finds the limits of the block at `at`.
    #[inline]
    fn block_at<'a>(&self, bytes: &'a [u8], at: usize) -> Result<Block<'a>, Stop> {
        let rest = bytes.get(at..).unwrap_or_default();
        let incomplete = Stop::Incomplete(BLOCK_OVERHEAD);
        if rest.len() < BLOCK_OVERHEAD {
            return Err(incomplete);
        }
        let mut endian = self.endian;
        if rest.starts_with(&MAGIC) {
            endian = section_endian(rest).ok_or(incomplete)?.map_err(Stop::Damaged)?;
        }
        let [kind, len] = endian.words(rest).ok_or(incomplete)?;
        if len > MAX_ELEMENT_BYTES || len % 4 != 0 || (len as usize) < BLOCK_OVERHEAD {
            return Err(Stop::Damaged(Damage::BlockLength(len)));
        }
        let bytes = rest.get(..len as usize).ok_or(Stop::Incomplete(len as usize))?;
        let trailer = bytes.len() - TRAILER_BYTES;
        let [again] = bytes.get(trailer..).and_then(|end| endian.words(end)).ok_or(incomplete)?;
        if again != len {
            return Err(Stop::Damaged(Damage::BlockTrailer(len, again)));
        }
        Ok(Block { kind, endian, bytes, at })
    }

    /// Takes from a block what there is to know, and returns the frame where it has one.
    #[inline]
    fn read(&mut self, block: Block<'_>, batch: &mut Batch) -> Result<Option<FrameHeader>, Damage> {
        match block.kind {
            ENHANCED_PACKET => self.enhanced_packet(block).map(Some),
            SIMPLE_PACKET => self.simple_packet(block).map(Some),
            OBSOLETE_PACKET => self.obsolete_packet(block).map(Some),
            SECTION_HEADER => self.section_header(block).map(|()| None),
            INTERFACE_DESCRIPTION => self.interface_description(block).map(|()| None),
            INTERFACE_STATISTICS => self.interface_statistics(block).map(|()| None),
            kind => {
                if has_a_number(kind) {
                    batch.skip_number();
                }
                Ok(None)
            }
        }
    }

    #[inline]
    fn enhanced_packet(&mut self, block: Block<'_>) -> Result<FrameHeader, Damage> {
        let [_, _, interface, high, low, captured_len, original_len, _] = block.words()?;
        let ticks = u64::from(high) << 32 | u64::from(low);
        let packet = Packet { interface, ticks, captured_len, original_len };
        let mut header = self.packet(block, packet)?;
        if let Some(options) = block.options_of_packet(captured_len) {
            let said = PacketOptions::read(options);
            header.is_outbound = said.is_outbound;
            if let Some(drops) = said.drops {
                self.interface_mut(interface)?.count_drops(drops);
            }
        }
        Ok(header)
    }

    fn obsolete_packet(&mut self, block: Block<'_>) -> Result<FrameHeader, Damage> {
        let [_, _, place, high, low, captured_len, original_len, _] = block.words()?;
        let [interface, drops] = block.endian.halves(place);
        let (interface, ticks) = (u32::from(interface), u64::from(high) << 32 | u64::from(low));
        let packet = Packet { interface, ticks, captured_len, original_len };
        let mut header = self.packet(block, packet)?;
        if let Some(options) = block.options_of_packet(captured_len) {
            header.is_outbound = PacketOptions::read(options).is_outbound;
        }
        if drops != DROPS_UNKNOWN {
            self.interface_mut(interface)?.count_drops(u64::from(drops));
        }
        Ok(header)
    }

    /// Places the frame of an enhanced or obsolete packet block.
    #[inline]
    fn packet(&self, block: Block<'_>, packet: Packet) -> Result<FrameHeader, Damage> {
        let Packet { interface, ticks, captured_len, original_len } = packet;
        let described = self.interface(interface)?;
        let start = block.data_start(PACKET_HEADER_BYTES, captured_len)?;
        let ts = described.timestamp(ticks);
        let (link, interface, is_outbound) = (described.link, self.position(interface), false);
        Ok(FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound })
    }

    /// A simple packet is of the first interface, and as long as that captures.
    fn simple_packet(&self, block: Block<'_>) -> Result<FrameHeader, Damage> {
        let [_, _, original_len, _] = block.words()?;
        let described = self.interface(0)?;
        let captured_len = match described.snaplen {
            0 => original_len,
            snaplen => original_len.min(snaplen),
        };
        let start = block.data_start(SIMPLE_PACKET_HEADER_BYTES, captured_len)?;
        let (ts, link, is_outbound) = (self.last_ts, described.link, false);
        let interface = self.position(0);
        Ok(FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound })
    }

    fn section_header(&mut self, block: Block<'_>) -> Result<(), Damage> {
        let [_, _, _, version, _, _, _] = block.words::<7>()?;
        check_version(block.endian, version)?;
        self.endian = block.endian;
        self.section_start = self.interfaces.len();
        Ok(())
    }

    fn interface_description(&mut self, block: Block<'_>) -> Result<(), Damage> {
        let [_, _, link, snaplen, _] = block.words()?;
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Damage::InterfaceCount(MAX_INTERFACES));
        }
        let [link, _] = block.endian.halves(link);
        self.interfaces.push(Described::new(LinkType(link), snaplen, block.options(16)));
        Ok(())
    }

    fn interface_statistics(&mut self, block: Block<'_>) -> Result<(), Damage> {
        let [_, _, interface, _, _, _] = block.words()?;
        self.interface_mut(interface)?.read_statistics(block.options(20));
        Ok(())
    }

    #[inline]
    fn interface(&self, index: u32) -> Result<&Described, Damage> {
        let section = self.interfaces.get(self.section_start..).unwrap_or_default();
        section.get(index as usize).ok_or(Damage::UnknownInterface(index))
    }

    /// Returns the position of an interface of this section among those of the file.
    #[inline]
    fn position(&self, index: u32) -> u16 {
        let position = (self.section_start as u64).saturating_add(u64::from(index));
        u16::try_from(position).unwrap_or(u16::MAX)
    }

    fn interface_mut(&mut self, index: u32) -> Result<&mut Described, Damage> {
        let section = self.interfaces.get_mut(self.section_start..).unwrap_or_default();
        section.get_mut(index as usize).ok_or(Damage::UnknownInterface(index))
    }
}

impl<'a> Block<'a> {
    /// Returns the first numbers of the block, type and length among them. Whoever asks for one more than
    /// there are before the data asks for the trailer too, so that there is room for them all before it.
    #[inline]
    fn words<const N: usize>(self) -> Result<[u32; N], Damage> {
        self.endian.words(self.bytes).ok_or(Damage::BlockLength(buffer_offset(self.bytes.len())))
    }

    /// Returns where in the buffer the data begin that follow `header` bytes of this block.
    #[inline]
    fn data_start(self, header: usize, captured_len: u32) -> Result<u32, Damage> {
        let space = self.bytes.len().saturating_sub(header + TRAILER_BYTES);
        if captured_len as usize > space {
            let block_len = buffer_offset(self.bytes.len());
            return Err(Damage::PacketLength(captured_len, block_len));
        }
        Ok(buffer_offset(self.at + header))
    }

    /// Returns the options of a packet block, where it has any.
    #[inline]
    fn options_of_packet(self, captured_len: u32) -> Option<Options<'a>> {
        let data_end = PACKET_HEADER_BYTES + (captured_len as usize).next_multiple_of(4);
        (data_end + TRAILER_BYTES < self.bytes.len()).then(|| self.options(data_end))
    }

    /// Returns the options, which begin `start` bytes into the block.
    fn options(self, start: usize) -> Options<'a> {
        let end = self.bytes.len() - TRAILER_BYTES;
        Options { endian: self.endian, bytes: self.bytes.get(start..end).unwrap_or_default() }
    }
}

/// Reads a block if it is plain: an enhanced packet, whole, without options and without fault. Returns
/// it, and what follows; none for what is to be looked at closely.
#[inline]
fn plain_packet(number: impl Fn([u8; 4]) -> u32, rest: &[u8]) -> Option<(Packet, &[u8])> {
    const NEEDED: usize = PACKET_HEADER_BYTES + TRAILER_BYTES;
    let head = rest.as_chunks::<4>().0.first_chunk::<7>()?;
    let [kind, len, interface, high, low, captured_len, original_len] = head.map(&number);
    let (block_len, padded_len) = (len as usize, (captured_len as usize + 3) & !3);
    // Another length is that of a block with options, or a fault.
    if kind != ENHANCED_PACKET || len > MAX_ELEMENT_BYTES || block_len != NEEDED + padded_len {
        return None;
    }
    let (block, after) = rest.split_at_checked(block_len)?;
    if number(*block.last_chunk()?) != len {
        return None;
    }
    let ticks = u64::from(high) << 32 | u64::from(low);
    Some((Packet { interface, ticks, captured_len, original_len }, after))
}

/// Reads the byte order from a section header; `None` when there are too few bytes.
fn section_endian(header: &[u8]) -> Option<Result<Endian, Damage>> {
    let [_, _, magic] = Endian::Little.words(header)?;
    Some(match magic {
        BYTE_ORDER_MAGIC => Ok(Endian::Little),
        swapped if swapped.swap_bytes() == BYTE_ORDER_MAGIC => Ok(Endian::Big),
        unknown => Err(Damage::ByteOrderMagic(unknown)),
    })
}

/// Accepts version 1.0, and 1.2, which is the same written by mistake (pcapng, section 4.1).
fn check_version(endian: Endian, version: u32) -> Result<(), Damage> {
    match endian.halves(version) {
        [1, 0 | 2] => Ok(()),
        [major, minor] => Err(Damage::Version(major, minor)),
    }
}

/// Returns whether Wireshark gives a block a frame number although it holds no packet.
fn has_a_number(kind: u32) -> bool {
    matches!(kind, SYSTEMD_JOURNAL | CUSTOM | CUSTOM_NOT_TO_COPY) || SYSDIG_EVENTS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    #[test]
    fn the_interfaces_of_a_file_are_limited() {
        let header = [MAGIC, *b"\0\0\0\x1c", *b"\x1a\x2b\x3c\x4d", *b"\0\x01\0\0", [0; 4], [0; 4]];
        let header = [header.as_flattened(), b"\0\0\0\x1c"].concat();
        let interface = b"\0\0\0\x01\0\0\0\x14\0\x01\0\0\0\0\0\0\0\0\0\x14";
        let mut pcapng = Pcapng::from_header(&header).unwrap().unwrap();
        let (mut batch, mut clock) = (Batch::default(), CaptureClock::default());
        let full = pcapng.walk(&interface.repeat(MAX_INTERFACES), &mut batch, &mut clock);
        assert_eq!(full.stop, Stop::Incomplete(BLOCK_OVERHEAD));
        let more = pcapng.walk(interface, &mut batch, &mut clock);
        assert_eq!(more.stop, Stop::Damaged(Damage::InterfaceCount(MAX_INTERFACES)));
        assert_eq!(pcapng.interfaces().len(), MAX_INTERFACES);
    }

    /// Numbers in the byte order of a section.
    type Order = fn(u32) -> [u8; 4];

    const ORDERS: [Order; 2] = [u32::to_le_bytes, u32::to_be_bytes];
    /// Bytes of an enhanced packet block without data and options.
    const EMPTY: u32 = 32;

    fn words(order: Order, words: &[u32]) -> Vec<u8> {
        words.iter().copied().flat_map(order).collect()
    }

    /// Begins a file with two interfaces, of Ethernet and of raw IP.
    fn beginning(order: Order) -> Vec<u8> {
        let header = [SECTION_HEADER, 28, BYTE_ORDER_MAGIC, 0, u32::MAX, u32::MAX, 28];
        let mut bytes = words(order, &header);
        // Two halves of 16 bits: the version is 1.0.
        let half: [u8; 2] = if order(1) == [1, 0, 0, 0] { [1, 0] } else { [0, 1] };
        bytes[12..14].copy_from_slice(&half);
        for link in [1, 101] {
            let at = bytes.len() + 8;
            bytes.extend(words(order, &[INTERFACE_DESCRIPTION, 20, 0, 0, 20]));
            bytes[at + usize::from(half[1])] = link;
        }
        bytes
    }

    /// An enhanced packet block as it is written, right or wrong.
    #[derive(Clone, Copy, Debug)]
    struct Written {
        len: u32,
        interface: u32,
        captured_len: u32,
        /// Bytes between the numbers and the trailer.
        data: usize,
        trailer: u32,
    }

    impl Written {
        /// A block by the book that holds so many bytes.
        fn of(captured_len: u32) -> Self {
            let padded = captured_len.next_multiple_of(4);
            let (len, data) = (EMPTY + padded, padded as usize);
            Self { len, interface: 1, captured_len, data, trailer: len }
        }

        fn append_to(self, bytes: &mut Vec<u8>, order: Order) {
            let Self { len, interface, captured_len, data, trailer } = self;
            let head = [ENHANCED_PACKET, len, interface, 0, 1_000_000, captured_len, captured_len];
            bytes.extend(words(order, &head));
            bytes.resize(bytes.len() + data, 0x61);
            bytes.extend(order(trailer));
        }
    }

    /// What was read: why it stopped where, the frames, and all that the file is known by.
    #[derive(PartialEq, Eq, Debug)]
    struct Read {
        walked: Walked,
        frames: Vec<String>,
        last_ts: Timestamp,
        interfaces: Vec<Interface>,
    }

    /// Reads a file from its header on, by [`Pcapng::walk`] or block by block without the way for plain
    /// ones.
    fn read_by(
        file: &[u8],
        walk: fn(&mut Pcapng, &[u8], &mut Batch, &mut CaptureClock) -> Walked,
    ) -> Read {
        let mut pcapng = Pcapng::from_header(file).unwrap().unwrap();
        let (mut batch, mut clock) = (Batch::default(), CaptureClock::default());
        let walked = walk(&mut pcapng, file, &mut batch, &mut clock);
        batch.buffer = file.to_vec();
        let frames = batch.frames(0..batch.len());
        let frames = frames.map(|frame| {
            let (start, len) = (frame.bytes.as_ptr().addr(), frame.bytes.len());
            let start = start - batch.buffer.as_ptr().addr();
            format!("{:?} at {start}, {len} bytes", Frame { bytes: &[], ..frame })
        });
        let (last_ts, interfaces) = (pcapng.last_ts, pcapng.interfaces());
        Read { walked, frames: frames.collect(), last_ts, interfaces }
    }

    fn walk_closely(
        pcapng: &mut Pcapng,
        bytes: &[u8],
        batch: &mut Batch,
        clock: &mut CaptureClock,
    ) -> Walked {
        let mut consumed = 0;
        loop {
            match pcapng.take_block(consumed, bytes, (batch, clock)) {
                Ok(len) => consumed += len,
                Err(stop) => return Walked { consumed, stop },
            }
        }
    }

    /// Reads a file by both ways, which have to agree; returns how many bytes and frames they took, and
    /// why they stopped.
    fn read_both_ways(file: &[u8]) -> (usize, usize, Stop) {
        let read = read_by(file, Pcapng::walk);
        assert!(read == read_by(file, walk_closely), "{:?} {:?}", read.walked, read.frames);
        (read.walked.consumed, read.frames.len(), read.walked.stop)
    }

    #[test]
    fn a_plain_packet_is_found_faulty_by_what_a_closer_look_finds() {
        let plain = Written::of(8);
        let ends = Stop::Incomplete(BLOCK_OVERHEAD);
        let length = |len| Stop::Damaged(Damage::BlockLength(len));
        let packet = |captured, len| Stop::Damaged(Damage::PacketLength(captured, len));
        let trailer = |len, again| Stop::Damaged(Damage::BlockTrailer(len, again));
        let unpadded = |len: u32| Written { len, data: len as usize - 32, trailer: len, ..plain };
        let cases = [
            (plain, ends),
            (Written::of(0), ends),
            (Written::of(1), ends),
            (Written::of(7), ends),
            // Room that no data needs: taken for options.
            (Written { captured_len: 4, ..plain }, ends),
            (Written { captured_len: 0, ..plain }, ends),
            (Written { captured_len: 5, ..unpadded(37) }, length(37)),
            (Written { captured_len: 6, ..unpadded(38) }, length(38)),
            (Written { captured_len: 7, ..unpadded(39) }, length(39)),
            (Written { captured_len: 8, ..unpadded(41) }, length(41)),
            (Written { captured_len: 9, ..plain }, packet(9, 40)),
            (Written { captured_len: u32::MAX, ..plain }, packet(u32::MAX, 40)),
            (Written { captured_len: u32::MAX, ..Written::of(0) }, packet(u32::MAX, 32)),
            (Written { captured_len: u32::MAX - 2, ..Written::of(0) }, packet(u32::MAX - 2, 32)),
            (Written { trailer: 44, ..plain }, trailer(40, 44)),
            (Written { trailer: 40 << 24, ..plain }, trailer(40, 40 << 24)),
            (Written { interface: 2, ..plain }, Stop::Damaged(Damage::UnknownInterface(2))),
            (
                Written { interface: u32::MAX, ..plain },
                Stop::Damaged(Damage::UnknownInterface(u32::MAX)),
            ),
            (Written { len: 8, ..plain }, length(8)),
            (Written { len: 0, ..plain }, length(0)),
            (Written { len: u32::MAX - 3, ..plain }, length(u32::MAX - 3)),
            (Written { len: 1 << 24, ..plain }, Stop::Incomplete(1 << 24)),
        ];
        for (order, (odd, expected)) in ORDERS.into_iter().flat_map(|o| cases.map(|c| (o, c))) {
            let mut file = beginning(order);
            plain.append_to(&mut file, order);
            let before = file.len();
            odd.append_to(&mut file, order);
            if expected == ends {
                plain.append_to(&mut file, order);
            }
            let (consumed, frames, stop) = read_both_ways(&file);
            assert_eq!(stop, expected, "{odd:?}");
            let whole = if expected == ends { (file.len(), 3) } else { (before, 1) };
            assert_eq!((consumed, frames), whole, "{odd:?}");
        }
    }

    #[test]
    fn a_plain_packet_that_is_not_all_there_is_left_for_the_next_load() {
        for order in ORDERS {
            let mut file = beginning(order);
            let begin = file.len();
            let block_len = Written::of(6).len as usize;
            (0..3).for_each(|_| Written::of(6).append_to(&mut file, order));
            for cut in begin..=file.len() {
                let (whole, rest) = ((cut - begin) / block_len, (cut - begin) % block_len);
                let needed = if rest < BLOCK_OVERHEAD { BLOCK_OVERHEAD } else { block_len };
                let expected = (begin + whole * block_len, whole, Stop::Incomplete(needed));
                assert_eq!(read_both_ways(&file[..cut]), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_plain_packet_may_be_as_long_as_any_element_and_no_longer() {
        for order in ORDERS {
            let most = MAX_ELEMENT_BYTES - EMPTY;
            for (captured_len, is_damage) in [(most - 3, false), (most, false), (most + 1, true)] {
                let written = Written::of(captured_len);
                let mut file = beginning(order);
                let begin = file.len();
                written.append_to(&mut file, order);
                Written::of(1).append_to(&mut file, order);
                let expected = if is_damage {
                    (begin, 0, Stop::Damaged(Damage::BlockLength(written.len)))
                } else {
                    (file.len(), 2, Stop::Incomplete(BLOCK_OVERHEAD))
                };
                assert_eq!(read_both_ways(&file), expected, "{written:?}");
            }
        }
    }

    #[test]
    fn a_packet_block_without_room_for_its_numbers_is_damage() {
        for order in ORDERS {
            for block in [
                &[ENHANCED_PACKET, 28, 0, 0, 0, 0, 28][..],
                &[ENHANCED_PACKET, 12, 12],
                &[OBSOLETE_PACKET, 28, 0, 0, 0, 0, 28],
                &[SIMPLE_PACKET, 12, 12],
            ] {
                let mut file = beginning(order);
                let begin = file.len();
                file.extend(words(order, block));
                let damage = Stop::Damaged(Damage::BlockLength(block[1]));
                assert_eq!(read_both_ways(&file), (begin, 0, damage), "{block:?}");
            }
        }
    }
}
