//! One flow in full: every happening, and the windows over time.
//!
//! Kept only for the flow that the user asks for.

use crate::flow::detail::Stall;
use crate::flow::effect::Effect;
use crate::flow::retransmission::Kind;
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// The happenings of one flow that are listed; those beyond are counted.
pub const MAX_EVENTS: usize = 10_000;
/// The window samples of one flow: when they are full, every other one goes and the interval
/// doubles.
pub const MAX_SAMPLES: usize = 512;

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Happening {
    /// A segment below the highest number.
    Again {
        /// What it was.
        kind: Kind,
        /// Its bytes below the highest number.
        bytes: u32,
        /// Time since the data last made progress, in microseconds.
        idle_us: u32,
    },
    /// Segments are missing in front of this one.
    Gap {
        /// Bytes that were passed over.
        bytes: u32,
    },
    /// The window became zero.
    WindowShut,
    /// The window is open again.
    WindowOpened {
        /// How long it was zero, in microseconds.
        micros: u32,
    },
    /// The data fills the window.
    WindowFull,
    /// The data ends beyond every window offered.
    Overrun {
        /// By how many bytes.
        bytes: u32,
    },
    /// The right edge of the window moved left.
    Shrunk {
        /// By how many bytes.
        bytes: u32,
    },
    /// Bytes are acknowledged that were never seen.
    AckedUnseen {
        /// How many.
        bytes: u32,
    },
    /// SACK blocks that are not inside what was sent.
    SackOutside,
    /// A duplicate was reported.
    DuplicateReported,
    /// Nothing had passed although something was due.
    Stalled(Stall),
    /// An INVALID packet had this effect.
    Effect {
        /// The packet.
        frame: u64,
        /// What became of it.
        effect: Effect,
    },
}

impl Happening {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Again { kind, .. } => kind.code(),
            Self::Gap { .. } => "gap",
            Self::WindowShut => "zero_window",
            Self::WindowOpened { .. } => "window_open",
            Self::WindowFull => "window_full",
            Self::Overrun { .. } => "overrun",
            Self::Shrunk { .. } => "window_shrunk",
            Self::AckedUnseen { .. } => "acked_unseen",
            Self::SackOutside => "sack_outside",
            Self::DuplicateReported => "dsack",
            Self::Stalled(_) => "stall",
            Self::Effect { effect, .. } => effect.code(),
        }
    }
}

/// When and on which side something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Frame number, from 1.
    pub frame: u64,
    /// Capture time.
    pub ts: Timestamp,
    /// Which way the segment went.
    pub orientation: Orientation,
    /// What happened.
    pub what: Happening,
}

/// The window of one side at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// Capture time.
    pub ts: Timestamp,
    /// The side that offers the window.
    pub orientation: Orientation,
    /// The window in bytes, as far as scaling is known.
    pub window: u32,
    /// What the other side has in flight, in bytes.
    pub flight: u32,
}

impl Event {
    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let inside = match &mut self.what {
            Happening::Stalled(stall) => Some(&mut stall.ts),
            _ => None,
        };
        inside.into_iter().chain([&mut self.ts])
    }
}

/// One flow in full.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Story {
    /// What happened, in order; at most [`MAX_EVENTS`].
    pub events: Vec<Event>,
    /// Happenings beyond those listed.
    pub events_not_kept: u64,
    /// Windows over time; at most [`MAX_SAMPLES`].
    pub samples: Vec<Sample>,
    every: u64,
    seen: u64,
}

impl Story {
    /// Returns every capture time, so that all can be shifted alike.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let samples = self.samples.iter_mut().map(|sample| &mut sample.ts);
        self.events.iter_mut().flat_map(Event::times).chain(samples)
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        } else {
            self.events_not_kept += 1;
        }
    }

    pub(super) fn sample(&mut self, sample: Sample) {
        let every = self.every.max(1);
        if self.seen.is_multiple_of(every) {
            self.samples.push(sample);
        }
        self.seen += 1;
        if self.samples.len() >= MAX_SAMPLES {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.every = every * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_thin_out_and_stay_within_their_bound() {
        let mut story = Story::default();
        for n in 0..10_000 {
            let orientation = Orientation::default();
            story.sample(Sample { ts: Timestamp(n), orientation, window: 0, flight: 0 });
            assert!(story.samples.len() < MAX_SAMPLES);
        }
        assert!(story.samples.len() >= MAX_SAMPLES / 2 - 1);
        assert_eq!(story.samples.first().unwrap().ts, Timestamp(0));
    }
}
