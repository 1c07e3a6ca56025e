//! One flow in full, as JSON: what happened, and the windows over time.

use serde::Serialize;

use crate::flow::{Event, Happening, MAX_EVENTS, MAX_SAMPLES, Sample, Stall, Story};
use crate::tuple::Orientation;

/// What happened, in order.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Telling {
    /// What happened, in order.
    events: Vec<Told>,
    /// Events beyond those.
    events_not_kept: u64,
    /// The most that are kept.
    most_events: usize,
    /// The windows over time.
    windows: Vec<WindowAt>,
    /// The most that are kept.
    most_windows: usize,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Told {
    /// The number of the frame within the run.
    frame: u64,
    ts: String,
    dir: &'static str,
    /// What happened.
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u32>,
    /// How long, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    us: Option<u32>,
    /// The frame that it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    about_frame: Option<u64>,
}

/// The window that one side offers, and what the other one has in flight.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct WindowAt {
    ts: String,
    /// The side that sent.
    dir: &'static str,
    /// The window that it offers, in bytes.
    window: u32,
    /// Bytes of the other side in flight.
    flight: u32,
}

impl Telling {
    pub(super) fn of(story: &Story, direction: impl Fn(Orientation) -> &'static str) -> Self {
        let window = |sample: &Sample| WindowAt {
            ts: sample.ts.to_string(),
            dir: direction(sample.orientation),
            window: sample.window,
            flight: sample.flight,
        };
        Self {
            events: story.events.iter().map(|e| Told::of(e, direction(e.orientation))).collect(),
            events_not_kept: story.events_not_kept,
            most_events: MAX_EVENTS,
            windows: story.samples.iter().map(window).collect(),
            most_windows: MAX_SAMPLES,
        }
    }
}

impl Told {
    fn of(event: &Event, dir: &'static str) -> Self {
        let (mut bytes, mut us, mut about_frame) = (None, None, None);
        match event.what {
            Happening::Again { bytes: count, idle_us, .. } => {
                (bytes, us) = (Some(count), Some(idle_us));
            }
            Happening::Gap { bytes: count }
            | Happening::Overrun { bytes: count }
            | Happening::Shrunk { bytes: count }
            | Happening::AckedUnseen { bytes: count } => bytes = Some(count),
            Happening::WindowOpened { micros } | Happening::Stalled(Stall { micros, .. }) => {
                us = Some(micros);
            }
            Happening::Effect { frame, .. } => about_frame = Some(frame),
            Happening::WindowShut
            | Happening::WindowFull
            | Happening::SackOutside
            | Happening::DuplicateReported => {}
        }
        let (frame, ts, what) = (event.frame, event.ts.to_string(), event.what.code());
        Self { frame, ts, dir, what, bytes, us, about_frame }
    }
}
