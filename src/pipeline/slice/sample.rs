//! The frames whose checksums are looked at, whether checksums are judged or not.

use std::ops::Range;

use super::Slice;
use crate::frame::{Batch, Frame};
use crate::segment::HeaderFault;
use crate::wire::{Checksums, Decoded, decode_with};

/// The first frames, whose checksums are looked at.
const SAMPLE_FIRST: u64 = 64;
/// Bytes of the largest Ethernet frame with two tags: what is larger was joined by a card, and its
/// checksum is that of none of its parts.
const LARGEST_FRAME: u32 = 1522;
/// One of so many later frames has its checksum looked at.
const SAMPLE_EVERY: u64 = 1024;

impl Slice {
    /// Looks at the TCP checksums of those frames of a run that are a sample of all.
    pub(super) fn sample_some(&mut self, batch: &Batch, range: &Range<usize>) {
        let Some((first, last)) = batch.numbers(range) else {
            return self.sample_unordered(batch, range.clone());
        };
        let mut number = first.next_multiple_of(SAMPLE_EVERY);
        while number <= last {
            if let Some(frame) = batch.numbered(number, range) {
                self.sample(&frame);
            }
            number += SAMPLE_EVERY;
        }
    }

    #[cold]
    fn sample_unordered(&mut self, batch: &Batch, range: Range<usize>) {
        for frame in batch.frames(range) {
            if frame.number.is_multiple_of(SAMPLE_EVERY) {
                self.sample(&frame);
            }
        }
    }

    /// Looks at the TCP checksums of the first frames of a run.
    pub(super) fn sample_first(&mut self, batch: &Batch, range: Range<usize>) {
        if batch.first_number() >= SAMPLE_FIRST {
            return;
        }
        for frame in batch.frames(range).filter(|frame| frame.number < SAMPLE_FIRST) {
            self.sample(&frame);
        }
    }

    /// Looks at the TCP checksum of a frame, whether checksums are judged or not.
    #[cold]
    fn sample(&mut self, frame: &Frame<'_>) {
        let is_whole = frame.bytes.len() as u64 >= u64::from(frame.original_len);
        if !is_whole || frame.original_len > LARGEST_FRAME {
            return;
        }
        let fault = |checksums| match decode_with(frame, checksums) {
            Decoded::Segment(packet) => Some(packet.segment.fault),
            _ => None,
        };
        let wrong = Some(HeaderFault::BadChecksum);
        let Some(found) = fault(Checksums::Enforced) else { return };
        let sample = &mut self.tally.checksums;
        sample.looked_at += 1;
        if found == wrong {
            let is_excused = fault(Checksums::Verified) != Some(wrong);
            sample.unfinished += u64::from(is_excused);
            sample.wrong += u64::from(!is_excused);
        }
    }
}
