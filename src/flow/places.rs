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

/// A place with what was seen last there, each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Trail {
    vantage: Vantage,
    /// The end of the last segment.
    last: PerOrientation<Option<SeqNum>>,
    /// Its time to live.
    ttl: PerOrientation<Option<u8>>,
}

impl Trail {
    const fn at(vantage: Vantage) -> Self {
        let last = PerOrientation { low_to_high: None, high_to_low: None };
        let ttl = PerOrientation { low_to_high: None, high_to_low: None };
        Self { vantage, last, ttl }
    }

    fn take(&mut self, glance: &Glance<'_>) {
        self.vantage = glance.vantage;
        self.last[glance.orientation] = Some(glance.segment.end());
        self.ttl[glance.orientation] = Some(glance.segment.ttl);
    }
}

/// What a place brought of a flow without a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Ballot {
    vantage: Vantage,
    ahead: u32,
    behind: u32,
}

/// The places of a flow.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Places {
    /// The one that is judged.
    home: Option<Trail>,
    others: Vec<Trail>,
    ballots: Vec<Ballot>,
}

impl Places {
    /// Has one place judged, and another left out.
    pub(super) fn judge(&mut self, home: Vantage, other: Vantage) {
        self.others.retain(|trail| trail.vantage != home);
        if home != other {
            self.leave_out(other);
            self.home = Some(Trail::at(home));
        }
    }

    /// Has a place judged, and the one that was until now left out.
    pub(super) fn turn_to(&mut self, vantage: Vantage) {
        let before = self.home.map_or(vantage, |home| home.vantage);
        self.judge(vantage, before);
    }

    fn leave_out(&mut self, vantage: Vantage) {
        if self.others.len() < MAX_PLACES && !self.has(vantage) {
            self.others.push(Trail::at(vantage));
        }
    }

    /// Returns whether packets of a place are left out.
    pub(super) fn has(&self, vantage: Vantage) -> bool {
        self.others.iter().any(|trail| trail.vantage == vantage)
    }

    /// Returns whether a packet comes from a place that is left out, and takes note of how far its
    /// place has come.
    pub(super) fn is_elsewhere(&mut self, glance: &Glance<'_>) -> bool {
        let Glance { vantage, .. } = *glance;
        let known = self.others.iter().position(|trail| trail.vantage == vantage);
        let found = known.or_else(|| self.goes_on_in(glance));
        if let Some(trail) = found.and_then(|at| self.others.get_mut(at)) {
            trail.take(glance);
            return true;
        }
        if let Some(home) = self.home.as_mut().filter(|home| home.vantage == vantage) {
            home.take(glance);
        }
        false
    }

    /// Returns the place left out that goes on in a file not seen before; where it is rather the one
    /// judged that does, that one moves on.
    fn goes_on_in(&mut self, glance: &Glance<'_>) -> Option<usize> {
        let Glance { vantage, orientation, segment, own, .. } = *glance;
        let home = self.home?;
        let mut files = self.others.iter().map(|trail| trail.vantage.file);
        let is_known = home.vantage.file == vantage.file || files.any(|file| file == vantage.file);
        if is_known || !own.is(Half::SEQ) {
            return None;
        }
        // First by the hops it has passed, then by how near its number is to the last one there.
        let distance = |known: SeqNum| segment.seq.offset_from(known).unsigned_abs();
        let score = |trail: &Trail| {
            let other_hop = trail.ttl[orientation].is_some_and(|ttl| ttl != segment.ttl);
            Some((other_hop, distance(trail.last[orientation]?)))
        };
        let trails = self.others.iter().enumerate();
        let nearest = trails.filter_map(|(at, trail)| Some((score(trail)?, at))).min();
        let here = score(&home).unwrap_or((false, distance(own.max_end)));
        // What goes to the responder passes the place nearest to it last.
        let is_there = |there| there < here || there == here && glance.is_original;
        let found = nearest.filter(|(there, _)| is_there(*there));
        if found.is_none() {
            self.home = Some(Trail { vantage, ..home });
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
        let home = *self.home.get_or_insert(Trail::at(first));
        if vantage != home.vantage {
            self.leave_out(vantage);
        }
    }
}
