//! What tunnels carry, down to the innermost packet.
//!
//! A frame is opened header by header: each tunnel has a file that finds what follows its header,
//! and nothing is copied. What is no tunnel after all, or carries no IP, stays what it is outside.
//! UDP tunnels are told by their ports, and by what their headers must hold.
//!
//! Only packets that stand in one frame are opened: of one that came in fragments too little is
//! kept ([`Undecodable::TunnelFragmented`]). Addresses inside different tunnels are not told apart.
//!
//! Does not: decrypt (ESP, `MACsec`), or judge what a tunnel's own header says.

mod ah;
mod capwap;
mod erspan;
mod ethernet;
mod geneve;
mod gre;
mod gtp;
mod l2tp;
mod mpls;
mod nsh;
mod teredo;
mod udp;
mod vxlan;

use super::bytes::{Missing, Payload};
use super::datagram::Datagram;
use super::headers::Found;
use super::link::{self, Network, Protocol};
use super::transport::{self, UDP};
use super::{Checksums, Decoded, NonTcp, Packetized, Undecodable, ipv4, ipv6};
use crate::frame::Frame;
use crate::tuple::TCP;

/// Headers opened in one frame, each around the next, before it is given up as
/// [`Undecodable::TunnelTooDeep`]: real networks nest two or three.
const MAX_DEPTH: usize = 12;

const IPIP: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;
/// What KA9Q and some BSDs use for IP in IP.
const IPIP_OLD: u8 = 94;
const ETHERIP: u8 = 97;
const MPLS_IN_IP: u8 = 137;

/// `EtherType`s, as far as tunnel headers are given by them.
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_MPLS: u16 = 0x8847;
/// Transparent Ethernet bridging: a whole Ethernet frame.
const TYPE_ETHERNET: u16 = 0x6558;
const TYPE_NSH: u16 = 0x894f;

/// What follows a tunnel header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    /// An IP packet of the version that its first byte tells.
    Ip,
    /// An Ethernet frame.
    Ethernet,
    /// What this `EtherType` announces.
    Typed(u16),
    /// A PPP frame, with or without the address and control of HDLC.
    Ppp,
    /// An 802.11 frame, whose first two bytes may be exchanged.
    Wireless,
    /// Another protocol of the same IP packet.
    Layer4(u8),
}

/// A tunnel header that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Opened {
    /// What follows it.
    inside: Inside,
    /// Where, in the bytes that the header stood in.
    at: usize,
}

/// Why there is nothing to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closed {
    /// This is no tunnel, or one that carries no IP.
    NoTunnel,
    /// The snap length cut the tunnel header.
    Cut,
    /// Too many headers around each other.
    TooDeep,
}

impl From<Missing> for Closed {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Absent => Self::NoTunnel,
            Missing::Cut => Self::Cut,
        }
    }
}

impl Opened {
    const fn new(inside: Inside, at: usize) -> Self {
        Self { inside, at }
    }
}

/// A datagram that may be a tunnel.
#[derive(Clone, Copy, Debug)]
struct Carrier<'a> {
    datagram: Datagram<'a>,
    /// Where its IP packet starts in the frame.
    packet_at: usize,
    /// Where its payload starts in the frame.
    at: usize,
}

/// Finds the innermost packet of a frame that decodes to `outer`.
#[cold]
pub(super) fn innermost(frame: &Frame<'_>, outer: Decoded, checksums: Checksums) -> Decoded {
    let found = descend(frame, outer, checksums).map(|level| level.decoded);
    found.unwrap_or_else(|closed| match closed {
        Closed::NoTunnel => outer,
        Closed::Cut => Decoded::Undecodable(Undecodable::TunnelHeaderCut),
        Closed::TooDeep => Decoded::Undecodable(Undecodable::TunnelTooDeep),
    })
}

/// Finds the headers of the packet that is innermost in a frame, where there is a tunnel.
pub(super) fn innermost_headers<'a>(frame: &Frame<'a>) -> Option<Found<'a>> {
    let level = descend(frame, super::decode(frame), Checksums::Ignored).ok()?;
    let Carrier { datagram, packet_at: start, at } = level.carrier?;
    let is_later = matches!(level.decoded, Decoded::Fragment(fragment) if fragment.is_later());
    let tcp = (datagram.protocol == TCP && !is_later).then_some(datagram.payload);
    Some(Found { start, upper: at, tcp })
}

/// Returns where the innermost IP packet of a frame that decodes to `outer` starts in it; none when
/// the frame holds none behind a tunnel.
pub(super) fn innermost_at(frame: &Frame<'_>, outer: Decoded) -> Option<usize> {
    let level = descend(frame, outer, Checksums::Ignored).ok()?;
    level.carrier.map(|carrier| carrier.packet_at)
}

/// Returns whether a datagram of a protocol that is no layer 4 for itself may be a tunnel.
pub(super) fn is_announced(datagram: &NonTcp) -> bool {
    match datagram.key.protocol() {
        IPIP | IPV6 | GRE | AUTHENTICATION | IPIP_OLD | ETHERIP | MPLS_IN_IP => true,
        UDP => {
            let (src, dst) = datagram.key.endpoints(datagram.orientation);
            udp::is_tunnel_port(src.port, dst.port)
        }
        _ => false,
    }
}

/// Opens a frame tunnel by tunnel, as deep as there are any.
fn descend<'a>(
    frame: &Frame<'a>,
    outer: Decoded,
    checksums: Checksums,
) -> Result<Level<'a>, Closed> {
    let original_len = (frame.original_len as usize).max(frame.bytes.len());
    let payload = Payload { captured: frame.bytes, len: original_len };
    let whole = Stretch { payload, at: 0, checksums };
    let mut level = if outer == Decoded::Undecodable(Undecodable::NotIp) {
        Level::inside(whole, ethernet::outermost(frame.link, payload)?)?
    } else {
        let network = link::network(frame.link, frame.bytes).map_err(|_| Closed::NoTunnel)?;
        let payload = payload.after(network.offset);
        let packet = Packetized { payload, offset: network.offset, checksums };
        Level { decoded: outer, carrier: Carrier::of(network.protocol, packet) }
    };
    for _ in 0..MAX_DEPTH {
        let may_be_tunnel = matches!(
            level.decoded,
            Decoded::Other(NonTcp { tracking, .. }) if tracking.may_be_tunnel()
        );
        let Some(outside) = level.carrier.filter(|_| may_be_tunnel) else {
            return Ok(level);
        };
        match outside.step() {
            Ok(inner) => level = inner,
            Err(Closed::NoTunnel) => return Ok(level),
            Err(closed) => return Err(closed),
        }
    }
    Err(Closed::TooDeep)
}

impl<'a> Carrier<'a> {
    /// Reads the headers of a packet once more, down to layer 4.
    fn of(network: Protocol, packet: Packetized<'a>) -> Option<Self> {
        let (datagram, headers_len) = match network {
            Protocol::Ipv4 => ipv4::carried(packet),
            Protocol::Ipv6 => ipv6::carried(packet),
        }?;
        Some(Self { datagram, packet_at: packet.offset, at: packet.offset + headers_len })
    }

    /// Opens the tunnel that the datagram is.
    fn step(self) -> Result<Level<'a>, Closed> {
        let opened = open(&self.datagram)?;
        let Datagram { payload, checksums, .. } = self.datagram;
        if let Inside::Layer4(protocol) = opened.inside {
            let payload = payload.after(opened.at);
            let datagram = Datagram { protocol, payload, payload_sum: None, ..self.datagram };
            let carrier = Self { datagram, at: self.at + opened.at, ..self };
            return Ok(Level { decoded: transport::decode(&datagram), carrier: Some(carrier) });
        }
        Level::inside(Stretch { payload, at: self.at, checksums }, opened)
    }
}

/// Bytes of a frame.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    payload: Payload<'a>,
    /// Where they start in the frame.
    at: usize,
    checksums: Checksums,
}

/// A packet of a frame, as deep inside as tunnels were opened.
struct Level<'a> {
    /// What it is decoded to.
    decoded: Decoded,
    /// The same with its payload, which may be a tunnel.
    carrier: Option<Carrier<'a>>,
}

impl<'a> Level<'a> {
    /// Decodes the packet behind a header that was read at the start of a stretch.
    fn inside(stretch: Stretch<'a>, opened: Opened) -> Result<Self, Closed> {
        let Network { protocol, offset } = ethernet::network(stretch.payload, opened)?;
        let payload = stretch.payload.after(offset);
        let checksums = stretch.checksums;
        let packet = Packetized { payload, offset: stretch.at + offset, checksums };
        let decoded = super::decode_packet(protocol, packet);
        Ok(Self { decoded, carrier: Carrier::of(protocol, packet) })
    }
}

/// Reads the tunnel header that a datagram begins with.
fn open(datagram: &Datagram<'_>) -> Result<Opened, Closed> {
    let payload = datagram.payload;
    match datagram.protocol {
        IPIP | IPIP_OLD => Ok(Opened::new(Inside::Typed(TYPE_IPV4), 0)),
        IPV6 => Ok(Opened::new(Inside::Typed(TYPE_IPV6), 0)),
        GRE => gre::open(payload),
        AUTHENTICATION => ah::open(payload),
        ETHERIP => ethernet::over_ip(payload),
        MPLS_IN_IP => Ok(Opened::new(Inside::Typed(TYPE_MPLS), 0)),
        UDP => udp::open(payload),
        _ => Err(Closed::NoTunnel),
    }
}

#[cfg(test)]
mod tests;
