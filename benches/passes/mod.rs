//! The stages of an audit one behind the other, as far as wanted: what the pipeline does with plain
//! TCP, by the public faces of the stages, so that each can be measured by what it adds.
//!
//! Left out is what the pipeline does beside: censuses, ICMP, other protocols, totals, findings.

use std::hint::black_box;
use std::path::Path;

use tcp_window_audit::conntrack::table::Position;
use tcp_window_audit::conntrack::{
    Arrival, Keyed, Members, Opinions, Panel, Policy, Sysctls, Table, Track, Verdict,
};
use tcp_window_audit::flow::{FlowAudit, Observation};
use tcp_window_audit::frame::{Batch, Frame};
use tcp_window_audit::source::{self, FrameSource, Timeline};
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::FlowKey;
use tcp_window_audit::wire::{self, Decoded, Packet};

use crate::tools::audit::all_policies;

/// How far a capture goes.
pub const READ: u8 = 0;
pub const DECODE: u8 = 1;
pub const ROUTE: u8 = 2;
pub const TRACK: u8 = 3;
pub const ANALYSE: u8 = 4;

/// As the pipeline has it: frames decoded in one go, and packets whose flows are asked for together.
const SLICE: usize = 512;
const AHEAD: usize = 32;
/// Workers between whom the packets are divided.
const SHARDS: usize = 2;
const SEED: u64 = 0x5eed;

/// A packet on its way.
#[derive(Clone, Default)]
struct Item {
    frame: u64,
    ts: Timestamp,
    clock: Timestamp,
    hash: u64,
    shard: usize,
    packet: Packet,
}

/// As the pipeline lays it out.
#[repr(C, align(64))]
struct Flow<const STAGE: u8> {
    track: Track,
    key: FlowKey,
    audit: FlowAudit,
}

impl<const STAGE: u8> Keyed for Flow<STAGE> {
    fn key(&self) -> &FlowKey {
        &self.key
    }
}

impl<const STAGE: u8> Flow<STAGE> {
    /// The lines of the cache that most packets need: of the tracker alone, or of the analysis as well.
    const EVERYDAY: std::ops::Range<usize> = if STAGE >= ANALYSE { 1..5 } else { 0..3 };

    #[inline]
    fn is_over(&self, now: Timestamp) -> bool {
        let expires = self.track.expires();
        if STAGE < ANALYSE {
            return expires.is_some_and(|expires| expires <= now);
        }
        self.audit.over_at(expires) <= now
    }
}

/// What packets go through.
struct Pass<const STAGE: u8> {
    items: Vec<Item>,
    guesses: Vec<Option<Position>>,
    table: Table<Flow<STAGE>>,
    panel: Panel,
    opinions: Opinions,
}

/// Takes a capture through the stages up to this one; returns the frames.
pub fn through<const STAGE: u8>(path: &Path) -> u64 {
    let features = all_policies().iter().map(Policy::features).collect();
    let mut pass = Pass::<STAGE> {
        items: vec![Item::default(); SLICE],
        guesses: Vec::new(),
        table: Table::new(SEED),
        panel: Panel::new(features, Sysctls::default().limits),
        opinions: Opinions::default(),
    };
    let mut capture = source::open(path, Timeline::default()).expect("a capture");
    let mut batch = Batch::default();
    let mut frames = 0;
    while capture.fill(&mut batch).expect("the capture should be whole") {
        frames += batch.len() as u64;
        if STAGE >= DECODE {
            pass.take(&batch);
        }
    }
    frames
}

impl<const STAGE: u8> Pass<STAGE> {
    fn take(&mut self, batch: &Batch) {
        for start in (0..batch.len()).step_by(SLICE) {
            let used = self.decode(batch, start..batch.len().min(start + SLICE));
            if STAGE >= TRACK {
                self.track(used);
            }
            black_box(&self.items);
        }
    }

    /// Decodes frames, and routes what they hold; returns how many are segments.
    #[inline(never)]
    fn decode(&mut self, batch: &Batch, range: std::ops::Range<usize>) -> usize {
        let mut used = 0;
        for frame in batch.frames(range) {
            let item = &mut self.items[used];
            if !read(&frame, &mut item.packet) {
                continue;
            }
            (item.frame, item.ts, item.clock) = (frame.number, frame.ts, frame.clock);
            if STAGE >= ROUTE {
                item.hash = item.packet.key.hash_with(SEED);
                item.shard = item.packet.key.shard(SHARDS);
            }
            used += 1;
        }
        used
    }

    #[inline(never)]
    fn track(&mut self, used: usize) {
        let items = std::mem::take(&mut self.items);
        for run in items[..used].chunks(AHEAD) {
            self.look_ahead(run);
            for (at, item) in run.iter().enumerate() {
                let guess = self.guesses[at];
                let flow = guess.and_then(|guess| self.table.get(guess));
                let is_it = flow
                    .is_some_and(|flow| flow.key == item.packet.key && !flow.is_over(item.clock));
                let position = if is_it { guess } else { self.find_or_start(item) };
                let flow = position.and_then(|at| self.table.get_mut(at)).expect("room");
                judge(flow, item, &self.panel, &mut self.opinions);
            }
        }
        self.items = items;
    }

    /// Asks for the flows of a run of packets.
    #[inline(never)]
    fn look_ahead(&mut self, run: &[Item]) {
        if self.table.has_far_slots() {
            for item in run {
                self.table.bring_slots(item.hash);
            }
        }
        self.guesses.clear();
        self.guesses.extend(run.iter().map(|item| self.table.guess(item.hash)));
        if self.table.has_far_elements() {
            let flows = self.guesses.iter().flatten();
            flows.for_each(|&position| self.table.bring(position, Flow::<STAGE>::EVERYDAY));
        }
    }

    #[inline(never)]
    fn find_or_start(&mut self, item: &Item) -> Option<Position> {
        let key = item.packet.key;
        if let Some(position) = self.table.find(&key, item.hash) {
            if !self.table.get(position)?.is_over(item.clock) {
                return Some(position);
            }
            self.table.remove(position, |_| ());
        }
        if self.table.wants_sweep() {
            self.table.sweep(|flow| flow.is_over(item.clock), |_| ());
        }
        let audit = FlowAudit::new(item.frame, item.ts, &arrival(item));
        self.table.insert(item.hash, Flow { track: Track::default(), key, audit })
    }
}

/// Reads the segment of a frame into its place; returns whether there is one.
#[inline]
fn read(frame: &Frame<'_>, packet: &mut Packet) -> bool {
    if let Some(plain) = wire::plain(frame.link, frame.bytes) {
        (packet.key, packet.orientation) = (plain.key, plain.orientation);
        plain.read(&mut packet.segment);
        return true;
    }
    match wire::decode(frame) {
        Decoded::Segment(other) => {
            *packet = other;
            true
        }
        _ => false,
    }
}

#[inline]
fn judge<const STAGE: u8>(
    flow: &mut Flow<STAGE>,
    item: &Item,
    panel: &Panel,
    opinions: &mut Opinions,
) {
    let arrival = arrival(item);
    if STAGE < ANALYSE {
        black_box(flow.track.judge(&arrival, panel, opinions));
        return;
    }
    if flow.audit.take_next(item.ts, &arrival, &mut flow.track, panel) {
        return;
    }
    flow.audit.fall_out_of_step(&mut flow.track);
    let verdict = flow.track.judge(&arrival, panel, opinions);
    analyse(flow, item, verdict, (panel, opinions));
    flow.audit.step_with(&flow.track, panel);
}

/// Takes in what a judged segment shows of its flow.
#[inline(never)]
fn analyse<const STAGE: u8>(
    flow: &mut Flow<STAGE>,
    item: &Item,
    verdict: Verdict,
    (panel, opinions): (&Panel, &Opinions),
) {
    let arrival = arrival(item);
    if flow.audit.ends_before(arrival.segment, &verdict) {
        flow.audit = FlowAudit::new(item.frame, item.ts, &arrival);
    }
    let is_unanimous = opinions.is_unanimous() && !verdict.is_invalid();
    if is_unanimous && verdict.is_silent() && flow.audit.is_regular(item.ts, &arrival) {
        flow.audit.carry_on(item.ts, &arrival);
        return;
    }
    let (liberal, invalid_for) = if is_unanimous {
        (verdict.ctstate, Members::default())
    } else {
        (opinions.of(1, &verdict).ctstate, opinions.invalid_for(panel, &verdict))
    };
    let (frame, ts) = (item.frame, item.ts);
    let observation = Observation { frame, ts, arrival, verdict, liberal, invalid_for };
    black_box(flow.audit.observe(&observation));
}

#[inline]
const fn arrival(item: &Item) -> Arrival<'_> {
    let Packet { orientation, ref segment, .. } = item.packet;
    Arrival { segment, orientation, now: item.clock }
}
