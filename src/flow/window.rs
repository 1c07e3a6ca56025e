//! The windows that one side offered, and how the other one used them.
//!
//! Does not: judge as the tracker does, which keeps the highest window ever offered.

use crate::flow::half::Tick;
use crate::seq::SeqNum;

/// What the windows of one side showed; bytes after scaling.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct WindowAudit {
    /// How often the window became zero.
    pub zero: u32,
    /// How long the window was zero, altogether, in microseconds; a shut window at the end counts
    /// up to the last packet.
    pub zero_us: u64,
    /// The longest time that it was zero, in microseconds.
    pub longest_zero_us: u32,
    /// Since when it is zero.
    pub(super) zero_since: Option<Tick>,
    /// Segments that filled the window, or went beyond it.
    pub full: u32,
    /// How often the right edge moved left by more than rounding explains.
    pub shrunk: u32,
    /// The most that it moved left, in bytes.
    pub most_shrunk: u32,
    /// Segments that ended beyond the rightmost edge ever offered.
    pub overrun: u32,
    /// How far beyond, in bytes.
    pub most_overrun: u32,
    /// Windows smaller than a segment, and not zero.
    pub silly: u32,
}

impl WindowAudit {
    /// Takes a window of zero; returns whether it was open before.
    pub(super) fn shut(&mut self, now: Tick) -> bool {
        let was_open = self.zero_since.is_none();
        if was_open {
            self.zero += 1;
            self.zero_since = Some(now);
        }
        was_open
    }

    /// Takes a window that is not zero; returns for how long it had been.
    pub(super) fn opened(&mut self, now: Tick) -> Option<u32> {
        let since = self.zero_since.take()?;
        let micros = now.since(since);
        self.zero_us += u64::from(micros);
        self.longest_zero_us = self.longest_zero_us.max(micros);
        Some(micros)
    }

    pub(super) fn shrunk_by(&mut self, bytes: u32) {
        self.shrunk += 1;
        self.most_shrunk = self.most_shrunk.max(bytes);
    }

    pub(super) fn overrun_by(&mut self, bytes: u32) {
        self.overrun += 1;
        self.most_overrun = self.most_overrun.max(bytes);
    }
}

/// Returns by how many bytes the right edge moved left, if by more than rounding a window down to
/// a multiple of 2^shift can explain (RFC 7323, section 2.4).
#[inline]
pub(super) fn shrink(before: SeqNum, after: SeqNum, shift: u8) -> Option<u32> {
    let left = u32::try_from(before.offset_from(after)).ok()?;
    (left >= 1 << shift && left > 0).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_may_move_left_by_less_than_a_unit() {
        let edge = |left: u32| shrink(SeqNum(10_000), SeqNum(10_000 - left), 7);
        assert_eq!(edge(0), None);
        assert_eq!(edge(127), None);
        assert_eq!(edge(128), Some(128));
        assert_eq!(shrink(SeqNum(10_000), SeqNum(9_999), 0), Some(1));
        assert_eq!(shrink(SeqNum(10_000), SeqNum(10_001), 0), None);
    }

    #[test]
    fn a_window_is_shut_from_its_first_zero_to_its_first_byte() {
        let mut window = WindowAudit::default();
        let at = |micros: u32| Tick::default().before(0u32.wrapping_sub(micros));
        assert!(window.shut(at(10)));
        assert!(!window.shut(at(20)));
        assert_eq!(window.opened(at(110)), Some(100));
        assert_eq!(window.opened(at(120)), None);
        assert_eq!((window.zero, window.zero_us, window.longest_zero_us), (1, 100, 100));
    }
}
