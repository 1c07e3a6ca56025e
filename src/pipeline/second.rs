//! The second reading: a few flows and packets that the audit found worth showing, from the inputs
//! they were in.
//!
//! Every frame is decoded once more, but only the flows wished for are tracked, by the same shard as
//! in the first reading, so that they are judged alike. One worker suffices: most of the time
//! goes into reading, and reading ends with the last packet that is wanted.
//!
//! Does not: choose what is shown.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::audit::{
    Exhibits, Findings, MAX_SHOWN_PACKETS, PacketVerdict, ShownFlow, ShownPacket, Wish,
};
use crate::flow::{FlowStory, Point, Trace};
use crate::frame::{Batch, Frame};
use crate::pipeline::slice::{Item, Items, Kind, Slice};
use crate::pipeline::{Plan, SLICE, TableView, Tools, Wanted, chain};
use crate::segment::Flags;
use crate::source::FrameSource;
use crate::time::Timestamp;
use crate::wire;

/// Packets with SYN that are shown of each flow beside those wished for: scale and SACK permission
/// are needed to read the others.
const MAX_SYNS: usize = 4;

/// Reads a source once more, and returns what was wished for.
///
/// `plan` must be the one that the audit was made by. What cannot be read a second time is missing,
/// and [`Exhibits::missing`] says why.
pub fn gather(plan: &Plan, wish: &Wish, source: &mut dyn FrameSource) -> Exhibits {
    let mut collector = Collector::new(plan, wish);
    let mut batch = Batch::default();
    loop {
        match source.fill(&mut batch) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                collector.problem = Some(chain(&error));
                break;
            }
        }
        for start in (0..batch.len()).step_by(SLICE) {
            collector.take(&batch, start..batch.len().min(start + SLICE));
        }
        if collector.has_all(&batch) {
            break;
        }
    }
    collector.finish()
}

/// What was gathered so far.
struct Collector<'a> {
    wish: &'a Wish,
    tools: Tools,
    slice: Slice,
    traces: Vec<Trace>,
    packets: Vec<ShownPacket>,
    /// Tracker time after which nothing of a wanted flow comes.
    last_seen: Option<Timestamp>,
    problem: Option<String>,
}

impl<'a> Collector<'a> {
    fn new(plan: &Plan, wish: &'a Wish) -> Self {
        let flows = wish.flows.iter().map(|flow| flow.first_frame).collect();
        let (wanted, table) = (Wanted::Verdicts, TableView::Counted);
        let plan = Plan { threads: 1, wanted, flows, table, ..plan.clone() };
        Self {
            wish,
            tools: Tools::new(&plan),
            slice: Slice::new(1),
            traces: wish.flows.iter().map(|flow| Trace::new(flow.focus)).collect(),
            packets: Vec::new(),
            last_seen: wish.flows.iter().map(|flow| flow.last_seen).max(),
            problem: None,
        }
    }

    /// Takes the frames `range` of a batch.
    fn take(&mut self, batch: &Batch, range: Range<usize>) {
        self.slice.decode(batch, range.clone(), 0, &self.tools.settler.decoder);
        self.tools.settler.settle(&mut self.slice);
        let mut shown = BTreeSet::new();
        let items = self.slice.items.first().map(Items::as_slice).unwrap_or_default();
        for item in items.iter().filter(|item| is_of_wanted_flow(self.wish, item)) {
            for shard in &mut self.tools.shards {
                shard.take(std::slice::from_ref(item));
                for verdict in shard.take_verdicts() {
                    if take_packet(self.wish, &mut self.traces, item, &verdict) {
                        shown.insert(verdict.frame);
                    }
                }
            }
        }
        if shown.is_empty() && self.wish.frames.is_empty() {
            return;
        }
        for frame in batch.frames(range) {
            if shown.contains(&frame.number) || self.wish.frames.contains(&frame.number) {
                (0..=u16::MAX)
                    .zip(wire::packets(&frame))
                    .for_each(|(part, packet)| self.show(&packet, part));
            }
        }
    }

    fn show(&mut self, frame: &Frame<'_>, part: u16) {
        let Some(range) = wire::headers(frame, self.tools.settler.decoder.tunnels) else { return };
        let Some(headers) = frame.bytes.get(range.clone()) else { return };
        if self.packets.len() < MAX_SHOWN_PACKETS {
            let start = u32::try_from(range.start).unwrap_or(u32::MAX);
            let captured = u32::try_from(headers.len()).unwrap_or(u32::MAX);
            self.packets.push(ShownPacket {
                frame: frame.number,
                part,
                ts: frame.ts,
                clock: frame.clock,
                original_len: frame.original_len.saturating_sub(start).max(captured),
                headers: headers.to_vec(),
            });
        }
    }

    /// Returns whether the rest of the input holds nothing that is wanted.
    fn has_all(&self, batch: &Batch) -> bool {
        let clock = batch.frame(batch.len().saturating_sub(1)).map(|frame| frame.clock);
        let flows_are_over = self.last_seen.is_none_or(|last| clock.is_some_and(|now| now > last));
        let found = |number: &u64| self.packets.iter().any(|packet| packet.frame == *number);
        flows_are_over && self.wish.frames.iter().all(found)
    }

    fn finish(self) -> Exhibits {
        let mut findings = Findings::default();
        for shard in self.tools.shards {
            let end = self.tools.settler.clocks.map(|(_, last)| last);
            findings.merge(shard.finish(end.unwrap_or_default()).findings);
        }
        let mut stories: Vec<FlowStory> = findings.finish().stories;
        let mut flows = Vec::new();
        for (wanted, trace) in self.wish.flows.iter().zip(self.traces) {
            if let Some(position) = stories.iter().position(|told| wanted.is(told)) {
                flows.push(ShownFlow { told: stories.swap_remove(position), trace });
            }
        }
        let is_all_there = flows.len() == self.wish.flows.len();
        let changed = || "the input has changed since it was first read".to_owned();
        let missing = (!is_all_there).then(|| self.problem.unwrap_or_else(changed));
        Exhibits { flows, packets: self.packets, missing }
    }
}

fn is_of_wanted_flow(wish: &Wish, item: &Item) -> bool {
    matches!(item.kind, Kind::Segment | Kind::ExemptSegment)
        && wish.flows.iter().any(|flow| flow.key == item.packet.key)
}

/// Takes a packet into the trace of its flow; says whether it is one to show.
fn take_packet(wish: &Wish, traces: &mut [Trace], item: &Item, told: &PacketVerdict) -> bool {
    let wanted = wish.flows.iter().zip(traces);
    let Some((_, trace)) =
        { wanted }.find(|(flow, _)| told.flow == Some(flow.first_frame) && told.key == flow.key)
    else {
        return false;
    };
    let segment = item.packet.segment;
    let is_syn = segment.has(Flags::SYN);
    let syns = trace.points.iter().filter(|point| point.segment.has(Flags::SYN)).take(MAX_SYNS);
    let is_shown = is_syn && syns.count() < MAX_SYNS;
    trace.push(Point {
        frame: told.frame,
        ts: told.ts,
        orientation: item.packet.orientation,
        segment,
        ctstate: told.verdict.ctstate,
        reason: told.verdict.reason,
        margins: told.verdict.margins,
    });
    is_shown
}
