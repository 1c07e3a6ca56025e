//! Chance for the tests of this crate, the same in every run.
//!
//! Does not: know what it is used for.

/// A small pseudo-random sequence (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed >> 40) % u64::from(limit)).unwrap()
    }

    /// Returns one of the choices.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(u32::try_from(choices.len()).unwrap()) as usize]
    }

    /// Returns whether something happens that seldom does.
    pub(crate) fn seldom(&mut self) -> bool {
        self.below(64) == 0
    }
}
