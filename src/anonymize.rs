//! Reports that can be handed on: addresses replaced under a key, times counted from the first frame.
//!
//! The whole [`Audit`] is mapped before anything is concluded or written, so that no report format can
//! forget it: verdicts, causes and remedies then speak of mapped addresses. The mapping is
//! `ipcrypt-pfx` (draft-denis-ipcrypt): two addresses that share a prefix share one of the same length
//! afterwards, IPv4 stays IPv4, and whoever has the key can turn it back. Ports, sequence numbers and
//! sizes stay. Community ids and hashes of the capture, which would give addresses or the file away,
//! are left out, and so are the words of a filter.
//!
//! Does not: hide the names of hosts and people in file names, or what traffic looks like.

mod names;

use std::fmt;
use std::net::IpAddr;

use ipcrypt_rs::IpcryptPfx;
use sha2::{Digest, Sha256};

use crate::audit::{Addresses, Audit, Times};
use crate::time::Timestamp;
use crate::tuple::FlowKey;
use crate::wire;

/// Bytes of key material at least: 128 bits.
pub const LEAST_KEY: usize = 16;

/// What stands before the key material when it is hashed, so that a key used elsewhere differs.
const CONTEXT: &[u8] = b"tcp-window-audit anonymize 1\0";

/// What stands for the words of a filter.
const FILTER: &str = "(not shown: it may name addresses)";

/// The options that the words of a filter follow.
const FILTER_OPTIONS: [&str; 2] = ["--filter", "--notrack"];

/// Replaces addresses, the same by the same under one key.
pub struct Mapping {
    cipher: IpcryptPfx,
}

impl fmt::Debug for Mapping {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").finish_non_exhaustive()
    }
}

/// Why there is no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a key has at least {LEAST_KEY} bytes, not {0}; make one with: head -c 32 /dev/urandom > key"
)]
pub struct ShortKey(pub usize);

impl Mapping {
    /// Makes the mapping of a key: any bytes, at least [`LEAST_KEY`].
    ///
    /// # Errors
    ///
    /// [`ShortKey`] for fewer.
    pub fn new(key: &[u8]) -> Result<Self, ShortKey> {
        if key.len() < LEAST_KEY {
            return Err(ShortKey(key.len()));
        }
        let hash = Sha256::new().chain_update(CONTEXT).chain_update(key).finalize();
        // The cipher wants two different halves; equal ones have a chance of 2^-128.
        Ok(Self { cipher: IpcryptPfx::new(hash.into()) })
    }

    /// Returns what stands for an address.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        self.cipher.encrypt_ipaddr(address)
    }

    /// Returns a text, such as the name of a file or an interface, with every address in it replaced.
    pub fn text(&self, text: &str) -> String {
        names::map(text, |address| self.address(address))
    }

    /// Replaces every address of an audit.
    pub fn apply(&self, audit: &mut Audit) {
        audit.provenance.addresses = Addresses::Mapped;
        audit.provenance.private.map(|address| self.address(address));
        audit.provenance.digests.clear();
        for input in &mut audit.inputs.read {
            let summary = &mut input.summary;
            summary.name = self.text(&summary.name);
            for interface in &mut summary.interfaces {
                interface.name = interface.name.as_deref().map(|name| self.text(name));
            }
        }
        let filter = audit.inputs.filter.iter_mut().map(|filter| &mut filter.expression);
        filter.chain(&mut audit.method.notrack).for_each(|words| FILTER.clone_into(words));
        hide_filters(&mut audit.provenance.options);
        for problem in &mut audit.incomplete {
            *problem = self.text(problem);
        }
        audit.exhibits.missing = audit.exhibits.missing.take().map(|missing| self.text(&missing));
        for packet in &mut audit.exhibits.packets {
            wire::map_addresses(&mut packet.headers, &|address| self.address(address));
        }
        if let Some(table) = &mut audit.table {
            table.map_addresses(|address| self.address(address));
        }
        for address in audit.totals.peers.addresses() {
            *address = self.address(*address);
        }
        audit.totals.queries.map_addresses(|address| self.address(address));
        keys(audit).for_each(|key| *key = key.mapped(|address| self.address(address)));
    }
}

/// Hides the words of filters among options.
///
/// They are told by the option before, for a live capture joins several to one expression.
fn hide_filters(options: &mut [String]) {
    let mut is_filter = false;
    for option in options {
        if std::mem::replace(&mut is_filter, FILTER_OPTIONS.contains(&option.as_str())) {
            FILTER.clone_into(option);
            is_filter = false;
        }
    }
}

/// Returns the key of every flow that is kept.
fn keys(audit: &mut Audit) -> impl Iterator<Item = &mut FlowKey> {
    let findings = audit.findings.iter_mut().map(|flow| &mut flow.key);
    let troubled = audit.troubled.iter_mut().chain(&mut audit.suspects).map(|flow| &mut flow.key);
    let shown = audit.exhibits.flows.iter_mut().map(|shown| &mut shown.told);
    let stories = audit.stories.iter_mut().chain(shown).map(|told| &mut told.key);
    let table = audit.table.iter_mut().flat_map(|table| table.keys());
    let openings = audit.openings.iter_mut().map(|opening| &mut opening.key);
    let sightings = audit.sightings.iter_mut().map(|flow| &mut flow.key);
    findings.chain(troubled).chain(stories).chain(table).chain(openings).chain(sightings)
}

/// Counts all times of an audit from its earliest frame, which comes to stand at
/// 1970-01-01T00:00:00Z.
pub fn relative_times(audit: &mut Audit) {
    audit.provenance.times = Times::Relative;
    let Some(Timestamp(start)) = audit.first_ts else { return };
    let shift = |ts: &mut Timestamp| ts.0 = ts.0.saturating_sub(start);
    audit.first_ts.iter_mut().chain(&mut audit.last_ts).for_each(shift);
    audit.totals.peers.times().for_each(shift);
    for flow in &mut audit.findings {
        flow.audit.times().chain(flow.summary.times()).for_each(shift);
        flow.evidence.times().for_each(shift);
    }
    for flow in audit.troubled.iter_mut().chain(&mut audit.suspects) {
        flow.audit.times().chain(flow.summary.times()).for_each(shift);
    }
    audit.totals.timeline.count_from(Timestamp(start));
    audit.totals.occupancy.count_from(Timestamp(start));
    if let Some(table) = &mut audit.table {
        table.times().for_each(shift);
    }
    for packet in &mut audit.exhibits.packets {
        shift(&mut packet.ts);
    }
    for shown in &mut audit.exhibits.flows {
        shown.trace.times().for_each(shift);
    }
    let shown = audit.exhibits.flows.iter_mut().map(|shown| &mut shown.told);
    for told in audit.stories.iter_mut().chain(shown) {
        told.audit.times().chain(told.summary.times()).for_each(shift);
        told.story.times().for_each(shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Private;

    const KEY: &[u8] = b"a key of the tests, 32 bytes long";

    fn mapped(address: &str) -> String {
        Mapping::new(KEY).unwrap().address(address.parse().unwrap()).to_string()
    }

    #[test]
    fn the_same_key_gives_the_same_mapping_and_another_another() {
        assert_eq!(mapped("192.0.2.80"), mapped("192.0.2.80"));
        let other = Mapping::new(b"another key, no shorter").unwrap();
        assert_ne!(mapped("192.0.2.80"), other.address([192, 0, 2, 80].into()).to_string());
    }

    #[test]
    fn addresses_share_as_long_a_prefix_as_before() {
        let v4 = |address: &str| mapped(address).parse::<std::net::Ipv4Addr>().unwrap().to_bits();
        let shared = |a: &str, b: &str| (v4(a) ^ v4(b)).leading_zeros();
        assert_eq!(shared("192.0.2.80", "192.0.2.81"), 31);
        assert_eq!(shared("192.0.2.80", "192.0.3.80"), 23);
        assert_eq!(shared("192.0.2.80", "10.0.2.80"), 0);
        let v6 = |address: &str| mapped(address).parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        assert_eq!((v6("2001:db8::1") ^ v6("2001:db8:0:1::1")).leading_zeros(), 63);
    }

    #[test]
    fn the_words_of_every_filter_are_hidden() {
        let mut options =
            ["--filter", "host 192.0.2.1", "--notrack", "--filter", "--inner"].map(str::to_owned);
        hide_filters(&mut options);
        assert_eq!(options, ["--filter", FILTER, "--notrack", FILTER, "--inner"]);
    }

    #[test]
    fn what_is_private_is_known_of_mapped_addresses() {
        let (mapping, plain) = (Mapping::new(KEY).unwrap(), Private::default());
        let mut private = plain;
        private.map(|address| mapping.address(address));
        for addr in [
            "10.0.0.1",
            "172.20.3.4",
            "192.168.9.9",
            "100.100.0.1",
            "fd12::1",
            "11.0.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "100.128.0.1",
            "2001:db8::1",
        ] {
            let addr = addr.parse().unwrap();
            assert_eq!(private.holds(mapping.address(addr)), plain.holds(addr), "{addr}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(Mapping::new(b"secret").err(), Some(ShortKey(6)));
    }
}
