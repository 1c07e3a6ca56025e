//! Which decoder a datagram's protocol has, and the protocols that need no more than a tuple.
//!
//! Does not: know TCP or ICMP headers.

use super::bytes::{Missing, Payload};
use super::datagram::{Datagram, ports};
use super::{Decoded, Fault, NonTcp, Tracking, Undecodable};
use super::{icmp, tcp};
use crate::tuple::TCP;

/// IP protocol number of ICMP (RFC 792).
pub(super) const ICMP: u8 = 1;
/// IP protocol number of UDP (RFC 768).
pub(super) const UDP: u8 = 17;
/// IP protocol number of GRE (RFC 2784).
pub(super) const GRE: u8 = 47;
/// IP protocol number of `ICMPv6` (RFC 4443).
pub(super) const ICMPV6: u8 = 58;
/// IP protocol number of SCTP (RFC 9260).
const SCTP: u8 = 132;
/// IP protocol number of UDP-Lite (RFC 3828).
const UDP_LITE: u8 = 136;

/// Length of a UDP header in bytes.
const UDP_HEADER_LEN: usize = 8;

/// Decodes what a datagram carries.
#[inline]
pub(super) fn decode(datagram: &Datagram<'_>) -> Decoded {
    if datagram.protocol == TCP { tcp::decode(datagram) } else { decode_other(datagram) }
}

/// Returns whether the kernel finds ports in the first four bytes of this protocol: those of
/// `nf_ct_get_tuple_ports()` (`nf_conntrack_core.c`), Linux 6.18. DCCP is not among them: kernels that
/// still have a tracker for it read its ports too.
pub(super) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP | UDP_LITE)
}

fn decode_other(datagram: &Datagram<'_>) -> Decoded {
    let decoded = match (datagram.protocol, datagram.addresses.is_v4()) {
        (ICMP, true) => return icmp::decode(datagram).unwrap_or_else(cut),
        (ICMPV6, false) => return icmp::decode_v6(datagram).unwrap_or_else(cut),
        // The trackers of both refuse the other address family.
        (ICMP, false) | (ICMPV6, true) => Ok(datagram.invalid(Fault::NotTrackable)),
        (UDP, _) => udp(datagram),
        (UDP_LITE, _) => udp_lite(datagram),
        (GRE, _) => gre(datagram),
        (protocol, _) if has_ports(protocol) => with_ports(datagram),
        _ => Ok(datagram.portless(Tracking::Flow)),
    };
    decoded.map_or_else(cut, Decoded::Other)
}

/// Says that the snap length cut off what decides.
pub(super) fn cut(_: HeaderCut) -> Decoded {
    Decoded::Undecodable(Undecodable::OtherHeaderCut)
}

/// The snap length cut off what decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HeaderCut;

impl Missing {
    /// Returns `absent` if the bytes never were there.
    pub(super) fn or<T>(self, absent: T) -> Result<T, HeaderCut> {
        match self {
            Self::Absent => Ok(absent),
            Self::Cut => Err(HeaderCut),
        }
    }
}

/// Takes the ports from the first four bytes.
fn with_ports(datagram: &Datagram<'_>) -> Result<NonTcp, HeaderCut> {
    match datagram.payload.chunk::<4>(0) {
        Ok(bytes) => {
            let (key, orientation) = datagram.addresses.key(datagram.protocol, ports(bytes));
            Ok(NonTcp { key, orientation, tracking: Tracking::Flow })
        }
        Err(missing) => missing.or(datagram.invalid(Fault::NotTrackable)),
    }
}

/// Takes the call of PPTP, which stands for ports.
fn gre(datagram: &Datagram<'_>) -> Result<NonTcp, HeaderCut> {
    let Some(ports) = gre_ports(datagram.payload)? else {
        return Ok(datagram.invalid(Fault::EnhancedGre));
    };
    let (key, orientation) = datagram.addresses.key(GRE, ports);
    Ok(NonTcp { key, orientation, tracking: Tracking::Flow })
}

/// Finds the call of enhanced GRE, as `gre_pkt_to_tuple()` does (`nf_conntrack_proto_gre.c`, Linux
/// 6.18): PPTP names the receiver's call, so that each direction is a flow of its own. Other GRE has
/// no ports; enhanced GRE that carries no PPP has no tuple.
pub(super) fn gre_ports(payload: Payload<'_>) -> Result<Option<[u16; 2]>, HeaderCut> {
    const VERSION_MASK: u8 = 7;
    const ENHANCED: u8 = 1;
    const PPP: [u8; 2] = [0x88, 0x0b];
    match payload.chunk::<8>(0) {
        Ok([_, version, ..]) if version & VERSION_MASK != ENHANCED => Ok(Some([0, 0])),
        Ok([_, _, p0, p1, _, _, c0, c1]) if [p0, p1] == PPP => {
            Ok(Some([0, u16::from_be_bytes([c0, c1])]))
        }
        Ok(_) => Ok(None),
        Err(missing) => missing.or(Some([0, 0])),
    }
}

/// Checks a UDP header as `udp_error()` does (`nf_conntrack_proto_udp.c`, Linux 6.18).
fn udp(datagram: &Datagram<'_>) -> Result<NonTcp, HeaderCut> {
    with_header(datagram, |UdpHeader { len, checksum }| {
        let has_checksum = checksum != [0, 0];
        if len > datagram.payload.len || len < UDP_HEADER_LEN {
            Some(Fault::Malformed)
        } else if has_checksum && datagram.is_corrupt(datagram.pseudo_header()) {
            Some(Fault::BadChecksum)
        } else {
            None
        }
    })
}

/// Checks a UDP-Lite header as `udplite_error()` does (same file): the length field says how much
/// the checksum covers, 0 being all, and there must be one.
fn udp_lite(datagram: &Datagram<'_>) -> Result<NonTcp, HeaderCut> {
    with_header(datagram, |UdpHeader { len, checksum }| {
        let all = datagram.payload.len;
        let covered = if len == 0 { all } else { len };
        if covered < UDP_HEADER_LEN || covered > all {
            Some(Fault::Malformed)
        } else if checksum == [0, 0]
            || (covered == all && datagram.is_corrupt(datagram.pseudo_header()))
        {
            Some(Fault::BadChecksum)
        } else {
            None
        }
    })
}

/// The last two fields of a UDP header.
struct UdpHeader {
    len: usize,
    checksum: [u8; 2],
}

/// Reads the header that follows the rules of UDP, and asks `fault` what is wrong with it.
fn with_header(
    datagram: &Datagram<'_>,
    fault: impl Fn(UdpHeader) -> Option<Fault>,
) -> Result<NonTcp, HeaderCut> {
    let decoded = with_ports(datagram)?;
    if decoded.tracking != Tracking::Flow {
        return Ok(decoded);
    }
    let invalid = |fault| NonTcp { tracking: Tracking::Invalid(fault), ..decoded };
    let [_, _, _, _, l0, l1, checksum @ ..] = match datagram.payload.chunk::<UDP_HEADER_LEN>(0) {
        Ok(header) => header,
        Err(missing) => return missing.or(invalid(Fault::ShortPacket)),
    };
    let header = UdpHeader { len: usize::from(u16::from_be_bytes([l0, l1])), checksum };
    Ok(fault(header).map_or(decoded, invalid))
}
