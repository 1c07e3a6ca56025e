//! A set of policies.
//!
//! Does not: know what the policies are.

/// Words of a [`Members`] set.
const WORDS: usize = 3;

/// The policies that a panel has room for.
pub const MAX_POLICIES: usize = WORDS * 64;

/// A set of policies of a panel, by their number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Members([u64; WORDS]);

impl Members {
    pub(super) fn insert(&mut self, policy: usize) {
        if let Some(word) = self.0.get_mut(policy / 64) {
            *word |= 1 << (policy % 64);
        }
    }

    /// Returns whether the policy is in the set.
    pub fn contains(&self, policy: usize) -> bool {
        self.0.get(policy / 64).is_some_and(|word| word >> (policy % 64) & 1 == 1)
    }

    /// Returns the numbers of the policies, in ascending order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0
            .into_iter()
            .enumerate()
            .flat_map(|(index, word)| bits(word).map(move |bit| index * 64 + bit))
    }

    /// Returns whether no policy is in the set.
    pub const fn is_empty(&self) -> bool {
        let Self([low, middle, high]) = *self;
        low | middle | high == 0
    }

    /// Returns what is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        let (Self([low, middle, high]), Self(others)) = (self, other);
        Self([low | others[0], middle | others[1], high | others[2]])
    }

    /// Returns what is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let (Self([low, middle, high]), Self(others)) = (self, other);
        Self([low & others[0], middle & others[1], high & others[2]])
    }

    /// Returns what is in this set and not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let Self([low, middle, high]) = other;
        self.and(Self([!low, !middle, !high]))
    }
}

/// Returns the positions of the bits that are set, lowest first.
#[inline]
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        // Without the lowest bit; nothing changes when there is none.
        word &= word.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as usize)
    })
}
