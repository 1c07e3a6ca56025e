//! Packets of several segments that were sent again, and whether anything of them arrived.
//!
//! A path that loses packets by chance loses some segments of a joined packet, and SACK reports the
//! others. A card that joins what it has to forward, and cannot split it, loses all of each.
//!
//! Only repetitions are looked at: what is sent for the first time costs nothing. Without SACK nobody
//! can tell what arrived behind a hole.
//!
//! Does not: name a cause.

use crate::segment::SackBlock;
use crate::seq::SeqNum;

/// The joined packets of one side that it sent again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Joined {
    /// Those whose first byte was sent again once more before anything of them was reported.
    pub in_vain: u32,
    /// Those of which something arrived.
    pub arrived: u32,
    /// Payload bytes of the smallest that was sent in vain; 0 when there is none.
    pub smallest: u32,
    /// Payload bytes of the largest.
    pub largest: u32,
    /// The frame of the first.
    pub first_frame: u64,
    /// The one that nothing is known of yet: its bytes and its frame.
    pending: Option<(SeqNum, SeqNum, u64)>,
}

impl Joined {
    /// Takes bytes that are sent again, in a joined packet or not.
    pub(super) fn sent_again(
        &mut self,
        (start, end): (SeqNum, SeqNum),
        is_joined: bool,
        frame: u64,
    ) {
        if let Some((_, before, first_frame)) = self.pending.take_if(|(first, ..)| *first == start)
        {
            let len = before.0.wrapping_sub(start.0);
            if self.in_vain == 0 {
                (self.smallest, self.first_frame) = (len, first_frame);
            }
            self.in_vain = self.in_vain.saturating_add(1);
            self.smallest = self.smallest.min(len);
            self.largest = self.largest.max(len);
        }
        if is_joined && self.pending.is_none() {
            self.pending = Some((start, end, frame));
        }
    }

    /// Forgets what is under way, but not what was counted.
    pub(super) const fn forget(&mut self) {
        self.pending = None;
    }

    /// Takes an acknowledgement with its SACK blocks.
    pub(super) fn acknowledged(&mut self, ack: SeqNum, blocks: &[SackBlock]) {
        let reports = |(start, end, _): &mut (SeqNum, SeqNum, u64)| {
            let covers =
                |block: &SackBlock| start.is_before(block.right) && block.left.is_before(*end);
            ack.is_after(*start) || blocks.iter().any(covers)
        };
        if self.pending.take_if(reports).is_some() {
            self.arrived = self.arrived.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: u32, end: u32) -> (SeqNum, SeqNum) {
        (SeqNum(start), SeqNum(end))
    }

    fn block(left: u32, right: u32) -> SackBlock {
        SackBlock { left: SeqNum(left), right: SeqNum(right) }
    }

    #[test]
    fn a_joined_packet_is_in_vain_when_its_first_byte_is_sent_again() {
        let mut joined = Joined::default();
        joined.sent_again(stretch(100, 4000), true, 7);
        joined.acknowledged(SeqNum(100), &[block(4000, 5000)]);
        joined.sent_again(stretch(5000, 6000), false, 8);
        joined.sent_again(stretch(100, 3000), true, 9);
        joined.sent_again(stretch(100, 1500), false, 10);
        let Joined { in_vain, arrived, smallest, largest, first_frame, .. } = joined;
        assert_eq!((in_vain, arrived, smallest, largest, first_frame), (2, 0, 2900, 3900, 7));
    }

    #[test]
    fn it_has_arrived_where_anything_of_it_is_reported() {
        for (ack, blocks) in [(101, vec![]), (100, vec![block(3999, 5000)])] {
            let mut joined = Joined::default();
            joined.sent_again(stretch(100, 4000), true, 7);
            joined.acknowledged(SeqNum(ack), &blocks);
            joined.sent_again(stretch(100, 1500), false, 8);
            assert_eq!((joined.in_vain, joined.arrived), (0, 1), "{ack}");
        }
    }
}
