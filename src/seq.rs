//! Sequence numbers: points on a circle of 2³² numbers.
//!
//! Does not: know segments, windows or directions.

use std::fmt;

/// A TCP sequence or acknowledgement number, in host byte order (RFC 9293, section 3.4).
///
/// There is no `Ord`: on a circle "less" depends on the distance, which [`SeqNum::offset_from`]
/// gives with its sign. At a distance of exactly 2³¹ each of two numbers is [before] the other,
/// as in the kernel's `before()` (include/net/tcp.h, Linux 6.18).
///
/// [before]: SeqNum::is_before
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Returns whether this number comes before `other`: the signed distance is negative.
    #[inline]
    pub const fn is_before(self, other: Self) -> bool {
        self.offset_from(other) < 0
    }

    /// Returns whether this number comes after `other`: the kernel's `after()`.
    #[inline]
    pub const fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// Returns the signed distance from `base` to this number, in bytes: −2³¹ ..= 2³¹−1.
    #[inline]
    pub const fn offset_from(self, base: Self) -> i32 {
        self.0.wrapping_sub(base.0).cast_signed()
    }

    /// Returns the number `bytes` further on the circle.
    #[inline]
    pub const fn plus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Returns the number `bytes` back on the circle.
    #[inline]
    pub const fn minus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// Returns the later of the two; `self` when neither is after the other.
    #[inline]
    pub const fn latest(self, other: Self) -> Self {
        if other.is_after(self) { other } else { self }
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u32 = 1 << 31;

    #[test]
    fn order_survives_the_wrap() {
        assert!(SeqNum(u32::MAX).is_before(SeqNum(0)));
        assert!(SeqNum(0).is_after(SeqNum(u32::MAX)));
        assert_eq!(SeqNum(5).offset_from(SeqNum(u32::MAX)), 6);
        assert_eq!(SeqNum(u32::MAX).plus(6), SeqNum(5));
        assert_eq!(SeqNum(5).minus(6), SeqNum(u32::MAX));
    }

    #[test]
    fn a_number_is_neither_before_nor_after_itself() {
        assert!(!SeqNum(7).is_before(SeqNum(7)));
        assert!(!SeqNum(7).is_after(SeqNum(7)));
    }

    #[test]
    fn at_distance_two_to_the_31_each_is_before_the_other() {
        assert!(SeqNum(0).is_before(SeqNum(HALF)));
        assert!(SeqNum(HALF).is_before(SeqNum(0)));
        assert!(SeqNum(0).is_after(SeqNum(HALF)) && SeqNum(HALF).is_after(SeqNum(0)));
    }

    #[test]
    fn one_short_of_half_the_circle_still_has_an_order() {
        assert!(SeqNum(0).is_before(SeqNum(HALF - 1)));
        assert!(!SeqNum(HALF - 1).is_before(SeqNum(0)));
        assert!(SeqNum(HALF + 1).is_before(SeqNum(0)));
    }

    #[test]
    fn the_latest_of_two_is_found_across_the_wrap() {
        assert_eq!(SeqNum(u32::MAX).latest(SeqNum(3)), SeqNum(3));
        assert_eq!(SeqNum(3).latest(SeqNum(u32::MAX)), SeqNum(3));
    }
}
