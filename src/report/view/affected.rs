//! Who is affected: peers by network, ports, how many connections, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::audit::Audit;
use crate::diagnose::Diagnoses;
use crate::flow::FlowAudit;
use crate::report::view::Fact;
use crate::report::{counted, grouped};
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// Networks, or ports, that are named on each side.
const MOST: usize = 8;

/// The connections with INVALID packets, and those in which a cause shows otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Affected {
    /// Affected connections whose peers are known and counted below.
    pub flows: u64,
    /// Affected connections, those included that were too many to keep.
    pub flows_in_all: u64,
    /// All connections of the run.
    pub flows_total: u64,
    /// Payload bytes of the affected connections, both ways.
    pub bytes: u64,
    /// Capture time of the first packet of any of them.
    pub first_seen: Timestamp,
    /// Capture time of the last.
    pub last_seen: Timestamp,
    /// Who opened them, those with most connections first.
    pub originators: Vec<Peer>,
    /// Networks of originators not named.
    pub originators_not_named: usize,
    /// Who answered.
    pub responders: Vec<Peer>,
    /// Networks of responders not named.
    pub responders_not_named: usize,
    /// The responders' ports with their connections, the most frequent first.
    pub ports: Vec<(u16, u64)>,
    /// Ports not named.
    pub ports_not_named: usize,
}

/// A network of hosts, or one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The network in CIDR notation, or the address where it is only one.
    pub prefix: String,
    /// Hosts seen of it.
    pub hosts: u64,
    /// Affected connections.
    pub flows: u64,
}

impl Affected {
    /// Finds the affected connections; none when there are none.
    pub(in crate::report) fn of(audit: &Audit, diagnoses: &Diagnoses) -> Option<Self> {
        let flows = flows(audit, diagnoses);
        let first_seen = flows.values().map(|flow| flow.first_ts).min()?;
        let last_seen = flows.values().map(|flow| flow.last_ts).max()?;
        let ends = || flows.iter().map(|((_, key), flow)| key.endpoints(flow.original));
        let (originators, originators_not_named) = peers(ends().map(|(from, _)| from.addr));
        let (responders, responders_not_named) = peers(ends().map(|(_, to)| to.addr));
        let mut by_port: BTreeMap<u16, u64> = BTreeMap::new();
        ends().for_each(|(_, to)| *by_port.entry(to.port).or_default() += 1);
        let (ports, ports_not_named) = most(by_port.into_iter().collect(), |(_, flows)| *flows);
        let bytes = |flow: &FlowAudit| {
            let ways = flow.directions();
            ways.original.bytes + ways.reply.bytes
        };
        let known = flows.len() as u64;
        Some(Self {
            flows: known,
            flows_in_all: known + audit.findings_not_kept,
            flows_total: audit.totals.flows,
            bytes: flows.values().map(|flow| bytes(flow)).sum(),
            first_seen,
            last_seen,
            originators,
            originators_not_named,
            responders,
            responders_not_named,
            ports,
            ports_not_named,
        })
    }
}

impl Affected {
    /// Says it in words.
    pub fn facts(&self) -> Vec<Fact> {
        let ports = self.ports.iter().map(|(port, flows)| format!("{port} ({})", grouped(*flows)));
        let seen = format!("{} to {}", self.first_seen, self.last_seen);
        let connections = format!(
            "{} of {}, {} of payload",
            grouped(self.flows_in_all),
            grouped(self.flows_total),
            counted(self.bytes, "byte")
        );
        vec![
            Fact::new("connections", connections),
            Fact::new(
                "opened by (connections)",
                words(&self.originators, self.originators_not_named),
            ),
            Fact::new(
                "answered by (connections)",
                words(&self.responders, self.responders_not_named),
            ),
            Fact::new("ports (connections)", and_others(ports.collect(), self.ports_not_named)),
            Fact::new("seen", seen),
        ]
    }
}

/// Names peers with their hosts and connections.
fn words(peers: &[Peer], not_named: usize) -> String {
    let name = |peer: &Peer| {
        let hosts = match peer.hosts {
            1 => String::new(),
            hosts => format!("{}, ", counted(hosts, "host")),
        };
        format!("{} ({hosts}{})", peer.prefix, grouped(peer.flows))
    };
    and_others(peers.iter().map(name).collect(), not_named)
}

fn and_others(mut names: Vec<String>, not_named: usize) -> String {
    if not_named > 0 {
        names.push(format!("{} more", grouped(not_named as u64)));
    }
    names.join(", ")
}

/// Collects the flows with INVALID packets, and those that a cause names which blames a device.
fn flows<'a>(
    audit: &'a Audit,
    diagnoses: &Diagnoses,
) -> BTreeMap<(u64, &'a FlowKey), &'a FlowAudit> {
    let blaming = diagnoses.causes.iter().filter(|found| found.cause.blames_a_device());
    let named: BTreeSet<u64> = blaming.flat_map(|found| found.flows.iter().copied()).collect();
    let invalid = audit.findings.iter().filter(|flow| {
        flow.evidence.invalid_packets() > 0 || named.contains(&flow.audit.first_frame)
    });
    let invalid = invalid.map(|flow| (&flow.key, &flow.audit));
    let others = audit.suspects.iter().chain(&audit.troubled);
    let others = others.filter(|flow| named.contains(&flow.audit.first_frame));
    let others = others.map(|flow| (&flow.key, &flow.audit));
    invalid.chain(others).map(|(key, flow)| ((flow.first_frame, key), flow)).collect()
}

/// Lists hosts by networks: as wide as it takes to name few, at most /8 or /32.
fn peers(hosts: impl Iterator<Item = IpAddr>) -> (Vec<Peer>, usize) {
    let mut by_host: BTreeMap<IpAddr, u64> = BTreeMap::new();
    hosts.for_each(|host| *by_host.entry(host).or_default() += 1);
    let mut networks = Vec::new();
    for (v4, v6) in [(32, 128), (24, 64), (16, 48), (8, 32)] {
        networks = grouped_by(&by_host, v4, v6);
        if networks.len() <= MOST {
            break;
        }
    }
    most(networks, |peer| peer.flows)
}

/// Groups hosts by the leading bits of their addresses.
fn grouped_by(by_host: &BTreeMap<IpAddr, u64>, v4: u32, v6: u32) -> Vec<Peer> {
    let mut networks: BTreeMap<IpAddr, (IpAddr, u64, u64)> = BTreeMap::new();
    for (&host, flows) in by_host {
        let entry = networks.entry(network(host, v4, v6)).or_insert((host, 0, 0));
        entry.1 += 1;
        entry.2 += flows;
    }
    let peer = |(network, (host, hosts, flows)): (IpAddr, (IpAddr, u64, u64))| {
        let bits = if network.is_ipv4() { v4 } else { v6 };
        let prefix = if hosts == 1 { host.to_string() } else { format!("{network}/{bits}") };
        Peer { prefix, hosts, flows }
    };
    networks.into_iter().map(peer).collect()
}

/// Returns the network of a host.
fn network(host: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match host {
        IpAddr::V4(host) => {
            let mask = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
            Ipv4Addr::from_bits(host.to_bits() & mask).into()
        }
        IpAddr::V6(host) => {
            let mask = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
            Ipv6Addr::from_bits(host.to_bits() & mask).into()
        }
    }
}

/// Keeps those with the most, in the order given among equals, and says how many are left out.
fn most<T>(mut list: Vec<T>, weight: impl Fn(&T) -> u64) -> (Vec<T>, usize) {
    list.sort_by_key(|item| u64::MAX - weight(item));
    let left_out = list.len().saturating_sub(MOST);
    list.truncate(MOST);
    (list, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(range: std::ops::Range<u8>) -> impl Iterator<Item = IpAddr> {
        range.map(|last| IpAddr::from([203, 0, 113, last]))
    }

    #[test]
    fn few_hosts_are_named_and_many_become_a_network() {
        let (few, left_out) = peers(hosts(1..4));
        assert_eq!((few.len(), left_out), (3, 0));
        assert_eq!(few[0].prefix, "203.0.113.1");
        let (many, left_out) = peers(hosts(1..40).chain(hosts(1..5)));
        assert_eq!(left_out, 0);
        assert_eq!(many, [Peer { prefix: "203.0.113.0/24".to_owned(), hosts: 39, flows: 43 }]);
    }

    #[test]
    fn a_host_alone_in_its_network_stays_a_host() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let (named, _) = peers(hosts(1..40).chain([v6]));
        let prefixes: Vec<_> = named.iter().map(|peer| peer.prefix.as_str()).collect();
        assert_eq!(prefixes, ["203.0.113.0/24", "2001:db8::1"]);
    }

    #[test]
    fn networks_too_many_to_name_are_counted() {
        let scattered = (1..=200).map(|first| IpAddr::from([first, 2, 3, 4]));
        let (named, left_out) = peers(scattered);
        assert_eq!((named.len(), left_out), (MOST, 200 - MOST));
    }
}
