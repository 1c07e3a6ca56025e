//! Mirrored Ethernet frames in GRE (draft-foschiano-erspan); type I has no header of its own.

use super::{Closed, Inside, Opened, Payload};

/// Steps over a header of type II at `at`.
pub(super) fn open_2(payload: Payload<'_>, at: usize) -> Result<Opened, Closed> {
    const LEN: usize = 8;
    const VERSION: u8 = 1;
    let [first] = payload.chunk(at)?;
    if first >> 4 != VERSION {
        return Err(Closed::NoTunnel);
    }
    Ok(Opened::new(Inside::Ethernet, at + LEN))
}

/// Steps over a header of type III at `at`, which may have a platform-specific part.
pub(super) fn open_3(payload: Payload<'_>, at: usize) -> Result<Opened, Closed> {
    const LEN: usize = 12;
    const PLATFORM_LEN: usize = 8;
    const VERSION: u8 = 2;
    const HAS_PLATFORM: u8 = 1;
    /// The frame type of bare IP, in the bits above the hardware id.
    const IP: u8 = 2;
    let header: [u8; LEN] = payload.chunk(at)?;
    let [first, .., kind, last] = header;
    if first >> 4 != VERSION {
        return Err(Closed::NoTunnel);
    }
    let platform_len = if last & HAS_PLATFORM == 0 { 0 } else { PLATFORM_LEN };
    let inside = if (kind >> 2) & 0x1f == IP { Inside::Ip } else { Inside::Ethernet };
    Ok(Opened::new(inside, at + LEN + platform_len))
}
