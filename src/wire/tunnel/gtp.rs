//! GTP-U, what mobile networks carry their users' packets in (3GPP TS 29.281).

use super::{Closed, Inside, Opened, Payload};

const FIXED_LEN: usize = 8;
/// Sequence number, N-PDU number and next extension header: all there if one is.
const OPTIONAL_LEN: usize = 4;
/// Any of the flags that announce them.
const HAS_OPTIONAL: u8 = 0x07;
/// The flag that makes the next extension header count.
const HAS_EXTENSIONS: u8 = 0x04;

/// Steps over the header and its extension headers.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    /// Version 1, and not GTP'.
    const VERSION: u8 = 0x30;
    /// The message type that carries a user's packet.
    const G_PDU: u8 = 0xff;
    let [flags, message, ..]: [u8; FIXED_LEN] = payload.chunk(0)?;
    if flags & 0xf0 != VERSION || message != G_PDU {
        return Err(Closed::NoTunnel);
    }
    if flags & HAS_OPTIONAL == 0 {
        return Ok(Opened::new(Inside::Ip, FIXED_LEN));
    }
    let [_, _, _, next] = payload.chunk(FIXED_LEN)?;
    let mut at = FIXED_LEN + OPTIONAL_LEN;
    let mut next = if flags & HAS_EXTENSIONS == 0 { 0 } else { next };
    while next != 0 {
        let [words] = payload.chunk(at)?;
        if words == 0 {
            return Err(Closed::NoTunnel);
        }
        at += 4 * usize::from(words);
        [next] = payload.chunk(at - 1)?;
    }
    Ok(Opened::new(Inside::Ip, at))
}
