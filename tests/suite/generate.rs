//! Captures made to order: two TCP ends in virtual time, devices between them, a capture point.
//!
//! Everything is a function of the case, so that the same bytes come out on every machine.
//!
//! Does not: know the tracker. What a strict firewall drops is approximated by
//! [`device::StrictFirewall`].

pub(crate) mod cases;
pub(crate) mod device;
pub(crate) mod endpoint;
pub(crate) mod file;
pub(crate) mod frame;
mod receiver;
mod sender;
pub(crate) mod simulator;

/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: i64 = 1_000_000;
/// Nanoseconds in a microsecond.
pub(crate) const MICROSECOND: i64 = 1_000;

/// Pseudo-random numbers, `SplitMix64` (Steele, Lea and Flood, 2014): the same everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number of 32 bits.
    pub(crate) const fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Returns whether something of this probability happens.
    pub(crate) const fn happens(&mut self, permille: u32) -> bool {
        self.next() % 1000 < permille as u64
    }
}
