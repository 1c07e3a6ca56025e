//! CAPWAP data, what access points send to their controller (RFC 5415; RFC 5416 for 802.11).

use super::{Closed, Inside, Opened, Payload};

/// Steps over the header.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    /// Version 0, not encrypted.
    const PREAMBLE: u8 = 0;
    /// The binding of IEEE 802.11, in bits 10 to 14 behind the preamble.
    const IEEE_802_11: u32 = 1;
    const IS_NATIVE: u32 = 1 << 8;
    const IS_FRAGMENT: u32 = 1 << 7;
    const IS_KEEPALIVE: u32 = 1 << 3;
    let [preamble, a, b, c] = payload.chunk(0)?;
    let word = u32::from_be_bytes([0, a, b, c]);
    let (header_words, binding) = (word >> 19, (word >> 9) & 0x1f);
    if preamble != PREAMBLE || word & (IS_FRAGMENT | IS_KEEPALIVE) != 0 {
        return Err(Closed::NoTunnel);
    }
    let at = header_words as usize * 4;
    match (word & IS_NATIVE != 0, binding) {
        (false, _) => Ok(Opened::new(Inside::Ethernet, at)),
        (true, IEEE_802_11) => Ok(Opened::new(Inside::Wireless, at)),
        (true, _) => Err(Closed::NoTunnel),
    }
}
