//! ICMP queries by where they went and how large they were: which were answered, and which were not.
//!
//! A bounded sample: the destinations with the smallest hashes, so that what is kept does not depend
//! on the order of the queries or their division into shards.
//!
//! Does not: keep single queries.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Destinations that are kept.
const MAX_DESTINATIONS: usize = 1024;
/// Sizes that are kept of a destination, the smallest.
const MAX_SIZES: usize = 256;

/// The queries to one destination, by the bytes of the message: flows that had answers, and flows of
/// two or more queries that had none.
type Sizes = BTreeMap<u16, (u64, u64)>;

/// The queries of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Queries {
    destinations: BTreeMap<(u64, IpAddr), Sizes>,
}

impl Queries {
    /// Counts queries of one size in one flow; a single one without an answer says nothing.
    pub fn count(&mut self, to: IpAddr, len: u16, asked: u32, answered: u32) {
        if answered > 0 {
            self.add(to, len, (1, 0));
        } else if asked > 1 {
            self.add(to, len, (0, 1));
        }
    }

    fn add(&mut self, to: IpAddr, len: u16, (answered, lost): (u64, u64)) {
        let sizes = self.destinations.entry((hash(to), to)).or_default();
        let counts = sizes.entry(len).or_default();
        *counts = (counts.0 + answered, counts.1 + lost);
        if sizes.len() > MAX_SIZES {
            sizes.pop_last();
        }
        if self.destinations.len() > MAX_DESTINATIONS {
            self.destinations.pop_last();
        }
    }

    /// Returns the sizes of messages to a destination between which they stop being answered: the
    /// largest that was, and the smallest above it that never was.
    pub fn threshold(&self, to: IpAddr) -> Option<(u16, u16)> {
        let sizes = self.destinations.get(&(hash(to), to))?;
        let answered = *sizes.iter().rfind(|(_, (answered, _))| *answered > 0)?.0;
        let is_lost = |&(_, &(answered, lost)): &(&u16, &(u64, u64))| answered == 0 && lost > 0;
        let lost = *sizes.iter().find(is_lost)?.0;
        (answered < lost).then_some((answered, lost))
    }

    /// Returns the largest message to a destination that was answered.
    pub fn largest_answered(&self, to: IpAddr) -> Option<u16> {
        let sizes = self.destinations.get(&(hash(to), to))?;
        sizes.iter().rfind(|(_, (answered, _))| *answered > 0).map(|(len, _)| *len)
    }

    /// Puts other addresses in the places of the destinations.
    pub fn map_addresses(&mut self, to: impl Fn(IpAddr) -> IpAddr) {
        let before = std::mem::take(&mut self.destinations).into_iter();
        let mapped = before.map(|((_, addr), sizes)| (to(addr), sizes));
        self.destinations = mapped.map(|(addr, sizes)| ((hash(addr), addr), sizes)).collect();
    }

    /// Adds the queries of another shard.
    pub fn merge(&mut self, part: &Self) {
        for ((_, to), sizes) in &part.destinations {
            for (len, counts) in sizes {
                self.add(*to, *len, *counts);
            }
        }
    }
}

/// Mixes an address: FNV-1a, the same on every machine.
fn hash(addr: IpAddr) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let octets = match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    };
    octets.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn addr(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn sizes_of_one_destination_say_nothing_of_another() {
        let mut queries = Queries::default();
        queries.count(addr(1), 1000, 2, 0);
        queries.count(addr(1), 900, 2, 2);
        queries.count(addr(2), 1400, 2, 2);
        assert_eq!(queries.threshold(addr(1)), Some((900, 1000)));
        assert_eq!(queries.threshold(addr(2)), None);
        assert_eq!(queries.largest_answered(addr(2)), Some(1400));
    }

    #[test]
    fn what_is_kept_does_not_depend_on_the_order() {
        let (mut up, mut down) = (Queries::default(), Queries::default());
        for number in 0..3000 {
            up.count(addr(number), 100, 2, 1);
            down.count(addr(2999 - number), 100, 2, 1);
        }
        assert_eq!(up.destinations.len(), MAX_DESTINATIONS);
        assert_eq!(up, down);
        up.merge(&down);
        assert_eq!(up.destinations.len(), MAX_DESTINATIONS);
    }
}
