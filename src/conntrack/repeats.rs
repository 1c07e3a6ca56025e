//! How often an acknowledgement was repeated, which kernels before 5.3 and those since count in two
//! ways.
//!
//! Does not: choose timeouts.

use crate::conntrack::entry::Last;
use crate::conntrack::policy::{Feature, Features};
use crate::segment::Direction;
use crate::seq::SeqNum;

/// How often the last acknowledgement was repeated, as either generation of kernels counts it: each
/// entry serves policies of both until their counts would choose different timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Repeats {
    /// By the raw window field, as kernels since 5.3 do; wraps at 256.
    pub raw: u8,
    /// By the scaled window cut to 16 bits, as kernels before 5.3 do; wraps at 256.
    pub scaled: u8,
}

impl Repeats {
    /// Returns the count of a kernel with these features: `retrans`.
    pub const fn of(self, features: Features) -> u8 {
        if features.contains(Feature::LastWinUnscaled) { self.raw } else { self.scaled }
    }

    /// Returns the counts after an acknowledgement that repeats the last one in this respect.
    #[inline]
    pub(super) const fn after(self, repeated: Repeated) -> Self {
        Self {
            raw: if repeated.raw { self.raw.wrapping_add(1) } else { 0 },
            scaled: if repeated.scaled { self.scaled.wrapping_add(1) } else { 0 },
        }
    }
}

/// Whether an acknowledgement repeats the last one, as either generation of kernels compares them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Repeated {
    raw: bool,
    scaled: bool,
}

impl Repeated {
    /// Compares an acknowledgement, given its window in bytes, with the last one.
    #[inline]
    pub(super) fn of(
        last: &Last,
        direction: Direction,
        (seq, ack, end): (SeqNum, SeqNum, SeqNum),
        (win, scaled_win): (u16, u32),
    ) -> Self {
        let numbers =
            last.direction == direction && last.seq == seq && last.ack == ack && last.end == end;
        Self {
            raw: numbers && last.win == win,
            scaled: numbers && u32::from(last.scaled_win) == scaled_win,
        }
    }

    /// Returns whether the windows that are remembered would differ afterwards.
    #[inline]
    pub(super) const fn parts(self) -> bool {
        self.scaled && !self.raw
    }
}
