//! A run of frames on its way from bytes to the shards.

mod items;
mod sample;

use std::ops::Range;

use crate::audit::Tally;
use crate::frame::{Batch, Frame, LinkType, Outline, Place};
use crate::pipeline::datagrams::Datagram;
use crate::pipeline::ledger::{Budget, Census};
use crate::pipeline::times::Times;
use crate::segment::{ErrorTraits, Segment};
use crate::source::rules::Exemptions;
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Share, Vantage};
use crate::wire::fragments::{Piece, Reassembler};
use crate::wire::{
    self, Checksums, Decoded, IcmpError, Packet, Tunnels, Undecodable, decode_innermost,
    decode_with,
};

pub(super) use items::Items;

/// What kind of packet an item is.
#[derive(Clone, Copy, Default, Debug)]
pub(super) enum Kind {
    /// A TCP segment.
    #[default]
    Segment,
    /// A TCP segment that a rule exempts from tracking.
    ExemptSegment,
    /// An ICMP error about TCP that a rule exempts from tracking.
    ExemptError,
    /// An ICMP error about TCP: key and orientation are those of the quoted packet, and there is
    /// no segment.
    Error(ErrorTraits),
    /// The same, saying that the quoted packet was too big for a hop.
    TooBig(ErrorTraits),
    /// A datagram of another protocol.
    Datagram(Datagram),
    /// No packet: before the frame with this stamp, the flows are counted. Every shard gets it.
    Census(Census),
}

/// A packet for the tracker.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Item {
    pub(super) stamp: Stamp,
    /// Hash of the key under the run's seed.
    pub(super) hash: u64,
    pub(super) packet: Packet,
    pub(super) kind: Kind,
}

impl Item {
    /// Reads a plain frame into this place.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers")]
    fn fill(&mut self, stamp: Stamp, plain: wire::Plain<'_>, seed: u64) {
        self.packet.key = plain.key;
        self.hash = plain.key.hash_with(seed);
        self.stamp = stamp;
        self.kind = Kind::Segment;
        self.packet.orientation = plain.orientation;
        plain.read(&mut self.packet.segment);
    }

    /// Reads a frame into this place if it is a plain one of IPv6. Stands alone, so that it takes no
    /// registers from IPv4.
    #[inline(never)]
    fn fill_v6(&mut self, stamp: Stamp, link: LinkType, bytes: &[u8], seed: u64) -> bool {
        let plain = wire::plain_v6(link, bytes);
        plain.map(|plain| self.fill(stamp, plain, seed)).is_some()
    }
}

/// The circumstances of a frame.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Stamp {
    pub(super) number: u64,
    pub(super) ts: Timestamp,
    pub(super) clock: Timestamp,
    /// The interface that the frame was captured on.
    pub(super) interface: u16,
    /// The position of the packet among those of its frame, from 0.
    pub(super) part: u16,
}

impl Stamp {
    #[inline]
    const fn of(frame: &Frame<'_>) -> Self {
        let Frame { number, ts, clock, interface, .. } = *frame;
        Self { number, ts, clock, interface, part: 0 }
    }

    #[inline]
    const fn of_outline(outline: &Outline<'_>) -> Self {
        let Outline { number, ts, clock, interface, .. } = *outline;
        Self { number, ts, clock, interface, part: 0 }
    }

    /// Returns where the frame was captured.
    #[inline]
    pub(super) fn vantage(&self) -> Vantage {
        let file = u16::try_from(Place::file_of(self.number)).unwrap_or(u16::MAX);
        Vantage { file, interface: self.interface }
    }
}

/// How frames are decoded and routed.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    pub(super) checksums: Checksums,
    pub(super) tunnels: Tunnels,
    pub(super) exemptions: Exemptions,
    pub(super) seed: u64,
    pub(super) shards: usize,
    /// The flows that are audited.
    pub(super) share: Share,
    /// What says when the flows are counted.
    pub(super) memory: Budget,
    /// Whether the frames are a piece of those of a capture.
    pub(super) is_piece: bool,
}

impl Decoder {
    /// Returns which shard owns a flow, none for one that is not audited here.
    fn owner(&self, key: FlowKey) -> Option<usize> {
        self.only_owner().or_else(|| self.share.worker(&key, self.shards))
    }

    /// Returns the shard that owns all flows, where there is one.
    fn only_owner(&self) -> Option<usize> {
        (self.shards == 1 && self.share.is_all()).then_some(0)
    }

    /// Returns how many frames come before the next census, given how many came in all.
    fn before_census(&self, frames: u64) -> usize {
        let between = self.memory.frames_between();
        let left = between - frames % between;
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Returns whether the rules do the same with two frames.
    pub(super) fn is_treated_alike(&self, one: &Frame<'_>, other: &Frame<'_>) -> bool {
        self.exemptions.is_empty() || self.treatment(one) == self.treatment(other)
    }

    /// Says what the rules do with the packet of a frame.
    fn treatment(&self, frame: &Frame<'_>) -> Treatment {
        if self.exemptions.is_empty() {
            return Treatment::Tracked;
        }
        match wire::judged_packet(frame, self.tunnels) {
            Ok((packet, len)) if self.exemptions.cover(frame, &packet, len) => Treatment::Exempt,
            _ => Treatment::Tracked,
        }
    }
}

/// What a rule does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Treatment {
    /// Nothing: it is tracked.
    Tracked,
    /// It is not.
    Exempt,
}

/// Does what must happen in capture order, slice after slice.
#[derive(Debug)]
pub(super) struct Settler {
    pub(super) decoder: Decoder,
    pub(super) reassembler: Reassembler,
    pub(super) times: Times,
    /// Tracker time of the first and the last frame.
    pub(super) clocks: Option<(Timestamp, Timestamp)>,
    /// What became of fragments.
    pub(super) tally: Tally,
}

impl Settler {
    /// Appends the times of a slice, and gives its fragments their turn: a completed datagram
    /// takes the place of the fragment that completed it.
    pub(super) fn settle(&mut self, slice: &mut Slice) {
        self.times.merge(&slice.times);
        if let Some((first, last)) = slice.clocks {
            let (begin, end) = self.clocks.unwrap_or((first, last));
            self.clocks = Some((begin, end.max(last)));
        }
        if slice.fragments.is_empty() {
            return;
        }
        let mut fragments = std::mem::take(&mut slice.fragments);
        // Fragments are counted apart: every piece of a capture has all of them.
        std::mem::swap(&mut slice.tally, &mut self.tally);
        for (stamp, piece) in fragments.drain(..) {
            let Some(completed) = self.reassembler.add_marked(&piece, stamp.clock) else {
                slice.tally.fragments += 1;
                continue;
            };
            let treatment =
                if completed.is_marked { Treatment::Exempt } else { Treatment::Tracked };
            match completed.decoded {
                Decoded::Other(datagram)
                    if self.decoder.tunnels == Tunnels::Opened && datagram.may_be_tunnel() =>
                {
                    let cut = Decoded::Undecodable(Undecodable::TunnelFragmented);
                    slice.take(stamp, &cut, treatment, &self.decoder);
                }
                decoded => slice.take(stamp, &decoded, treatment, &self.decoder),
            }
        }
        std::mem::swap(&mut slice.tally, &mut self.tally);
        slice.fragments = fragments;
        for items in &mut slice.items {
            items.sort();
        }
    }
}

/// A run of frames being decoded, reused from run to run.
#[derive(Debug)]
pub(super) struct Slice {
    /// For each shard what it is to track, in capture order once the slice is settled.
    pub(super) items: Vec<Items>,
    /// The fragments, which wait for their turn at the reassembler.
    fragments: Vec<(Stamp, Piece)>,
    times: Times,
    /// Tracker time of the first and the last frame.
    clocks: Option<(Timestamp, Timestamp)>,
    /// What became of all frames that went through.
    pub(super) tally: Tally,
}

impl Slice {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            items: std::iter::repeat_with(Items::default).take(shards).collect(),
            fragments: Vec::new(),
            times: Times::default(),
            clocks: None,
            tally: Tally::default(),
        }
    }

    /// Returns the numbers of the fragments that wait for their turn.
    pub(super) fn fragments(&self) -> impl Iterator<Item = u64> {
        self.fragments.iter().map(|(stamp, _)| stamp.number)
    }

    /// Decodes the frames `range` of the batch, before whose first one `frames` came in the run.
    #[inline(never)]
    pub(super) fn decode(
        &mut self,
        batch: &Batch,
        range: Range<usize>,
        frames: u64,
        how: &Decoder,
    ) {
        self.items.iter_mut().for_each(Items::clear);
        self.fragments.clear();
        self.times = Times::default();
        self.sample_first(batch, range.clone());
        let clock = |position| batch.frame(position).map(|frame| frame.clock);
        self.clocks = clock(range.start).zip(range.end.checked_sub(1).and_then(clock));
        if !batch.ticks().is_empty() || how.is_piece {
            return self.decode_piece(batch, range, how);
        }
        let mut start = range.start;
        while start < range.end {
            let frames = frames + (start - range.start) as u64;
            if let Some(census) = how.memory.census(frames) {
                self.call(census, batch.frame(start));
            }
            let end = range.end.min(start.saturating_add(how.before_census(frames)));
            self.decode_run(batch, start..end, how);
            start = end;
        }
    }

    /// Decodes frames of a piece of a capture, which tells of some how many came before.
    fn decode_piece(&mut self, batch: &Batch, range: Range<usize>, how: &Decoder) {
        let mut start = range.start;
        for (position, tick) in batch.ticks().iter().filter(|(at, _)| range.contains(at)) {
            self.decode_run(batch, start..*position, how);
            if let Some(census) = how.memory.census_at(*tick) {
                self.call(census, batch.frame(*position));
            }
            start = *position;
        }
        self.decode_run(batch, start..range.end, how);
    }

    /// Has every shard hold a census before a frame.
    fn call(&mut self, census: Census, next: Option<Frame<'_>>) {
        let Some(next) = next else { return };
        let stamp = Stamp::of(&next);
        for place in self.items.iter_mut().filter_map(Items::next) {
            *place = Item { stamp, kind: Kind::Census(census), ..Item::default() };
        }
    }

    /// Decodes a run of frames.
    fn decode_run(&mut self, batch: &Batch, range: Range<usize>, how: &Decoder) {
        self.times.add_all(batch.times(range.clone()));
        self.sample_some(batch, &range);
        let takes_plain = how.checksums == Checksums::Ignored && how.exemptions.is_empty();
        let mut rest = range;
        while !rest.is_empty() {
            if takes_plain {
                let range = rest.clone();
                let taken = match how.only_owner() {
                    Some(owner) => self.take_plain_for(owner, batch, range, how),
                    None => self.take_plain(batch, range, how),
                };
                self.tally.segments += taken as u64;
                rest.start += taken;
            }
            if !rest.is_empty() {
                self.decode_any(batch, rest.start, how);
                rest.start += 1;
            }
        }
    }

    /// Takes frames up to the first one that is not plain, and returns how many. Stands alone, so that
    /// its variables stay in registers.
    #[inline(never)]
    fn take_plain(&mut self, batch: &Batch, range: Range<usize>, how: &Decoder) -> usize {
        let mut taken = 0;
        for outline in batch.outlines(range) {
            let stamp = Stamp::of_outline(&outline);
            if let Some(plain) = wire::plain_v4(outline.link, outline.bytes) {
                self.fill_for_owner(stamp, plain, how);
            } else if !self.take_plain_v6(stamp, outline.link, outline.bytes, how) {
                break;
            }
            taken += 1;
        }
        taken
    }

    /// Takes a frame if it is a plain one of IPv6. Stands alone, so that it takes no registers from
    /// IPv4.
    #[inline(never)]
    fn take_plain_v6(&mut self, stamp: Stamp, link: LinkType, bytes: &[u8], how: &Decoder) -> bool {
        let plain = wire::plain_v6(link, bytes);
        plain.map(|plain| self.fill_for_owner(stamp, plain, how)).is_some()
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is found stays in registers")]
    fn fill_for_owner(&mut self, stamp: Stamp, plain: wire::Plain<'_>, how: &Decoder) {
        let Some(owner) = how.share.worker(&plain.key, how.shards) else { return };
        if let Some(item) = self.items.get_mut(owner).and_then(Items::next) {
            item.fill(stamp, plain, how.seed);
        }
    }

    /// Does the same where one shard owns all flows, so that place follows upon place.
    #[inline(never)]
    fn take_plain_for(
        &mut self,
        owner: usize,
        batch: &Batch,
        range: Range<usize>,
        how: &Decoder,
    ) -> usize {
        let Some(items) = self.items.get_mut(owner) else { return 0 };
        let mut taken = 0;
        for (item, outline) in items.free(range.len()).iter_mut().zip(batch.outlines(range)) {
            if let Some(plain) = wire::plain_v4(outline.link, outline.bytes) {
                item.fill(Stamp::of_outline(&outline), plain, how.seed);
            } else {
                let stamp = Stamp::of_outline(&outline);
                if !item.fill_v6(stamp, outline.link, outline.bytes, how.seed) {
                    break;
                }
            }
            taken += 1;
        }
        items.used += taken;
        taken
    }

    /// Decodes a frame of any kind.
    #[inline(never)]
    fn decode_any(&mut self, batch: &Batch, position: usize, how: &Decoder) {
        let Some(frame) = &batch.frame(position) else { return };
        let mut stamp = Stamp::of(frame);
        for packet in wire::packets(frame) {
            self.decode_packet(stamp, &packet, how);
            stamp.part = stamp.part.saturating_add(1);
        }
    }

    fn decode_packet(&mut self, mut stamp: Stamp, frame: &Frame<'_>, how: &Decoder) {
        self.tally.further_packets += u64::from(stamp.part > 0);
        if let Some(interface) = wire::cooked_interface(frame) {
            stamp.interface = interface;
        }
        let decoded = match how.tunnels {
            Tunnels::Closed => decode_with(frame, how.checksums),
            Tunnels::Opened => decode_innermost(frame, how.checksums),
        };
        let is_packet = !matches!(decoded, Decoded::Undecodable(_));
        if is_packet && how.checksums == Checksums::Verified && wire::is_sent_here(frame) {
            self.tally.excused_checksums += 1;
        }
        let treatment = how.treatment(frame);
        if let Decoded::Fragment(fragment) = &decoded {
            let piece = fragment.read(frame);
            let is_marked = treatment == Treatment::Exempt && piece.is_first();
            self.fragments.push((stamp, if is_marked { piece.marked() } else { piece }));
        } else {
            self.take(stamp, &decoded, treatment, how);
        }
    }

    /// Counts what a frame turned out to be, and keeps what it holds for the tracker.
    fn take(&mut self, stamp: Stamp, decoded: &Decoded, treatment: Treatment, how: &Decoder) {
        let is_exempt = treatment == Treatment::Exempt;
        match decoded {
            Decoded::Segment(packet) => {
                self.tally.segments += 1;
                let kind = if is_exempt { Kind::ExemptSegment } else { Kind::Segment };
                self.route(stamp, packet, kind, how);
            }
            Decoded::TcpError(error) => {
                self.tally.tcp_errors += 1;
                let IcmpError { key, orientation, traits, .. } = *error;
                let quoted = Packet { key, orientation, segment: Segment::default() };
                let kind = match (is_exempt, error.is_too_big()) {
                    (true, _) => Kind::ExemptError,
                    (false, true) => Kind::TooBig(traits),
                    (false, false) => Kind::Error(traits),
                };
                self.route(stamp, &quoted, kind, how);
            }
            Decoded::Other(datagram) => {
                *self.tally.other.entry(datagram.key.protocol()).or_default() += 1;
                let (key, kind) = Datagram::of(datagram);
                let kind = if is_exempt { Datagram::Untracked } else { kind };
                let orientation = datagram.orientation;
                let packet = Packet { key, orientation, segment: Segment::default() };
                self.route(stamp, &packet, Kind::Datagram(kind), how);
            }
            // A whole datagram is no fragment.
            Decoded::Fragment(_) => self.tally.fragments += 1,
            Decoded::Undecodable(reason) => {
                *self.tally.undecodable.entry(*reason).or_default() += 1;
            }
        }
    }

    fn route(&mut self, stamp: Stamp, packet: &Packet, kind: Kind, how: &Decoder) {
        let items = how.owner(packet.key).and_then(|owner| self.items.get_mut(owner));
        if let Some(item) = items.and_then(Items::next) {
            *item = Item { stamp, hash: packet.key.hash_with(how.seed), packet: *packet, kind };
        }
    }
}
