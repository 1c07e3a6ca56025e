//! How much the table holds, and what that costs.
//!
//! `nf_conntrack_init_start()` and `nf_conntrack_set_hashsize()` in `nf_conntrack_core.c` for the
//! defaults; the sizes of an entry were measured on Linux 6.18.44 (`/proc/slabinfo`).
//!
//! Does not: count entries.

use crate::conntrack::profile::TableEra;
use crate::conntrack::{Profile, TableSize};

/// Bytes of an entry: a slot of the slab, 16 to a page. Older kernels take 300 to 320.
pub const SLOT_BYTES: u64 = 256;
/// Bytes more of an entry with NAT, accounting, timestamps, labels, a helper or events in use.
const EXTENSION_BYTES: u64 = 128;
/// Bytes of a bucket: the head of its chain.
const BUCKET_BYTES: u64 = 8;
/// Buckets come by the page: `nf_ct_alloc_hashtable()` rounds up to a multiple of this. Linux 6.1.192
/// reads 512 after 1 was written, and 1,024 after 513.
const BUCKETS_A_PAGE: u64 = 512;

/// Where a limit came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was set.
    Given,
    /// The default of the kernel on a machine of 64 bits with more than 4 GiB of memory.
    Default,
}

/// The size of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// `nf_conntrack_max`: the most entries; none is no bound.
    pub max: Option<u64>,
    /// Where it came from.
    pub max_from: Origin,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
    /// Where they came from.
    pub buckets_from: Origin,
}

impl Capacity {
    /// Returns the size of the table of a kernel with these settings.
    pub fn of(profile: Profile, set: TableSize) -> Self {
        let (buckets, max) = match profile.table_era() {
            TableEra::SixteenThousandBuckets => (16_384, 65_536),
            TableEra::FourEntriesABucket => (65_536, 262_144),
            TableEra::OneEntryABucket => (262_144, 262_144),
        };
        let from = |set: Option<u32>| if set.is_some() { Origin::Given } else { Origin::Default };
        let max_value = set.max.map_or(max, u64::from);
        Self {
            max: (max_value > 0).then_some(max_value),
            max_from: from(set.max),
            buckets: set
                .buckets
                .map_or(buckets, |set| u64::from(set.max(1)).next_multiple_of(BUCKETS_A_PAGE)),
            buckets_from: from(set.buckets),
        }
    }

    /// Returns the bytes of a table with this many entries, bare and with extensions.
    pub const fn bytes(&self, entries: u64) -> (u64, u64) {
        let heads = self.buckets * BUCKET_BYTES;
        let bare = entries.saturating_mul(SLOT_BYTES).saturating_add(heads);
        (bare, bare.saturating_add(entries.saturating_mul(EXTENSION_BYTES)))
    }

    /// Returns how full the table is with this many entries, in whole percent rounded down; none
    /// without a bound.
    pub fn percent(&self, entries: u64) -> Option<u64> {
        let max = self.max?;
        u64::try_from(u128::from(entries) * 100 / u128::from(max)).ok()
    }

    /// Returns the mean length of a chain with this many entries, in hundredths: every entry hangs
    /// in two chains, once for each direction.
    pub const fn chain_hundredths(&self, entries: u64) -> u64 {
        entries.saturating_mul(200) / self.buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(kernel: &str, max: Option<u32>) -> Capacity {
        let set = TableSize { max, ..TableSize::default() };
        Capacity::of(Profile::named(kernel).unwrap(), set)
    }

    #[test]
    fn defaults_are_those_of_the_kernel() {
        for (kernel, buckets, max) in [
            ("2.6.32", 16_384, 65_536),
            ("el7", 16_384, 65_536),
            ("4.19.0", 65_536, 262_144),
            ("el8", 65_536, 262_144),
            ("5.15.100", 262_144, 262_144),
            ("6.12.117", 262_144, 262_144),
        ] {
            let found = capacity(kernel, None);
            assert_eq!((found.buckets, found.max), (buckets, Some(max)), "{kernel}");
            assert_eq!(found.max_from, Origin::Default);
        }
    }

    #[test]
    fn what_is_set_wins_and_zero_is_no_bound() {
        let small = capacity("6.18.44", Some(1000));
        assert_eq!((small.max, small.max_from), (Some(1000), Origin::Given));
        assert_eq!((small.percent(505), small.percent(2000)), (Some(50), Some(200)));
        let unbounded = capacity("6.18.44", Some(0));
        assert_eq!((unbounded.max, unbounded.percent(1)), (None, None));
    }

    #[test]
    fn buckets_come_by_the_page() {
        let buckets = |set| {
            let set = TableSize { buckets: Some(set), ..TableSize::default() };
            Capacity::of(Profile::DEFAULT, set).buckets
        };
        assert_eq!([1, 100, 512, 513].map(buckets), [512, 512, 512, 1024]);
    }

    #[test]
    fn a_default_table_takes_66_mib_when_full() {
        let table = capacity("6.18.44", None);
        assert_eq!(table.bytes(262_144), (66 << 20, 98 << 20));
        assert_eq!(table.chain_hundredths(131_072), 100);
    }
}
