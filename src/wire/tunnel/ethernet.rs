//! From what a tunnel header announces to the IP packet, through Ethernet frames, tags, labels and
//! service headers.

use super::{Closed, Inside, MAX_DEPTH, Opened, TYPE_ETHERNET, TYPE_NSH, mpls, nsh};
use crate::frame::LinkType;
use crate::wire::Undecodable;
use crate::wire::bytes::Payload;
use crate::wire::link::{self, Network, ethernet};

/// Two addresses stand in front of the type field.
const ADDRESSES_LEN: usize = 12;
const TYPE_LEN: usize = 2;

const MPLS: [u16; 2] = [0x8847, 0x8848];

/// Finds the type field of a frame that carries no IP directly.
pub(super) fn outermost(link: LinkType, frame: Payload<'_>) -> Result<Opened, Closed> {
    const SLL_HEADER_LEN: usize = 16;
    const SLL2_HEADER_LEN: usize = 20;
    const C_HDLC: LinkType = LinkType(104);
    const LINUX_MPLS: LinkType = LinkType(219);
    let (type_at, at) = match link {
        LinkType::ETHERNET => return Ok(Opened::new(Inside::Ethernet, 0)),
        LINUX_MPLS => return Ok(Opened::new(Inside::Typed(MPLS[0]), 0)),
        LinkType::LINUX_SLL => (SLL_HEADER_LEN - TYPE_LEN, SLL_HEADER_LEN),
        LinkType::LINUX_SLL2 => (0, SLL2_HEADER_LEN),
        C_HDLC => (2, 4),
        _ => return Err(Closed::NoTunnel),
    };
    let ethertype = u16::from_be_bytes(frame.chunk(type_at)?);
    Ok(Opened::new(Inside::Typed(ethertype), at))
}

/// Steps over the header of Ethernet in IP (RFC 3378).
pub(super) fn over_ip(payload: Payload<'_>) -> Result<Opened, Closed> {
    const VERSION: [u8; 2] = [0x30, 0];
    if payload.chunk(0)? != VERSION {
        return Err(Closed::NoTunnel);
    }
    Ok(Opened::new(Inside::Ethernet, VERSION.len()))
}

/// Finds the IP packet behind a header that was read, given the bytes that the header stood in.
pub(super) fn network(payload: Payload<'_>, mut opened: Opened) -> Result<Network, Closed> {
    for _ in 0..MAX_DEPTH {
        let Opened { inside, at } = opened;
        let found = match inside {
            Inside::Ethernet | Inside::Typed(TYPE_ETHERNET) => {
                ethernet::frame(payload.captured, at)
            }
            Inside::Typed(ethertype) => ethernet::behind(payload.captured, ethertype, at),
            Inside::Ip => link::by_version(payload.captured, at),
            Inside::Ppp => link::ppp(payload.captured, at),
            Inside::Wireless => link::wireless(payload.captured, at),
            Inside::Layer4(_) => return Err(Closed::NoTunnel),
        };
        match found {
            Ok(network) if network.offset <= payload.captured.len() => return Ok(network),
            Ok(_) | Err(Undecodable::LinkHeaderCut) if !payload.is_whole() => {
                return Err(Closed::Cut);
            }
            Ok(_) | Err(_) => opened = further(payload, opened)?,
        }
    }
    Err(Closed::TooDeep)
}

/// Opens what an Ethernet frame or type announces beside IP: labels and service headers.
fn further(payload: Payload<'_>, opened: Opened) -> Result<Opened, Closed> {
    let (ethertype, at) = match opened.inside {
        Inside::Typed(ethertype) if ethertype != TYPE_ETHERNET => (ethertype, opened.at),
        Inside::Ethernet | Inside::Typed(_) => {
            let type_at = opened.at + ADDRESSES_LEN;
            (u16::from_be_bytes(payload.chunk(type_at)?), type_at + TYPE_LEN)
        }
        Inside::Ip | Inside::Ppp | Inside::Wireless | Inside::Layer4(_) => {
            return Err(Closed::NoTunnel);
        }
    };
    let (ethertype, at) =
        ethernet::untagged(payload.captured, ethertype, at).map_err(|_| Closed::NoTunnel)?;
    let inner = match ethertype {
        TYPE_NSH => nsh::open(payload.after(at)),
        label if MPLS.contains(&label) => mpls::open(payload.after(at)),
        _ => Err(Closed::NoTunnel),
    }?;
    Ok(Opened { at: inner.at + at, ..inner })
}
