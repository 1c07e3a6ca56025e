//! Networks that nobody routes on the Internet, as the addresses of an audit show them.
//!
//! Does not: map addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The private networks: those of RFC 1918, RFC 6598 and RFC 4193, or what stands for them in an
/// audit whose addresses are replaced by a mapping that keeps prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Private {
    v4: [(Ipv4Addr, u32); 4],
    v6: (Ipv6Addr, u32),
}

impl Default for Private {
    fn default() -> Self {
        Self {
            v4: [
                (Ipv4Addr::new(10, 0, 0, 0), 8),
                (Ipv4Addr::new(172, 16, 0, 0), 12),
                (Ipv4Addr::new(192, 168, 0, 0), 16),
                (Ipv4Addr::new(100, 64, 0, 0), 10),
            ],
            v6: (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
        }
    }
}

impl Private {
    /// Returns whether an address is of one of them.
    pub fn holds(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => self.v4.iter().any(|(network, bits)| {
                (network.to_bits() ^ addr.to_bits()).leading_zeros() >= *bits
            }),
            IpAddr::V6(addr) => {
                let (network, bits) = self.v6;
                (network.to_bits() ^ addr.to_bits()).leading_zeros() >= bits
            }
        }
    }

    /// Replaces the networks by a mapping that keeps prefixes, and IPv4 as IPv4.
    pub fn map(&mut self, map: impl Fn(IpAddr) -> IpAddr) {
        for (network, _) in &mut self.v4 {
            if let IpAddr::V4(mapped) = map(IpAddr::V4(*network)) {
                *network = mapped;
            }
        }
        if let IpAddr::V6(mapped) = map(IpAddr::V6(self.v6.0)) {
            self.v6.0 = mapped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_end_where_their_rfcs_say() {
        let holds = |addr: &str| Private::default().holds(addr.parse().unwrap());
        let inside = ["10.255.0.1", "172.31.255.255", "192.168.0.0", "100.64.0.1", "100.127.0.1"];
        assert!(inside.iter().chain(&["fc00::1", "fdff::1"]).all(|addr| holds(addr)));
        let outside = ["11.0.0.1", "172.32.0.0", "192.169.0.1", "100.63.0.1", "100.128.0.1"];
        assert!(!outside.iter().chain(&["fe00::1", "2001:db8::1"]).any(|addr| holds(addr)));
    }
}
