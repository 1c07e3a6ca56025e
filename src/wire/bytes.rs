//! Reading numbers from bytes that may end anywhere.
//!
//! Does not: know what the bytes mean.

/// Returns the byte at `at`.
#[inline]
pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Returns the two bytes at `at` in network order.
#[inline]
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_be_bytes)
}

/// Returns the four bytes at `at` in network order.
#[inline]
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    chunk(bytes, at).map(u32::from_be_bytes)
}

/// Returns the eight bytes at `at` in network order.
#[inline]
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    chunk(bytes, at).map(u64::from_be_bytes)
}

/// Returns the two bytes at `at`, the lower one first.
#[inline]
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_le_bytes)
}

/// Returns the four bytes at `at`, the lowest first.
#[inline]
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    chunk(bytes, at).map(u32::from_le_bytes)
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// What is absent: it never was in the packet, or the snap length cut it off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// The packet ends before it, by its own length.
    Absent,
    /// The packet holds it, the capture does not.
    Cut,
}

/// Bytes of a packet of which the end may not have been captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    /// The bytes that were captured: `captured.len() <= len`.
    pub(super) captured: &'a [u8],
    /// How many bytes there are by the length fields of the headers in front.
    pub(super) len: usize,
}

impl<'a> Payload<'a> {
    /// Joins captured bytes, of which those beyond `len` are padding, with their true length.
    #[inline]
    pub(super) fn new(bytes: &'a [u8], len: usize) -> Self {
        Self { captured: bytes.get(..len).unwrap_or(bytes), len }
    }

    /// Returns what follows the first `skip` bytes.
    #[inline]
    pub(super) fn after(self, skip: usize) -> Self {
        Self {
            captured: self.captured.get(skip..).unwrap_or_default(),
            len: self.len.saturating_sub(skip),
        }
    }

    /// Returns `N` bytes from `at`, or why they are missing.
    #[inline]
    pub(super) fn chunk<const N: usize>(self, at: usize) -> Result<[u8; N], Missing> {
        match chunk(self.captured, at) {
            Some(bytes) => Ok(bytes),
            None if at.saturating_add(N) > self.len => Err(Missing::Absent),
            None => Err(Missing::Cut),
        }
    }

    /// Returns whether the capture holds all of it.
    #[inline]
    pub(super) const fn is_whole(self) -> bool {
        self.captured.len() == self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_apart_by_the_length() {
        let payload = Payload::new(&[1, 2, 3, 4], 6);
        assert_eq!(payload.chunk(2), Ok([3, 4]));
        assert_eq!(payload.chunk::<2>(4), Err(Missing::Cut));
        assert_eq!(payload.chunk::<2>(5), Err(Missing::Absent));
        assert_eq!(payload.chunk::<1>(usize::MAX), Err(Missing::Absent));
    }

    #[test]
    fn padding_beyond_the_length_is_trimmed() {
        let payload = Payload::new(&[1, 2, 3, 4], 3);
        assert_eq!(payload.captured, [1, 2, 3]);
        assert!(payload.is_whole());
        assert_eq!(payload.after(1).captured, [2, 3]);
        assert_eq!(payload.after(9).len, 0);
    }

    #[test]
    fn both_byte_orders_are_read() {
        let bytes = [0x12, 0x34, 0x56, 0x78];
        assert_eq!((be16(&bytes, 1), le16(&bytes, 1)), (Some(0x3456), Some(0x5634)));
        assert_eq!((be32(&bytes, 0), le32(&bytes, 0)), (Some(0x1234_5678), Some(0x7856_3412)));
        assert_eq!((be32(&bytes, 1), u8_at(&bytes, 4)), (None, None));
    }
}
