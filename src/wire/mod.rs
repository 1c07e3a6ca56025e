//! From bytes to a [`Segment`], or to the reason why there is none.
//!
//! Judged is the outermost IP packet, as a conntrack at the capture point would: what a tunnel
//! carries is opened on request only ([`decode_innermost`]). Link headers that carry no address of their own layer-3 network
//! (VLAN tags, `PPPoE`, MPLS) are passed over. Lengths come from the IP header, never from what was
//! captured.
//!
//! [`decode`] is stateless; only fragments need memory, which [`fragments::Reassembler`] keeps.
//!
//! Does not: know flows, verdicts or files.

mod bytes;
mod checksum;
mod cut;
mod datagram;
pub mod fragments;
mod headers;
mod icmp;
mod ipv4;
mod ipv6;
mod link;
mod options;
mod packets;
mod plain;
mod rewrite;
mod tcp;
mod transport;
mod tunnel;

use std::borrow::Cow;

use crate::frame::Frame;
use crate::segment::{ErrorTraits, Segment};
use crate::tuple::{FlowKey, Orientation};
pub use cut::enough;
use fragments::Fragment;
pub use headers::headers;
pub use packets::packets;
pub use plain::{Plain, plain, plain_v4, plain_v6};
pub use rewrite::map_addresses;

/// Decodes a frame; checksums of layer 4 are not judged, see [`Checksums::Ignored`].
#[inline]
pub fn decode(frame: &Frame<'_>) -> Decoded {
    decode_with(frame, Checksums::Ignored)
}

/// Decodes a frame and judges its checksums as told.
pub fn decode_with(frame: &Frame<'_>, checksums: Checksums) -> Decoded {
    let network = match link::network(frame.link, frame.bytes) {
        Ok(network) => network,
        Err(reason) => return Decoded::Undecodable(reason),
    };
    let captured = frame.bytes.get(network.offset..).unwrap_or_default();
    let beyond_capture = (frame.original_len as usize).saturating_sub(frame.bytes.len());
    let packet = Packetized {
        payload: bytes::Payload { captured, len: captured.len() + beyond_capture },
        offset: network.offset,
        checksums: checksums.unless_sent_here(|| is_sent_here(frame)),
    };
    decode_packet(network.protocol, packet)
}

/// Decodes the packet that is innermost in a frame: tunnels are opened, as far as they stand in
/// one frame. What is no tunnel is decoded as [`decode_with`] does.
#[inline]
pub fn decode_innermost(frame: &Frame<'_>, checksums: Checksums) -> Decoded {
    match decode_with(frame, checksums) {
        outer @ (Decoded::Other(_) | Decoded::Undecodable(Undecodable::NotIp)) => {
            tunnel::innermost(frame, outer, checksums.unless_sent_here(|| is_sent_here(frame)))
        }
        outer => outer,
    }
}

/// Returns whether the capture says that the capturing host sent the frame, by its link header or
/// beside it: its checksums may not have been filled in yet when it was captured.
#[inline]
pub fn is_sent_here(frame: &Frame<'_>) -> bool {
    frame.is_outbound || link::is_sent_here(frame.link, frame.bytes)
}

#[inline]
fn decode_packet(network: link::Protocol, packet: Packetized<'_>) -> Decoded {
    match network {
        link::Protocol::Ipv4 => ipv4::decode(packet),
        link::Protocol::Ipv6 => ipv6::decode(packet),
    }
}

/// Returns what a cooked capture of all interfaces calls the one that a frame was captured on.
pub fn cooked_interface(frame: &Frame<'_>) -> Option<u16> {
    link::cooked_interface(frame.link, frame.bytes)
}

/// Returns the captured bytes of a frame from its IP header on, and how many there were on the wire.
///
/// # Errors
///
/// Why the frame holds no IP packet.
pub fn ip_packet<'a>(frame: &Frame<'a>) -> Result<(&'a [u8], usize), Undecodable> {
    let network = link::network(frame.link, frame.bytes)?;
    let captured = frame.bytes.get(network.offset..).unwrap_or_default();
    let original_len = (frame.original_len as usize).max(frame.bytes.len());
    Ok((captured, original_len - frame.bytes.len() + captured.len()))
}

/// Returns the captured bytes from the header of the IP packet on that is judged, and how many there
/// were on the wire; of a first fragment without its fragment header, as reassembly leaves it.
///
/// # Errors
///
/// Why the frame holds no IP packet.
pub fn judged_packet<'a>(
    frame: &Frame<'a>,
    tunnels: Tunnels,
) -> Result<(Cow<'a, [u8]>, usize), Undecodable> {
    let outermost = ip_packet(frame);
    let (captured, original_len) = match tunnels {
        Tunnels::Closed => outermost?,
        Tunnels::Opened => match tunnel::innermost_at(frame, decode(frame)) {
            Some(at) => {
                let captured = frame.bytes.get(at..).unwrap_or_default();
                let beyond = (frame.original_len as usize).saturating_sub(frame.bytes.len());
                (captured, captured.len() + beyond)
            }
            None => outermost?,
        },
    };
    Ok((ipv6::without_fragment_header(captured), original_len))
}

/// An IP packet as the link layer hands it over.
#[derive(Clone, Copy, Debug)]
struct Packetized<'a> {
    /// The packet, and what the link layer added behind it.
    payload: bytes::Payload<'a>,
    /// Where the packet starts in the frame.
    offset: usize,
    checksums: Checksums,
}

/// Whether checksums are judged, and with them what else only a frame fresh from the wire has
/// right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Checksums {
    /// No checksum is looked at, and an IP length beyond the frame is that of a packet which a tool
    /// has cut without noting its length: right for captures taken on an end host with offload, and
    /// for captures that were cut or anonymised.
    #[default]
    Ignored,
    /// A kernel that receives the packets sees what is captured: it drops those with a wrong IPv4
    /// header checksum or an IP length beyond the frame, and calls INVALID those with a wrong
    /// checksum of layer 4. Judged are packets captured whole; a TCP checksum that covers the
    /// pseudo-header only is left to the network card of the sender and is never wrong, nor is any
    /// checksum of a frame that the capturing host sent, see [`is_sent_here`].
    Verified,
    /// As [`Checksums::Verified`], but without these exceptions: what a kernel says that is fed the
    /// captured bytes.
    Enforced,
}

impl Checksums {
    /// Returns how those of a packet are judged, given whether the capturing host sent it.
    fn unless_sent_here(self, is_sent_here: impl FnOnce() -> bool) -> Self {
        match self {
            Self::Verified if is_sent_here() => Self::Ignored,
            other => other,
        }
    }
}

/// Which packet of a frame is judged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Tunnels {
    /// The outermost: what a tracker at the capture point sees.
    #[default]
    Closed,
    /// The innermost: what a tracker behind the end of the tunnel sees.
    Opened,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A TCP segment, whole or cut by the snap length.
    Segment(Packet),
    /// An ICMP or ICMPv6 error about a TCP segment.
    TcpError(IcmpError),
    /// An IP datagram of another protocol.
    Other(NonTcp),
    /// A fragment of a datagram; judged when the datagram is complete.
    Fragment(Fragment),
    /// Nothing that can be judged.
    Undecodable(Undecodable),
}

/// A TCP segment with its flow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Packet {
    /// The flow that the segment belongs to; both ports are 0 when the header is too short to hold
    /// them ([`HeaderFault::NotTrackable`](crate::segment::HeaderFault::NotTrackable)).
    pub key: FlowKey,
    /// Which way it travels.
    pub orientation: Orientation,
    /// The segment.
    pub segment: Segment,
}

/// An ICMP error message that quotes a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// The flow of the quoted packet.
    pub key: FlowKey,
    /// Which way the quoted packet travelled.
    pub orientation: Orientation,
    /// What else decides its verdict.
    pub traits: ErrorTraits,
    /// The ICMP or ICMPv6 type; the address family of the key tells which.
    pub icmp_type: u8,
    /// The code within the type.
    pub icmp_code: u8,
}

/// An IP datagram that is not TCP, as far as a conntrack entry depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonTcp {
    /// The flow, with the IP protocol number. UDP, UDP-Lite and SCTP have their ports;
    /// ICMP queries have their id as both ports, and in the key type and code of the request and who asked; other protocols have none (0).
    pub key: FlowKey,
    /// Which way the datagram travels.
    pub orientation: Orientation,
    /// What connection tracking makes of it.
    pub tracking: Tracking,
}

/// What connection tracking makes of a datagram that is not TCP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tracking {
    /// It belongs to the flow of its key, and opens that flow if there is none.
    Flow,
    /// An ICMP query or its answer. Different codes are different flows.
    Query(Query),
    /// An ICMP error; key and orientation are those of the quoted packet.
    Error(ErrorTraits),
    /// Never tracked: ICMPv6 neighbour discovery and multicast listener messages.
    Untracked,
    /// Multicast router discovery of IPv6: not tracked either by newer kernels, INVALID to others.
    MulticastRouter,
    /// INVALID whatever the table holds.
    Invalid(Fault),
}

/// An ICMP query or its answer: echo, timestamp, information, address mask, node information.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Query {
    /// The type of the request, for requests and answers alike.
    pub request_type: u8,
    /// The code.
    pub code: u8,
    /// Whether this is the request, which alone can open a flow.
    pub is_request: bool,
    /// Bytes of the message, its header included; 65535 for all beyond.
    pub len: u16,
}

/// Why a datagram that is not TCP is INVALID whatever the table holds; in brackets the kernel's
/// log text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// No tuple: too few bytes for ports, extension headers that do not end, no next header, a
    /// later fragment that was not reassembled (no text).
    NotTrackable,
    /// Enhanced GRE that carries no PPP, such as `EoIP` (no text); to kernels before 5.0 a datagram
    /// as any other.
    EnhancedGre,
    /// Fewer than 8 bytes of UDP, ICMP or ICMPv6 header ("short packet").
    ShortPacket,
    /// A UDP length below 8 or beyond the datagram ("truncated/malformed packet"), or a checksum of
    /// UDP-Lite that covers so much ("invalid checksum coverage").
    Malformed,
    /// UDP-Lite without a checksum ("checksum missing"), or a wrong one, where judged: those of
    /// UDP-Lite where they cover all ("bad checksum", "bad hw icmp checksum",
    /// "`ICMPv6` checksum failed").
    BadChecksum,
    /// An ICMP type above 18 ("invalid icmp type").
    IcmpType,
    /// An ICMP type that is neither an error nor a query (no text).
    NotInvertible,
    /// An ICMP error whose quote holds no tuple (no text).
    Quote,
    /// An `ICMPv6` redirect of fewer than 40 bytes ("short redirect").
    ShortRedirect,
    /// An `ICMPv6` redirect not from a neighbour ("invalid saddr or hoplimit for redirect").
    RedirectOrigin,
    /// An `ICMPv6` redirect without options ("redirect without options").
    RedirectWithoutOptions,
}

/// Why a frame gave no segment.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[non_exhaustive]
pub enum Undecodable {
    /// The link type is not known to this program.
    LinkType(u16),
    /// The frame ends inside its link-layer header.
    LinkHeaderCut,
    /// The link layer carries something other than IP (ARP, LLDP, spanning tree …).
    NotIp,
    /// The link layer is encrypted by `MACsec` (IEEE 802.1AE): a tracker on the interface that
    /// decrypts it sees a packet, one here does not.
    Macsec,
    /// The frame ends inside its IP header or extension headers.
    IpHeaderCut,
    /// The IP header is invalid: the kernel's `ip_rcv()`/`ipv6_rcv()` drops it before conntrack.
    BadIpHeader,
    /// The snap length cut into the first 20 bytes of the TCP header, so it cannot be judged.
    TcpHeaderCut,
    /// The snap length cut into the header of another protocol, or into what an ICMP error quotes.
    OtherHeaderCut,
    /// A fragment that the kernel's reassembly drops: it overlaps others, goes beyond the end of
    /// its datagram, or came when the memory for fragments was full.
    FragmentDropped,
    /// A fragment whose datagram never became complete.
    IncompleteDatagram,
    /// The snap length cut a tunnel's header, and tunnels were to be opened.
    TunnelHeaderCut,
    /// A tunnel whose outer packet came in fragments, and tunnels were to be opened.
    TunnelFragmented,
    /// Tunnels around tunnels, deeper than any network has them.
    TunnelTooDeep,
}

impl IcmpError {
    /// Returns whether the message says that the quoted packet was too big for a hop (RFC 1191,
    /// section 4; RFC 4443, section 3.2).
    pub fn is_too_big(&self) -> bool {
        let (source, _) = self.key.endpoints(self.orientation);
        if source.addr.is_ipv4() {
            (self.icmp_type, self.icmp_code) == (3, 4)
        } else {
            self.icmp_type == 2
        }
    }
}

impl NonTcp {
    /// Returns whether the datagram may be a tunnel, as far as protocol and ports tell.
    pub fn may_be_tunnel(&self) -> bool {
        self.tracking.may_be_tunnel() && tunnel::is_announced(self)
    }
}

impl Tracking {
    const fn may_be_tunnel(self) -> bool {
        matches!(self, Self::Flow | Self::Invalid(Fault::EnhancedGre))
    }
}

impl Undecodable {
    /// Returns the stable code of the reason: lower case with underscores.
    pub fn code(self) -> String {
        let code = match self {
            Self::LinkType(number) => return format!("link_type_{number}"),
            Self::LinkHeaderCut => "link_header_cut",
            Self::NotIp => "not_ip",
            Self::Macsec => "macsec",
            Self::IpHeaderCut => "ip_header_cut",
            Self::BadIpHeader => "bad_ip_header",
            Self::TcpHeaderCut => "tcp_header_cut",
            Self::OtherHeaderCut => "other_header_cut",
            Self::FragmentDropped => "fragment_dropped",
            Self::IncompleteDatagram => "incomplete_datagram",
            Self::TunnelHeaderCut => "tunnel_header_cut",
            Self::TunnelFragmented => "tunnel_fragmented",
            Self::TunnelTooDeep => "tunnel_too_deep",
        };
        code.to_owned()
    }
}

// A batch holds one of these for each frame.
const _: () = assert!(size_of::<Segment>() <= 104);
const _: () = assert!(size_of::<Decoded>() <= 152);

#[cfg(test)]
mod tests;
