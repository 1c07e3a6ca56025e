//! Window over time: what each side offered, and what the other had in flight.

use maud::{Markup, html};

use super::{Caption, HALF, Labels, Path, Plot, Sign, Unit, legend, picture, signed};
use crate::audit::ShownFlow;
use crate::flow::{Happening, Sample};
use crate::report::counted;
use crate::segment::Direction;

const TOP: i64 = 56;
const BOTTOM: i64 = 330;
const HEIGHT: i64 = 414;

/// Draws the windows that both sides offered, as far as any data was sent against them.
pub(in crate::report::html) fn windows(flow: &ShownFlow) -> Markup {
    html! {
        @for direction in Direction::BOTH { (window(flow, direction)) }
    }
}

/// Draws the window that the side sending in this direction offered.
fn window(flow: &ShownFlow, direction: Direction) -> Markup {
    let told = &flow.told;
    let audit = &told.audit;
    let is_its = |sample: &&Sample| audit.direction_of(sample.orientation) == direction;
    let samples: Vec<_> = told.story.samples.iter().filter(is_its).collect();
    let flight = samples.iter().map(|sample| sample.flight).max().unwrap_or(0);
    let window = samples.iter().map(|sample| sample.window).max().unwrap_or(0);
    // A window against which nothing is sent says nothing.
    if samples.len() < 2 || flight == 0 {
        return html! {};
    }
    let at = |sample: &Sample| sample.ts.nanos_since(audit.first_ts);
    let times = samples.iter().map(|sample| at(sample));
    let from = times.clone().min().unwrap_or(0);
    let to = times.max().unwrap_or(0);
    let highest = i64::from(window.max(flight));
    let plot = Plot::new(HALF, (from, to), (0, highest + highest / 12), (TOP, BOTTOM));
    let labels =
        Labels { x: ("time since the first packet", Unit::Time), y: ("bytes", Unit::Bytes) };
    let line = |value: fn(&Sample) -> u32| {
        let mut path = Path::default();
        for sample in &samples {
            path.step_to(plot.x.at(at(sample)), plot.y.at(i64::from(value(sample))));
        }
        path.end(plot.x.at(to));
        path.data
    };
    let shut = shut(flow, direction);
    let (sender, receiver) = match direction {
        Direction::Original => ("responder", "originator"),
        Direction::Reply => ("originator", "responder"),
    };
    let caption = Caption {
        id: format!("window-{}-{}", audit.first_frame, direction.name()),
        title: format!("Window offered by the {receiver}"),
        description: format!(
            "The window offered by the {receiver}, at most {} bytes, and what the {sender} had in \
             flight, at most {} bytes, against time. The window was zero {}.",
            signed(i64::from(window)),
            signed(i64::from(flight)),
            counted(shut.len() as u64, "time"),
        ),
    };
    let drawn = html! {
        (plot.axes(&labels))
        path.edge d=(line(|sample| sample.window)) {}
        path.flight d=(line(|sample| sample.flight)) {}
        @for at in &shut {
            path class="shut" d=(format!("M{} {}v-22", plot.x.at(*at), BOTTOM)) {}
        }
    };
    let mut entries = vec![
        ("edge", Sign::Line, "window offered"),
        ("flight", Sign::Line, "in flight towards it"),
    ];
    if !shut.is_empty() {
        entries.push(("shut", Sign::Bar, "window zero"));
    }
    html! {
        figure {
            figcaption {
                strong { "Window offered by the " (receiver) }
                ", as far as scaling is known, and bytes of the " (sender) " in flight."
            }
            (picture(&caption, (HALF, HEIGHT), &drawn))
            (legend(&entries))
        }
    }
}

/// Returns when the window became zero.
fn shut(flow: &ShownFlow, direction: Direction) -> Vec<i64> {
    let audit = &flow.told.audit;
    let events = flow.told.story.events.iter();
    let shut = events.filter(|event| {
        event.what == Happening::WindowShut && audit.direction_of(event.orientation) == direction
    });
    shut.map(|event| event.ts.nanos_since(audit.first_ts)).collect()
}
