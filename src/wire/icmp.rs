//! ICMP and `ICMPv6`: errors with what they quote, queries, and messages that are not tracked.
//!
//! Follows `nf_conntrack_proto_icmp.c` and `nf_conntrack_proto_icmpv6.c` of Linux 6.18.
//!
//! Does not: know whether the quoted flow exists.

use std::net::IpAddr;

use super::bytes::{Missing, Payload};
use super::checksum::Sum;
use super::datagram::{Addresses, Datagram, ports};
use super::transport::{GRE, HeaderCut, ICMP, ICMPV6, gre_ports, has_ports};
use super::{Decoded, Fault, IcmpError, NonTcp, Query, Tracking, ipv6};
use crate::segment::ErrorTraits;
use crate::tuple::{FlowKey, Orientation, TCP};

/// Length of the header in front of an error's quote or a query's data, in bytes.
const HEADER_LEN: usize = 8;
/// The highest ICMP type that the kernel knows, `NR_ICMP_TYPES`.
const HIGHEST_TYPE: u8 = 18;
/// The lowest `ICMPv6` type that is no error (RFC 4443, section 2.1).
const LOWEST_INFORMATIONAL: u8 = 128;
/// The `ICMPv6` redirect message (RFC 4861, section 4.5).
const REDIRECT: u8 = 137;
/// Length of a redirect without its options, in bytes.
const REDIRECT_LEN: usize = 40;
/// The option of a redirect that quotes the redirected packet.
const REDIRECTED_HEADER: u8 = 4;
/// Length of that option in front of its quote, in bytes.
const REDIRECTED_HEADER_LEN: usize = 8;

/// Type, code and id of a message.
#[derive(Clone, Copy, Debug)]
struct Header {
    icmp_type: u8,
    code: u8,
    id: u16,
}

impl Header {
    const fn new(bytes: [u8; HEADER_LEN]) -> Self {
        let [icmp_type, code, _, _, id_high, id_low, _, _] = bytes;
        Self { icmp_type, code, id: u16::from_be_bytes([id_high, id_low]) }
    }
}

/// Decodes an ICMP message, as `nf_conntrack_icmpv4_error()` judges it.
pub(super) fn decode(datagram: &Datagram<'_>) -> Result<Decoded, HeaderCut> {
    let header = match datagram.payload.chunk(0) {
        Ok(bytes) => Header::new(bytes),
        Err(missing) => return missing.or(invalid(datagram, Fault::ShortPacket)),
    };
    if datagram.is_corrupt(Sum::default()) {
        return Ok(invalid(datagram, Fault::BadChecksum));
    }
    if header.icmp_type > HIGHEST_TYPE {
        return Ok(invalid(datagram, Fault::IcmpType));
    }
    match header.icmp_type {
        3 | 4 | 5 | 11 | 12 => error(datagram, header, HEADER_LEN),
        _ => Ok(query(datagram, header)),
    }
}

/// Decodes an `ICMPv6` message, as `nf_conntrack_icmpv6_error()` judges it.
pub(super) fn decode_v6(datagram: &Datagram<'_>) -> Result<Decoded, HeaderCut> {
    let header = match datagram.payload.chunk(0) {
        Ok(bytes) => Header::new(bytes),
        Err(missing) => return missing.or(invalid(datagram, Fault::ShortPacket)),
    };
    if datagram.is_corrupt(datagram.pseudo_header()) {
        return Ok(invalid(datagram, Fault::BadChecksum));
    }
    match header.icmp_type {
        // Multicast listeners, neighbour discovery.
        130..=136 | 143 => Ok(Decoded::Other(datagram.portless(Tracking::Untracked))),
        151 | 152 => Ok(Decoded::Other(datagram.portless(Tracking::MulticastRouter))),
        REDIRECT => redirect(datagram, header),
        0..LOWEST_INFORMATIONAL => error(datagram, header, HEADER_LEN),
        _ => Ok(query(datagram, header)),
    }
}

fn invalid(datagram: &Datagram<'_>, fault: Fault) -> Decoded {
    Decoded::Other(datagram.invalid(fault))
}

/// Decodes a redirect, as `nf_conntrack_icmpv6_redirect()` judges it.
fn redirect(datagram: &Datagram<'_>, header: Header) -> Result<Decoded, HeaderCut> {
    if datagram.payload.len < REDIRECT_LEN {
        return Ok(invalid(datagram, Fault::ShortRedirect));
    }
    if header.code != 0 {
        return Ok(invalid(datagram, Fault::NotInvertible));
    }
    if datagram.ttl != 255 || !is_link_local(datagram.addresses) {
        return Ok(invalid(datagram, Fault::RedirectOrigin));
    }
    match datagram.payload.chunk::<2>(REDIRECT_LEN) {
        Ok([_, 0]) => Ok(invalid(datagram, Fault::RedirectWithoutOptions)),
        Ok([REDIRECTED_HEADER, _]) => error(datagram, header, REDIRECT_LEN + REDIRECTED_HEADER_LEN),
        Ok(_) => Ok(invalid(datagram, Fault::NotInvertible)),
        Err(missing) => missing.or(invalid(datagram, Fault::RedirectWithoutOptions)),
    }
}

/// Returns whether the source is in `fe80::/10`.
const fn is_link_local(addresses: Addresses) -> bool {
    match addresses {
        Addresses::V4 { .. } => false,
        Addresses::V6 { src, .. } => src >> 118 == 0xfe80 >> 6,
    }
}

/// Decodes a message that is no error: a query or its answer, if it has an inverse.
fn query(datagram: &Datagram<'_>, header: Header) -> Decoded {
    let Some(request_type) = request_type(datagram.protocol, header.icmp_type) else {
        return invalid(datagram, Fault::NotInvertible);
    };
    let is_request = request_type == header.icmp_type;
    let query = Query { request_type, code: header.code, is_request };
    let (key, orientation) = query_key(datagram.addresses, datagram.protocol, query, header.id);
    Decoded::Other(NonTcp { key, orientation, tracking: Tracking::Query(query) })
}

/// Builds the key of a query or its answer. Requests of both sides under one id are two flows, so
/// that the key tells which end asked.
fn query_key(addresses: Addresses, protocol: u8, query: Query, id: u16) -> (FlowKey, Orientation) {
    const ASKED_BY_HIGH: u8 = 0x80;
    let request = if query.is_request { addresses } else { addresses.flip() };
    let (key, orientation) = request.key(protocol, [id; 2]);
    let asker = if orientation == Orientation::HighToLow { ASKED_BY_HIGH } else { 0 };
    let key = key.with_detail([query.request_type ^ asker, query.code]);
    (key, if query.is_request { orientation } else { orientation.flip() })
}

/// Returns the type of the request that this message is or answers: the kernel's `invmap`.
const fn request_type(protocol: u8, icmp_type: u8) -> Option<u8> {
    match (protocol, icmp_type) {
        (ICMP, 0 | 8) => Some(8),
        (ICMP, 13 | 14) => Some(13),
        (ICMP, 15 | 16) => Some(15),
        (ICMP, 17 | 18) => Some(17),
        (ICMPV6, 128 | 129) => Some(128),
        (ICMPV6, 139 | 140) => Some(139),
        _ => None,
    }
}

/// The tuple of a quoted packet.
struct Quote {
    key: FlowKey,
    orientation: Orientation,
    /// Who sent it.
    src: IpAddr,
    /// Whether eight bytes of layer 4 are there.
    has_eight_bytes: bool,
}

/// Decodes an error whose quote starts `quote_at` bytes into the message, as
/// `nf_conntrack_inet_error()` judges it.
fn error(datagram: &Datagram<'_>, header: Header, quote_at: usize) -> Result<Decoded, HeaderCut> {
    let bytes = datagram.payload.after(quote_at);
    let quote = if datagram.addresses.is_v4() { quote_v4(bytes) } else { quote_v6(bytes) }?;
    let Some(quote) = quote else { return Ok(invalid(datagram, Fault::Quote)) };
    let Quote { key, orientation, .. } = quote;
    let traits = ErrorTraits {
        to_quoted_sender: datagram.addresses.dst() == quote.src,
        quotes_eight_bytes: quote.has_eight_bytes,
        is_redirect: !datagram.addresses.is_v4() && header.icmp_type == REDIRECT,
    };
    if key.protocol() == TCP {
        let (icmp_type, icmp_code) = (header.icmp_type, header.code);
        let error = IcmpError { key, orientation, traits, icmp_type, icmp_code };
        return Ok(Decoded::TcpError(error));
    }
    Ok(Decoded::Other(NonTcp { key, orientation, tracking: Tracking::Error(traits) }))
}

/// Reads a quoted IPv4 packet: a whole header, the first fragment, and a tuple.
///
/// Version and header length are not checked, as in `ipv4_get_l4proto()`
/// (`nf_conntrack_core.c`, Linux 6.18).
fn quote_v4(bytes: Payload<'_>) -> Result<Option<Quote>, HeaderCut> {
    let header: [u8; 20] = match bytes.chunk(0) {
        Ok(header) => header,
        Err(missing) => return missing.or(None),
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let is_later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if is_later_fragment || header_len > bytes.len {
        return Ok(None);
    }
    let addresses = Addresses::V4 {
        src: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
        dst: u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
    };
    quote(addresses, header[9], bytes.after(header_len))
}

/// Reads a quoted IPv6 packet, which may have extension headers.
fn quote_v6(bytes: Payload<'_>) -> Result<Option<Quote>, HeaderCut> {
    let header: [u8; 40] = match bytes.chunk(0) {
        Ok(header) => header,
        Err(missing) => return missing.or(None),
    };
    let [.., next, _] = *header.first_chunk::<8>().unwrap_or(&[0; 8]);
    let address = |at: usize| {
        let bytes = header.get(at..).and_then(<[u8]>::first_chunk::<16>);
        bytes.map_or(0, |bytes| u128::from_be_bytes(*bytes))
    };
    let addresses = Addresses::V6 { src: address(8), dst: address(24) };
    let rest = bytes.after(40);
    match ipv6::quoted_upper_layer(rest, next)? {
        Some((protocol, at)) => quote(addresses, protocol, rest.after(at)),
        None => Ok(None),
    }
}

/// Reads the tuple of a quoted packet from its layer 4, as `nf_ct_get_tuple()` does.
fn quote(
    addresses: Addresses,
    protocol: u8,
    layer4: Payload<'_>,
) -> Result<Option<Quote>, HeaderCut> {
    let src = addresses.src();
    let found = |ports, has_eight_bytes| {
        let (key, orientation) = addresses.key(protocol, ports);
        Ok(Some(Quote { key, orientation, src, has_eight_bytes }))
    };
    let absent = |missing: Missing| missing.or(None);
    if has_ports(protocol) {
        let has_eight_bytes = layer4.len >= 8;
        return layer4.chunk(0).map_or_else(absent, |bytes| found(ports(bytes), has_eight_bytes));
    }
    if protocol == GRE {
        return gre_ports(layer4)?.map_or(Ok(None), |ports| found(ports, true));
    }
    if !matches!(protocol, ICMP | ICMPV6) {
        return found([0, 0], true);
    }
    let header = match layer4.chunk(0) {
        Ok(bytes) => Header::new(bytes),
        Err(missing) => return absent(missing),
    };
    let Some(request_type) = request_type(protocol, header.icmp_type) else { return Ok(None) };
    let is_request = request_type == header.icmp_type;
    let query = Query { request_type, code: header.code, is_request };
    let (key, orientation) = query_key(addresses, protocol, query, header.id);
    Ok(Some(Quote { key, orientation, src, has_eight_bytes: true }))
}
