//! Interfaces of a pcapng file: what a description and the statistics say, and how ticks become
//! time.

use super::Interface;
use super::bytes::Endian;
use crate::frame::LinkType;
use crate::time::{NANOS_PER_SEC, Timestamp};

const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

/// Longer names are cut, so that a file cannot fill the memory with them; the kernel has 15.
const MAX_NAME_BYTES: usize = 256;

/// An interface as its description block has it, and the drops counted so far.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// What its frames begin with.
    pub(super) link: LinkType,
    /// Bytes captured of a frame at most; 0 when unlimited.
    pub(super) snaplen: u32,
    name: Option<String>,
    ticks: Ticks,
    dropped_by_interface: Option<u64>,
    dropped_by_host: Option<u64>,
    /// The sum of the drop counts of packet blocks.
    dropped_between_frames: Option<u64>,
}

impl Described {
    /// Reads the options of an interface description block.
    pub(super) fn new(link: LinkType, snaplen: u32, options: Options<'_>) -> Self {
        let endian = options.endian;
        let (mut name, mut resolution, mut offset_seconds) = (None, None, 0);
        for (code, value) in options {
            match code {
                IF_NAME => name = Some(text(value)),
                IF_TSRESOL => resolution = value.first().copied(),
                IF_TSOFFSET => offset_seconds = endian.u64(value).unwrap_or(0).cast_signed(),
                _ => {}
            }
        }
        Self {
            link,
            snaplen,
            name,
            ticks: Ticks::new(resolution.unwrap_or(MICROSECONDS), offset_seconds),
            dropped_by_interface: None,
            dropped_by_host: None,
            dropped_between_frames: None,
        }
    }

    /// Returns the time that a frame's 64-bit tick count means.
    #[inline]
    pub(super) fn timestamp(&self, ticks: u64) -> Timestamp {
        self.ticks.timestamp(ticks)
    }

    /// Adds the frames that were lost before a frame.
    pub(super) fn count_drops(&mut self, drops: u64) {
        let sum = self.dropped_between_frames.unwrap_or(0);
        self.dropped_between_frames = Some(sum.saturating_add(drops));
    }

    /// Reads the options of an interface statistics block; its counts are from the beginning of
    /// the capture, so that a later block replaces an earlier one.
    pub(super) fn read_statistics(&mut self, options: Options<'_>) {
        let endian = options.endian;
        for (code, value) in options {
            match code {
                ISB_IFDROP => self.dropped_by_interface = endian.u64(value),
                ISB_OSDROP => self.dropped_by_host = endian.u64(value),
                _ => {}
            }
        }
    }

    /// Returns what the summary says of it.
    ///
    /// Drop counts of packet blocks count the same drops as the statistics do, which are
    /// preferred because they include those after the last frame.
    pub(super) fn summary(&self) -> Interface {
        Interface {
            name: self.name.clone(),
            link_type: self.link.0,
            snaplen: self.snaplen,
            dropped_by_interface: self.dropped_by_interface,
            dropped_by_host: self.dropped_by_host.or(self.dropped_between_frames),
        }
    }
}

fn text(value: &[u8]) -> String {
    let value = value.get(..MAX_NAME_BYTES).unwrap_or(value);
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// The options at the end of a block: code and value. What is malformed ends them.
#[derive(Clone, Debug)]
pub(super) struct Options<'a> {
    pub(super) endian: Endian,
    pub(super) bytes: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [header] = self.endian.words(self.bytes)?;
        let [code, len] = self.endian.halves(header);
        let value = self.bytes.get(4..)?.get(..usize::from(len))?;
        let end_of_options = 0;
        if code == end_of_options {
            return None;
        }
        let padded = usize::from(len).next_multiple_of(4);
        self.bytes = self.bytes.get(4 + padded..).unwrap_or_default();
        Some((code, value))
    }
}

/// The resolution where a description has none.
const MICROSECONDS: u8 = 6;

/// How an interface counts time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ticks {
    unit: Unit,
    /// What the count begins from, in nanoseconds since 1970.
    origin_ns: i128,
}

/// The length of a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// A nanosecond is so many ticks.
    PerNanosecond(u64),
    /// Two to this power ticks are a second.
    PowerOfTwo(u8),
    /// So short that the largest count is less than a nanosecond.
    Immeasurable,
}

impl Ticks {
    /// Reads `if_tsresol` (the upper bit says which base the power in the lower ones has) and
    /// `if_tsoffset` (pcapng, section 4.2).
    fn new(resolution: u8, offset_seconds: i64) -> Self {
        let power = resolution & 0x7f;
        let unit = match power {
            _ if resolution != power => Unit::PowerOfTwo(power),
            0..=9 => Unit::Nanoseconds(10_u64.pow(9 - u32::from(power))),
            _ => 10_u64
                .checked_pow(u32::from(power) - 9)
                .map_or(Unit::Immeasurable, Unit::PerNanosecond),
        };
        Self { unit, origin_ns: i128::from(offset_seconds) * i128::from(NANOS_PER_SEC) }
    }

    #[inline]
    fn timestamp(&self, ticks: u64) -> Timestamp {
        // What nearly every capture has needs no wide arithmetic.
        if let Unit::Nanoseconds(tick_ns) = self.unit
            && self.origin_ns == 0
            && let Some(nanos) = ticks.checked_mul(tick_ns)
            && let Ok(nanos) = i64::try_from(nanos)
        {
            return Timestamp(nanos);
        }
        self.any_timestamp(ticks)
    }

    #[cold]
    fn any_timestamp(&self, ticks: u64) -> Timestamp {
        let nanos = match self.unit {
            Unit::Nanoseconds(tick_ns) => i128::from(ticks) * i128::from(tick_ns),
            Unit::PerNanosecond(count) => i128::from(ticks.checked_div(count).unwrap_or(0)),
            Unit::PowerOfTwo(power) => (i128::from(ticks) * i128::from(NANOS_PER_SEC)) >> power,
            Unit::Immeasurable => 0,
        };
        let clamped = (self.origin_ns + nanos).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Timestamp(i64::try_from(clamped).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resolution_gives_nanoseconds() {
        let cases = [
            (0, 5, 5_000_000_000),
            (3, 5, 5_000_000),
            (6, 5, 5000),
            (9, 5, 5),
            (10, 59, 5),
            (12, 5_999, 5),
            (28, u64::MAX, 1),
            (29, u64::MAX, 0),
            (127, u64::MAX, 0),
            (0x80, 5, 5_000_000_000),
            (0x8a, 1536, 1_500_000_000),
            (0x9e, 3 << 29, 1_500_000_000),
            (0xc0, u64::MAX, 999_999_999),
            (0xff, u64::MAX, 0),
        ];
        for (resolution, ticks, nanos) in cases {
            let found = Ticks::new(resolution, 0).timestamp(ticks);
            assert_eq!(found, Timestamp(nanos), "resolution {resolution:#x}");
        }
    }

    #[test]
    fn offsets_are_added_and_the_range_is_kept() {
        assert_eq!(Ticks::new(6, -2).timestamp(1), Timestamp(-1_999_999_000));
        assert_eq!(Ticks::new(6, 2).timestamp(1), Timestamp(2_000_001_000));
        assert_eq!(Ticks::new(0, i64::MAX).timestamp(u64::MAX), Timestamp(i64::MAX));
        assert_eq!(Ticks::new(9, i64::MIN).timestamp(0), Timestamp(i64::MIN));
        // Neither the count nor the offset is in the range, their sum is.
        assert_eq!(
            Ticks::new(0, -20_000_000_000).timestamp(20_000_000_001),
            Timestamp(NANOS_PER_SEC)
        );
    }

    #[test]
    fn options_end_where_they_are_malformed() {
        let bytes = [2, 0, 1, 0, b'a', 0, 0, 0, 9, 0, 1, 0, 3, 0, 0, 0, 1, 0, 9, 0, 1];
        let options = Options { endian: Endian::Little, bytes: &bytes };
        let found: Vec<_> = options.collect();
        assert_eq!(found, [(2, &b"a"[..]), (9, &[3][..])]);
    }

    #[test]
    fn a_last_value_without_its_padding_is_read() {
        let options = Options { endian: Endian::Big, bytes: &[0, 9, 0, 1, 3] };
        assert_eq!(options.collect::<Vec<_>>(), [(9, &[3][..])]);
    }
}
