//! Numbers in the byte order of the file.

/// The byte order of a file or section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Returns the first `N` 32-bit numbers of `bytes`, or `None` when there are fewer.
    #[inline]
    pub(super) fn words<const N: usize>(self, bytes: &[u8]) -> Option<[u32; N]> {
        let (words, _) = bytes.as_chunks::<4>();
        let words = words.first_chunk::<N>()?;
        Some(match self {
            Self::Little => words.map(u32::from_le_bytes),
            Self::Big => words.map(u32::from_be_bytes),
        })
    }

    /// Returns the two 16-bit numbers that lie where `word` does, first one first.
    pub(super) const fn halves(self, word: u32) -> [u16; 2] {
        let (low, high) = ((word & 0xffff) as u16, (word >> 16) as u16);
        match self {
            Self::Little => [low, high],
            Self::Big => [high, low],
        }
    }

    /// Returns the 64-bit number that `bytes` begins with.
    pub(super) fn u64(self, bytes: &[u8]) -> Option<u64> {
        let bytes = *bytes.first_chunk::<8>()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_orders() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(Endian::Big.words(&bytes), Some([0x0102_0304, 0x0506_0708]));
        assert_eq!(Endian::Little.words(&bytes), Some([0x0403_0201, 0x0807_0605]));
        assert_eq!(Endian::Little.words::<3>(&bytes), None);
        assert_eq!(Endian::Big.halves(0x0102_0304), [0x0102, 0x0304]);
        assert_eq!(Endian::Little.halves(0x0403_0201), [0x0201, 0x0403]);
        assert_eq!(Endian::Big.u64(&bytes), Some(0x0102_0304_0506_0708));
        assert_eq!(Endian::Little.u64(&bytes[..7]), None);
    }
}
