//! One datagram in the making: which bytes have come, and when it is complete.
//!
//! Does not: know time or other datagrams.

use super::{FRAGMENT_OVERHEAD, Fragment, HEAD_LEN, MAX_DATAGRAM_LEN, Piece};
use crate::time::Timestamp;
use crate::wire::checksum::Sum;

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Insertion {
    /// It waits for the others, or is a duplicate of one that does.
    Held,
    /// It completes the datagram.
    Complete,
    /// The kernel drops it and goes on with the others.
    Dropped,
    /// The kernel drops it and the whole datagram with it.
    Discarded,
    /// The kernel gives up the datagram and lets the fragment pass as it is.
    Passed,
}

/// What the first fragment says of the datagram.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct First {
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    pub(super) header_len: u16,
    /// Whether it bears a mark.
    pub(super) is_marked: bool,
    /// Whether the capturing host sent it.
    pub(super) is_sent_here: bool,
}

/// Bytes that came one fragment after the other, `start..end` of the payload.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    end: u32,
}

/// The fragments of one datagram.
#[derive(Debug)]
pub(super) struct Queue {
    /// When the datagram is given up.
    pub(super) deadline: Timestamp,
    /// Length of the payload as far as it is known, in bytes.
    pub(super) len: u32,
    /// What the first fragment says.
    pub(super) first: First,
    /// How many frames are held.
    pub(super) held: u32,
    /// Bytes charged for them.
    pub(super) charged: usize,
    /// Sorted, and without overlaps.
    runs: Vec<Run>,
    received_len: u32,
    first_seen: bool,
    last_seen: bool,
    /// One bit for each ECN codepoint seen.
    ecn: u8,
    head: [u8; HEAD_LEN],
    known: u128,
    sum: Sum,
    is_cut: bool,
}

impl Queue {
    /// Makes an empty queue.
    pub(super) fn new(deadline: Timestamp) -> Self {
        Self {
            deadline,
            len: 0,
            first: First::default(),
            held: 0,
            charged: 0,
            runs: Vec::new(),
            received_len: 0,
            first_seen: false,
            last_seen: false,
            ecn: 0,
            head: [0; HEAD_LEN],
            known: 0,
            sum: Sum::default(),
            is_cut: false,
        }
    }

    /// Takes a fragment: `ip_frag_queue()` and `nf_ct_frag6_queue()`.
    pub(super) fn insert(&mut self, piece: &Piece) -> Insertion {
        let fragment = &piece.fragment;
        let is_v4 = fragment.src.is_ipv4();
        let (start, len) = (fragment.offset, fragment.kept_len());
        let end = start.saturating_add(len);
        let corrupt = if is_v4 { Insertion::Discarded } else { Insertion::Dropped };
        if !is_v4 && end > MAX_DATAGRAM_LEN {
            return Insertion::Dropped;
        }
        if fragment.more && !end.is_multiple_of(8) {
            return Insertion::Passed;
        }
        if !self.accepts_end(end, fragment.more) {
            return corrupt;
        }
        self.len = self.len.max(end);
        self.last_seen |= !fragment.more;
        if end == start {
            return corrupt;
        }
        match self.place(start, end) {
            Placement::New => self.keep(piece, len),
            Placement::Duplicate => {
                self.held += 1;
                return Insertion::Held;
            }
            Placement::Overlap => return Insertion::Discarded,
        }
        if self.first_seen && self.last_seen && self.received_len == self.len {
            Insertion::Complete
        } else {
            Insertion::Held
        }
    }

    /// Returns the bytes at the start of the payload that are known without a gap.
    pub(super) fn captured(&self) -> &[u8] {
        let known_len = (self.known.trailing_ones() as usize).min(self.len as usize);
        self.head.get(..known_len).unwrap_or_default()
    }

    /// Returns the sum of the payload, if every byte was captured.
    pub(super) fn payload_sum(&self) -> Option<Sum> {
        (!self.is_cut).then_some(self.sum)
    }

    /// Returns whether the fragments agree on ECN: "not capable" goes with nothing else
    /// (`ip_frag_ecn_table`, `net/ipv4/inet_fragment.c`, Linux 6.18).
    pub(super) const fn is_ecn_consistent(&self) -> bool {
        const NOT_CAPABLE: u8 = 1;
        self.ecn & NOT_CAPABLE == 0 || self.ecn == NOT_CAPABLE
    }

    /// Returns whether a fragment may end at `end`: the last one nowhere but at the end, the others
    /// not beyond it.
    const fn accepts_end(&self, end: u32, more: bool) -> bool {
        if more {
            !self.last_seen || end <= self.len
        } else {
            end >= self.len && (!self.last_seen || end == self.len)
        }
    }

    /// Finds the place of `start..end` among the runs: `inet_frag_queue_insert()`
    /// (`net/ipv4/inet_fragment.c`, Linux 6.18).
    ///
    /// A run grows only at the end of the datagram; runs that meet are not joined. So a fragment
    /// is a duplicate when it lies within one run, and overlaps when it lies across two.
    fn place(&mut self, start: u32, end: u32) -> Placement {
        if let Some(last) = self.runs.last_mut()
            && last.end == start
        {
            last.end = end;
            return Placement::New;
        }
        let at = self.runs.partition_point(|run| run.end <= start);
        match self.runs.get(at) {
            Some(run) if run.start <= start && end <= run.end => return Placement::Duplicate,
            Some(run) if run.start < end => return Placement::Overlap,
            _ => self.runs.insert(at, Run { start, end }),
        }
        Placement::New
    }

    /// Remembers what a fragment of which `len` bytes count brings.
    fn keep(&mut self, piece: &Piece, len: u32) {
        let Fragment { protocol, ttl, header_len, offset, ecn, .. } = piece.fragment;
        self.held += 1;
        self.charged += piece.fragment.len as usize + FRAGMENT_OVERHEAD;
        self.received_len += len;
        self.ecn |= 1 << ecn;
        self.is_cut |= piece.is_cut;
        self.sum = self.sum.plus(piece.sum);
        if offset == 0 {
            self.first_seen = true;
            let Piece { is_marked, is_sent_here, .. } = *piece;
            self.first = First { protocol, ttl, header_len, is_marked, is_sent_here };
        }
        let slots = self.head.iter_mut().enumerate().skip(offset as usize);
        for ((at, slot), byte) in slots.zip(piece.head()) {
            *slot = *byte;
            self.known |= 1 << at;
        }
    }
}

/// How a fragment lies to those that came before it.
enum Placement {
    New,
    Duplicate,
    Overlap,
}
