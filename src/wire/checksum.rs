//! The Internet checksum (RFC 1071) over headers, messages and pseudo-headers.
//!
//! Does not: decide what a wrong checksum means.

use super::datagram::Addresses;

/// A sum of 16-bit words with its carries not yet folded in.
///
/// 64 bits hold the words of 2³² bytes, far more than any packet has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sum(u64);

impl Sum {
    /// Returns the sum with the words of `bytes` added; an odd byte counts as the high half of a
    /// word.
    #[must_use]
    #[inline]
    pub(super) fn add_bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let sum = words.iter().fold(self.0, |sum, word| sum + u64::from(u32::from_be_bytes(*word)));
        let mut last = [0; 4];
        for (slot, byte) in last.iter_mut().zip(rest) {
            *slot = *byte;
        }
        Self(sum + u64::from(u32::from_be_bytes(last)))
    }

    /// Returns the sum with one 32-bit number added.
    #[must_use]
    #[inline]
    pub(super) const fn add(self, number: u32) -> Self {
        Self(self.0 + number as u64)
    }

    /// Returns both sums together.
    #[must_use]
    #[inline]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Returns the sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293, section 3.1;
    /// RFC 8200, section 8.1).
    #[expect(clippy::cast_possible_truncation, reason = "each word takes its part of the address")]
    pub(super) fn pseudo_header(addresses: Addresses, protocol: u8, len: usize) -> Self {
        let start = Self(len as u64 + u64::from(protocol));
        match addresses {
            Addresses::V4 { src, dst } => start.add(src).add(dst),
            Addresses::V6 { src, dst } => [src, dst].iter().fold(start, |sum, address| {
                sum.add((address >> 96) as u32)
                    .add((address >> 64) as u32)
                    .add((address >> 32) as u32)
                    .add(*address as u32)
            }),
        }
    }

    /// Returns the sum with its carries folded into 16 bits.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "three folds leave 16 bits")]
    pub(super) const fn fold(self) -> u16 {
        let once = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let twice = (once >> 16) + (once & 0xffff);
        let thrice = (twice >> 16) + (twice & 0xffff);
        ((thrice >> 16) + (thrice & 0xffff)) as u16
    }

    /// Returns whether data that holds its own checksum is intact.
    #[inline]
    pub(super) const fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = Sum::default().add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn an_odd_byte_is_the_high_half_of_its_word() {
        assert_eq!(Sum::default().add_bytes(&[1, 2, 3]).fold(), 0x0402);
        assert_eq!(Sum::default().add_bytes(&[1]).fold(), 0x0100);
    }

    #[test]
    fn carries_fold_at_the_limits() {
        assert_eq!(Sum(u64::MAX).fold(), 0xffff);
        assert_eq!(Sum(0x1_0000).fold(), 1);
        assert_eq!(Sum(0xffff_ffff_0000_0001).fold(), 1);
        assert!(Sum(0xffff).is_intact() && !Sum(0xfffe).is_intact());
    }

    #[test]
    fn the_address_words_of_ipv6_all_count() {
        let src = 0x0001_0002_0003_0004_0005_0006_0007_0008;
        let sum = Sum::pseudo_header(Addresses::V6 { src, dst: 1 << 112 }, 6, 20);
        assert_eq!(sum.fold(), 36 + 1 + 26);
    }
}
