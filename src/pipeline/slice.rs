//! A run of frames on its way from bytes to the shards.

use crate::audit::Tally;
use crate::conntrack::Addressee;
use crate::frame::{Batch, Frame};
use crate::pipeline::SLICE;
use crate::segment::Segment;
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Orientation};
use crate::wire::fragments::{Piece, Reassembler};
use crate::wire::{
    Checksums, Decoded, IcmpError, Packet, Tunnels, Undecodable, decode_innermost, decode_with,
};

/// What a frame holds for the tracker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// A TCP segment.
    Segment(Segment),
    /// An ICMP error about TCP.
    Error(Addressee),
    /// A fragment that waits for its turn at the reassembler, or completed nothing there.
    Fragment,
}

/// A frame for the tracker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) number: u64,
    pub(super) ts: Timestamp,
    pub(super) clock: Timestamp,
    pub(super) key: FlowKey,
    /// Hash of the key under the run's seed.
    pub(super) hash: u64,
    pub(super) orientation: Orientation,
    /// The shard that owns the flow.
    pub(super) shard: u32,
    pub(super) body: Body,
}

impl Item {
    fn new(frame: &Frame<'_>, body: Body) -> Self {
        Self {
            number: frame.number,
            ts: frame.ts,
            clock: frame.clock,
            key: FlowKey::default(),
            hash: 0,
            orientation: Orientation::default(),
            shard: 0,
            body,
        }
    }
}

/// How frames are decoded and routed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoder {
    pub(super) checksums: Checksums,
    pub(super) tunnels: Tunnels,
    pub(super) seed: u64,
    pub(super) shards: usize,
}

impl Decoder {
    #[inline]
    fn route(&self, item: &mut Item, key: FlowKey, orientation: Orientation) {
        item.key = key;
        item.orientation = orientation;
        item.hash = key.hash_with(self.seed);
        item.shard = u32::try_from(key.shard(self.shards)).unwrap_or(0);
    }

    /// Gives a fragment its turn: the datagram that it completes takes its place.
    pub(super) fn complete(
        &self,
        item: &mut Item,
        piece: &Piece,
        reassembler: &mut Reassembler,
        tally: &mut Tally,
    ) {
        let Some(mut decoded) = reassembler.add(piece, item.clock) else {
            tally.fragments += 1;
            return;
        };
        if let Decoded::Other(datagram) = &decoded
            && self.tunnels == Tunnels::Opened
            && datagram.may_be_tunnel()
        {
            decoded = Decoded::Undecodable(Undecodable::TunnelFragmented);
        }
        if let Some(body) = count(&decoded, tally) {
            item.body = body;
            if let Some((key, orientation)) = address(&decoded) {
                self.route(item, key, orientation);
            }
        }
    }
}

/// Counts what a frame turned out to be, and returns what it holds for the tracker.
#[inline]
fn count(decoded: &Decoded, tally: &mut Tally) -> Option<Body> {
    match decoded {
        Decoded::Segment(Packet { segment, .. }) => {
            tally.segments += 1;
            return Some(Body::Segment(*segment));
        }
        Decoded::TcpError(IcmpError { to_quoted_sender, .. }) => {
            tally.tcp_errors += 1;
            let addressee =
                if *to_quoted_sender { Addressee::QuotedSender } else { Addressee::Stranger };
            return Some(Body::Error(addressee));
        }
        Decoded::Other(datagram) => *tally.other.entry(datagram.key.protocol()).or_default() += 1,
        Decoded::Fragment(_) => return Some(Body::Fragment),
        Decoded::Undecodable(reason) => *tally.undecodable.entry(*reason).or_default() += 1,
    }
    None
}

#[inline]
const fn address(decoded: &Decoded) -> Option<(FlowKey, Orientation)> {
    match decoded {
        Decoded::Segment(packet) => Some((packet.key, packet.orientation)),
        Decoded::TcpError(error) => Some((error.key, error.orientation)),
        _ => None,
    }
}

/// The time span of frames, and how often it stepped back.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Times {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    pub(super) earliest: Option<Timestamp>,
    pub(super) latest: Option<Timestamp>,
    pub(super) steps_back: u64,
}

impl Times {
    #[inline]
    fn add(&mut self, ts: Timestamp) {
        self.merge(&Self {
            first: Some(ts),
            last: Some(ts),
            earliest: Some(ts),
            latest: Some(ts),
            steps_back: 0,
        });
    }

    /// Appends the times of the frames that follow.
    #[inline]
    pub(super) fn merge(&mut self, next: &Self) {
        let Some(next_first) = next.first else { return };
        let stepped = self.last.is_some_and(|last| next_first < last);
        self.steps_back += next.steps_back + u64::from(stepped);
        self.first = self.first.or(next.first);
        self.last = next.last;
        self.earliest = self.earliest.into_iter().chain(next.earliest).min();
        self.latest = self.latest.max(next.latest);
    }
}

/// A run of frames being decoded, reused from run to run.
#[derive(Default, Debug)]
pub(super) struct Slice {
    pub(super) items: Vec<Item>,
    pub(super) tally: Tally,
    /// The fragments, and where they stand in `items`.
    pub(super) fragments: Vec<(usize, Piece)>,
    pub(super) times: Times,
}

impl Slice {
    /// Decodes the frames of the batch from `start` on, [`SLICE`] at most.
    pub(super) fn decode(&mut self, batch: &Batch, start: usize, how: &Decoder) {
        self.items.clear();
        self.fragments.clear();
        self.tally = Tally::default();
        self.times = Times::default();
        let end = batch.len().min(start + SLICE);
        for frame in batch.frames(start..end) {
            self.times.add(frame.ts);
            let decoded = match how.tunnels {
                Tunnels::Closed => decode_with(&frame, how.checksums),
                Tunnels::Opened => decode_innermost(&frame, how.checksums),
            };
            let Some(body) = count(&decoded, &mut self.tally) else { continue };
            let mut item = Item::new(&frame, body);
            if let Some((key, orientation)) = address(&decoded) {
                how.route(&mut item, key, orientation);
            } else if let Decoded::Fragment(fragment) = &decoded {
                self.fragments.push((self.items.len(), fragment.read(&frame)));
            }
            self.items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_same_whether_added_one_by_one_or_in_runs() {
        let seconds = [5, 7, 6, 6, 9, 1, 8].map(|s| Timestamp::from_parts(s, 0));
        let mut whole = Times::default();
        for ts in seconds {
            whole.add(ts);
        }
        for cut in 0..seconds.len() {
            let (mut head, mut tail) = (Times::default(), Times::default());
            seconds[..cut].iter().for_each(|ts| head.add(*ts));
            seconds[cut..].iter().for_each(|ts| tail.add(*ts));
            head.merge(&tail);
            assert_eq!((head.steps_back, head.earliest), (2, Some(seconds[5])), "cut at {cut}");
            assert_eq!(head.latest, whole.latest);
        }
    }
}
