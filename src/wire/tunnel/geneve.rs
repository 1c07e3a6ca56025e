//! GENEVE (RFC 8926), whose options are passed over.

use super::{Closed, Inside, Opened, Payload, TYPE_ETHERNET};

/// Steps over the header and its options.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    const FIXED_LEN: usize = 8;
    const IS_CONTROL: u8 = 0x80;
    let [first, flags, t0, t1, ..]: [u8; FIXED_LEN] = payload.chunk(0)?;
    let (version, option_words) = (first >> 6, first & 0x3f);
    if version != 0 || flags & IS_CONTROL != 0 {
        return Err(Closed::NoTunnel);
    }
    let inside = match u16::from_be_bytes([t0, t1]) {
        TYPE_ETHERNET => Inside::Ethernet,
        ethertype => Inside::Typed(ethertype),
    };
    Ok(Opened::new(inside, FIXED_LEN + 4 * usize::from(option_words)))
}
