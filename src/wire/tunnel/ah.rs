//! The authentication header in front of an IPv4 payload (RFC 4302); in IPv6 it is an extension
//! header, which is passed over without being a tunnel.

use super::{Closed, Inside, Opened, Payload};

/// Steps over the header.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    /// Next header, length, reserved, SPI, sequence number.
    const FIXED_LEN: usize = 12;
    let [next, words] = payload.chunk(0)?;
    let len = (usize::from(words) + 2) * 4;
    if len < FIXED_LEN || len > payload.len {
        return Err(Closed::NoTunnel);
    }
    Ok(Opened::new(Inside::Layer4(next), len))
}
