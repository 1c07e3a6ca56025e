//! Teredo: IPv6 through NAT (RFC 4380).

use super::{Closed, Inside, Opened, Payload, TYPE_IPV6};

/// Steps over the authentication and origin indications, if there are any.
///
/// One of the addresses must be a Teredo address: another protocol may use the port.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    const ORIGIN_LEN: usize = 8;
    /// Type, two lengths, nonce and confirmation.
    const AUTHENTICATION_LEN: usize = 13;
    let mut at = 0;
    if let [0, 1, id_len, value_len] = payload.chunk(at)? {
        at += AUTHENTICATION_LEN + usize::from(id_len) + usize::from(value_len);
    }
    if let [0, 0, ..] = payload.chunk::<4>(at)? {
        at += ORIGIN_LEN;
    }
    let [version, ..]: [u8; 4] = payload.chunk(at)?;
    let prefixes: [[u8; 4]; 2] = [payload.chunk(at + 8)?, payload.chunk(at + 24)?];
    if version >> 4 != 6 || !prefixes.contains(&[0x20, 0x01, 0, 0]) {
        return Err(Closed::NoTunnel);
    }
    Ok(Opened::new(Inside::Typed(TYPE_IPV6), at))
}
