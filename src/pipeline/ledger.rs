//! How much memory the remembered flows take, section by section, and when some must be forgotten.
//!
//! A section that takes more than its share at a census gives up the flows that the tracker would
//! have forgotten soonest, until it has room again. Sections, and the frames before which a census
//! is held, do not depend on the number of threads; so neither does what is forgotten.
//!
//! An ordinary census brings every section down to half of the budget, so that all are looked
//! through at one time, and seldom. Between two of them, censuses look out for sections that grow
//! faster than new flows can make them.
//!
//! Does not: hold flows, or know what they are.

use crate::conntrack::table::Position;
use crate::frame::Tick;
use crate::time::Timestamp;
use crate::tuple::SECTIONS;

/// The most that one frame adds: a flow with everything that is kept of a first INVALID packet.
const MOST_A_FRAME: u64 = 8 << 10;

/// Frames between two of which it is known, in a piece of a capture, how many came before: a census is
/// held before such frames only.
pub(super) const TICK: u64 = Budget::LEAST_BYTES / 4 / MOST_A_FRAME;

/// Censuses from one ordinary one to the next: what new flows alone add until then is an eighth of
/// the budget, so that a flood of them is seldom urgent.
const ORDINARY: u64 = 8;

/// When sections must give up flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Census {
    /// When they hold more than half of the budget.
    Ordinary,
    /// When they hold more than three quarters.
    Urgent,
}

/// The memory that remembered flows may take in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(u64);

impl Budget {
    /// What a run may take unless told otherwise: 5 GiB, enough for 5 million clean connections
    /// alive at one time.
    pub const DEFAULT: Self = Self(5 << 30);
    /// What a live run may take: 1 GiB, enough for a million, four times as many as the tracker's
    /// table holds by default.
    pub const LIVE: Self = Self(1 << 30);
    /// The least that makes sense: 64 MiB, some 70,000 connections. With fewer, sections would be
    /// too small to be alike.
    pub const LEAST_BYTES: u64 = 64 << 20;

    /// Makes a budget of so many bytes, at least [`Self::LEAST_BYTES`].
    pub fn of(bytes: u64) -> Self {
        Self(bytes.max(Self::LEAST_BYTES))
    }

    /// Returns the bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns after how many frames the next census is due. What they add at most is the quarter of
    /// the budget that is above the limit.
    pub(super) const fn frames_between(self) -> u64 {
        let most = self.0 / 4 / MOST_A_FRAME;
        most - most % TICK
    }

    /// Returns which census is held before a frame, given how many came up to the tick before it and up
    /// to it.
    pub(super) const fn census_at(self, tick: Tick) -> Option<Census> {
        let due = tick.to / self.frames_between();
        if due == tick.from / self.frames_between() {
            None
        } else {
            self.census(due * self.frames_between())
        }
    }

    /// Returns which census is held before a frame, given how many came in all, if one is.
    pub(super) const fn census(self, frames: u64) -> Option<Census> {
        if frames == 0 || !frames.is_multiple_of(self.frames_between()) {
            None
        } else if frames.is_multiple_of(self.frames_between() * ORDINARY) {
            Some(Census::Ordinary)
        } else {
            Some(Census::Urgent)
        }
    }

    /// Returns what a section may hold at a census, in bytes.
    const fn limit(self, census: Census) -> u64 {
        match census {
            Census::Ordinary => self.rest(),
            Census::Urgent => self.0 / 4 * 3 / SECTIONS as u64,
        }
    }

    /// Returns what is left of a section that held more.
    const fn rest(self) -> u64 {
        self.0 / 2 / SECTIONS as u64
    }
}

/// Something that may be forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// When the tracker will forget it.
    pub(super) over_at: Timestamp,
    /// What decides among those of one time.
    pub(super) order: u64,
    pub(super) place: Place,
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Flow(Position),
    Datagram(Position),
}

/// The bytes that the flows of a shard take, by section.
#[derive(Debug)]
pub(super) struct Ledger {
    budget: Budget,
    sections: Vec<u64>,
}

impl Ledger {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, sections: vec![0; SECTIONS] }
    }

    /// Notes that a flow of a section takes `now` bytes instead of `before`.
    #[inline]
    pub(super) fn change(&mut self, section: usize, before: usize, now: usize) {
        if let Some(bytes) = self.sections.get_mut(section) {
            *bytes = (*bytes + now as u64).saturating_sub(before as u64);
        }
    }

    /// Returns whether any section holds more than it may.
    pub(super) fn is_overdrawn(&self, census: Census) -> bool {
        self.sections.iter().any(|&bytes| bytes > self.budget.limit(census))
    }

    /// Returns for each section the bytes that are to be freed: none where it holds what it may.
    pub(super) fn debts(&self, census: Census) -> Vec<u64> {
        let (limit, rest) = (self.budget.limit(census), self.budget.rest());
        let debt = |&bytes: &u64| if bytes > limit { bytes - rest } else { 0 };
        self.sections.iter().map(debt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_beyond_its_limit_owes_what_brings_it_down_to_half() {
        let budget = Budget::of(100 << 20);
        for census in [Census::Ordinary, Census::Urgent] {
            let mut ledger = Ledger::new(budget);
            ledger.change(7, 0, usize::try_from(budget.limit(census)).unwrap());
            assert!(!ledger.is_overdrawn(census));
            ledger.change(7, 400, 401);
            assert!(ledger.is_overdrawn(census));
            let debts = ledger.debts(census);
            assert_eq!(debts[7], budget.limit(census) + 1 - budget.rest());
            assert_eq!(debts.iter().sum::<u64>(), debts[7]);
        }
    }

    #[test]
    fn what_comes_between_two_censuses_stays_within_the_budget() {
        for budget in [Budget::DEFAULT, Budget::of(0)] {
            let urgent = budget.limit(Census::Urgent) * SECTIONS as u64;
            assert!(urgent + budget.frames_between() * MOST_A_FRAME <= budget.bytes());
            let new_flows = budget.frames_between() * ORDINARY * 512;
            assert!(budget.rest() * SECTIONS as u64 + new_flows <= budget.bytes() / 8 * 5);
        }
        assert!(Budget::DEFAULT.frames_between() > 100_000, "a census costs");
    }

    #[test]
    fn a_tick_holds_the_census_that_is_due() {
        let budget = Budget::of(200 << 20);
        let between = budget.frames_between();
        assert!(between.is_multiple_of(TICK) && between > TICK);
        for frames in 1..=between / TICK * 20 {
            let (from, to) = ((frames - 1) * TICK, frames * TICK);
            assert_eq!(budget.census_at(Tick { from, to }), budget.census(to), "{to}");
        }
    }

    #[test]
    fn one_census_in_eight_is_ordinary() {
        let (budget, between) = (Budget::DEFAULT, Budget::DEFAULT.frames_between());
        assert_eq!(budget.census(0), None);
        assert_eq!(budget.census(between - 1), None);
        assert_eq!(budget.census(between * 7), Some(Census::Urgent));
        assert_eq!(budget.census(between * 16), Some(Census::Ordinary));
    }
}
