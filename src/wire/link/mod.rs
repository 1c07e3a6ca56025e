//! From a frame's first byte to the start of its IP packet, one function a link type.
//!
//! Does not: read IP headers beyond the version.

mod cooked;
mod ethernet;
mod loopback;

use super::Undecodable;
use super::bytes::u8_at;
use crate::frame::LinkType;

/// Which of the two network protocols a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Ipv4,
    Ipv6,
}

/// Where the IP packet of a frame starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Network {
    pub(super) protocol: Protocol,
    /// Offset in the frame.
    pub(super) offset: usize,
}

impl Network {
    const fn v4(offset: usize) -> Self {
        Self { protocol: Protocol::Ipv4, offset }
    }

    const fn v6(offset: usize) -> Self {
        Self { protocol: Protocol::Ipv6, offset }
    }
}

/// Finds the IP packet in a frame.
#[inline]
pub(super) fn network(link: LinkType, bytes: &[u8]) -> Result<Network, Undecodable> {
    if link == LinkType::ETHERNET { ethernet::frame(bytes, 0) } else { other(link, bytes) }
}

/// Dispatches on the link type (<https://www.tcpdump.org/linktypes.html>).
fn other(link: LinkType, bytes: &[u8]) -> Result<Network, Undecodable> {
    match link.0 {
        0 | 108 => loopback::frame(bytes),
        // DLT_RAW is 12 on most systems and 14 on OpenBSD.
        12 | 14 | 101 => by_version(bytes, 0),
        113 => cooked::v1(bytes),
        228 => Ok(Network::v4(0)),
        229 => Ok(Network::v6(0)),
        276 => cooked::v2(bytes),
        unknown => Err(Undecodable::LinkType(unknown)),
    }
}

/// Tells the network protocol by the version in the first half of the packet's first byte.
fn by_version(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match u8_at(bytes, at).ok_or(Undecodable::LinkHeaderCut)? >> 4 {
        4 => Ok(Network::v4(at)),
        6 => Ok(Network::v6(at)),
        _ => Err(Undecodable::NotIp),
    }
}
