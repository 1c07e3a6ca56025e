//! Generic routing encapsulation (RFC 2784 and 2890), with what uses it: NVGRE (RFC 7637), PPTP
//! (RFC 2637), ERSPAN, WCCP redirection, and `MikroTik`'s Ethernet over IP.

use super::{Closed, Inside, Opened, Payload, TYPE_ETHERNET, erspan};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// In version 1 only.
const ACKNOWLEDGEMENT: u16 = 0x0080;
const VERSION_MASK: u16 = 0x0007;

const TYPE_EOIP: u16 = 0x6400;
const TYPE_PPP: u16 = 0x880b;
const TYPE_WCCP: u16 = 0x883e;
const TYPE_ERSPAN: u16 = 0x88be;
const TYPE_ERSPAN_3: u16 = 0x22eb;

/// Steps over the header and its optional fields.
pub(super) fn open(payload: Payload<'_>) -> Result<Opened, Closed> {
    const FIXED_LEN: usize = 4;
    let flags = u16::from_be_bytes(payload.chunk(0)?);
    let ethertype = u16::from_be_bytes(payload.chunk(2)?);
    match flags & VERSION_MASK {
        0 if flags & ROUTING == 0 => {}
        1 => return open_version_1(payload, flags, ethertype),
        _ => return Err(Closed::NoTunnel),
    }
    let fields = [CHECKSUM, KEY, SEQUENCE].iter().filter(|&&field| flags & field != 0).count();
    let at = FIXED_LEN + 4 * fields;
    match ethertype {
        TYPE_ETHERNET => Ok(Opened::new(Inside::Ethernet, at)),
        // The sequence number tells the second type from the first.
        TYPE_ERSPAN if flags & SEQUENCE == 0 => Ok(Opened::new(Inside::Ethernet, at)),
        TYPE_ERSPAN => erspan::open_2(payload, at),
        TYPE_ERSPAN_3 => erspan::open_3(payload, at),
        TYPE_WCCP => open_redirected(payload, at),
        ethertype => Ok(Opened::new(Inside::Typed(ethertype), at)),
    }
}

/// Steps over the enhanced header: PPTP, and Ethernet over IP, which borrows its form.
fn open_version_1(payload: Payload<'_>, flags: u16, ethertype: u16) -> Result<Opened, Closed> {
    const LENGTH_AND_CALL_LEN: usize = 4;
    let fixed_len = 4 + LENGTH_AND_CALL_LEN;
    match ethertype {
        TYPE_EOIP if flags & KEY != 0 => Ok(Opened::new(Inside::Ethernet, fixed_len)),
        TYPE_PPP if flags & KEY != 0 && flags & SEQUENCE != 0 => {
            let acknowledged = if flags & ACKNOWLEDGEMENT == 0 { 0 } else { 4 };
            let call_len = u16::from_be_bytes(payload.chunk(4)?);
            // A header without payload acknowledges only.
            if call_len == 0 {
                return Err(Closed::NoTunnel);
            }
            Ok(Opened::new(Inside::Ppp, fixed_len + 4 + acknowledged))
        }
        _ => Err(Closed::NoTunnel),
    }
}

/// Steps over the redirect header that version 2 of WCCP puts in front of the packet: as
/// `ipgre_rcv()` does, what does not begin as IPv4 is one (`net/ipv4/gre_demux.c`, Linux 6.18).
fn open_redirected(payload: Payload<'_>, at: usize) -> Result<Opened, Closed> {
    let [first] = payload.chunk(at)?;
    let redirect_len = if first >> 4 == 4 { 0 } else { 4 };
    Ok(Opened::new(Inside::Ip, at + redirect_len))
}
