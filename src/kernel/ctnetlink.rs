//! Questions about entries of the connection table, and their answers.
//!
//! Does not: know packets, sockets or clocks.

use super::netlink::{self, Attributes, CTNETLINK, Head, Message, Messages};
use super::packet::Tuple;
use super::tap::IpVersion;
use super::verdict::TcpEntry;
use crate::conntrack::TcpState;
use crate::segment::PerDirection;

/// `IPCTNL_MSG_CT_NEW`: what an entry's description comes as, and how one is changed.
pub(super) const ENTRY: u16 = CTNETLINK;
/// The answer to [`ask_count`].
pub(super) const COUNT: u16 = CTNETLINK | 5;

const GET: u16 = CTNETLINK | 1;
const DELETE: u16 = CTNETLINK | 2;
const GET_STATISTICS: u16 = CTNETLINK | 4;

/// What an answer says of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// What is kept of a TCP connection.
    pub(super) tcp: Option<TcpEntry>,
    /// `IPS_*` bits.
    pub(super) status: u32,
    /// Seconds to its end, rounded down.
    pub(super) remaining_s: u32,
}

impl Entry {
    /// Reads a message of kind [`ENTRY`].
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        let mut entry = Self { tcp: None, status: 0, remaining_s: 0 };
        for (kind, payload) in message.attributes() {
            match kind {
                CTA_STATUS => entry.status = netlink::read_be32(payload)?,
                CTA_TIMEOUT => entry.remaining_s = netlink::read_be32(payload)?,
                CTA_PROTOINFO => entry.tcp = read_tcp(payload),
                _ => {}
            }
        }
        Some(entry)
    }
}

fn read_tcp(info: &[u8]) -> Option<TcpEntry> {
    let (_, tcp) = Attributes::of(info).find(|(kind, _)| *kind == CTA_PROTOINFO_TCP)?;
    let mut state = None;
    let mut wscale = PerDirection::default();
    let mut flags = PerDirection::default();
    for (kind, payload) in Attributes::of(tcp) {
        let value = *payload.first()?;
        match kind {
            1 => state = TcpState::ALL.get(usize::from(value)).copied(),
            2 => wscale.original = value,
            3 => wscale.reply = value,
            4 => flags.original = value,
            5 => flags.reply = value,
            _ => {}
        }
    }
    Some(TcpEntry { state: state?, wscale, flags })
}

/// Writes the question for the entry that a tuple belongs to, in either direction.
pub(super) fn ask(messages: &mut Messages, seq: u32, tuple: &Tuple) {
    messages.message(head(GET, seq, tuple), |m| write_tuple(m, tuple));
}

/// Writes the order to let the entry of a tuple live for so many seconds.
pub(super) fn set_timeout(messages: &mut Messages, seq: u32, tuple: &Tuple, seconds: u32) {
    messages.message(head(ENTRY, seq, tuple), |m| {
        write_tuple(m, tuple);
        m.be32(CTA_TIMEOUT, seconds);
    });
}

/// Writes the order to delete the entry of a tuple.
pub(super) fn delete(messages: &mut Messages, seq: u32, tuple: &Tuple) {
    messages.message(head(DELETE, seq, tuple), |m| write_tuple(m, tuple));
}

/// Writes the order to delete every entry of the namespace.
pub(super) fn delete_all(messages: &mut Messages, seq: u32) {
    messages.message(Head { kind: DELETE, flags: 0, seq, family: 0, resource: 0 }, |_| {});
}

/// Writes the question for the number of entries in the namespace, with these `NLM_F_*`.
pub(super) fn ask_count(messages: &mut Messages, seq: u32, flags: u16) {
    messages.message(Head { kind: COUNT, flags, seq, family: 0, resource: 0 }, |_| {});
}

/// Writes the question for all entries of the namespace.
pub(super) fn ask_all(messages: &mut Messages) {
    let head = Head { kind: GET, flags: netlink::DUMP, seq: 1, family: 0, resource: 0 };
    messages.message(head, |_| {});
}

/// Writes the question for the counters of all processors.
pub(super) fn ask_statistics(messages: &mut Messages) {
    let head = Head { kind: GET_STATISTICS, flags: netlink::DUMP, seq: 1, family: 0, resource: 0 };
    messages.message(head, |_| {});
}

/// Reads how many packets one processor has found INVALID.
pub(super) fn read_invalid(message: &Message<'_>) -> Option<u32> {
    let (_, payload) = message.attributes().find(|(kind, _)| *kind == CTA_STATS_INVALID)?;
    netlink::read_be32(payload)
}

/// Reads the number of entries from a message of kind [`COUNT`].
pub(super) fn read_count(message: &Message<'_>) -> Option<u32> {
    let (_, payload) = message.attributes().find(|(kind, _)| *kind == CTA_STATS_GLOBAL_ENTRIES)?;
    netlink::read_be32(payload)
}

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_INVALID: u16 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

fn head(kind: u16, seq: u32, tuple: &Tuple) -> Head {
    let family = match tuple.version {
        IpVersion::V4 => AF_INET,
        IpVersion::V6 => AF_INET6,
    };
    Head { kind, flags: 0, seq, family, resource: 0 }
}

fn write_tuple(messages: &mut Messages, tuple: &Tuple) {
    messages.nest(CTA_TUPLE_ORIG, |m| {
        m.nest(CTA_TUPLE_IP, |m| write_addresses(m, tuple));
        m.nest(CTA_TUPLE_PROTO, |m| write_protocol(m, tuple));
    });
}

fn write_addresses(messages: &mut Messages, tuple: &Tuple) {
    let (first, len) = match tuple.version {
        IpVersion::V4 => (1, 4),
        IpVersion::V6 => (3, 16),
    };
    messages.attribute(first, tuple.source.get(..len).unwrap_or_default());
    messages.attribute(first + 1, tuple.destination.get(..len).unwrap_or_default());
}

fn write_protocol(messages: &mut Messages, tuple: &Tuple) {
    messages.attribute(CTA_PROTO_NUM, &[tuple.protocol]);
    let [first, second] = tuple.detail.map(u16::to_be_bytes);
    if tuple.is_icmp() {
        let kind = match tuple.version {
            IpVersion::V4 => 4,
            IpVersion::V6 => 7,
        };
        let [icmp_type, code] = second;
        messages.attribute(kind, &first);
        messages.attribute(kind + 1, &[icmp_type]);
        messages.attribute(kind + 2, &[code]);
    } else if tuple.has_detail() {
        messages.attribute(2, &first);
        messages.attribute(3, &second);
    }
}
