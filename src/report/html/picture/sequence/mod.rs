//! Time-sequence plots: the data of one side against time, what the other acknowledged and reported
//! by SACK, both edges of the window, the tracker's four bounds, and each INVALID packet.
//!
//! Does not: choose the flows.

mod marks;
mod scene;

use maud::{Markup, html};

use super::{Caption, Labels, Path, Plot, Sign, Unit, WIDE, legend, picture, signed};
use crate::audit::{Inputs, ShownFlow};
use crate::flow::Point;
use crate::report::view::{offset, place_name};
use crate::report::{counted, grouped};
use crate::segment::Direction;
use scene::{Kind, Scene, scene, side};

/// Where the plotted area begins and ends, and how high the picture is.
const TOP: i64 = 56;
const BOTTOM: i64 = 700;
const HEIGHT: i64 = 784;
/// Fewer packets are not worth a picture of their own.
const LEAST_CLOSE: usize = 10;
/// The frames named to those who do not see the picture.
const MOST_NAMED: usize = 20;

/// Draws a flow: all of it, and the packets around the first that a rule spoke of.
pub(in crate::report::html) fn sequences(flow: &ShownFlow, inputs: &Inputs) -> Markup {
    let trace = &flow.trace;
    let side = side(flow);
    let id = format!("sequence-{}", flow.told.audit.first_frame);
    let thinned = if trace.is_thinned_out() {
        format!(
            " Drawn are {} of {} packets, all INVALID ones up to a bound among them.",
            grouped(trace.points.len() as u64),
            grouped(trace.seen)
        )
    } else {
        String::new()
    };
    let close = close(&trace.close);
    let is_closer = close.len() >= LEAST_CLOSE && span_ns(close) < span_ns(&trace.points) / 2;
    html! {
        (plot(flow, inputs, &trace.points, side, &Title {
            id: &id,
            words: "The whole connection",
            note: &thinned,
        }))
        @if is_closer {
            (plot(flow, inputs, close, side, &Title {
                id: &format!("{id}-close"),
                words: "Where it begins, packet by packet",
                note: "",
            }))
        }
    }
}

/// Returns the packets around the first that a rule spoke of which follow one another without a
/// pause far longer than is usual between them.
fn close(points: &[Point]) -> &[Point] {
    const FAR_LONGER: i64 = 50;
    const LEAST_AFTER: usize = 8;
    let mut gaps: Vec<_> = points.windows(2).map(span_ns).collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0).max(1000);
    let is_pause = |pair: &[Point]| span_ns(pair) > usual.saturating_mul(FAR_LONGER);
    let focus = points.iter().position(Point::is_invalid).unwrap_or(0);
    let pauses = || points.windows(2).enumerate().filter(|(_, pair)| is_pause(pair));
    let ends = pauses().map(|(index, _)| index + 1);
    let start = ends.clone().rfind(|start| *start <= focus).unwrap_or(0);
    let end = { ends }.find(|end| *end >= focus + LEAST_AFTER).unwrap_or(points.len());
    points.get(start..end).unwrap_or(points)
}

/// Returns the time from the first packet to the last.
fn span_ns(points: &[Point]) -> i64 {
    match points {
        [first, .., last] => last.ts.nanos_since(first.ts),
        _ => 0,
    }
}

struct Title<'a> {
    id: &'a str,
    words: &'a str,
    note: &'a str,
}

fn plot(
    flow: &ShownFlow,
    inputs: &Inputs,
    points: &[Point],
    side: Direction,
    title: &Title<'_>,
) -> Markup {
    let describe = |point: &Point| {
        let place = inputs.place(point.frame);
        let rule = point.reason.map_or("", |reason| reason.words());
        let time = offset(point.ts, flow.told.audit.first_ts);
        (place.frame, format!("{}, {time}: INVALID, {rule}", place_name(place)))
    };
    let scene = scene(flow, points, side, &describe);
    let (from, to) = scene.times;
    let pad = ((to - from) / 60).max(1);
    let plot = Plot::new(WIDE, (from - pad, to + pad), scene.range(), (TOP, BOTTOM));
    let labels = Labels {
        x: ("time since the first packet of the connection", Unit::Time),
        y: ("sequence number, relative", Unit::Bytes),
    };
    let clip = format!("{}-clip", title.id);
    let caption = caption(flow, &scene, side, title);
    let drawn = html! {
        (plot.clip(&clip))
        (plot.axes(&labels))
        g clip-path=(format!("url(#{clip})")) { (lines(&plot, &scene)) }
        (marks::outside(&plot, &scene))
        (marks::bounds(&plot, &scene))
        (marks::invalid(&plot, &scene))
    };
    html! {
        figure {
            figcaption {
                strong { (title.words) }
                ": data of the " (sender(side)) " and what the other side answered." (title.note)
            }
            (picture(&caption, (WIDE, HEIGHT), &drawn))
            (key(&scene))
        }
    }
}

const fn sender(side: Direction) -> &'static str {
    match side {
        Direction::Original => "originator",
        Direction::Reply => "responder",
    }
}

/// Draws what is lines and bars.
fn lines(plot: &Plot, scene: &Scene) -> Markup {
    let end = plot.x.at(scene.times.1);
    let line = |points: &[(i64, i64)]| {
        let mut path = Path::default();
        for (at, number) in points {
            path.step_to(plot.x.at(*at), plot.y.at(*number));
        }
        path.end(end);
        path.data
    };
    let bars = |kind: Kind| {
        let mut path = Path::default();
        for (_, stretch) in scene.data.iter().filter(|(found, _)| *found == kind) {
            let height = (plot.y.at(stretch.from), plot.y.at(stretch.to));
            path.bar(plot.x.at(stretch.at), height);
        }
        path.data
    };
    let mut sack = Path::default();
    for block in &scene.sack {
        if plot.y.holds(block.from) || plot.y.holds(block.to) {
            sack.bar(plot.x.at(block.at), (plot.y.at(block.from), plot.y.at(block.to)));
        }
    }
    let mut drawn = vec![("edge", line(&scene.edges))];
    drawn.extend(scene.bounds.iter().map(|bound| ("bound", line(bound))));
    drawn.push(("sack", sack.data));
    drawn.push(("ack", line(&scene.acks)));
    let kinds = [("data", Kind::Fresh), ("again", Kind::Again), ("refused", Kind::Invalid)];
    drawn.extend(kinds.map(|(class, kind)| (class, bars(kind))));
    html! {
        @for (class, data) in drawn.iter().filter(|(_, data)| !data.is_empty()) {
            path class=(class) d=(data) {}
        }
    }
}

/// Explains what is in the picture, and nothing else.
fn key(scene: &Scene) -> Markup {
    let has = |kind| scene.data.iter().any(|(found, _)| *found == kind);
    let entries = [
        (has(Kind::Fresh), ("data", Sign::Bar, "data")),
        (has(Kind::Again), ("again", Sign::Bar, "sent again")),
        (has(Kind::Invalid), ("refused", Sign::Bar, "INVALID data")),
        (!scene.acks.is_empty(), ("ack", Sign::Line, "acknowledged: left edge of the window")),
        (!scene.edges.is_empty(), ("edge", Sign::Line, "right edge of the window offered")),
        (!scene.sack.is_empty(), ("sack", Sign::Bar, "SACK blocks")),
        (
            scene.bounds.iter().any(|bound| !bound.is_empty()),
            ("bound", Sign::Line, "the tracker's bounds I to IV"),
        ),
        (!scene.invalid.is_empty(), ("cross", Sign::Cross, "INVALID, with its frame")),
    ];
    let shown: Vec<_> =
        entries.into_iter().filter(|(is_there, _)| *is_there).map(|(_, entry)| entry).collect();
    legend(&shown)
}

/// Says in words what the picture shows.
fn caption(flow: &ShownFlow, scene: &Scene, side: Direction, title: &Title<'_>) -> Caption {
    let (original, reply) = flow.told.key.endpoints(flow.told.audit.original);
    let again = scene.data.iter().filter(|(kind, _)| *kind == Kind::Again).count();
    let frames = scene.invalid.iter().take(MOST_NAMED).map(|mark| mark.frame.to_string());
    let frames: Vec<_> = frames.collect();
    let more = scene.invalid.len().saturating_sub(MOST_NAMED);
    let others = if more > 0 { format!(" and {more} more") } else { String::new() };
    let invalid = if frames.is_empty() {
        "No packet is INVALID.".to_owned()
    } else {
        format!("INVALID are frames {}{others}.", frames.join(", "))
    };
    let highest = scene.data.iter().map(|(_, stretch)| stretch.to).max().unwrap_or(0);
    let description = format!(
        "Sequence numbers of the {} against time, from {original} to {reply}: {}, {} sent again, up \
         to number {}; {}. {invalid}",
        sender(side),
        counted(scene.data.len() as u64, "data segment"),
        grouped(again as u64),
        signed(highest),
        counted(scene.acks.len() as u64, "acknowledgement"),
    );
    let title_words = format!("{} {original} > {reply}", title.words);
    Caption { id: title.id.to_owned(), title: title_words, description }
}
