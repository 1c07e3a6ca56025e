//! SACK blocks against what was sent: the classes, and the shift that would explain them.
//!
//! A device that changes sequence numbers and forgets the SACK option moves all blocks of a direction
//! by one constant. Each block bounds it from both sides: its right edge cannot lie above what was
//! sent, its left edge not below what is acknowledged. Three numbers a direction hold the bounds: the
//! first block of an acknowledgement may report a duplicate, and is trusted less than the others.
//!
//! Does not: name a cause.

use crate::segment::SackBlock;
use crate::seq::SeqNum;

/// Where a SACK block lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BlockClass {
    /// Above the acknowledgement and not above what was sent.
    Inside,
    /// Reaches above everything sent.
    Beyond,
    /// Below the acknowledgement, and not a duplicate's report.
    Below,
    /// A duplicate's report (RFC 2883): just below the acknowledgement, or inside the next block.
    Dsack,
    /// Not a stretch: its right edge is not after its left one.
    Empty,
}

/// Bytes below the acknowledgement within which a first block is the report of a duplicate, at
/// least: 1 MiB, or twice what was ever in flight. What lies further off was moved there.
pub(super) const LEAST_REACH: u32 = 1 << 20;

/// Says where the block at `index` of an acknowledgement lies; `sent` is the highest number sent by
/// the side that is being acknowledged, `reach` the distance within which a duplicate can lie.
pub(super) fn classify(
    blocks: &[SackBlock],
    index: usize,
    ack: SeqNum,
    sent: SeqNum,
    reach: u32,
) -> Option<BlockClass> {
    let block = blocks.get(index)?;
    let next = blocks.get(index + 1);
    let within =
        |outer: &SackBlock| !block.left.is_before(outer.left) && !block.right.is_after(outer.right);
    let below = !block.right.is_after(ack) && ack.0.wrapping_sub(block.left.0) < reach;
    Some(if !block.left.is_before(block.right) {
        BlockClass::Empty
    } else if index == 0 && (below || next.is_some_and(within)) {
        BlockClass::Dsack
    } else if block.right.is_after(sent) {
        BlockClass::Beyond
    } else if block.left.is_after(ack) || block.left == ack {
        BlockClass::Inside
    } else {
        BlockClass::Below
    })
}

/// The blocks that one side sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct SackAudit {
    /// Blocks inside what was sent and not acknowledged.
    pub inside: u32,
    /// Blocks reaching above everything sent.
    pub beyond: u32,
    /// Blocks below the acknowledgement that report no duplicate.
    pub below: u32,
    /// Reports of duplicates.
    pub dsack: u32,
    /// Blocks that are no stretch.
    pub empty: u32,
    /// Blocks that the lower bound of the shift, or no shift, puts inside what was sent.
    pub explained: u32,
    /// Blocks that the bounds rest on.
    bounded: u32,
    lowest: i32,
    /// The upper bound by blocks that cannot report a duplicate, if there were any.
    highest: Option<i32>,
    /// The upper bound by first blocks that seem not to.
    highest_first: Option<i32>,
}

impl SackAudit {
    /// Returns the number of blocks.
    pub const fn blocks(&self) -> u32 {
        self.inside + self.beyond + self.below + self.dsack + self.empty
    }

    /// Returns the bounds of a constant by which all blocks may have been moved, in bytes; none
    /// without a block, or when no constant explains all of them.
    ///
    /// 0 lies between the bounds where nothing was moved.
    pub const fn shift(&self) -> Option<(i32, i32)> {
        let lowest = self.lowest;
        let highest = match (self.highest, self.highest_first) {
            (Some(highest), Some(first)) if first < highest => first,
            (Some(highest), _) => highest,
            (None, Some(first)) => first,
            (None, None) => lowest,
        };
        if self.bounded == 0 || lowest > highest { None } else { Some((lowest, highest)) }
    }

    /// Takes the blocks of an acknowledgement; returns the bytes that lie inside, and the first
    /// report of a duplicate.
    pub(super) fn take(
        &mut self,
        blocks: &[SackBlock],
        ack: SeqNum,
        sent: SeqNum,
        reach: u32,
    ) -> (u32, Option<SackBlock>) {
        let (mut sacked, mut duplicate) = (0u32, None);
        for (index, block) in blocks.iter().enumerate() {
            let Some(class) = classify(blocks, index, ack, sent, reach) else { continue };
            match class {
                BlockClass::Inside => {
                    self.inside += 1;
                    sacked = sacked.saturating_add(block.right.0.wrapping_sub(block.left.0));
                }
                BlockClass::Beyond => self.beyond += 1,
                BlockClass::Below => self.below += 1,
                BlockClass::Dsack => {
                    self.dsack += 1;
                    duplicate = Some(*block);
                }
                BlockClass::Empty => self.empty += 1,
            }
            if !matches!(class, BlockClass::Dsack | BlockClass::Empty) {
                let (over, above) = (block.right.offset_from(sent), block.left.offset_from(ack));
                self.bound(over, above, index);
            }
        }
        (sacked, duplicate)
    }

    /// Narrows the bounds by a block whose right edge is `over` bytes above what was sent, and
    /// whose left edge is `above` bytes above the acknowledgement.
    ///
    /// A block begins at least one byte above the acknowledgement: the byte there is missing. A
    /// first block that the shift known so far puts below it reports a duplicate.
    fn bound(&mut self, over: i32, above: i32, index: usize) {
        self.lowest = if self.bounded == 0 { over } else { self.lowest.max(over) };
        self.bounded += 1;
        let least = |bound: Option<i32>, new: i32| Some(bound.map_or(new, |bound| bound.min(new)));
        let highest = above.saturating_sub(1);
        if index > 0 {
            self.highest = least(self.highest, highest);
        } else if above > self.lowest {
            self.highest_first = least(self.highest_first, highest);
        }
        // A bound that a duplicate's report made too low shows when the other one has grown.
        self.highest_first = self.highest_first.filter(|highest| *highest >= self.lowest);
        let moved_down = self.highest.or(self.highest_first).is_some_and(|highest| highest < 0);
        let shift = if moved_down { self.lowest } else { self.lowest.max(0) };
        self.explained += u32::from(above > shift && over <= shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(left: u32, right: u32) -> SackBlock {
        SackBlock { left: SeqNum(left), right: SeqNum(right) }
    }

    fn class(blocks: &[SackBlock], index: usize) -> BlockClass {
        classify(blocks, index, SeqNum(1000), SeqNum(5000), LEAST_REACH).unwrap()
    }

    #[test]
    fn a_block_is_inside_up_to_the_last_byte_sent() {
        assert_eq!(class(&[block(1001, 5000)], 0), BlockClass::Inside);
        assert_eq!(class(&[block(1001, 5001)], 0), BlockClass::Beyond);
        assert_eq!(class(&[block(1000, 1001)], 0), BlockClass::Inside);
        assert_eq!(class(&[block(999, 1001)], 0), BlockClass::Below);
    }

    #[test]
    fn the_first_block_below_the_acknowledgement_reports_a_duplicate() {
        assert_eq!(class(&[block(900, 1000)], 0), BlockClass::Dsack);
        assert_eq!(class(&[block(2000, 3000), block(900, 1000)], 1), BlockClass::Below);
        let at = |below| SackBlock {
            left: SeqNum(1000).minus(below),
            right: SeqNum(1000).minus(below).plus(9),
        };
        assert_eq!(class(&[at(LEAST_REACH - 1)], 0), BlockClass::Dsack);
        assert_eq!(class(&[at(LEAST_REACH)], 0), BlockClass::Below);
    }

    #[test]
    fn a_block_inside_the_next_one_reports_a_duplicate() {
        assert_eq!(class(&[block(2100, 2200), block(2000, 3000)], 0), BlockClass::Dsack);
        assert_eq!(class(&[block(2000, 3000), block(2000, 3000)], 0), BlockClass::Dsack);
        assert_eq!(class(&[block(1999, 3000), block(2000, 3000)], 0), BlockClass::Inside);
    }

    #[test]
    fn a_stretch_backwards_is_empty() {
        assert_eq!(class(&[block(2000, 2000)], 0), BlockClass::Empty);
    }

    #[test]
    fn true_blocks_leave_zero_between_the_bounds() {
        let mut audit = SackAudit::default();
        audit.take(&[block(2000, 3000)], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        audit.take(
            &[block(4000, 5000), block(2000, 3000)],
            SeqNum(1000),
            SeqNum(5000),
            LEAST_REACH,
        );
        let (low, high) = audit.shift().unwrap();
        assert!(low <= 0 && 0 <= high, "{low} {high}");
    }

    #[test]
    fn a_whole_flight_reported_makes_the_shift_exact_from_below() {
        let shift = 1_000_000_000;
        let mut audit = SackAudit::default();
        for right in [3000, 4000, 5000] {
            let moved = block(2000 + shift, right + shift);
            audit.take(&[moved], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        }
        assert_eq!(audit.beyond, 3);
        assert_eq!(audit.shift(), Some((1_000_000_000, 1_000_000_999)));
    }

    #[test]
    fn a_moved_report_of_a_duplicate_does_not_spoil_the_bounds() {
        let shift = 1_000_000_000;
        let mut audit = SackAudit::default();
        let moved = |left: u32, right: u32| block(left + shift, right + shift);
        audit.take(&[moved(500, 800)], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        audit.take(&[moved(2000, 5000)], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        audit.take(&[moved(600, 700), moved(2000, 5000)], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        assert_eq!(audit.shift(), Some((1_000_000_000, 1_000_000_999)));
    }

    #[test]
    fn blocks_that_no_constant_explains_have_no_shift() {
        let mut audit = SackAudit::default();
        let far = block(1_000_002_000, 1_000_003_000);
        audit.take(&[far, block(2000, 3000)], SeqNum(1000), SeqNum(5000), LEAST_REACH);
        assert_eq!(audit.shift(), None);
    }
}
