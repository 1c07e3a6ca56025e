//! The places of the packets that a shard is to track.

use super::Item;

/// Packets in places that are used again, so that each is written once, where it stays.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Items {
    places: Vec<Item>,
    pub(super) used: usize,
}

impl Items {
    /// Places that are made at once where it is not known how many will be needed.
    const AT_ONCE: usize = 64;

    /// Returns the packets.
    pub(in crate::pipeline) fn as_slice(&self) -> &[Item] {
        self.places.get(..self.used).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Returns the next place, which holds some earlier packet.
    #[inline]
    pub(super) fn next(&mut self) -> Option<&mut Item> {
        if self.used == self.places.len() {
            self.make(Self::AT_ONCE);
        }
        self.used += 1;
        self.places.get_mut(self.used - 1)
    }

    /// Makes places, so that this many are free.
    #[cold]
    #[inline(never)]
    fn make(&mut self, free: usize) {
        self.places.resize_with(self.used + free, Item::default);
    }

    /// Returns so many of the places that come next.
    pub(super) fn free(&mut self, count: usize) -> &mut [Item] {
        if self.places.len() - self.used < count {
            self.make(count);
        }
        self.places.get_mut(self.used..).unwrap_or_default()
    }

    /// Puts the packets into capture order.
    pub(super) fn sort(&mut self) {
        let used = self.places.get_mut(..self.used).unwrap_or_default();
        used.sort_by_key(|item| (item.stamp.clock, item.stamp.number));
    }
}
