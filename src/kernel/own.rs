//! What this machine's own tracker holds and counts, in the caller's network namespace.
//!
//! Only asks; changes nothing. Does not: judge packets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ctnetlink::{self, Entry as Answer};
use super::netlink::{self, Attributes, Messages};
use super::sys::Netlink;
use crate::conntrack::{Entry, Known};
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::{Endpoint, FlowKey, Orientation, TCP};

/// How long the kernel may take for the next part of its answer.
const PATIENCE_MS: i32 = 2000;

/// Why the tracker cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not be asked.
    #[error("cannot ask this machine's connection tracker by ctnetlink: it takes CAP_NET_ADMIN")]
    NotPermitted(#[source] io::Error),
    /// It does not answer.
    #[error(
        "cannot ask this machine's connection tracker by ctnetlink: it takes the kernel module \
         nf_conntrack_netlink"
    )]
    NoAnswer(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted(source),
            _ => Self::NoAnswer(source),
        }
    }
}

/// A connection to the tracker, for questions.
#[derive(Debug)]
pub struct Tracker {
    netlink: Netlink,
    messages: Messages,
    invalid: Rise,
}

/// How far counters of 32 bits have risen, one for each processor, wherever they wrap.
#[derive(Default, Debug)]
struct Rise {
    last: Vec<u32>,
    total: u64,
}

impl Rise {
    /// Takes in what the counters read now.
    fn take(&mut self, now: Vec<u32>) {
        // Another number of counters is another set of them.
        if self.last.len() == now.len() {
            let rises = now.iter().zip(&self.last).map(|(now, last)| now.wrapping_sub(*last));
            self.total += rises.map(u64::from).sum::<u64>();
        }
        self.last = now;
    }
}

impl Tracker {
    /// Opens the connection.
    ///
    /// # Errors
    ///
    /// [`Error`] where the kernel has no netfilter netlink.
    pub fn open() -> Result<Self, Error> {
        let netlink = Netlink::open()?;
        Ok(Self { netlink, messages: Messages::default(), invalid: Rise::default() })
    }

    /// Reads the open TCP connections, by all keys under which their packets may be seen: with
    /// address translation these are two.
    ///
    /// The tracker tells state, shifts and flags of each side, and no sequence numbers; `now` is the
    /// time of the question.
    ///
    /// # Errors
    ///
    /// [`Error`] without `CAP_NET_ADMIN`, or when the kernel does not answer.
    pub fn connections(&mut self, now: Timestamp) -> Result<Vec<(FlowKey, Entry)>, Error> {
        self.messages.clear();
        ctnetlink::ask_all(&mut self.messages);
        let mut found = Vec::new();
        self.netlink.dump(self.messages.as_bytes(), PATIENCE_MS, |datagram| {
            for message in netlink::messages(datagram).filter(|m| m.kind == ctnetlink::ENTRY) {
                let attributes = || message.attributes();
                let Some(answer) = Answer::read(&message) else { continue };
                let tuple = |wanted| {
                    attributes().find(|(kind, _)| *kind == wanted).and_then(|(_, t)| endpoints(t))
                };
                let original = tuple(CTA_TUPLE_ORIG);
                // A reply goes the other way: seen from the original, source is destination.
                let translated = tuple(CTA_TUPLE_REPLY).map(|(src, dst)| (dst, src));
                let translated = translated.filter(|ends| Some(*ends) != original);
                for (src, dst) in [original, translated].into_iter().flatten() {
                    let (key, orientation) = FlowKey::of(TCP, src, dst);
                    found.extend(known(&answer, orientation, now).map(|entry| (key, entry)));
                }
            }
        })?;
        Ok(found)
    }

    /// Reads how many packets the tracker has marked INVALID since it was first asked, over all
    /// processors: by how much the sum that `conntrack -S` shows as `invalid=` has risen.
    ///
    /// The kernel's counters have 32 bits; it is to be asked more often than they wrap.
    ///
    /// # Errors
    ///
    /// [`Error`] without `CAP_NET_ADMIN`, or when the kernel does not answer.
    pub fn invalid_packets(&mut self) -> Result<u64, Error> {
        self.messages.clear();
        ctnetlink::ask_statistics(&mut self.messages);
        let mut now = Vec::new();
        self.netlink.dump(self.messages.as_bytes(), PATIENCE_MS, |datagram| {
            now.extend(netlink::messages(datagram).filter_map(|m| ctnetlink::read_invalid(&m)));
        })?;
        self.invalid.take(now);
        Ok(self.invalid.total)
    }

    /// Reads how many entries the tracker has, of all protocols.
    ///
    /// # Errors
    ///
    /// [`Error`] without `CAP_NET_ADMIN`, or when the kernel does not answer.
    pub fn entries(&mut self) -> Result<u64, Error> {
        self.messages.clear();
        ctnetlink::ask_count(&mut self.messages, 1, netlink::ACK);
        let mut entries = None;
        self.netlink.dump(self.messages.as_bytes(), PATIENCE_MS, |datagram| {
            let mut counts = netlink::messages(datagram).filter(|m| m.kind == ctnetlink::COUNT);
            entries = entries.or_else(|| counts.find_map(|m| ctnetlink::read_count(&m)));
        })?;
        let silent = || Error::NoAnswer(io::ErrorKind::UnexpectedEof.into());
        entries.map(u64::from).ok_or_else(silent)
    }
}

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// `IPS_SEEN_REPLY` and `IPS_ASSURED`.
const SEEN_REPLY: u32 = 1 << 1;
const ASSURED: u32 = 1 << 2;

fn known(answer: &Answer, original: Orientation, now: Timestamp) -> Option<Entry> {
    let tcp = answer.tcp?;
    let remaining = i64::from(answer.remaining_s).saturating_mul(NANOS_PER_SEC);
    Some(Entry::known(&Known {
        state: tcp.state,
        wscale: tcp.wscale,
        flags: tcp.flags,
        seen_reply: answer.status & SEEN_REPLY != 0,
        assured: answer.status & ASSURED != 0,
        expires: now.plus_nanos(remaining),
        original,
    }))
}

/// Reads source and destination of a TCP tuple.
fn endpoints(tuple: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let (mut addresses, mut ports, mut protocol) = ([None, None], [None, None], 0);
    for (kind, nest) in Attributes::of(tuple) {
        for (attribute, payload) in Attributes::of(nest) {
            match (kind, attribute) {
                (CTA_TUPLE_IP, 1 | 3) => addresses = [address(payload), addresses[1]],
                (CTA_TUPLE_IP, 2 | 4) => addresses = [addresses[0], address(payload)],
                (CTA_TUPLE_PROTO, 1) => protocol = *payload.first()?,
                (CTA_TUPLE_PROTO, 2) => ports = [port(payload), ports[1]],
                (CTA_TUPLE_PROTO, 3) => ports = [ports[0], port(payload)],
                _ => {}
            }
        }
    }
    let ([source, destination], [from, to]) = (addresses, ports);
    let ends =
        (Endpoint { addr: source?, port: from? }, Endpoint { addr: destination?, port: to? });
    (protocol == TCP).then_some(ends)
}

fn address(payload: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(payload).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(payload).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

fn port(payload: &[u8]) -> Option<u16> {
    payload.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_wrap_are_followed() {
        let mut rise = Rise::default();
        rise.take(vec![u32::MAX - 1, 7]);
        assert_eq!(rise.total, 0);
        rise.take(vec![3, 9]);
        assert_eq!(rise.total, 7);
        rise.take(vec![3, 9]);
        assert_eq!(rise.total, 7);
    }
}
