//! Local networks other than Ethernet, and Ethernet behind a few bytes more.

use super::{Network, byte, ethernet};
use crate::wire::Undecodable;

/// Finds the IP packet of an FDDI frame, `LINKTYPE_FDDI`: frame control, two addresses, LLC.
pub(super) fn fddi(bytes: &[u8]) -> Result<Network, Undecodable> {
    const LLC_CLASS: u8 = 0x40;
    match byte(bytes, 0)? & 0xc0 {
        LLC_CLASS => ethernet::llc(bytes, 13),
        _ => Err(Undecodable::NotIp),
    }
}

/// Finds the IP packet of a token ring frame, `LINKTYPE_IEEE802_5`: access and frame control, two
/// addresses, routing information if the source says so, LLC.
pub(super) fn token_ring(bytes: &[u8]) -> Result<Network, Undecodable> {
    const LLC_FRAME: u8 = 0x40;
    const ROUTED: u8 = 0x80;
    if byte(bytes, 1)? & 0xc0 != LLC_FRAME {
        return Err(Undecodable::NotIp);
    }
    let is_routed = byte(bytes, 8)? & ROUTED != 0;
    let routing_len = if is_routed { byte(bytes, 14)? & 0x1f } else { 0 };
    ethernet::llc(bytes, 14 + usize::from(routing_len))
}

/// Finds the IP packet of an IP-over-InfiniBand frame, `LINKTYPE_IPOIB`: a global routing header
/// of 40 bytes, then what RFC 4391, section 6, puts in front of the packet.
pub(super) fn infiniband(bytes: &[u8]) -> Result<Network, Undecodable> {
    const TYPE_AT: usize = 40;
    const RESERVED_LEN: usize = 2;
    let ethertype = super::half(bytes, TYPE_AT)?;
    ethernet::behind(bytes, ethertype, TYPE_AT + 2 + RESERVED_LEN)
}

/// Finds the IP packet of an IP-over-Fibre-Channel frame, `LINKTYPE_IP_OVER_FC`: two addresses,
/// LLC (RFC 2625).
pub(super) fn fibre_channel(bytes: &[u8]) -> Result<Network, Undecodable> {
    ethernet::llc(bytes, 16)
}

/// Finds the IP packet of an IP-over-IEEE-1394 frame, `LINKTYPE_APPLE_IP_OVER_IEEE1394`: two
/// addresses of 8 bytes and an `EtherType`.
pub(super) fn firewire(bytes: &[u8]) -> Result<Network, Undecodable> {
    ethernet::typed(bytes, 16)
}

/// Finds the IP packet of a cable modem frame, `LINKTYPE_DOCSIS`: a MAC header, longer if an
/// extended header follows, then Ethernet.
pub(super) fn docsis(bytes: &[u8]) -> Result<Network, Undecodable> {
    const TYPE_MASK: u8 = 0xc0;
    const EXTENDED: u8 = 0x01;
    let control = byte(bytes, 0)?;
    if control & TYPE_MASK != 0 {
        return Err(Undecodable::NotIp);
    }
    let extension_len = if control & EXTENDED == 0 { 0 } else { byte(bytes, 1)? };
    ethernet::frame(bytes, 6 + usize::from(extension_len))
}
