//! An IP datagram on its way from the IP layer to the layer above.
//!
//! Does not: know link layers or what the payload means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::Payload;
use super::checksum::Sum;
use super::{Checksums, Fault, NonTcp, Tracking};
use crate::tuple::{Endpoint, FlowKey, Orientation};

/// Source and destination of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Addresses {
    /// IPv4, in host byte order.
    V4 { src: u32, dst: u32 },
    /// IPv6, in host byte order.
    V6 { src: u128, dst: u128 },
}

impl Addresses {
    /// Joins two addresses of one family.
    pub(super) fn of(src: IpAddr, dst: IpAddr) -> Self {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Self::V4 { src: src.to_bits(), dst: dst.to_bits() }
            }
            (src, dst) => Self::V6 { src: v6_bits(src), dst: v6_bits(dst) },
        }
    }

    /// Returns the addresses of a packet that goes the other way.
    pub(super) const fn flip(self) -> Self {
        match self {
            Self::V4 { src, dst } => Self::V4 { src: dst, dst: src },
            Self::V6 { src, dst } => Self::V6 { src: dst, dst: src },
        }
    }

    /// Builds the key of a packet between these addresses and the given ports.
    #[inline]
    pub(super) fn key(self, protocol: u8, ports: [u16; 2]) -> (FlowKey, Orientation) {
        let [src_port, dst_port] = ports;
        match self {
            Self::V4 { src, dst } => FlowKey::of_v4(protocol, (src, src_port), (dst, dst_port)),
            Self::V6 { src, dst } => {
                let endpoint = |addr: u128, port| Endpoint { addr: v6(addr), port };
                FlowKey::of(protocol, endpoint(src, src_port), endpoint(dst, dst_port))
            }
        }
    }

    /// Returns the source.
    pub(super) fn src(self) -> IpAddr {
        match self {
            Self::V4 { src, .. } => IpAddr::V4(Ipv4Addr::from_bits(src)),
            Self::V6 { src, .. } => v6(src),
        }
    }

    /// Returns the destination.
    pub(super) fn dst(self) -> IpAddr {
        match self {
            Self::V4 { dst, .. } => IpAddr::V4(Ipv4Addr::from_bits(dst)),
            Self::V6 { dst, .. } => v6(dst),
        }
    }

    /// Returns whether these are IPv4 addresses.
    #[inline]
    pub(super) const fn is_v4(self) -> bool {
        matches!(self, Self::V4 { .. })
    }
}

const fn v6(addr: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(addr))
}

const fn v6_bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Splits four bytes into the two ports at the start of TCP, UDP and SCTP.
#[inline]
pub(super) const fn ports(bytes: [u8; 4]) -> [u16; 2] {
    let [a, b, c, d] = bytes;
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// An IP datagram whose headers, up to the one of layer 4, have been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    /// Who sent it to whom.
    pub(super) addresses: Addresses,
    /// IP protocol number of the payload.
    pub(super) protocol: u8,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub(super) ip_id: u16,
    /// Layer 4, with its length by the IP header.
    pub(super) payload: Payload<'a>,
    /// The sum of all payload bytes, where they are known but `payload` does not hold them.
    pub(super) payload_sum: Option<Sum>,
    /// Whether checksums are judged.
    pub(super) checksums: Checksums,
}

impl Datagram<'_> {
    /// Describes the datagram as one without ports.
    pub(super) fn portless(&self, tracking: Tracking) -> NonTcp {
        let (key, orientation) = self.addresses.key(self.protocol, [0, 0]);
        NonTcp { key, orientation, tracking }
    }

    /// Describes the datagram as INVALID for `fault`.
    pub(super) fn invalid(&self, fault: Fault) -> NonTcp {
        self.portless(Tracking::Invalid(fault))
    }

    /// Returns whether the payload's checksum is to be judged and is wrong.
    ///
    /// Judged are payloads of which every byte is known; `start` is the sum of the pseudo-header,
    /// or nothing for ICMP.
    #[inline]
    pub(super) fn is_corrupt(&self, start: Sum) -> bool {
        if self.checksums == Checksums::Ignored {
            return false;
        }
        let sum = match self.payload_sum {
            Some(sum) => sum.plus(start),
            None if self.payload.is_whole() => start.add_bytes(self.payload.captured),
            None => return false,
        };
        !sum.is_intact()
    }

    /// Returns the sum of the pseudo-header in front of the payload.
    pub(super) fn pseudo_header(&self) -> Sum {
        Sum::pseudo_header(self.addresses, self.protocol, self.payload.len)
    }
}
