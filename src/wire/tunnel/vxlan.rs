//! VXLAN (RFC 7348) and its generic protocol extension (draft-ietf-nvo3-vxlan-gpe).

use super::{Closed, Inside, Opened, Payload, TYPE_IPV4, TYPE_IPV6, TYPE_MPLS, TYPE_NSH};

const HEADER_LEN: usize = 8;
/// The network identifier is valid: set in every frame.
const HAS_IDENTIFIER: u8 = 0x08;
/// In the extension: the next protocol field is valid.
const HAS_PROTOCOL: u8 = 0x04;
/// In the extension: an operations message, not traffic.
const IS_OPERATIONS: u8 = 0x01;

/// Steps over a VXLAN header.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    let [flags, ..]: [u8; HEADER_LEN] = payload.chunk(0)?;
    if flags & HAS_IDENTIFIER == 0 {
        return Err(Closed::NoTunnel);
    }
    Ok(Opened::new(Inside::Ethernet, HEADER_LEN))
}

/// Steps over a header with the protocol extension.
pub(super) fn open_generic(payload: Payload<'_>) -> Result<Opened, Closed> {
    let [flags, _, _, protocol, ..]: [u8; HEADER_LEN] = payload.chunk(0)?;
    if flags & HAS_IDENTIFIER == 0 || flags & IS_OPERATIONS != 0 {
        return Err(Closed::NoTunnel);
    }
    let inside = match protocol {
        _ if flags & HAS_PROTOCOL == 0 => Inside::Ethernet,
        1 => Inside::Typed(TYPE_IPV4),
        2 => Inside::Typed(TYPE_IPV6),
        3 => Inside::Ethernet,
        4 => Inside::Typed(TYPE_NSH),
        5 => Inside::Typed(TYPE_MPLS),
        _ => return Err(Closed::NoTunnel),
    };
    Ok(Opened::new(inside, HEADER_LEN))
}
