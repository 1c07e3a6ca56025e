//! The network service header (RFC 8300).

use super::{Closed, Inside, Opened, Payload, TYPE_IPV4, TYPE_IPV6, TYPE_MPLS, TYPE_NSH};

/// Steps over the header and its metadata.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    /// Base header and service path header.
    const FIXED_LEN: usize = 8;
    const IS_OPERATIONS: u8 = 0x20;
    let [first, words, _, next] = payload.chunk(0)?;
    let len = usize::from(words & 0x3f) * 4;
    let version = first >> 6;
    if version != 0 || first & IS_OPERATIONS != 0 || len < FIXED_LEN {
        return Err(Closed::NoTunnel);
    }
    let inside = match next {
        1 => Inside::Typed(TYPE_IPV4),
        2 => Inside::Typed(TYPE_IPV6),
        3 => Inside::Ethernet,
        4 => Inside::Typed(TYPE_NSH),
        5 => Inside::Typed(TYPE_MPLS),
        _ => return Err(Closed::NoTunnel),
    };
    Ok(Opened::new(inside, len))
}
