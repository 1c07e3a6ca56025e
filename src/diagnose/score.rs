//! How sure a diagnosis is: points with their reasons, times the quality of the capture.
//!
//! Does not: know causes.

use std::fmt;

/// From this score on a cause is confirmed.
const CONFIRMED: u32 = 80;
/// From this score on it is probable.
const PROBABLE: u32 = 50;
/// From this score on it is possible; below, it is not reported.
const POSSIBLE: u32 = 25;

/// How sure a cause is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Compatible with the facts.
    Possible,
    /// The mechanism holds repeatedly, and nothing contradicts it.
    Probable,
    /// The mechanism holds, and its consequence is visible.
    Confirmed,
}

impl Level {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Probable => "probable",
            Self::Confirmed => "confirmed",
        }
    }
}

/// Points and what they are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// What the points are for.
    pub name: &'static str,
    /// The points, negative for what contradicts.
    pub points: i32,
}

/// A score of at most 100, with its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Score {
    /// The parts, in the order in which they were found.
    pub parts: Vec<Part>,
    /// Percent by which the quality of the capture multiplies their sum; none where it does not
    /// matter, because the cause speaks of the capture itself, or is in a packet that is there.
    pub quality: Option<u32>,
    /// The most that this cause can be, where its facts allow another reading.
    pub at_most: Level,
}

impl Default for Score {
    fn default() -> Self {
        Self { parts: Vec::new(), quality: None, at_most: Level::Confirmed }
    }
}

impl Score {
    /// Starts a score with the mechanism's points.
    pub(super) fn new(points: i32, quality: u32) -> Self {
        let parts = vec![Part { name: "mechanism", points }];
        Self { parts, quality: Some(quality), at_most: Level::Confirmed }
    }

    /// The same for a cause that a poor capture makes no less sure.
    pub(super) fn of_any_capture(points: i32) -> Self {
        Self { quality: None, ..Self::new(points, 100) }
    }

    /// Adds points.
    pub(super) fn add(&mut self, name: &'static str, points: i32) {
        self.parts.push(Part { name, points });
    }

    /// Returns the score, 0–100.
    pub fn total(&self) -> u32 {
        let sum: i32 = self.parts.iter().map(|part| part.points).sum();
        let sum = u32::try_from(sum.clamp(0, 100)).unwrap_or(0);
        let ceiling = match self.at_most {
            Level::Confirmed => 100,
            Level::Probable => CONFIRMED - 1,
            Level::Possible => PROBABLE - 1,
        };
        (sum * self.quality.unwrap_or(100) / 100).min(ceiling)
    }

    /// Returns how sure that is; none below what is reported.
    pub fn level(&self) -> Option<Level> {
        match self.total() {
            CONFIRMED.. => Some(Level::Confirmed),
            PROBABLE.. => Some(Level::Probable),
            POSSIBLE.. => Some(Level::Possible),
            _ => None,
        }
    }
}

impl fmt::Display for Score {
    /// Writes `mechanism 40 + effect 20, times quality 70 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Part { name, points }) in self.parts.iter().enumerate() {
            let sign = match (index, *points < 0) {
                (0, _) => "",
                (_, true) => " - ",
                (_, false) => " + ",
            };
            write!(f, "{sign}{name} {}", points.unsigned_abs())?;
        }
        match self.quality {
            Some(percent) => write!(f, ", times capture quality {percent} %")?,
            None => f.write_str(", whatever the capture quality")?,
        }
        if self.at_most == Level::Confirmed {
            return Ok(());
        }
        write!(f, ", {} at most", self.at_most.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quality_of_the_capture_multiplies_the_sum() {
        let mut score = Score::new(40, 70);
        score.add("effect", 20);
        assert_eq!((score.total(), score.level()), (42, Some(Level::Possible)));
        assert_eq!(score.to_string(), "mechanism 40 + effect 20, times capture quality 70 %");
    }

    #[test]
    fn what_a_poor_capture_makes_no_less_sure_says_so() {
        let score = Score::of_any_capture(40);
        assert_eq!((score.total(), score.level()), (40, Some(Level::Possible)));
        assert_eq!(score.to_string(), "mechanism 40, whatever the capture quality");
    }

    #[test]
    fn a_capture_that_cannot_be_judged_gives_no_level() {
        assert_eq!(Score::new(100, 0).level(), None);
    }

    #[test]
    fn the_levels_begin_at_their_scores() {
        let level = |points| Score::new(points, 100).level();
        assert_eq!(level(24), None);
        assert_eq!(level(25), Some(Level::Possible));
        assert_eq!(level(50), Some(Level::Probable));
        assert_eq!(level(80), Some(Level::Confirmed));
    }

    #[test]
    fn a_ceiling_keeps_the_score_below_the_next_level() {
        let score = Score { at_most: Level::Probable, ..Score::new(95, 100) };
        assert_eq!((score.total(), score.level()), (79, Some(Level::Probable)));
    }
}
