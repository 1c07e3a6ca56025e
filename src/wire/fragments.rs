//! IP fragments.

use std::net::IpAddr;

/// A fragment of an IP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// IPv4 or IPv6 identification.
    pub(super) id: u32,
    /// The protocol of the payload; for IPv6 the header behind the fragment header.
    pub(super) protocol: u8,
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
