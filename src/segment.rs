//! One TCP unit as the tracker and the analysis see it, and the two directions of a flow.
//!
//! Does not: know bytes, addresses or connections.

use std::hint::select_unpredictable;
use std::ops::{Index, IndexMut};

use crate::seq::SeqNum;

/// Direction within a tracked connection: `IP_CT_DIR_ORIGINAL` and `IP_CT_DIR_REPLY`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
#[repr(u8)]
pub enum Direction {
    /// The way of the packet that opened the connection.
    #[default]
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// Both directions, original first.
    pub const BOTH: [Self; 2] = [Self::Original, Self::Reply];

    /// Returns the other direction.
    #[must_use]
    #[inline]
    pub const fn flip(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    /// Returns `original` or `reply`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Reply => "reply",
        }
    }
}

/// A value for each direction of a flow.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct PerDirection<T> {
    /// The value of the original direction.
    pub original: T,
    /// The value of the reply direction.
    pub reply: T,
}

impl<T> Index<Direction> for PerDirection<T> {
    type Output = T;

    #[inline]
    fn index(&self, direction: Direction) -> &T {
        // Which way the next packet goes is anybody's guess.
        select_unpredictable(direction == Direction::Original, &self.original, &self.reply)
    }
}

impl<T> IndexMut<Direction> for PerDirection<T> {
    #[inline]
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        select_unpredictable(direction == Direction::Original, &mut self.original, &mut self.reply)
    }
}

/// The control bits of a TCP header (RFC 9293, section 3.1), CWR highest, FIN lowest.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);
    /// Those that decide what a segment does to a connection: SYN, FIN, RST and ACK.
    pub const DECIDING: Self = Self::SYN.with(Self::FIN).with(Self::RST).with(Self::ACK);

    /// Returns whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the union of both sets.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the letters tcpdump and packetdrill use, `.` for ACK: `S.`, `P.`, `R`; `-` for none.
    pub fn letters(self) -> String {
        const LETTERS: [(Flags, char); 8] = [
            (Flags::FIN, 'F'),
            (Flags::SYN, 'S'),
            (Flags::RST, 'R'),
            (Flags::PSH, 'P'),
            (Flags::URG, 'U'),
            (Flags::ECE, 'E'),
            (Flags::CWR, 'W'),
            (Flags::ACK, '.'),
        ];
        let text: String =
            LETTERS.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, c)| c).collect();
        if text.is_empty() { "-".to_owned() } else { text }
    }
}

/// What is wrong with a TCP header, in the order of the kernel's `tcp_error()`
/// (`nf_conntrack_proto_tcp.c`, Linux 6.18).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum HeaderFault {
    /// The datagram ends before 4 bytes of the layer-4 header: no ports, hence no tuple.
    NotTrackable,
    /// The datagram holds fewer than 20 bytes of TCP header.
    Short,
    /// The data offset is below 5 words or points beyond the datagram.
    Truncated,
    /// The checksum is wrong (judged only where the caller asks for it).
    BadChecksum,
    /// The flags, PSH, ECE and CWR aside, form no valid combination.
    BadFlags,
}

/// What of an ICMP error decides its verdict, beside the flow that it quotes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorTraits {
    /// Whether it is addressed to the sender of the quoted packet; if not, Linux 5.1 and later call
    /// it INVALID (`nf_conntrack_inet_error()`, `nf_conntrack_proto_icmp.c`, Linux 6.18).
    pub to_quoted_sender: bool,
    /// Whether it quotes eight bytes of layer 4, all that RFC 792 promises; of fewer, kernels before
    /// 4.18 make no tuple, later ones need only the four of the ports.
    pub quotes_eight_bytes: bool,
    /// Whether it is an `ICMPv6` redirect, which not every kernel takes for an error
    /// (`nf_conntrack_icmpv6_redirect()`, `nf_conntrack_proto_icmpv6.c`, Linux 6.18).
    pub is_redirect: bool,
}

/// The RFC 7323 timestamps option.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct TcpTimestamps {
    /// The sender's clock, in ticks of its own.
    pub value: u32,
    /// The peer's clock as last received.
    pub echo: u32,
}

/// One block of a SACK option (RFC 2018): bytes `left..right` have arrived.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: SeqNum,
    /// Sequence number after the last of the block.
    pub right: SeqNum,
}

/// The SACK blocks of a segment; a TCP header has room for four.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct SackBlocks {
    blocks: [SackBlock; 4],
    count: u8,
}

impl SackBlocks {
    /// No blocks.
    pub const NONE: Self =
        Self { blocks: [SackBlock { left: SeqNum(0), right: SeqNum(0) }; 4], count: 0 };

    /// Appends a block; a fifth is not kept (40 option bytes cannot hold it).
    pub fn push(&mut self, block: SackBlock) {
        if let Some(slot) = self.blocks.get_mut(usize::from(self.count)) {
            *slot = block;
            self.count += 1;
        }
    }

    /// Returns whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the blocks in the order of the header.
    #[inline]
    pub fn as_slice(&self) -> &[SackBlock] {
        self.blocks.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Returns the highest right edge after `ack`, or `ack`: what `tcp_sack()` computes
    /// (`nf_conntrack_proto_tcp.c`, Linux 6.18). Left edges do not count.
    #[inline]
    pub fn highest_edge(&self, ack: SeqNum) -> SeqNum {
        self.as_slice().iter().fold(ack, |highest, block| highest.latest(block.right))
    }
}

/// The TCP options that matter here, found by walking the option bytes as the kernel does:
/// unknown kinds are skipped by their length, a bad length ends the walk.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Options {
    /// Maximum segment size (kind 2, length 4).
    pub mss: Option<u16>,
    /// Window scale shift count as offered, 0–255 (kind 3, length 3); the last one if several.
    pub wscale: Option<u8>,
    /// Whether SACK-permitted (kind 4, length 2) was there.
    pub sack_permitted: bool,
    /// Timestamps (kind 8, length 10).
    pub timestamps: Option<TcpTimestamps>,
    /// The blocks of the first SACK option (kind 5) of a valid length.
    pub sack: SackBlocks,
    /// How the options are laid out, for those that are not merely timestamps.
    pub layout: Layout,
}

impl Options {
    /// No options.
    pub const NONE: Self = Self {
        mss: None,
        wscale: None,
        sack_permitted: false,
        timestamps: None,
        sack: SackBlocks::NONE,
        layout: Layout { kinds: 0, longest_nops: 0 },
    };
}

/// How options follow one another: stacks differ in it, and devices that remove options leave
/// no-operations behind.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Layout {
    /// The last 8 kinds in their order, 4 bits each, the last one lowest: NOP 1, MSS 2, window
    /// scale 3, SACK-permitted 4, SACK 5, timestamps 8, fast open 9, MPTCP 10, WAN optimisers 12,
    /// others 15.
    pub kinds: u32,
    /// The longest run of no-operations before another option or the end.
    pub longest_nops: u8,
}

impl Layout {
    /// The code of the options by which WAN optimisers find one another (kinds 76 to 78).
    const OPTIMISER: u32 = 12;

    /// Appends an option; `nops` are those just before it, itself included.
    #[inline]
    pub fn push(&mut self, kind: u8, nops: u8) {
        let code = match kind {
            0..=8 => u32::from(kind),
            34 => 9,
            30 => 10,
            76..=78 => Self::OPTIMISER,
            _ => 15,
        };
        self.kinds = self.kinds << 4 | code;
        self.longest_nops = self.longest_nops.max(nops);
    }

    /// Returns whether there is an option by which WAN optimisers find one another.
    pub fn has_optimiser(self) -> bool {
        (0..8).any(|place| self.kinds >> (4 * place) & 15 == Self::OPTIMISER)
    }
}

/// All that tracking and analysis need of one TCP unit.
///
/// Lengths come from the IP header, never from what was captured.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Segment {
    /// Sequence number of the first byte (or of the SYN).
    pub seq: SeqNum,
    /// Acknowledgement number; meaningless without the ACK flag.
    pub ack: SeqNum,
    /// Payload bytes by the IP length: 0 ..= 65,515, more for a jumbogram.
    pub len: u32,
    /// The raw 16-bit window field, unscaled.
    pub win: u16,
    /// Control bits.
    pub flags: Flags,
    /// TCP header length in bytes, 20 ..= 60; of a header of 20 the tracker reads no options.
    pub header_len: u8,
    /// Options.
    pub options: Options,
    /// What is wrong with the header; the other fields then hold what could be read.
    pub fault: Option<HeaderFault>,
    /// Whether the snap length cut into the options: those beyond the cut are unknown.
    pub options_cut: bool,
    /// Time to live, or hop limit, as captured.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
}

impl Segment {
    /// Returns the sequence number after the last of the segment; SYN and FIN count one each.
    #[inline]
    pub const fn end(&self) -> SeqNum {
        let syn = self.flags.contains(Flags::SYN) as u32;
        let fin = self.flags.contains(Flags::FIN) as u32;
        self.seq.plus(self.len).plus(syn + fin)
    }

    /// Returns whether the flag is set.
    #[inline]
    pub const fn has(&self, flag: Flags) -> bool {
        self.flags.contains(flag)
    }

    /// Returns the highest SACK edge after the acknowledgement number, or that number.
    #[inline]
    pub fn sack(&self) -> SeqNum {
        self.options.sack.highest_edge(self.ack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syn_and_fin_count_in_the_end() {
        let segment = Segment { seq: SeqNum(u32::MAX), len: 1, ..Segment::default() };
        assert_eq!(segment.end(), SeqNum(0));
        let both = Segment { flags: Flags::SYN.with(Flags::FIN), ..segment };
        assert_eq!(both.end(), SeqNum(2));
    }

    #[test]
    fn the_highest_sack_edge_counts_and_edges_below_the_ack_do_not() {
        let mut sack = SackBlocks::default();
        for right in [8000, 9381, 6500] {
            sack.push(SackBlock { left: SeqNum(right - 100), right: SeqNum(right) });
        }
        assert_eq!(sack.highest_edge(SeqNum(5000)), SeqNum(9381));
        assert_eq!(sack.highest_edge(SeqNum(9400)), SeqNum(9400));
    }

    #[test]
    fn a_fifth_block_is_not_kept() {
        let mut sack = SackBlocks::default();
        for right in 1..=5 {
            sack.push(SackBlock { left: SeqNum(0), right: SeqNum(right) });
        }
        assert_eq!(sack.as_slice().len(), 4);
    }

    #[test]
    fn flag_letters_follow_tcpdump() {
        assert_eq!(Flags::SYN.with(Flags::ACK).letters(), "S.");
        assert_eq!(Flags(0).letters(), "-");
    }
}
