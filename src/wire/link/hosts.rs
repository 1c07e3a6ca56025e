//! Headers that a capturing host writes in front of what it captured: firewall logs, `IPsec`
//! interfaces, routers' and laptops' own formats.

use super::{LinkType, Network, by_version, byte, ethernet, loopback, serial};
use crate::wire::Undecodable;
use crate::wire::bytes::{be16, le16, le32};

/// Finds the IP packet of a Linux netfilter log message, `LINKTYPE_NFLOG`: family, version and
/// resource id, then attributes, of which one is the packet.
pub(super) fn nflog(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    const HEADER_LEN: usize = 4;
    const PAYLOAD: u16 = 9;
    let family = u32::from(byte(bytes, at)?);
    let mut at = at + HEADER_LEN;
    loop {
        // Length and type stand in the byte order of the host that captured; a type is small.
        let little = le16(bytes, at + 2).ok_or(Undecodable::LinkHeaderCut)?;
        let is_little = little < little.swap_bytes();
        let len = if is_little { le16(bytes, at) } else { be16(bytes, at) };
        let len = usize::from(len.ok_or(Undecodable::LinkHeaderCut)?);
        if little.min(little.swap_bytes()) == PAYLOAD {
            return loopback::by_family(family, at + 4);
        }
        if len < 4 {
            return Err(Undecodable::NotIp);
        }
        at += len.next_multiple_of(4);
    }
}

/// Finds the IP packet of a netlink message, `LINKTYPE_NETLINK`, which must be a netfilter log
/// message: a cooked header with the netlink family as protocol, a message header, then as
/// [`nflog`]. Of several messages it is that of the first.
pub(super) fn netlink(bytes: &[u8]) -> Result<Network, Undecodable> {
    let message_type = || le16(bytes, COOKED_LEN + 4).ok_or(Undecodable::LinkHeaderCut);
    let is_log = super::half(bytes, 14)? == NETFILTER && message_type()? == LOGGED_PACKET;
    if is_log { nflog(bytes, COOKED_LEN + MESSAGE_HEADER_LEN) } else { Err(Undecodable::NotIp) }
}

/// Length of the header that the capturing host puts in front of netlink messages.
const COOKED_LEN: usize = 16;
/// Length of the header of a netlink message: length, type, flags, number and port.
const MESSAGE_HEADER_LEN: usize = 16;
/// The family of netfilter, `NETLINK_NETFILTER`.
const NETFILTER: u16 = 12;
/// The type of a log message with a packet: subsystem `NFNL_SUBSYS_ULOG`, `NFULNL_MSG_PACKET`.
const LOGGED_PACKET: u16 = 0x0400;

/// A netfilter log message within a netlink frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::wire) struct Logged {
    /// Where it begins in the frame, and its length as it says.
    pub(in crate::wire) start: usize,
    pub(in crate::wire) len: usize,
    /// Where the next message begins.
    pub(in crate::wire) next: usize,
}

/// Finds the first netfilter log message of a netlink frame at `from` or behind; 0 stands for the
/// beginning of the frame.
pub(in crate::wire) fn logged(bytes: &[u8], from: usize) -> Option<Logged> {
    if be16(bytes, 14)? != NETFILTER {
        return None;
    }
    let mut at = from.max(COOKED_LEN);
    loop {
        let len = le32(bytes, at)? as usize;
        let body = len.checked_sub(MESSAGE_HEADER_LEN)?;
        let next = at.checked_add(len.checked_next_multiple_of(4)?)?;
        if le16(bytes, at + 4)? == LOGGED_PACKET {
            return Some(Logged { start: at + MESSAGE_HEADER_LEN, len: body, next });
        }
        at = next;
    }
}

/// Finds the IP packet of a BSD packet filter log entry, `LINKTYPE_PFLOG`: the length of the
/// header, which is padded to 4 bytes, and the address family come first.
pub(super) fn pflog(bytes: &[u8]) -> Result<Network, Undecodable> {
    let header_len = usize::from(byte(bytes, 0)?).next_multiple_of(4);
    loopback::by_family(u32::from(byte(bytes, 1)?), header_len)
}

/// Finds the IP packet of a BSD `IPsec` interface, `LINKTYPE_ENC`: family, security parameters
/// index and flags.
pub(super) fn enc(bytes: &[u8]) -> Result<Network, Undecodable> {
    const HEADER_LEN: usize = 12;
    let family = le32(bytes, 0).ok_or(Undecodable::LinkHeaderCut)?;
    loopback::by_family(family.min(family.swap_bytes()), HEADER_LEN)
}

/// What a Juniper router captured behind its own header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Juniper {
    Ethernet,
    Ppp,
    FrameRelay,
    CiscoHdlc,
}

/// Finds the IP packet of a Juniper router's capture: a magic number, flags, extensions, and the
/// link header unless the flags say that there is none.
pub(super) fn juniper(bytes: &[u8], inner: Juniper) -> Result<Network, Undecodable> {
    const MAGIC: [u8; 3] = *b"MGC";
    const NO_LINK_HEADER: u8 = 0x02;
    const EXTENDED: u8 = 0x80;
    if bytes.get(..3).ok_or(Undecodable::LinkHeaderCut)? != MAGIC {
        return Err(Undecodable::NotIp);
    }
    let flags = byte(bytes, 3)?;
    let at = match flags & EXTENDED {
        0 => 4,
        _ => 6 + usize::from(super::half(bytes, 4)?),
    };
    if flags & NO_LINK_HEADER != 0 {
        return by_version(bytes, at + 4);
    }
    match inner {
        Juniper::Ethernet => ethernet::frame(bytes, at),
        Juniper::Ppp => serial::ppp(bytes, at),
        Juniper::FrameRelay => serial::frame_relay(bytes, at),
        Juniper::CiscoHdlc => serial::cisco_hdlc(bytes, at),
    }
}

/// Finds the IP packet behind a per-packet information header, `LINKTYPE_PPI`, which tells its
/// length and the link type of what follows.
pub(super) fn ppi(bytes: &[u8]) -> Result<Network, Undecodable> {
    let len = le16(bytes, 2).ok_or(Undecodable::LinkHeaderCut)?;
    let link = le32(bytes, 4).ok_or(Undecodable::LinkHeaderCut)?;
    behind(bytes, u32::from(len), link)
}

/// Finds the IP packet behind the header of macOS, `LINKTYPE_PKTAP`, which tells its length and
/// the link type of what follows.
pub(super) fn pktap(bytes: &[u8]) -> Result<Network, Undecodable> {
    let len = le32(bytes, 0).ok_or(Undecodable::LinkHeaderCut)?;
    let link = le32(bytes, 8).ok_or(Undecodable::LinkHeaderCut)?;
    behind(bytes, len, link)
}

/// Finds the IP packet of the frame that starts at `at` and has a link type of its own.
fn behind(bytes: &[u8], at: u32, link: u32) -> Result<Network, Undecodable> {
    const PPI: u16 = 192;
    const PKTAP: u16 = 258;
    let at = at as usize;
    let frame = bytes.get(at..).ok_or(Undecodable::LinkHeaderCut)?;
    let link = u16::try_from(link).map_err(|_| Undecodable::NotIp)?;
    // One such header in another would be a chain without an end.
    if matches!(link, PPI | PKTAP) {
        return Err(Undecodable::NotIp);
    }
    let Network { protocol, offset } = super::network(LinkType(link), frame)?;
    Ok(Network { protocol, offset: at + offset })
}
