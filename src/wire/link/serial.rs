//! Point-to-point lines: PPP in its framings, Cisco HDLC, frame relay, and ATM's bare LLC.

use super::{Network, by_version, byte, ethernet, half};
use crate::wire::Undecodable;

/// The "all stations" address and the "unnumbered information" control of PPP in HDLC framing.
const HDLC: u16 = 0xff03;

/// Finds the IP packet of a PPP frame with or without the HDLC address and control at `at`
/// (RFC 1662): `LINKTYPE_PPP`, `LINKTYPE_PPP_HDLC`.
///
/// The latter may hold Cisco HDLC instead, whose addresses 0x0f and 0x8f PPP does not use.
pub(super) fn ppp(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match half(bytes, at)? {
        HDLC => ethernet::ppp_protocol(bytes, at + 2),
        0x0f00 | 0x8f00 => cisco_hdlc(bytes, at),
        _ => ethernet::ppp_protocol(bytes, at),
    }
}

/// Finds the IP packet of a Cisco HDLC frame, `LINKTYPE_C_HDLC`: address, control, `EtherType`.
pub(super) fn cisco_hdlc(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    ethernet::typed(bytes, at + 2)
}

/// Finds the IP packet of a frame relay frame, `LINKTYPE_FRELAY`: encapsulated as in RFC 2427, or
/// as Cisco does with an `EtherType`.
pub(super) fn frame_relay(bytes: &[u8], mut at: usize) -> Result<Network, Undecodable> {
    const LAST_ADDRESS_OCTET: u8 = 1;
    const UNNUMBERED: u8 = 0x03;
    while byte(bytes, at)? & LAST_ADDRESS_OCTET == 0 {
        at += 1;
    }
    at += 1;
    if byte(bytes, at)? != UNNUMBERED {
        return ethernet::typed(bytes, at);
    }
    at += 1;
    if byte(bytes, at)? == 0 {
        at += 1;
    }
    nlpid(bytes, at)
}

/// Finds the IP packet behind a network layer protocol id (ISO/IEC TR 9577) at `at`.
fn nlpid(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match byte(bytes, at)? {
        0xcc => Ok(Network::v4(at + 1)),
        0x8e => Ok(Network::v6(at + 1)),
        0x80 => ethernet::snap(bytes, at + 1),
        0xcf => ethernet::ppp_protocol(bytes, at + 1),
        _ => Err(Undecodable::NotIp),
    }
}

/// Finds the IP packet behind a SLIP pseudo-header of 16 bytes, `LINKTYPE_SLIP`.
pub(super) fn slip(bytes: &[u8]) -> Result<Network, Undecodable> {
    by_version(bytes, 16)
}
