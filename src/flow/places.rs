//! The files and interfaces that hold one flow, of which one is judged and the others are left out,
//! whatever their clocks say.
//!
//! A time line merged from several places is in the order of their clocks, and two clocks may differ
//! by more than a flow lasts. What is judged from one place needs nothing of the others; so once a
//! SYN of the same initial number was seen at another place, all that comes from there is left out.
//! Without a SYN the place that is behind tells itself: it brings only bytes that are known.
//!
//! Rotated files are one place: a flow that goes on in another file is told from its copies by where
//! the numbers of each place have come to.
//!
//! Does not: compare packets, or know by how much clocks differ.

use crate::flow::glance::Glance;
use crate::flow::half::Half;
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::tuple::{PerOrientation, Vantage};

/// Places of one flow that are kept apart, beside the one that is judged.
const MAX_PLACES: usize = 4;
/// Segments of known bytes, and none of new ones, from which on a place is behind another.
const LEAST_BEHIND: u32 = 8;
/// Segments of new bytes from which on a place is ahead.
const LEAST_AHEAD: u32 = 4;

/// A place that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Trail {
    vantage: Vantage,
    /// The end of the last segment seen there, each way.
    last: PerOrientation<Option<SeqNum>>,
}

/// What a place brought of a flow without a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ballot {
    vantage: Vantage,
    ahead: u32,
    behind: u32,
}

/// The places of a flow.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Places {
    /// The one that is judged.
    home: Option<Vantage>,
    others: Vec<Trail>,
    ballots: Vec<Ballot>,
}

impl Places {
    /// Has one place judged, and another left out.
    pub(super) fn judge(&mut self, home: Vantage, other: Vantage) {
        self.others.retain(|trail| trail.vantage != home);
        if home != other {
            self.leave_out(other);
            self.home = Some(home);
        }
    }

    /// Has a place judged, and the one that was until now left out.
    pub(super) fn turn_to(&mut self, vantage: Vantage) {
        let before = self.home.unwrap_or(vantage);
        self.judge(vantage, before);
    }

    fn leave_out(&mut self, vantage: Vantage) {
        if self.others.len() < MAX_PLACES && !self.has(vantage) {
            let last = PerOrientation { low_to_high: None, high_to_low: None };
            self.others.push(Trail { vantage, last });
        }
    }

    /// Returns whether packets of a place are left out.
    pub(super) fn has(&self, vantage: Vantage) -> bool {
        self.others.iter().any(|trail| trail.vantage == vantage)
    }

    /// Returns whether a packet comes from a place that is left out, and takes note of how far that
    /// place has come.
    pub(super) fn is_elsewhere(&mut self, glance: &Glance<'_>) -> bool {
        let Glance { vantage, orientation, segment, .. } = *glance;
        let known = self.others.iter().position(|trail| trail.vantage == vantage);
        let Some(at) = known.or_else(|| self.goes_on_in(glance)) else { return false };
        if let Some(trail) = self.others.get_mut(at) {
            trail.vantage = vantage;
            trail.last[orientation] = Some(segment.end());
        }
        true
    }

    /// Returns the place left out that goes on in a file not seen before; where it is rather the one
    /// judged that does, that one moves on.
    fn goes_on_in(&mut self, glance: &Glance<'_>) -> Option<usize> {
        let Glance { vantage, orientation, segment, own, .. } = *glance;
        let mut files = self.others.iter().map(|trail| trail.vantage).chain(self.home);
        let is_known = files.any(|known| known.file == vantage.file);
        if self.others.is_empty() || is_known || !own.is(Half::SEQ) {
            return None;
        }
        let distance = |known: SeqNum| segment.seq.offset_from(known).unsigned_abs();
        let apart = |trail: &Trail| trail.last[orientation].map(distance);
        let trails = self.others.iter().enumerate();
        let nearest = trails.filter_map(|(at, trail)| Some((apart(trail)?, at))).min();
        let found = nearest.filter(|(apart, _)| *apart < distance(own.max_end));
        if found.is_none() {
            self.home = Some(vantage);
        }
        found.map(|(_, at)| at)
    }

    /// Compares the places of a flow without a SYN by what they bring; returns whether one has been
    /// found to be behind the others just now.
    pub(super) fn find_behind(&mut self, glance: &Glance<'_>) -> bool {
        let Glance { vantage, segment, own, .. } = *glance;
        let is_data = segment.len > 0 && !segment.has(Flags::SYN) && own.is(Half::SEQ);
        if !self.others.is_empty() || !is_data {
            return false;
        }
        let known = self.ballots.iter().position(|ballot| ballot.vantage == vantage);
        if known.is_none() && self.ballots.len() <= MAX_PLACES {
            self.ballots.push(Ballot { vantage, ahead: 0, behind: 0 });
        }
        if let Some(ballot) = self.ballots.iter_mut().find(|ballot| ballot.vantage == vantage) {
            let is_known = !segment.end().is_after(own.max_end);
            let count = if is_known { &mut ballot.behind } else { &mut ballot.ahead };
            *count = count.saturating_add(1);
        }
        let leads = |ballot: &&Ballot| ballot.ahead >= LEAST_AHEAD && ballot.behind < ballot.ahead;
        let lags = |ballot: &&Ballot| ballot.behind >= LEAST_BEHIND && ballot.ahead == 0;
        let Some(home) = self.ballots.iter().find(leads).map(|ballot| ballot.vantage) else {
            return false;
        };
        let behind: Vec<_> = self.ballots.iter().filter(lags).map(|it| it.vantage).collect();
        for other in &behind {
            self.judge(home, *other);
        }
        !behind.is_empty()
    }

    /// Returns the places left out, for the next connection between the same endpoints.
    pub(super) fn carried_over(&self) -> Self {
        let Self { home, others, .. } = self;
        Self { home: *home, others: others.clone(), ballots: Vec::new() }
    }

    /// Returns whether a place is left out.
    pub(super) const fn are_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// Leaves out a place beside those known; `first` is judged where none is yet.
    pub(super) fn add(&mut self, vantage: Vantage, first: Vantage) {
        let home = *self.home.get_or_insert(first);
        if vantage != home {
            self.leave_out(vantage);
        }
    }
}
