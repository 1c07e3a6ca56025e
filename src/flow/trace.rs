//! The packets of one flow as a picture needs them: thinned out over its whole life, and all of them
//! around the first that a rule spoke of.
//!
//! Does not: draw, or judge.

use std::collections::VecDeque;

use crate::conntrack::{CtState, Margins, Reason};
use crate::segment::{Flags, SackBlock, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// The packets kept of a whole flow: when they are full, every other one that no rule spoke of goes,
/// and the interval between those kept doubles.
pub const MAX_POINTS: usize = 2000;
/// The packets that a rule spoke of which stay whatever goes.
pub const MAX_MARKED: usize = 500;
/// The packets kept in front of the one that is looked at closely.
const BEFORE: usize = 20;
/// The packets kept from that one on.
const AFTER: usize = 120;

/// One packet of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// Frame number within the run.
    pub frame: u64,
    /// Capture time.
    pub ts: Timestamp,
    /// Which way it went between the endpoints of the flow's key.
    pub orientation: Orientation,
    /// The segment.
    pub segment: Segment,
    /// What was said of it.
    pub ctstate: CtState,
    /// Why, where a rule spoke of it.
    pub reason: Option<Reason>,
    /// Distances to the tracker's bounds; none where the window was not checked.
    pub margins: Option<Margins>,
}

impl Point {
    /// Returns whether rules see the packet as INVALID.
    pub fn is_invalid(&self) -> bool {
        self.ctstate == CtState::Invalid
    }

    /// Returns the sequence number after the last of the segment.
    pub const fn end(&self) -> SeqNum {
        self.segment.end()
    }

    /// Returns the acknowledgement number, where there is one.
    pub const fn ack(&self) -> Option<SeqNum> {
        if self.segment.has(Flags::ACK) && !self.segment.has(Flags::RST) {
            Some(self.segment.ack)
        } else {
            None
        }
    }

    /// Returns the SACK blocks.
    pub fn sack(&self) -> &[SackBlock] {
        self.segment.options.sack.as_slice()
    }

    /// Returns the bounds that the packet was measured against.
    ///
    /// `sack_counts` is whether the receiver's SYN permitted SACK: otherwise the tracker looks at the
    /// acknowledgement number alone. None for a reset, whose numbers the tracker may have replaced,
    /// and for a segment without acknowledgement.
    pub fn bounds(&self, sack_counts: bool) -> Option<Bounds> {
        let margins = self.margins?;
        let ack = self.ack()?;
        let sack = if sack_counts { self.segment.options.sack.highest_edge(ack) } else { ack };
        let at = |number: SeqNum, margin: i32| number.plus(margin.cast_unsigned());
        Some(Bounds {
            seq_upper: at(self.segment.seq, margins.seq_upper),
            seq_lower: at(self.end(), margins.seq_lower.wrapping_neg()),
            ack_upper: at(sack, margins.ack_upper),
            ack_lower: at(sack, margins.ack_lower.wrapping_neg()),
        })
    }
}

/// The tracker's four bounds at one packet, as sequence numbers: I and II of the sender's numbers,
/// III and IV of the receiver's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// I: no segment of the sender may start after it.
    pub seq_upper: SeqNum,
    /// II: no segment of the sender may end before it.
    pub seq_lower: SeqNum,
    /// III: nothing after it may be acknowledged.
    pub ack_upper: SeqNum,
    /// IV: nothing before it may be acknowledged.
    pub ack_lower: SeqNum,
}

/// The packets of one flow, in bounded memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The packets of the whole flow, thinned out; at most about [`MAX_POINTS`].
    pub points: Vec<Point>,
    /// Packets of the flow, those not kept included.
    pub seen: u64,
    /// The packets around the one looked at closely, none left out.
    pub close: Vec<Point>,
    /// The frame to look at closely.
    focus: Option<u64>,
    before: VecDeque<Point>,
    after: usize,
    every: u64,
    plain: u64,
    marked: usize,
}

impl Trace {
    /// Starts a trace that looks closely at a frame.
    pub fn new(focus: Option<u64>) -> Self {
        Self {
            points: Vec::new(),
            seen: 0,
            close: Vec::new(),
            focus,
            before: VecDeque::with_capacity(BEFORE),
            after: 0,
            every: 1,
            plain: 0,
            marked: 0,
        }
    }

    /// Takes the next packet of the flow.
    pub fn push(&mut self, point: Point) {
        self.seen += 1;
        self.look_closely(point);
        if Self::is_marked(&point) && self.marked < MAX_MARKED {
            self.marked += 1;
            self.points.push(point);
            return;
        }
        if self.plain.is_multiple_of(self.every) {
            self.points.push(point);
        }
        self.plain += 1;
        if self.points.len() >= MAX_POINTS {
            self.thin_out();
        }
    }

    /// Returns the times of its packets.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.points.iter_mut().chain(&mut self.close).map(|point| &mut point.ts)
    }

    /// Returns whether packets were left out of [`Trace::points`].
    pub fn is_thinned_out(&self) -> bool {
        self.points.len() as u64 != self.seen
    }

    fn is_marked(point: &Point) -> bool {
        point.reason.is_some() || point.is_invalid()
    }

    fn look_closely(&mut self, point: Point) {
        let Some(focus) = self.focus else { return };
        if self.after == 0 && point.frame != focus {
            if self.before.len() == BEFORE {
                self.before.pop_front();
            }
            self.before.push_back(point);
        } else if self.after < AFTER {
            self.close.extend(self.before.drain(..));
            self.close.push(point);
            self.after += 1;
        }
    }

    /// Drops every other packet that may go; those beyond [`MAX_MARKED`] may too.
    fn thin_out(&mut self) {
        let (mut keep, mut marked) = (false, 0);
        self.points.retain(|point| {
            if Self::is_marked(point) && marked < MAX_MARKED {
                marked += 1;
                return true;
            }
            keep = !keep;
            keep
        });
        self.every *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(frame: u64, ctstate: CtState) -> Point {
        Point {
            frame,
            ts: Timestamp(0),
            orientation: Orientation::LowToHigh,
            segment: Segment::default(),
            ctstate,
            reason: (ctstate == CtState::Invalid).then_some(Reason::AckOver),
            margins: None,
        }
    }

    #[test]
    fn a_long_flow_is_thinned_out_and_its_invalid_packets_stay() {
        let mut trace = Trace::new(Some(70_000));
        for frame in 1..=100_000 {
            let is_invalid = frame % 1000 == 0;
            let ctstate = if is_invalid { CtState::Invalid } else { CtState::Established };
            trace.push(point(frame, ctstate));
            assert!(trace.points.len() <= MAX_POINTS);
        }
        assert!(trace.is_thinned_out() && trace.seen == 100_000);
        assert_eq!(trace.points.iter().filter(|point| point.is_invalid()).count(), 100);
        assert!(trace.points.is_sorted_by_key(|point| point.frame));
        let close: Vec<_> = trace.close.iter().map(|point| point.frame).collect();
        assert_eq!(close, (70_000 - 20..70_000 + 120).collect::<Vec<_>>());
    }

    #[test]
    fn a_flow_that_is_all_invalid_stays_within_the_bound() {
        let mut trace = Trace::new(Some(1));
        (1..=50_000).for_each(|frame| trace.push(point(frame, CtState::Invalid)));
        assert!(trace.points.len() <= MAX_POINTS, "{}", trace.points.len());
    }

    #[test]
    fn bounds_are_where_the_margins_say() {
        let segment = Segment {
            seq: SeqNum(1000),
            len: 10,
            ack: SeqNum(5),
            flags: Flags::ACK,
            ..Segment::default()
        };
        let margins = Margins { seq_upper: 500, seq_lower: 300, ack_upper: -7, ack_lower: 66_000 };
        let point = Point { segment, margins: Some(margins), ..point(1, CtState::Invalid) };
        let bounds = point.bounds(true).unwrap();
        assert_eq!((bounds.seq_upper, bounds.seq_lower), (SeqNum(1500), SeqNum(710)));
        assert_eq!(bounds.ack_upper, SeqNum(5_u32.wrapping_sub(7)));
        assert_eq!(bounds.ack_lower, SeqNum(5_u32.wrapping_sub(66_000)));
    }
}
