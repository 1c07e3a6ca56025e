//! Who talks to whom: endpoints, and the key that both directions of a flow share.
//!
//! Does not: know packets, segments or connections.

use std::fmt;
use std::hint::select_unpredictable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Index, IndexMut};

/// IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;

/// Sections of all flows, as a power of two.
const SECTION_BITS: u32 = 10;
/// The parts into which all flows are divided, whatever the number of threads: what depends on many
/// flows is decided section by section, and hence the same for any number.
pub const SECTIONS: usize = 1 << SECTION_BITS;

/// One side of a flow: address and port (for ICMP queries the id stands as port).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub addr: IpAddr,
    /// Port in host byte order.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// Writes `192.0.2.1:80` or `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

/// Where a packet was captured: the file, and the interface within it.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Vantage {
    /// Position of the file among those of the run, from 0; 65535 for all beyond.
    pub file: u16,
    /// The interface: its position in the file, or what a cooked capture calls it.
    pub interface: u16,
}

/// Which way a packet travels between the two endpoints of its [`FlowKey`].
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Orientation {
    /// From the key's low endpoint to its high one.
    #[default]
    LowToHigh,
    /// From the key's high endpoint to its low one.
    HighToLow,
}

impl Orientation {
    /// Returns the other way.
    #[must_use]
    #[inline]
    pub const fn flip(self) -> Self {
        match self {
            Self::LowToHigh => Self::HighToLow,
            Self::HighToLow => Self::LowToHigh,
        }
    }
}

/// A value for each way between the endpoints of a [`FlowKey`].
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct PerOrientation<T> {
    /// The value of the way from the low endpoint to the high one.
    pub low_to_high: T,
    /// The value of the other way.
    pub high_to_low: T,
}

impl<T> Index<Orientation> for PerOrientation<T> {
    type Output = T;

    #[inline]
    fn index(&self, orientation: Orientation) -> &T {
        // Which way the next packet goes is anybody's guess.
        let is_low = orientation == Orientation::LowToHigh;
        select_unpredictable(is_low, &self.low_to_high, &self.high_to_low)
    }
}

impl<T> IndexMut<Orientation> for PerOrientation<T> {
    #[inline]
    fn index_mut(&mut self, orientation: Orientation) -> &mut T {
        let is_low = orientation == Orientation::LowToHigh;
        select_unpredictable(is_low, &mut self.low_to_high, &mut self.high_to_low)
    }
}

/// The same value for both directions of a flow: protocol and both endpoints, lower one first.
///
/// Five plain words, so that comparing and hashing cost no branches. IPv4 addresses stand in the
/// low 32 bits of their second word; the address family is part of the key, so that an IPv4 flow
/// never meets one of IPv4-mapped IPv6 addresses.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct FlowKey {
    low: [u64; 2],
    high: [u64; 2],
    /// low port << 48 | high port << 32 | ICMP type << 24 | code << 16 | family (4 or 6) << 8 |
    /// protocol
    rest: u64,
}

impl FlowKey {
    /// Builds the key of a packet from `src` to `dst`, and says which way the packet goes.
    #[inline]
    pub fn of(protocol: u8, src: Endpoint, dst: Endpoint) -> (Self, Orientation) {
        let family = if src.addr.is_ipv4() { 4 } else { 6 };
        let ports = u32::from(src.port) << 16 | u32::from(dst.port);
        let tail = family << 8 | u64::from(protocol);
        Self::from_words(words(src.addr), words(dst.addr), ports, tail)
    }

    /// Builds the key of an IPv4 packet; the addresses are in host byte order.
    #[inline]
    pub fn of_v4(protocol: u8, src: (u32, u16), dst: (u32, u16)) -> (Self, Orientation) {
        let addresses = u64::from(src.0) << 32 | u64::from(dst.0);
        Self::of_v4_words(protocol, addresses, u32::from(src.1) << 16 | u32::from(dst.1))
    }

    /// Builds the key of an IPv4 packet from the words in which its headers hold both addresses and
    /// both ports, those of the source in the upper halves.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "made for every packet: the key stays in registers")]
    pub fn of_v4_words(protocol: u8, addresses: u64, ports: u32) -> (Self, Orientation) {
        // Which endpoint is the lower one is whether the words are lower than the same with both
        // exchanged: one comparison, and no branch.
        let turned = (addresses.rotate_left(32), ports.rotate_left(16));
        let number =
            |(addresses, ports): (u64, u32)| u128::from(addresses) << 64 | u128::from(ports);
        let is_low = number((addresses, ports)) <= number(turned);
        let orientation = if is_low { Orientation::LowToHigh } else { Orientation::HighToLow };
        let addresses = select_unpredictable(is_low, addresses, turned.0);
        let ports = select_unpredictable(is_low, ports, turned.1);
        let rest = u64::from(ports) << 32 | 4 << 8 | u64::from(protocol);
        let (low, high) = ([0, addresses >> 32], [0, addresses & 0xffff_ffff]);
        (Self { low, high, rest }, orientation)
    }

    /// Builds the key of an IPv6 packet from the words of both addresses and the one in which its
    /// header holds both ports, that of the source in the upper half.
    #[inline]
    pub fn of_v6_words(
        protocol: u8,
        src: [u64; 2],
        dst: [u64; 2],
        ports: u32,
    ) -> (Self, Orientation) {
        Self::from_words(src, dst, ports, 6 << 8 | u64::from(protocol))
    }

    #[inline]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "a branch that nobody could foretell costs more"
    )]
    fn from_words(src: [u64; 2], dst: [u64; 2], ports: u32, tail: u64) -> (Self, Orientation) {
        let number = |[upper, lower]: [u64; 2]| u128::from(upper) << 64 | u128::from(lower);
        let (from, to, turned) = (number(src), number(dst), ports.rotate_left(16));
        let is_low = (from < to) | (from == to) & (ports <= turned);
        let orientation = if is_low { Orientation::LowToHigh } else { Orientation::HighToLow };
        let choose = |low: u64, high: u64| select_unpredictable(is_low, low, high);
        let low = [choose(src[0], dst[0]), choose(src[1], dst[1])];
        let high = [choose(dst[0], src[0]), choose(dst[1], src[1])];
        let rest = u64::from(select_unpredictable(is_low, ports, turned)) << 32 | tail;
        (Self { low, high, rest }, orientation)
    }

    /// Returns source and destination of a packet that travels this way.
    #[expect(clippy::cast_possible_truncation, reason = "each port is 16 bits of the word")]
    pub fn endpoints(&self, orientation: Orientation) -> (Endpoint, Endpoint) {
        let low = Endpoint { addr: self.addr(self.low), port: (self.rest >> 48) as u16 };
        let high = Endpoint { addr: self.addr(self.high), port: (self.rest >> 32) as u16 };
        match orientation {
            Orientation::LowToHigh => (low, high),
            Orientation::HighToLow => (high, low),
        }
    }

    /// Returns the key with two more bytes that tell flows of the same endpoints apart: type and code
    /// of ICMP queries.
    #[must_use]
    pub fn with_detail(self, [high, low]: [u8; 2]) -> Self {
        let detail = u64::from(high) << 24 | u64::from(low) << 16;
        Self { rest: self.rest | detail, ..self }
    }

    /// Returns the key with other addresses of the same families in the places of its own. Low stays
    /// low, so that what is known of the ways between the endpoints holds; as a key for look-ups the
    /// result is not fit.
    #[must_use]
    pub fn mapped(self, to: impl Fn(IpAddr) -> IpAddr) -> Self {
        let [low, high] = [self.low, self.high].map(|side| words(to(self.addr(side))));
        Self { low, high, ..self }
    }

    /// Returns the IP protocol number.
    pub const fn protocol(&self) -> u8 {
        (self.rest & 0xff) as u8
    }

    /// Returns the five words of the key, for hashing.
    #[inline]
    pub const fn words(&self) -> [u64; 5] {
        [self.low[0], self.low[1], self.high[0], self.high[1], self.rest]
    }

    /// Returns the shard, `0..shards`, that owns this flow: the same in every run, on every
    /// machine, for both directions.
    ///
    /// A shard owns whole sections, those from ⌈shard × [`SECTIONS`] / shards⌉ on; of more shards
    /// than there are sections, some own nothing.
    #[inline]
    pub fn shard(&self, shards: usize) -> usize {
        if shards <= 1 {
            return 0;
        }
        (self.section() * shards) >> SECTION_BITS
    }

    /// Returns the section, `0..`[`SECTIONS`], that this flow is in, whatever the number of shards:
    /// the upper bits of [`Self::fixed_hash`].
    #[inline]
    pub fn section(&self) -> usize {
        (self.fixed_hash() >> (u64::BITS - SECTION_BITS)) as usize
    }

    /// Returns a hash of the key that is the same in every run.
    ///
    /// It folds the words of the key, in their order, from 0x243F6A8885A308D3: state = high ^ low
    /// half of (state ^ word) × 0x9E3779B97F4A7C15.
    #[inline]
    pub fn fixed_hash(&self) -> u64 {
        fold(&self.words(), 0x243F_6A88_85A3_08D3)
    }

    /// Returns a hash of the key under a secret `seed`, for tables that a hostile capture must
    /// not be able to fill with collisions.
    #[inline]
    pub const fn hash_with(&self, seed: u64) -> u64 {
        // Of IPv4 one word holds both addresses, and nothing is lost.
        let addresses = if self.is_ipv4() {
            self.low[1] << 32 | self.high[1]
        } else {
            self.fold_addresses(seed)
        };
        let all = fold_product(
            addresses ^ seed,
            self.rest ^ seed.rotate_left(43) ^ 0x243F_6A88_85A3_08D3,
        );
        // One product keeps consecutive ports in a progression, whose step under some seeds is nearly
        // a whole turn: they would lie side by side.
        fold_product(all, 0x9E37_79B9_7F4A_7C15)
    }

    /// Returns a hash of the key under `seed`, for tables that are only modelled: it is the same in
    /// every version, as what is said of them rests on it.
    pub const fn model_hash(&self, seed: u64) -> u64 {
        let addresses = self.fold_addresses(seed);
        let all = fold_product(addresses ^ self.rest, seed | 0x9E37_79B9_7F4A_7C15);
        fold_product(all, 0x9E37_79B9_7F4A_7C15)
    }

    #[inline]
    const fn fold_addresses(&self, seed: u64) -> u64 {
        let ([low0, low1], [high0, high1]) = (self.low, self.high);
        let low = fold_product(low0 ^ seed, low1 ^ seed.rotate_left(13) ^ 0xA409_3822_299F_31D0);
        let high = fold_product(high0 ^ seed.rotate_left(29), high1 ^ !seed);
        low ^ high.rotate_left(7)
    }

    /// Returns a hash of the endpoint that packets this way go to: the same in every run.
    pub const fn hash_of_receiver(&self, orientation: Orientation) -> u64 {
        let ([first, second], port) = match orientation {
            Orientation::LowToHigh => (self.high, (self.rest >> 32) & 0xffff),
            Orientation::HighToLow => (self.low, self.rest >> 48),
        };
        let address = fold_product(first ^ 0x243F_6A88_85A3_08D3, second ^ 0xA409_3822_299F_31D0);
        fold_product(address ^ port, 0x9E37_79B9_7F4A_7C15)
    }

    /// Returns a hash of the endpoint that packets this way go to and the address that they come
    /// from: the same in every run.
    pub const fn hash_of_hosts(&self, orientation: Orientation) -> u64 {
        let [first, second] = match orientation {
            Orientation::LowToHigh => self.low,
            Orientation::HighToLow => self.high,
        };
        let sender = fold_product(first ^ 0xA409_3822_299F_31D0, second ^ 0x243F_6A88_85A3_08D3);
        fold_product(sender ^ self.hash_of_receiver(orientation), 0x9E37_79B9_7F4A_7C15)
    }

    /// Returns whether the addresses are of IPv4.
    pub const fn is_ipv4(&self) -> bool {
        (self.rest >> 8) & 0xff == 4
    }

    fn addr(&self, words: [u64; 2]) -> IpAddr {
        if self.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from_bits((words[1] & 0xffff_ffff) as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(words[0]) << 64 | u128::from(words[1])))
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each word takes its half of the address")]
fn words(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(v4) => [0, u64::from(v4.to_bits())],
        IpAddr::V6(v6) => [(v6.to_bits() >> 64) as u64, v6.to_bits() as u64],
    }
}

/// Folds the words into a hash: each is added into the state by exclusive or, the sum is multiplied
/// by an odd constant, and the halves of the 128-bit product are joined by exclusive or.
#[inline]
fn fold(words: &[u64; 5], seed: u64) -> u64 {
    words.iter().fold(seed, |state, word| fold_product(state ^ word, 0x9E37_79B9_7F4A_7C15))
}

/// The flows that one of several runs over the same capture audits: whole sections, those that
/// [`FlowKey::shard`] gives it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Share {
    index: u16,
    count: u16,
}

impl Share {
    /// All flows.
    pub const ALL: Self = Self { index: 0, count: 1 };
    /// The most shares: each has a section at least.
    pub const MOST: u16 = 1 << SECTION_BITS;

    /// Makes share `index` of `count`, none where there is no such share; the last may be called by
    /// the number of all, so that counting from 1 names the same shares as counting from 0.
    pub fn of(index: u16, count: u16) -> Option<Self> {
        let is_one = (1..=Self::MOST).contains(&count) && index <= count;
        is_one.then(|| Self { index: index % count, count })
    }

    /// Returns its number, from 0.
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Returns how many shares there are.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Returns whether it is all flows.
    #[inline]
    pub const fn is_all(self) -> bool {
        self.count == 1
    }

    /// Returns which of so many workers owns a flow of this share, none for a flow of another. A
    /// worker owns whole sections, as a share does.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "asked for every packet: the key stays in registers")]
    pub fn worker(self, key: &FlowKey, workers: usize) -> Option<usize> {
        if self.is_all() {
            return Some(key.shard(workers));
        }
        let first = |share: usize| (share * SECTIONS).div_ceil(usize::from(self.count));
        let (begin, end) = (first(usize::from(self.index)), first(usize::from(self.index) + 1));
        let section = key.section();
        let is_inside = (begin..end).contains(&section);
        is_inside.then(|| (section - begin) * workers / (end - begin))
    }
}

impl fmt::Display for Share {
    /// Writes `3/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Joins the halves of the 128-bit product by exclusive or.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are joined on purpose")]
const fn fold_product(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    ((product >> 64) ^ product) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addr: &str, port: u16) -> Endpoint {
        Endpoint { addr: addr.parse().unwrap(), port }
    }

    #[test]
    fn both_directions_share_the_key_and_differ_in_orientation() {
        let (a, b) = (endpoint("192.0.2.1", 40000), endpoint("198.51.100.7", 443));
        let (key, there) = FlowKey::of(TCP, a, b);
        let (same, back) = FlowKey::of(TCP, b, a);
        assert_eq!(key, same);
        assert_eq!(there, back.flip());
        assert_eq!(key.endpoints(there), (a, b));
        assert_eq!(key.endpoints(back), (b, a));
        assert_eq!(key.shard(7), same.shard(7));
    }

    #[test]
    fn ports_order_the_endpoints_of_one_address() {
        let (a, b) = (endpoint("127.0.0.1", 5), endpoint("127.0.0.1", 4));
        let (key, there) = FlowKey::of(TCP, a, b);
        assert_eq!(key.endpoints(there), (a, b));
    }

    #[test]
    fn a_mapped_ipv6_flow_is_not_the_ipv4_flow() {
        let v4 = FlowKey::of(TCP, endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 2)).0;
        let v6 =
            FlowKey::of(TCP, endpoint("::ffff:192.0.2.1", 1), endpoint("::ffff:192.0.2.2", 2)).0;
        assert_ne!(v4, v6);
    }

    #[test]
    fn the_ipv4_short_cut_gives_the_same_key() {
        let (a, b) = (endpoint("10.0.0.9", 1000), endpoint("10.0.0.8", 80));
        let words = |e: Endpoint| match e.addr {
            IpAddr::V4(addr) => (addr.to_bits(), e.port),
            IpAddr::V6(_) => unreachable!(),
        };
        assert_eq!(FlowKey::of(TCP, a, b), FlowKey::of_v4(TCP, words(a), words(b)));
    }

    #[test]
    fn ipv6_endpoints_survive() {
        let (a, b) = (endpoint("2001:db8::1", 1), endpoint("fe80::ffff:1", 65535));
        let (key, there) = FlowKey::of(17, a, b);
        assert_eq!(key.endpoints(there), (a, b));
        assert_eq!(key.protocol(), 17);
    }

    #[test]
    fn shards_share_the_flows_evenly() {
        let mut counts = [0u32; 4];
        for port in 0..4000 {
            let key = FlowKey::of_v4(TCP, (0x0a00_0001, port), (0x0a00_0002, 80)).0;
            counts[key.shard(4)] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }

    /// Returns how many taken places are passed over when these keys are put into a table, each into
    /// the first free place from that of its hash on.
    fn passed_over(keys: &[FlowKey], seed: u64) -> usize {
        const PLACES: usize = 4096;
        let (mut taken, mut steps) = (vec![false; PLACES], 0_usize);
        for key in keys {
            let mut at = (key.hash_with(seed) >> 52) as usize;
            while taken[at] {
                at = (at + 1) % PLACES;
                steps += 1;
            }
            taken[at] = true;
        }
        steps
    }

    /// Returns seeds as chance gives them. Under one that is an address itself, or its complement, the
    /// keys with this address lie together: no capture can have it so, as none knows the seed.
    fn seeds() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(0x2545_f491_4f6c_dd1d), |&seed: &u64| {
            let seed = seed ^ seed << 13;
            let seed = seed ^ seed >> 7;
            Some(seed ^ seed << 17)
        })
    }

    #[test]
    fn flows_that_differ_little_lie_apart_under_every_seed() {
        let key = |addr, port| FlowKey::of_v4(TCP, (addr, port), (0x0b00_0001, 80)).0;
        let of_port: Vec<_> = (0..2000).map(|i| key(0x0a00_0001, 1024 + i)).collect();
        let of_address: Vec<_> = (0..2000).map(|i| key(0x0a00_0001 + i, 40_000)).collect();
        let of_both: Vec<_> = (0..2000_u16)
            .map(|i| key(0x0a00_0000 + u32::from(i & !255), 0x8000 | i & 255))
            .collect();
        for seed in seeds().take(1000) {
            for keys in [&of_port, &of_address, &of_both] {
                // Keys at random pass over about 950 places.
                let passed = passed_over(keys, seed);
                assert!(passed < 1600, "{passed} places under seed {seed:#x}");
            }
        }
    }

    /// A family of keys: its name, and its keys by number.
    type Family = (&'static str, fn(u64) -> FlowKey);

    fn v4(low: u64, high: u64, port: u64) -> FlowKey {
        let [low, high] = [low, high].map(|addr| u32::try_from(addr).unwrap());
        FlowKey::of_v4(TCP, (low, u16::try_from(port).unwrap()), (high, 443)).0
    }

    /// Makes the key between `2001:db8::1` and `fd00::2` of which the words of the addresses differ from
    /// those by these bits.
    fn v6(differing: [u64; 4]) -> FlowKey {
        let [low0, low1, high0, high1] = differing.map(u128::from);
        let low = 0x2001_0db8 << 96 | 1_u128;
        let high = 0xfd00 << 112 | 2_u128;
        let end = |bits, port| Endpoint { addr: Ipv6Addr::from_bits(bits).into(), port };
        let low = end(low ^ (low0 << 64 | low1), 40_000);
        FlowKey::of(TCP, low, end(high ^ (high0 << 64 | high1), 443)).0
    }

    /// Keys that differ little, or have words of which a product makes nothing or little; 65536 each.
    const FAMILIES: [Family; 18] = [
        ("ports, both addresses 0.0.0.0", |i| v4(0, 0, i)),
        ("ports, both addresses 255.255.255.255", |i| v4(0xffff_ffff, 0xffff_ffff, i)),
        ("ports, both addresses 127.0.0.1", |i| v4(0x7f00_0001, 0x7f00_0001, i)),
        ("ports, 0.0.0.0 and 255.255.255.255", |i| v4(0, 0xffff_ffff, i)),
        ("ports, 10.0.0.1 and 10.0.0.2", |i| v4(0x0a00_0001, 0x0a00_0002, i)),
        ("addresses before 255.255.255.255", |i| v4(i, 0xffff_ffff, 40_000)),
        ("addresses of the lower side", |i| v4(0x0a00_0000 + i, 0x0b00_0001, 40_000)),
        ("addresses of the higher side", |i| v4(0x0a00_0001, 0x0b00_0000 + i, 40_000)),
        ("addresses of both sides, equal", |i| v4(0x0a00_0000 + i, 0x0a00_0000 + i, 40_000)),
        ("addresses of both sides", |i| v4(0x0a00_0000 + i, 0x0b00_0000 + i, 40_000)),
        ("addresses and ports", |i| v4(0x0a00_0000 + i, 0x0b00_0001, i)),
        ("subnets", |i| v4(i << 16, 0xffff_0000, 40_000)),
        ("low end of the lower IPv6 address", |i| v6([0, i, 0, 0])),
        ("high end of the lower IPv6 address", |i| v6([i, 0, 0, 0])),
        ("low end of the higher IPv6 address", |i| v6([0, 0, 0, i])),
        ("high end of the higher IPv6 address", |i| v6([0, 0, i, 0])),
        ("upper bits of the low end", |i| v6([0, i << 48, 0, 0])),
        ("both interface identifiers", |i| v6([0, i, 0, i])),
    ];

    #[test]
    fn no_shard_has_much_more_than_its_share_of_any_family() {
        const KEYS: usize = 4096;
        for (name, key) in FAMILIES {
            for (shards, percent) in [(2, 110), (7, 130), (48, 160)] {
                let mut counts = vec![0; shards];
                (0..KEYS as u64).for_each(|i| counts[key(i).shard(shards)] += 1);
                let (most, allowed) = (counts.iter().max().unwrap(), KEYS * percent / 100 / shards);
                assert!(*most <= allowed, "{name}: {most} on one of {shards} shards");
            }
        }
    }

    #[test]
    fn few_keys_of_any_family_have_the_same_tag() {
        const KEYS: usize = 1 << 16;
        for seed in seeds().take(12) {
            for (name, key) in FAMILIES {
                let keys = (0..KEYS as u64).map(key);
                let mut tags: Vec<_> = keys.map(|key| key.hash_with(seed) >> 32).collect();
                tags.sort_unstable();
                tags.dedup();
                // Among so many tags at random half a one, on average, is met again.
                let equal = KEYS - tags.len();
                assert!(equal <= 8, "{name}: {equal} tags met again under seed {seed:#x}");
            }
        }
    }

    /// Parts made by several machines fit together as long as this holds.
    #[test]
    fn the_hash_that_shares_are_made_by_is_fixed() {
        let v4 = (endpoint("192.0.2.1", 40000), endpoint("198.51.100.7", 443));
        let v6 = (endpoint("2001:db8::2", 53), endpoint("2001:db8::1", 5353));
        for (protocol, (a, b), hash, section, shard) in
            [(TCP, v4, 0x0bbe_c7bc_09fb_8ec0, 46, 2), (17, v6, 0x1ef3_34a1_f29d_f296, 123, 7)]
        {
            for (from, to) in [(a, b), (b, a)] {
                let key = FlowKey::of(protocol, from, to).0;
                assert_eq!(
                    (key.fixed_hash(), key.section(), key.shard(64)),
                    (hash, section, shard)
                );
            }
        }
    }

    #[test]
    fn shares_divide_the_flows_and_their_workers_divide_the_shares() {
        assert_eq!((Share::of(0, 0), Share::of(9, 8), Share::of(0, 1025)), (None, None, None));
        assert_eq!(Share::of(8, 8), Share::of(0, 8));
        for (count, workers) in [(1, 4), (3, 1), (7, 5), (64, 2), (1000, 3), (Share::MOST, 2)] {
            let mut owner = vec![None; SECTIONS];
            for port in 0..20_000 {
                let key = FlowKey::of_v4(TCP, (0x0a00_0001, port), (0x0a00_0002, 80)).0;
                let owners = (0..count).filter_map(|index| {
                    Some((index, Share::of(index, count)?.worker(&key, workers)?))
                });
                let owners: Vec<_> = owners.collect();
                assert_eq!(owners.len(), 1, "share of {count}");
                assert_eq!(usize::from(owners[0].0), key.shard(usize::from(count)));
                assert!(owners[0].1 < workers);
                assert_eq!(*owner[key.section()].get_or_insert(owners[0]), owners[0]);
            }
        }
    }

    #[test]
    fn a_section_is_never_divided_between_shards() {
        for shards in [1, 2, 3, 7, 48, 1000, SECTIONS] {
            let mut owner = vec![None; SECTIONS];
            for port in 0..20_000 {
                let key = FlowKey::of_v4(TCP, (0x0a00_0001, port), (0x0a00_0002, 80)).0;
                let shard = key.shard(shards);
                assert!(shard < shards);
                assert_eq!(*owner[key.section()].get_or_insert(shard), shard);
            }
            let filled = owner.iter().flatten().count();
            assert_eq!(filled, SECTIONS, "{shards} shards");
        }
    }
}
