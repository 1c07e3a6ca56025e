//! From a frame's first byte to the start of its IP packet, one function a link type.
//!
//! Does not: read IP headers beyond the version.

mod cooked;
pub(super) mod ethernet;
mod hosts;
mod lan;
mod loopback;
mod serial;
mod wireless;

use super::Undecodable;
use super::bytes::{be16, u8_at};
use crate::frame::LinkType;
use hosts::Juniper;
pub(super) use hosts::{Logged, logged};
use wireless::Padding;

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

/// Returns whether the link header says that the capturing host sent the packet, whose checksums the
/// network card may still have had to fill in.
pub(super) fn is_sent_here(link: LinkType, bytes: &[u8]) -> bool {
    match link {
        LinkType::LINUX_SLL => cooked::is_outgoing_v1(bytes),
        LinkType::LINUX_SLL2 => cooked::is_outgoing_v2(bytes),
        // Those of PPP, Cisco HDLC and frame relay that have the direction in front: 0 is received.
        LinkType(166 | 204..=206) => bytes.first().is_some_and(|direction| *direction != 0),
        _ => false,
    }
}

/// Returns what a cooked capture of all interfaces calls the one of a packet: its index, or at least
/// whether the packet came in or went out.
pub(super) fn cooked_interface(link: LinkType, bytes: &[u8]) -> Option<u16> {
    match link {
        LinkType::LINUX_SLL => cooked::packet_type_v1(bytes),
        LinkType::LINUX_SLL2 => cooked::interface_v2(bytes),
        _ => None,
    }
}

impl Network {
    const fn v4(offset: usize) -> Self {
        Self { protocol: Protocol::Ipv4, offset }
    }

    const fn v6(offset: usize) -> Self {
        Self { protocol: Protocol::Ipv6, offset }
    }
}

/// Finds the IP packet in a frame: it starts within the bytes, or at their end.
#[inline]
pub(super) fn network(link: LinkType, bytes: &[u8]) -> Result<Network, Undecodable> {
    let network =
        if link == LinkType::ETHERNET { ethernet::frame(bytes, 0) } else { other(link, bytes) }?;
    if network.offset <= bytes.len() { Ok(network) } else { Err(Undecodable::LinkHeaderCut) }
}

/// Dispatches on the link type (<https://www.tcpdump.org/linktypes.html>).
fn other(link: LinkType, bytes: &[u8]) -> Result<Network, Undecodable> {
    match link.0 {
        0 | 108 => loopback::frame(bytes),
        6 => lan::token_ring(bytes),
        8 => serial::slip(bytes),
        9 | 50 => serial::ppp(bytes, 0),
        10 => lan::fddi(bytes),
        // DLT_RAW is 12 on most systems and 14 on OpenBSD.
        12 | 14 | 101 => by_version(bytes, 0),
        51 => ethernet::pppoe(bytes, 0),
        100 => ethernet::llc(bytes, 0),
        104 => serial::cisco_hdlc(bytes, 0),
        105 => wireless::frame(bytes, 0, Padding::None),
        107 => serial::frame_relay(bytes, 0),
        109 => hosts::enc(bytes),
        113 => cooked::v1(bytes),
        117 => hosts::pflog(bytes),
        119 => wireless::prism(bytes),
        122 => lan::fibre_channel(bytes),
        127 => wireless::radiotap(bytes),
        138 => lan::firewire(bytes),
        143 => lan::docsis(bytes),
        163 => wireless::avs(bytes),
        // LINKTYPE_PPP_PPPD has the direction in the place of the address.
        166 => ethernet::ppp_protocol(bytes, 2),
        178 => hosts::juniper(bytes, Juniper::Ethernet),
        179 => hosts::juniper(bytes, Juniper::Ppp),
        180 => hosts::juniper(bytes, Juniper::FrameRelay),
        181 => hosts::juniper(bytes, Juniper::CiscoHdlc),
        192 => hosts::ppi(bytes),
        // These three have the direction in front.
        204 => serial::ppp(bytes, 1),
        205 => serial::cisco_hdlc(bytes, 1),
        206 => serial::frame_relay(bytes, 1),
        219 => ethernet::mpls(bytes, 0),
        228 => Ok(Network::v4(0)),
        229 => Ok(Network::v6(0)),
        239 => hosts::nflog(bytes, 0),
        242 => lan::infiniband(bytes),
        253 => hosts::netlink(bytes),
        258 => hosts::pktap(bytes),
        // LINKTYPE_ETHERNET_MPACKET has the preamble in front.
        274 => ethernet::frame(bytes, 8),
        276 => cooked::v2(bytes),
        unknown => Err(Undecodable::LinkType(unknown)),
    }
}

/// Returns the byte at `at` of a link header.
fn byte(bytes: &[u8], at: usize) -> Result<u8, Undecodable> {
    u8_at(bytes, at).ok_or(Undecodable::LinkHeaderCut)
}

/// Returns the two bytes at `at` of a link header in network order.
fn half(bytes: &[u8], at: usize) -> Result<u16, Undecodable> {
    be16(bytes, at).ok_or(Undecodable::LinkHeaderCut)
}

/// Finds the IP packet of a PPP frame, with or without the address and control of HDLC.
pub(super) fn ppp(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    serial::ppp(bytes, at)
}

/// Finds the IP packet of an 802.11 frame as access points send it to their controller.
pub(super) fn wireless(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    wireless::forwarded(bytes, at)
}

/// Tells the network protocol by the version in the first half of the packet's first byte.
pub(super) fn by_version(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match byte(bytes, at)? >> 4 {
        4 => Ok(Network::v4(at)),
        6 => Ok(Network::v6(at)),
        _ => Err(Undecodable::NotIp),
    }
}

#[cfg(test)]
mod tests;
