//! MPLS label stacks (RFC 3032) and the pseudowires at their bottom.

use super::{Closed, Inside, Opened, Payload};

/// Steps over the labels.
///
/// No label says what it leads to. What begins as IP does is taken for it, all else for Ethernet
/// (RFC 4448), behind a control word (RFC 4385) if it begins with four zero bits and is no frame
/// without one.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    const BOTTOM_OF_STACK: u8 = 1;
    const CONTROL_WORD_LEN: usize = 4;
    let mut at = 0;
    loop {
        let [_, _, label, _] = payload.chunk(at)?;
        at += 4;
        if label & BOTTOM_OF_STACK != 0 {
            break;
        }
    }
    let [first] = payload.chunk(at)?;
    match first >> 4 {
        4 | 6 => Ok(Opened::new(Inside::Ip, at)),
        0 if !is_frame(payload, at) => Ok(Opened::new(Inside::Ethernet, at + CONTROL_WORD_LEN)),
        _ => Ok(Opened::new(Inside::Ethernet, at)),
    }
}

/// Returns whether what starts at `at` has the type of a frame that leads to IP.
fn is_frame(payload: Payload<'_>, at: usize) -> bool {
    const TYPE_AT: usize = 12;
    let ethertype = payload.chunk(at + TYPE_AT).map(u16::from_be_bytes);
    matches!(ethertype, Ok(0x0800 | 0x86dd | 0x8100 | 0x88a8 | 0x8847))
}
