//! Whom an entry serves, and for whom.
//!
//! Does not: count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::occupancy::life::{Life, Phase};
use crate::tuple::Endpoint;

/// A service: a protocol and the port that it is offered on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Service {
    /// IP protocol number.
    pub protocol: u8,
    /// The port; none where the protocol has none, as ICMP.
    pub port: Option<u16>,
}

/// The ports below which a service stands rather than a client.
const WELL_KNOWN: u16 = 1024;

impl Service {
    /// Finds the service of an entry.
    pub fn of(life: &Life) -> Self {
        let protocol = life.key.protocol();
        let has_ports = matches!(protocol, 6 | 17 | 33 | 132 | 136);
        Self { protocol, port: has_ports.then_some(ends(life).1.port) }
    }

    /// Returns the name that `nft` and `iptables` have for the protocol, if rules can name the port.
    pub const fn rule_protocol(&self) -> Option<&'static str> {
        match self.protocol {
            6 => Some("tcp"),
            17 => Some("udp"),
            _ => None,
        }
    }
}

/// Returns the client of an entry, and the server.
///
/// Who opened the entry is the client, except where the capture began in the middle: there a
/// well-known port is that of the service.
pub(super) fn ends(life: &Life) -> (Endpoint, Endpoint) {
    let (first, second) = life.key.endpoints(life.original);
    let may_be_reply = life.picked_up || !matches!(life.phase, Phase::Tcp(_));
    let is_reply = first.port < WELL_KNOWN && second.port >= WELL_KNOWN;
    if may_be_reply && is_reply { (second, first) } else { (first, second) }
}

impl fmt::Display for Service {
    /// Writes `UDP port 53`, `ICMP`, or `protocol 47`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            1 => f.write_str("ICMP"),
            6 => f.write_str("TCP"),
            17 => f.write_str("UDP"),
            58 => f.write_str("ICMPv6"),
            132 => f.write_str("SCTP"),
            number => write!(f, "protocol {number}"),
        }?;
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

/// A network of clients: 24 bits of IPv4, 48 of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// Returns the network of an address.
    pub fn of(addr: IpAddr) -> Self {
        Self(match addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48))),
        })
    }
}

impl Prefix {
    /// Returns its first address.
    pub const fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Prefix {
    /// Writes `192.0.2.0/24` or `2001:db8::/48`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { 24 } else { 48 };
        write!(f, "{}/{bits}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::TcpState;
    use crate::time::Timestamp;
    use crate::tuple::FlowKey;

    fn service(protocol: u8, from: u16, to: u16, picked_up: bool, phase: Phase) -> String {
        let end = |host, port| Endpoint { addr: IpAddr::from([192, 0, 2, host]), port };
        let (key, original) = FlowKey::of(protocol, end(1, from), end(2, to));
        let life = Life { original, picked_up, ..Life::new(key, 1, Timestamp(0), phase) };
        format!("{} for {}", Service::of(&life), ends(&life).0.addr)
    }

    #[test]
    fn the_service_is_what_the_first_packet_goes_to() {
        let tcp = Phase::Tcp(TcpState::SynSent);
        assert_eq!(service(6, 40_000, 443, false, tcp), "TCP port 443 for 192.0.2.1");
        assert_eq!(service(6, 20, 40_000, false, tcp), "TCP port 40000 for 192.0.2.1");
        assert_eq!(service(17, 5353, 53, false, Phase::UdpReplied), "UDP port 53 for 192.0.2.1");
        assert_eq!(service(1, 7, 0, false, Phase::Icmp), "ICMP for 192.0.2.1");
    }

    #[test]
    fn what_began_before_the_capture_is_told_by_its_port() {
        let tcp = Phase::Tcp(TcpState::Established);
        assert_eq!(service(6, 443, 40_000, true, tcp), "TCP port 443 for 192.0.2.2");
        assert_eq!(service(17, 53, 40_000, false, Phase::UdpStream), "UDP port 53 for 192.0.2.2");
    }

    #[test]
    fn networks_are_written_with_their_length() {
        assert_eq!(Prefix::of(IpAddr::from([192, 0, 2, 77])).to_string(), "192.0.2.0/24");
        let v6: IpAddr = "2001:db8:1:2::3".parse().unwrap();
        assert_eq!(Prefix::of(v6).to_string(), "2001:db8:1::/48");
    }
}
