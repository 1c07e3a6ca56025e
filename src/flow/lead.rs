//! Bytes that were captured at one place and have not come to another one yet: what a device between
//! them has kept.
//!
//! Does not: say why.

use crate::segment::Segment;
use crate::seq::SeqNum;

/// Segments with bytes that only one place has, since the other one had all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Lead {
    /// Segments.
    pub packets: u32,
    /// Those that repeat the first.
    pub repeats: u32,
    /// Payload bytes of the first.
    pub first_len: u32,
    /// Its frame.
    pub first_frame: u64,
    /// The number of its first byte.
    start: SeqNum,
}

/// Segments that only one place has, and whose bytes came to the other one when they were sent again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// How often.
    pub segments: u32,
    /// Payload bytes of the smallest.
    pub smallest: u32,
    /// Payload bytes of the largest.
    pub largest: u32,
    /// The frame of the first.
    pub first_frame: u64,
}

impl Kept {
    fn add(&mut self, lead: &Lead) {
        let len = lead.first_len;
        if self.segments == 0 {
            *self =
                Self { segments: 0, smallest: len, largest: len, first_frame: lead.first_frame };
        }
        self.segments = self.segments.saturating_add(1);
        self.smallest = self.smallest.min(len);
        self.largest = self.largest.max(len);
    }
}

/// How far one way has come at the place that is judged, and elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Race {
    here: Option<SeqNum>,
    elsewhere: Option<SeqNum>,
    lead: Lead,
    kept: Kept,
    /// Who has it.
    is_elsewhere: bool,
    /// Whether both places have had the same bytes.
    has_passed: bool,
}

impl Race {
    /// Takes a segment with bytes, in numbers of the place that is judged.
    pub(super) fn see(&mut self, frame: u64, segment: &Segment, seq: SeqNum, is_copy: bool) {
        if segment.len == 0 {
            return;
        }
        let end = seq.plus(segment.len);
        let (own, other) = if is_copy {
            (&mut self.elsewhere, self.here)
        } else {
            (&mut self.here, self.elsewhere)
        };
        *own = Some(own.map_or(end, |own| own.latest(end)));
        let is_ahead = other.is_some_and(|other| end.is_after(other));
        if is_ahead {
            self.advance(frame, segment.len, seq, is_copy);
        } else {
            self.has_passed |= other.is_some();
            if is_copy != self.is_elsewhere {
                self.catch_up();
            }
        }
    }

    fn advance(&mut self, frame: u64, len: u32, seq: SeqNum, is_copy: bool) {
        let lead = &mut self.lead;
        if lead.packets == 0 || self.is_elsewhere != is_copy {
            self.is_elsewhere = is_copy;
            *lead = Lead { packets: 1, repeats: 0, first_len: len, first_frame: frame, start: seq };
            return;
        }
        lead.packets = lead.packets.saturating_add(1);
        lead.repeats = lead.repeats.saturating_add(u32::from(lead.start == seq));
    }

    /// Ends the lead where the other place has come as far.
    fn catch_up(&mut self) {
        let (ahead, behind) = if self.is_elsewhere {
            (self.elsewhere, self.here)
        } else {
            (self.here, self.elsewhere)
        };
        if ahead.zip(behind).is_some_and(|(ahead, behind)| !ahead.is_after(behind)) {
            if self.lead.repeats > 0 {
                self.kept.add(&self.lead);
            }
            self.lead = Lead::default();
        }
    }

    /// Returns what came to the other place when it was sent again only.
    pub(super) const fn kept(&self) -> Kept {
        self.kept
    }

    /// Returns whether both places have had the same bytes.
    pub(super) const fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Returns what only one place has in the end, if there is any.
    pub(super) fn lead(&self) -> Option<Lead> {
        (self.lead.packets > 0).then_some(self.lead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(race: &mut Race, frame: u64, seq: u32, len: u32, is_copy: bool) {
        race.see(frame, &Segment { len, ..Segment::default() }, SeqNum(seq), is_copy);
    }

    #[test]
    fn what_comes_through_ends_the_lead_and_what_does_not_remains() {
        let mut race = Race::default();
        see(&mut race, 1, 0, 100, true);
        see(&mut race, 2, 0, 100, false);
        see(&mut race, 3, 100, 4000, true);
        assert_eq!(race.lead().map(|lead| (lead.packets, lead.repeats)), Some((1, 0)));
        see(&mut race, 4, 100, 4000, true);
        see(&mut race, 5, 100, 4000, true);
        let lead = race.lead().unwrap();
        assert_eq!((lead.packets, lead.repeats, lead.first_len, lead.first_frame), (3, 2, 4000, 3));
        see(&mut race, 6, 100, 1400, false);
        assert!(race.lead().is_some());
        see(&mut race, 7, 1500, 2600, false);
        assert_eq!(race.lead(), None);
        assert_eq!((race.kept().segments, race.kept().smallest), (1, 4000));
    }
}
