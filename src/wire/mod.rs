//! From bytes to a [`Segment`], or to the reason why there is none.
//!
//! Knows link layers, IP and the TCP header. Does not: know flows, verdicts or files.

use crate::segment::Segment;
use crate::tuple::{FlowKey, Orientation};

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A TCP segment, whole or cut by the snap length.
    Segment(Packet),
    /// An ICMP or ICMPv6 error about a TCP segment.
    TcpError(IcmpError),
    /// An IP datagram of another protocol.
    Other(Protocol),
    /// A fragment of a datagram; judged when the datagram is complete.
    Fragment,
    /// Nothing that can be judged.
    Undecodable(Undecodable),
}

/// A TCP segment with its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The flow that the segment belongs to.
    pub key: FlowKey,
    /// Which way it travels.
    pub orientation: Orientation,
    /// The segment.
    pub segment: Segment,
}

/// An ICMP error message that quotes a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// The flow of the quoted segment.
    pub key: FlowKey,
    /// Which way the quoted segment travelled.
    pub orientation: Orientation,
    /// Whether the message is addressed to the sender of the quoted segment; if not, Linux 5.1 and
    /// later call it INVALID (`nf_conntrack_inet_error()`, `nf_conntrack_proto_icmp.c`).
    pub to_quoted_sender: bool,
}

/// The IP protocols that frames are counted by when they are not TCP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// ICMP and ICMPv6 but for errors about TCP.
    Icmp,
    /// Any other, by its number.
    Number(u8),
}

/// Why a frame gave no segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Undecodable {
    /// The link type is not known to this program.
    LinkType(u16),
    /// The frame ends inside its link-layer header.
    LinkHeaderCut,
    /// The link layer carries something other than IP (ARP, LLDP, spanning tree …).
    NotIp,
    /// The frame ends inside its IP header or extension headers.
    IpHeaderCut,
    /// The IP header is invalid: the kernel's `ip_rcv()`/`ipv6_rcv()` drops it before conntrack.
    BadIpHeader,
    /// The snap length cut into the first 20 bytes of the TCP header, so it cannot be judged.
    TcpHeaderCut,
    /// A fragment whose datagram never became complete.
    IncompleteDatagram,
}
