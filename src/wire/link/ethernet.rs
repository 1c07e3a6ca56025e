//! Ethernet II, IEEE 802.3 with LLC and SNAP, VLAN tags, and what else an `EtherType` can announce
//! in front of the same IP packet.

use super::{Network, by_version};
use crate::wire::Undecodable;
use crate::wire::bytes::{be16, u8_at};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const PPPOE_SESSION: u16 = 0x8864;
const MACSEC: u16 = 0x88e5;
const MPLS: [u16; 2] = [0x8847, 0x8848];

/// The largest number in the type field that is a length (IEEE 802.3, clause 3.2.6).
const MAX_LENGTH: u16 = 1500;
/// Where the type field of a frame stands.
const TYPE_AT: usize = 12;

/// Finds the IP packet of an Ethernet frame that starts at `at`.
#[inline]
pub(in crate::wire) fn frame(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    typed(bytes, at + TYPE_AT)
}

/// Finds the IP packet behind the `EtherType` at `at`, which may announce VLAN tags.
#[inline]
pub(super) fn typed(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match be16(bytes, at) {
        Some(IPV4) => Ok(Network::v4(at + 2)),
        Some(IPV6) => Ok(Network::v6(at + 2)),
        _ => typed_otherwise(bytes, at),
    }
}

fn typed_otherwise(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    let ethertype = be16(bytes, at).ok_or(Undecodable::LinkHeaderCut)?;
    behind(bytes, ethertype, at + 2)
}

/// Finds the IP packet at or behind `at`, where what `ethertype` announces starts.
pub(in crate::wire) fn behind(
    bytes: &[u8],
    ethertype: u16,
    at: usize,
) -> Result<Network, Undecodable> {
    match untagged(bytes, ethertype, at)? {
        (0..=MAX_LENGTH, at) => llc(bytes, at),
        (ethertype, at) => announced(bytes, ethertype, at),
    }
}

/// Finds the IP packet at or behind `at`, where what `ethertype` announces starts: no tag, and no
/// LLC header, so that there is an end to headers in headers.
fn announced(bytes: &[u8], ethertype: u16, at: usize) -> Result<Network, Undecodable> {
    match ethertype {
        IPV4 => Ok(Network::v4(at)),
        IPV6 => Ok(Network::v6(at)),
        label if MPLS.contains(&label) => mpls(bytes, at),
        PPPOE_SESSION => pppoe(bytes, at),
        MACSEC if at >= bytes.len() => Err(Undecodable::LinkHeaderCut),
        MACSEC => Err(Undecodable::Macsec),
        _ => Err(Undecodable::NotIp),
    }
}

/// Passes over tags at `at`, where what `ethertype` announces starts, and returns the last type and
/// where what it announces starts.
pub(in crate::wire) fn untagged(
    bytes: &[u8],
    mut ethertype: u16,
    mut at: usize,
) -> Result<(u16, usize), Undecodable> {
    while let Some(len) = tag_len(ethertype).or_else(|| clear_macsec_len(bytes, ethertype, at)) {
        ethertype = be16(bytes, at + len).ok_or(Undecodable::LinkHeaderCut)?;
        at += len + 2;
    }
    Ok((ethertype, at))
}

/// Returns how many bytes stand between this type field and the next one of the same frame, for
/// the types that announce another.
const fn tag_len(ethertype: u16) -> Option<usize> {
    const ADDRESSES_LEN: usize = 12;
    match ethertype {
        // VLAN: the customer tag (IEEE 802.1Q), the service tag (802.1ad), and two from before.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => Some(2),
        // VN-Tag.
        0x8926 => Some(4),
        // The tag of 802.1BR, and Cisco metadata.
        0x893f | 0x8909 => Some(6),
        // A whole frame behind the service instance tag (802.1ah), and behind a FabricPath tag.
        0x88e7 => Some(4 + ADDRESSES_LEN),
        0x8903 => Some(2 + ADDRESSES_LEN),
        _ => None,
    }
}

/// Returns the bytes of a `MACsec` tag behind its type field, when what it protects is in clear: only
/// signed, neither encrypted nor changed (IEEE 802.1AE, clause 9).
fn clear_macsec_len(bytes: &[u8], ethertype: u16, at: usize) -> Option<usize> {
    const ENCRYPTED: u8 = 0x08;
    const CHANGED: u8 = 0x04;
    const CHANNEL_ID: u8 = 0x20;
    const SHORT_TAG_LEN: usize = 6;
    const CHANNEL_ID_LEN: usize = 8;
    let control = u8_at(bytes, at).filter(|_| ethertype == MACSEC)?;
    let is_clear = control & (ENCRYPTED | CHANGED) == 0;
    let channel_id_len = if control & CHANNEL_ID == 0 { 0 } else { CHANNEL_ID_LEN };
    is_clear.then_some(SHORT_TAG_LEN + channel_id_len)
}

/// Finds the IP packet behind an LLC header (IEEE 802.2) at `at`: SNAP with an `EtherType`, or the
/// service access point of IP itself.
pub(super) fn llc(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    const SNAP: u8 = 0xaa;
    const IP: u8 = 0x06;
    const UNNUMBERED: u8 = 0x03;
    let header = |i| u8_at(bytes, at + i).ok_or(Undecodable::LinkHeaderCut);
    match (header(0)?, header(1)?, header(2)?) {
        (SNAP, SNAP, UNNUMBERED) => snap(bytes, at + 3),
        (IP, IP, UNNUMBERED) => Ok(Network::v4(at + 3)),
        _ => Err(Undecodable::NotIp),
    }
}

/// Finds the IP packet behind a SNAP header at `at`: an organisation that uses `EtherType`s
/// (RFC 1042; IEEE 802.1H), then one.
pub(super) fn snap(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    match bytes.get(at..at + 3).ok_or(Undecodable::LinkHeaderCut)? {
        [0, 0, 0 | 0xf8] => {
            let ethertype = be16(bytes, at + 3).ok_or(Undecodable::LinkHeaderCut)?;
            let (ethertype, at) = untagged(bytes, ethertype, at + 5)?;
            announced(bytes, ethertype, at)
        }
        _ => Err(Undecodable::NotIp),
    }
}

/// Finds the IP packet behind a stack of MPLS labels (RFC 3032); a label does not say what it
/// leads to, the version does.
pub(super) fn mpls(bytes: &[u8], mut at: usize) -> Result<Network, Undecodable> {
    const BOTTOM_OF_STACK: u8 = 1;
    while u8_at(bytes, at + 2).ok_or(Undecodable::LinkHeaderCut)? & BOTTOM_OF_STACK == 0 {
        at += 4;
    }
    by_version(bytes, at + 4)
}

/// Finds the IP packet of a `PPPoE` session (RFC 2516).
pub(super) fn pppoe(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    ppp_protocol(bytes, at + 6)
}

/// Finds the IP packet behind a PPP protocol field (RFC 1661), which may be compressed to its
/// second byte.
pub(super) fn ppp_protocol(bytes: &[u8], at: usize) -> Result<Network, Undecodable> {
    let first = u8_at(bytes, at).ok_or(Undecodable::LinkHeaderCut)?;
    let (protocol, after) = if first & 1 == 1 {
        (u16::from(first), at + 1)
    } else {
        (be16(bytes, at).ok_or(Undecodable::LinkHeaderCut)?, at + 2)
    };
    match protocol {
        0x0021 => Ok(Network::v4(after)),
        0x0057 => Ok(Network::v6(after)),
        0x0281 | 0x0283 => mpls(bytes, after),
        _ => Err(Undecodable::NotIp),
    }
}
