//! Reassembly of IP fragments, as the kernel's defragmentation in front of conntrack does it:
//! `ip_defrag()` (`net/ipv4/ip_fragment.c`) and `nf_ct_frag6_gather()`
//! (`net/ipv6/netfilter/nf_conntrack_reasm.c`), Linux 6.18.
//!
//! Only ranges and the first bytes of a datagram are kept: what decides lies in the headers.
//! Timeouts run on the tracker's clock.
//!
//! Differs from the kernel: the memory of a fragment is an estimate of what the kernel charges,
//! and `net.ipv4.ipfrag_max_dist` (a datagram is given up when more than 64 other fragments of its
//! source come between two of its own) is not modelled.
//!
//! Does not: know flows; decode what a complete datagram carries.

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::bytes::Payload;
use super::checksum::Sum;
use super::datagram::{Addresses, Datagram};
use super::{Checksums, Decoded, Fault, Undecodable, ipv6, is_sent_here, transport};
use crate::frame::Frame;
use crate::time::{NANOS_PER_SEC, Timestamp};
use queue::{Insertion, Queue};

/// How long an IPv4 datagram may take from its first fragment to come, in nanoseconds: the
/// default of `net.ipv4.ipfrag_time`.
const IPV4_TIMEOUT_NS: i64 = 30 * NANOS_PER_SEC;
/// The same for IPv6: the default of `net.netfilter.nf_conntrack_frag6_timeout`.
const IPV6_TIMEOUT_NS: i64 = 60 * NANOS_PER_SEC;
/// Bytes held, for each address family, beyond which no new datagram is begun: the default of
/// `net.ipv4.ipfrag_high_thresh` and `net.netfilter.nf_conntrack_frag6_high_thresh`.
const HIGH_THRESHOLD: usize = 4 << 20;
/// Bytes held, for each address family, beyond which datagrams that have begun grow no more; the
/// kernel has no such bound.
const HARD_LIMIT: usize = 2 * HIGH_THRESHOLD;
/// What the kernel charges for a fragment beside its bytes: about one `sk_buff` with its shared
/// info.
const FRAGMENT_OVERHEAD: usize = 768;
/// How many bytes at the start of a datagram are kept, one for each bit of `Queue::known`: an
/// ICMP error with an IPv6 header and some extension headers in its quote, or the longest TCP
/// header behind 68 bytes of extension headers.
pub(super) const HEAD_LEN: usize = 128;
/// The largest datagram, IPv4 header included, IPv6 header not, in bytes.
const MAX_DATAGRAM_LEN: u32 = 65_535;

/// A fragment of an IP datagram, as its frame's headers describe it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// IPv4 or IPv6 identification.
    pub(super) id: u32,
    /// The protocol of the payload; for IPv6 the header behind the fragment header.
    pub(super) protocol: u8,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
    /// The two ECN bits of the IP header.
    pub(super) ecn: u8,
    /// Whether more fragments follow.
    pub(super) more: bool,
    /// Where this part starts in the payload of the datagram, in bytes.
    pub(super) offset: u32,
    /// Length of this part in bytes, by the IP header.
    pub(super) len: u32,
    /// Where this part starts in the frame.
    pub(super) start: u32,
    /// Header bytes that count against the datagram's 65,535: the whole IPv4 header, or the IPv6
    /// extension headers in front of the fragment header.
    pub(super) header_len: u16,
}

impl Fragment {
    /// Returns whether this part is not the beginning of its datagram, and so has no ports.
    pub(super) const fn is_later(&self) -> bool {
        self.offset > 0
    }

    /// Takes what reassembly needs from the frame that was decoded to this fragment.
    pub fn read(&self, frame: &Frame<'_>) -> Piece {
        let len = self.kept_len();
        let bytes = frame.bytes.get(self.start as usize..).unwrap_or_default();
        let captured = bytes.get(..len as usize).unwrap_or(bytes);
        let is_at_head = (self.offset as usize) < HEAD_LEN;
        let mut piece = Piece {
            fragment: *self,
            head: [0; HEAD_LEN],
            head_len: 0,
            sum: Sum::default().add_bytes(captured),
            is_cut: captured.len() < len as usize,
            is_marked: false,
            is_sent_here: is_sent_here(frame),
        };
        if is_at_head {
            for (slot, byte) in piece.head.iter_mut().zip(captured) {
                *slot = *byte;
                piece.head_len += 1;
            }
        }
        piece
    }

    /// Returns how many bytes of this part count: IPv4 cuts off what is beyond a multiple of 8
    /// when more fragments follow.
    fn kept_len(&self) -> u32 {
        if self.more && self.src.is_ipv4() { self.len & !7 } else { self.len }
    }

    fn key(&self) -> Key {
        // IPv6 datagrams are told apart by addresses and identification alone.
        let protocol = if self.src.is_ipv4() { self.protocol } else { 0 };
        Key { src: self.src, dst: self.dst, id: self.id, protocol }
    }
}

/// A fragment with those of its bytes that reassembly needs, independent of its frame.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    fragment: Fragment,
    /// The first bytes of a part that starts in the head of the datagram.
    head: [u8; HEAD_LEN],
    head_len: u8,
    /// The sum of the bytes that count.
    sum: Sum,
    /// Whether some of them were not captured.
    is_cut: bool,
    is_marked: bool,
    /// Whether the capturing host sent it.
    is_sent_here: bool,
}

impl Piece {
    /// Puts a mark on the fragment: the whole datagram will bear that of its first one.
    #[must_use]
    pub const fn marked(self) -> Self {
        Self { is_marked: true, ..self }
    }

    /// Returns whether this is the first part of its datagram, which holds the ports.
    pub const fn is_first(&self) -> bool {
        self.fragment.offset == 0
    }

    fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.head_len)).unwrap_or_default()
    }
}

/// What stands on the frame of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completed {
    /// The whole datagram, or why there will be none.
    pub decoded: Decoded,
    /// Whether the first fragment bore a mark.
    pub is_marked: bool,
}

impl Completed {
    const DROPPED: Self =
        Self { decoded: Decoded::Undecodable(Undecodable::FragmentDropped), is_marked: false };
}

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    protocol: u8,
}

/// The datagrams of which some fragments have come.
#[derive(Default, Debug)]
pub struct Reassembler {
    queues: BTreeMap<Key, Queue>,
    deadlines: BTreeSet<(Timestamp, Key)>,
    /// Bytes charged for IPv4 and for IPv6.
    charged: [usize; 2],
    incomplete: u64,
    checksums: Checksums,
}

impl Reassembler {
    /// Makes a reassembler that judges the checksums of whole datagrams as told.
    pub fn new(checksums: Checksums) -> Self {
        Self { checksums, ..Self::default() }
    }

    /// Takes a fragment that comes at the tracker's time `clock`, and returns what stands on its
    /// frame: nothing while the datagram is incomplete, or when the fragment is a duplicate; the
    /// whole datagram when it completes one; [`Undecodable::FragmentDropped`] when the kernel
    /// drops it.
    pub fn add(&mut self, piece: &Piece, clock: Timestamp) -> Option<Decoded> {
        self.add_marked(piece, clock).map(|completed| completed.decoded)
    }

    /// As [`Reassembler::add`], with the mark that the first fragment bore.
    pub fn add_marked(&mut self, piece: &Piece, clock: Timestamp) -> Option<Completed> {
        self.expire(clock);
        let key = piece.fragment.key();
        let Some(queue) = self.open(key, clock) else { return Some(Completed::DROPPED) };
        let charge = queue.charged;
        let insertion = queue.insert(piece);
        let grown = queue.charged - charge;
        let family = family(&key);
        if let Some(charged) = self.charged.get_mut(family) {
            *charged += grown;
        }
        let is_full = self.charged.get(family).is_some_and(|charged| *charged > HARD_LIMIT);
        match insertion {
            Insertion::Held if is_full => {
                self.abandon(&key);
                None
            }
            Insertion::Held => None,
            Insertion::Dropped => Some(Completed::DROPPED),
            Insertion::Discarded => {
                self.abandon(&key);
                Some(Completed::DROPPED)
            }
            Insertion::Passed => {
                self.abandon(&key);
                Some(Completed { decoded: self.pass(piece), is_marked: piece.is_marked })
            }
            Insertion::Complete => self.close(&key).map(|queue| Completed {
                decoded: self.complete(&piece.fragment, &queue),
                is_marked: queue.first.is_marked,
            }),
        }
    }

    /// Returns how many frames were held for datagrams that never became complete.
    pub const fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Gives up all datagrams, as at the end of the input, and returns [`Self::incomplete`].
    pub fn finish(&mut self) -> u64 {
        while let Some((_, key)) = self.deadlines.first().copied() {
            self.abandon(&key);
        }
        self.incomplete
    }

    /// Gives up the datagrams whose time has run out.
    fn expire(&mut self, now: Timestamp) {
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.abandon(&key);
        }
    }

    /// Returns the datagram of `key`, which is begun if there is memory for it.
    fn open(&mut self, key: Key, now: Timestamp) -> Option<&mut Queue> {
        let is_new = !self.queues.contains_key(&key);
        if is_new && self.charged.get(family(&key)).is_some_and(|held| *held > HIGH_THRESHOLD) {
            return None;
        }
        let timeout_ns = if key.src.is_ipv4() { IPV4_TIMEOUT_NS } else { IPV6_TIMEOUT_NS };
        let deadline = now.plus_nanos(timeout_ns);
        if is_new {
            self.deadlines.insert((deadline, key));
        }
        Some(self.queues.entry(key).or_insert_with(|| Queue::new(deadline)))
    }

    /// Takes a datagram out.
    fn close(&mut self, key: &Key) -> Option<Queue> {
        let queue = self.queues.remove(key)?;
        self.deadlines.remove(&(queue.deadline, *key));
        if let Some(charged) = self.charged.get_mut(family(key)) {
            *charged -= queue.charged;
        }
        Some(queue)
    }

    /// Gives up a datagram.
    fn abandon(&mut self, key: &Key) {
        if let Some(queue) = self.close(key) {
            self.incomplete += u64::from(queue.held);
        }
    }

    /// Decodes a datagram whose bytes have all come, the last of them with `fragment`.
    fn complete(&mut self, fragment: &Fragment, queue: &Queue) -> Decoded {
        let too_long = queue.len + u32::from(queue.first.header_len) > MAX_DATAGRAM_LEN;
        if too_long || !queue.is_ecn_consistent() {
            self.incomplete += u64::from(queue.held - 1);
            return Decoded::Undecodable(Undecodable::FragmentDropped);
        }
        let payload = Payload { captured: queue.captured(), len: queue.len as usize };
        decode(&Datagram {
            protocol: queue.first.protocol,
            ttl: queue.first.ttl,
            payload_sum: queue.payload_sum(),
            ..self.datagram(fragment, payload, queue.first.is_sent_here)
        })
    }

    /// Decodes a fragment that the kernel lets pass as it is.
    fn pass(&self, piece: &Piece) -> Decoded {
        let payload = Payload { captured: piece.head(), len: piece.fragment.len as usize };
        let datagram = self.datagram(&piece.fragment, payload, piece.is_sent_here);
        if piece.fragment.offset == 0 {
            decode(&datagram)
        } else {
            Decoded::Other(datagram.invalid(Fault::NotTrackable))
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "an IPv4 identification has 16 bits")]
    fn datagram<'a>(
        &self,
        fragment: &Fragment,
        payload: Payload<'a>,
        is_sent_here: bool,
    ) -> Datagram<'a> {
        let addresses = Addresses::of(fragment.src, fragment.dst);
        Datagram {
            addresses,
            protocol: fragment.protocol,
            ttl: fragment.ttl,
            ip_id: if addresses.is_v4() { fragment.id as u16 } else { 0 },
            payload,
            payload_sum: None,
            checksums: self.checksums.unless_sent_here(|| is_sent_here),
        }
    }
}

fn family(key: &Key) -> usize {
    usize::from(key.src.is_ipv6())
}

fn decode(datagram: &Datagram<'_>) -> Decoded {
    if datagram.addresses.is_v4() {
        transport::decode(datagram)
    } else {
        ipv6::decode_extended(datagram)
    }
}

#[cfg(test)]
mod tests;
