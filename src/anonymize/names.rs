//! Finds the addresses in a name and replaces them: `edge-10.1.2.3.pcap`, `10_1_2_3`,
//! `2001:db8::1-eth0`. What only looks like an address is replaced as well: too much rather than too
//! little.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of the longest IPv6 address (RFC 4291, with an embedded IPv4 address).
const LONGEST: usize = 45;

/// Replaces every address of a text.
pub(super) fn map(text: &str, to: impl Fn(IpAddr) -> IpAddr) -> String {
    let mut mapped = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        if let Some(found) = address(rest, before) {
            let usual = if found.address.is_ipv4() { '.' } else { ':' };
            let address = to(found.address).to_string();
            mapped.push_str(&address.replace(usual, &found.separator.to_string()));
            len = found.len;
        } else {
            mapped.push(c);
        }
        let (done, left) = rest.split_at(len);
        (before, rest) = (done.chars().next_back(), left);
    }
    mapped
}

/// An address at the beginning of a text.
struct Found {
    address: IpAddr,
    /// What stands between its parts.
    separator: char,
    /// Bytes of the text.
    len: usize,
}

/// Finds an address that begins here; `before` is the character in front.
fn address(text: &str, before: Option<char>) -> Option<Found> {
    let is_inside = |is_part: fn(&char) -> bool| before.is_some_and(|c| is_part(&c));
    let v4 = || ['.', '-', '_'].into_iter().find_map(|separator| v4(text, separator));
    let v6 = || [':', '-', '_'].into_iter().find_map(|separator| v6(text, separator));
    if !is_inside(char::is_ascii_alphanumeric) {
        v6().or_else(v4)
    } else if !is_inside(char::is_ascii_digit) {
        // Behind a letter: `eth10.1.2.3` is no IPv6 address, `net10.1.2.3` may be an IPv4 one.
        v4()
    } else {
        None
    }
}

/// Reads four numbers of up to 255.
fn v4(text: &str, separator: char) -> Option<Found> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(separator)?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // Leading zeros are kept by some who name files.
        *octet = rest.get(..digits).filter(|digits| digits.len() <= 3)?.parse().ok()?;
        rest = rest.get(digits..)?;
    }
    let address = Ipv4Addr::from(octets).into();
    Some(Found { address, separator, len: text.len() - rest.len() })
}

/// Reads the longest IPv6 address: with at least two separators, or it is a number or a time.
fn v6(text: &str, separator: char) -> Option<Found> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == separator || c == '.';
    let run: usize =
        text.chars().take_while(|c| is_part(*c)).take(LONGEST).map(char::len_utf8).sum();
    (2..=run).rev().find_map(|len| {
        let candidate = text.get(..len)?;
        if candidate.matches(separator).count() < 2 {
            return None;
        }
        let address: Ipv6Addr = candidate.replace(separator, ":").parse().ok()?;
        Some(Found { address: address.into(), separator, len })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for any mapping.
    fn reversed(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().swap_bytes()).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(0xfe80 << 112 | 7).into(),
        }
    }

    #[test]
    fn addresses_are_replaced_wherever_they_stand() {
        for (name, expected) in [
            ("edge-10.1.2.3.pcap", "edge-3.2.1.10.pcap"),
            ("10_1_2_3/eth0", "3_2_1_10/eth0"),
            ("fw10.1.2.3", "fw3.2.1.10"),
            ("2023-10-1-2-3", "2023-3-2-1-10"),
            ("2001:db8::1.pcap", "fe80::7.pcap"),
            ("2001:db8::1.cap", "fe80::7.cap"),
            ("host [2001:db8::1]:443", "host [fe80::7]:443"),
            ("2001-db8--1_eth0", "fe80--7_eth0"),
            ("::ffff:10.1.2.3", "fe80::7"),
            ("10.1.2.3-10.1.2.4", "3.2.1.10-4.2.1.10"),
            ("010.001.002.003", "3.2.1.10"),
        ] {
            assert_eq!(map(name, reversed), expected, "{name}");
        }
    }

    #[test]
    fn other_names_stay() {
        for name in ["eth0", "capture.pcapng", "ens3f0np1", "12:34 Uhr", "v1.2.3", "300.1.2.3", "é"]
        {
            assert_eq!(map(name, reversed), name);
        }
    }
}
