//! L2TP version 2 over UDP: PPP frames (RFC 2661).

use super::{Closed, Inside, Opened, Payload};

const IS_CONTROL: u16 = 0x8000;
const HAS_LENGTH: u16 = 0x4000;
const HAS_SEQUENCE: u16 = 0x0800;
const HAS_OFFSET: u16 = 0x0200;
const VERSION_MASK: u16 = 0x000f;

/// Steps over the header of a data message.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    const IDS_LEN: usize = 4;
    let flags = u16::from_be_bytes(payload.chunk(0)?);
    if flags & IS_CONTROL != 0 || flags & VERSION_MASK != 2 {
        return Err(Closed::NoTunnel);
    }
    let field = |flag, len| if flags & flag == 0 { 0 } else { len };
    let mut at = 2 + field(HAS_LENGTH, 2) + IDS_LEN + field(HAS_SEQUENCE, 4);
    if flags & HAS_OFFSET != 0 {
        at += 2 + usize::from(u16::from_be_bytes(payload.chunk(at)?));
    }
    Ok(Opened::new(Inside::Ppp, at))
}
