//! What a time-sequence plot shows: everything in the sequence numbers of the one side whose data is
//! drawn, counted from its first.
//!
//! Does not: draw.

use std::collections::BTreeSet;

use crate::audit::ShownFlow;
use crate::conntrack::Reason;
use crate::flow::{Happening, Point, Scaling};
use crate::segment::{Direction, Flags};
use crate::seq::SeqNum;

/// What kind of data a bar is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Sent for the first time.
    Fresh,
    /// Sent again.
    Again,
    /// INVALID.
    Invalid,
}

/// Bytes of the side, sent or reported by a SACK block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    /// Time since the flow began, in nanoseconds.
    pub(super) at: i64,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// An INVALID packet.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: i64,
    /// Its sequence number, or what it acknowledges.
    pub(super) place: i64,
    /// Number of the frame in its capture.
    pub(super) frame: u64,
    /// What there is to say of it.
    pub(super) words: String,
}

/// What is drawn.
#[derive(Clone, Default, Debug)]
pub(super) struct Scene {
    pub(super) data: Vec<(Kind, Stretch)>,
    /// What the other side acknowledged, over time.
    pub(super) acks: Vec<(i64, i64)>,
    /// The right edge of the window that the other side offered.
    pub(super) edges: Vec<(i64, i64)>,
    pub(super) sack: Vec<Stretch>,
    /// The tracker's bounds I to IV.
    pub(super) bounds: [Vec<(i64, i64)>; 4],
    pub(super) invalid: Vec<Mark>,
    /// The bounds that INVALID packets violate, where they do.
    violated: Vec<i64>,
    /// The first and the last time.
    pub(super) times: (i64, i64),
}

/// Chooses the side whose numbers are drawn: the one that most INVALID packets speak of, else the
/// one that sent more.
pub(super) fn side(flow: &ShownFlow) -> Direction {
    let audit = &flow.told.audit;
    let mut spoken = [0_u32; 2];
    for point in flow.trace.points.iter().filter(|point| point.is_invalid()) {
        let sender = audit.direction_of(point.orientation);
        let side = match point.reason {
            Some(Reason::AckOver | Reason::AckUnder) => sender.flip(),
            _ => sender,
        };
        match side {
            Direction::Original => spoken[0] += 1,
            Direction::Reply => spoken[1] += 1,
        }
    }
    let directions = audit.directions();
    let sends_more = directions.reply.bytes > directions.original.bytes;
    let is_reply = spoken[1] > spoken[0] || (spoken[0] == spoken[1] && sends_more);
    if is_reply { Direction::Reply } else { Direction::Original }
}

/// A place on the circle of numbers, followed around it.
#[derive(Clone, Copy, Debug)]
struct Position {
    number: SeqNum,
    place: i64,
}

impl Position {
    /// Returns the place of a number near this one.
    fn of(self, number: SeqNum) -> i64 {
        self.place + i64::from(number.offset_from(self.number))
    }

    /// Goes to a number near this one.
    fn go(&mut self, number: SeqNum) {
        *self = Self { number, place: self.of(number) };
    }
}

/// Lays out packets of a flow, in the numbers of one side.
pub(super) fn scene(
    flow: &ShownFlow,
    points: &[Point],
    side: Direction,
    describe: &dyn Fn(&Point) -> (u64, String),
) -> Scene {
    let told = &flow.told;
    let first = told.audit.directions()[side].first_seq;
    let first = first.or_else(|| points.iter().find_map(Point::ack)).unwrap_or_default();
    let mut position = Position { number: first, place: 0 };
    let repeated = repeated(flow);
    let peer = &told.summary.sides[side.flip()];
    let shift = match peer.scaling {
        Scaling::By(shift) => shift,
        Scaling::Off | Scaling::Unknown => 0,
    };
    let mut scene = Scene::default();
    let mut times = None;
    for point in points {
        let at = point.ts.nanos_since(told.audit.first_ts);
        let (from, to) = *times.get_or_insert((at, at));
        times = Some((from.min(at), to.max(at)));
        let direction = told.audit.direction_of(point.orientation);
        let place = if direction == side {
            let is_again = repeated.contains(&point.frame);
            Some(scene.take_data(at, point, &mut position, is_again))
        } else {
            scene.take_answer(at, point, position, shift)
        };
        if let Some(place) = place.filter(|_| point.is_invalid()) {
            let (frame, words) = describe(point);
            scene.invalid.push(Mark { at, place, frame, words });
        }
        let sack_counts = told.summary.sides[direction.flip()].sack_permitted;
        if let Some(bounds) = point.bounds(sack_counts) {
            let (upper, lower, which) = if direction == side {
                (bounds.seq_upper, bounds.seq_lower, [0, 1])
            } else {
                (bounds.ack_upper, bounds.ack_lower, [2, 3])
            };
            if point.is_invalid() {
                scene.violated.push(position.of(upper));
            }
            for (bound, number) in which.into_iter().zip([upper, lower]) {
                if let Some(line) = scene.bounds.get_mut::<usize>(bound) {
                    line.push((at, position.of(number)));
                }
            }
        }
    }
    scene.times = times.unwrap_or_default();
    scene
}

/// Returns the frames that sent something again.
fn repeated(flow: &ShownFlow) -> BTreeSet<u64> {
    let events = flow.told.story.events.iter();
    let again = events.filter(
        |event| matches!(event.what, Happening::Again { kind, .. } if kind.is_retransmission()),
    );
    again.map(|event| event.frame).collect()
}

impl Scene {
    /// Takes a segment of the side; returns where it begins.
    fn take_data(
        &mut self,
        at: i64,
        point: &Point,
        position: &mut Position,
        is_again: bool,
    ) -> i64 {
        let (seq, end) = (point.segment.seq, point.end());
        let from = position.of(seq);
        let to = from + i64::from(end.offset_from(seq));
        let kind = match (point.is_invalid(), is_again) {
            (true, _) => Kind::Invalid,
            (false, true) => Kind::Again,
            (false, false) => Kind::Fresh,
        };
        if to > from {
            self.data.push((kind, Stretch { at, from, to }));
        }
        if !point.is_invalid() && !point.segment.has(Flags::RST) {
            position.go(end);
        }
        from
    }

    /// Takes a segment of the other side; returns what it acknowledges.
    fn take_answer(
        &mut self,
        at: i64,
        point: &Point,
        position: Position,
        shift: u8,
    ) -> Option<i64> {
        let number = point.ack()?;
        let ack = position.of(number);
        self.acks.push((at, ack));
        let shift = if point.segment.has(Flags::SYN) { 0 } else { shift };
        self.edges.push((at, ack + (i64::from(point.segment.win) << shift)));
        for block in point.sack() {
            let from = ack + i64::from(block.left.offset_from(number));
            let to = from + i64::from(block.right.offset_from(block.left));
            self.sack.push(Stretch { at, from, to });
        }
        Some(ack)
    }

    /// Returns the range of numbers to draw: all data and acknowledgements that are near each other,
    /// and as much of the window as leaves them half the height.
    pub(super) fn range(&self) -> (i64, i64) {
        let sound = self.data.iter().filter(|(kind, _)| *kind != Kind::Invalid);
        let ends = sound.flat_map(|(_, stretch)| [stretch.from, stretch.to]);
        let numbers: Vec<_> = ends.chain(self.acks.iter().map(|(_, ack)| *ack)).collect();
        let mut lo = numbers.iter().copied().min().unwrap_or(0);
        let mut hi = numbers.iter().copied().max().unwrap_or(lo);
        let invalid = self.data.iter().flat_map(|(_, stretch)| [stretch.from, stretch.to]);
        let marks = self.invalid.iter().map(|mark| mark.place);
        let marked: Vec<_> = invalid.chain(marks).collect();
        (lo, hi) = widened((lo, hi), &marked);
        (lo, hi) = widened((lo, hi), &self.violated);
        let edge = self.edges.iter().map(|(_, edge)| *edge).max().unwrap_or(hi);
        let room = (hi - lo).max(LEAST_SPAN);
        let top = edge.clamp(hi, hi + room) + room / 16;
        (lo - room / 16, top)
    }
}

/// The bytes that a picture spans at least: two segments of an Ethernet.
const LEAST_SPAN: i64 = 3000;

/// Returns a range with the numbers that are no farther from it than it is long, and those that are
/// then no farther, and so on for a few times.
fn widened(range: (i64, i64), numbers: &[i64]) -> (i64, i64) {
    const TIMES: usize = 4;
    (0..TIMES).fold(range, |(lo, hi), _| {
        let span = (hi - lo).max(LEAST_SPAN);
        let is_near = |number: &&i64| (lo - span..=hi + span).contains(*number);
        let near = numbers.iter().filter(is_near);
        near.fold((lo, hi), |(lo, hi), number| (lo.min(*number), hi.max(*number)))
    })
}
