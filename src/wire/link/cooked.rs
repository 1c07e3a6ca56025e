//! Linux cooked captures, what the `any` device gives.

use super::{Network, ethernet};
use crate::wire::Undecodable;
use crate::wire::bytes::be16;

/// Protocol numbers of Linux (`if_ether.h`) that say that an LLC header follows.
const LLC: u16 = 0x0004;

/// The packet type of packets that the capturing host sent (`if_packet.h`).
const OUTGOING: u16 = 4;

/// Finds the IP packet of a frame of version 1, `LINKTYPE_LINUX_SLL`.
pub(super) fn v1(bytes: &[u8]) -> Result<Network, Undecodable> {
    const PROTOCOL_AT: usize = 14;
    match be16(bytes, PROTOCOL_AT) {
        Some(LLC) => ethernet::llc(bytes, PROTOCOL_AT + 2),
        Some(0..LLC) => Err(Undecodable::NotIp),
        _ => ethernet::typed(bytes, PROTOCOL_AT),
    }
}

/// Finds the IP packet of a frame of version 2, `LINKTYPE_LINUX_SLL2`, whose protocol comes first
/// and whose VLAN tags stand behind the header.
pub(super) fn v2(bytes: &[u8]) -> Result<Network, Undecodable> {
    const HEADER_LEN: usize = 20;
    if bytes.len() < HEADER_LEN {
        return Err(Undecodable::LinkHeaderCut);
    }
    match be16(bytes, 0) {
        Some(LLC) => ethernet::llc(bytes, HEADER_LEN),
        Some(0..LLC) => Err(Undecodable::NotIp),
        Some(ethertype) => ethernet::behind(bytes, ethertype, HEADER_LEN),
        None => Err(Undecodable::LinkHeaderCut),
    }
}

/// Returns whether version 1 says that the capturing host sent the packet: `PACKET_OUTGOING`.
pub(super) fn is_outgoing_v1(bytes: &[u8]) -> bool {
    be16(bytes, 0) == Some(OUTGOING)
}

/// Returns whether version 2 says that the capturing host sent the packet.
pub(super) fn is_outgoing_v2(bytes: &[u8]) -> bool {
    const PACKET_TYPE_AT: usize = 10;
    bytes.get(PACKET_TYPE_AT).is_some_and(|kind| u16::from(*kind) == OUTGOING)
}

/// Returns the packet type of version 1: who is addressed, or that the packet goes out.
pub(super) fn packet_type_v1(bytes: &[u8]) -> Option<u16> {
    be16(bytes, 0)
}

/// Returns the index of the interface in version 2.
pub(super) fn interface_v2(bytes: &[u8]) -> Option<u16> {
    const INDEX_LOW_AT: usize = 6;
    be16(bytes, INDEX_LOW_AT)
}
