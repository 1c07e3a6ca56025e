//! A shard: the flows it owns, and what they showed.
//!
//! A flow that was captured at several places is judged from one of them, and its copies are left
//! out; the verdicts on single frames, where wanted, are those of a tracker that meets all of them.

mod sights;

use std::collections::BTreeMap;

use crate::audit::{Findings, PacketVerdict, Totals};
use crate::conntrack::table::Position;
use crate::conntrack::{
    Arrival, CtState, ErrorArrival, Keyed, Members, Opinions, Panel, Table, Track, Verdict,
};
use crate::flow::{
    ConnState, FlowAudit, FlowFinding, FlowSightings, FlowStory, FlowTrouble, Observation,
};
use crate::pipeline::datagrams::Datagrams;
use crate::pipeline::slice::{Item, Kind, Stamp};
use crate::pipeline::{Plan, Wanted};
use crate::segment::ErrorTraits;
use crate::time::Timestamp;
use crate::tuple::FlowKey;
use crate::wire::Packet;

/// The policy number of the liberal twin in the panel.
const LIBERAL: usize = 1;

/// Packets whose flows are brought into the cache together: enough that waiting for memory
/// overlaps, few enough that what was brought is still there when its turn comes.
const AHEAD: usize = 64;

/// A flow while the tracker remembers it. The order of the fields is that in memory: a packet that
/// nothing is to be said of reads and writes these lines of the cache, and no other.
#[derive(Debug)]
#[repr(C, align(64))]
struct Flow {
    track: Track,
    key: FlowKey,
    audit: FlowAudit,
}

const _: () = assert!(size_of::<Option<Flow>>() <= 448, "seven lines of the cache");

impl Keyed for Flow {
    fn key(&self) -> &FlowKey {
        &self.key
    }

    #[inline]
    fn touch(&self) -> u64 {
        let [.., word] = self.key.words();
        word.wrapping_add(self.track.touch()).wrapping_add(self.audit.touch())
    }
}

impl Flow {
    fn is_over(&self, now: Timestamp) -> bool {
        self.audit.over_at(self.track.expires()) <= now
    }
}

/// The owner of a part of the flows.
pub(super) struct Shard {
    table: Table<Flow>,
    datagrams: Datagrams,
    desk: Desk,
    /// Where the flows of the packets ahead most probably are.
    guesses: Vec<Option<Position>>,
}

/// Everything of a shard but the flows: what judges them, and what they showed.
struct Desk {
    panel: Panel,
    opinions: Opinions,
    wanted: Wanted,
    /// The flow that is reported in full.
    full: Option<u64>,
    totals: Totals,
    findings: Findings,
    /// The verdicts since they were last taken, when wanted.
    verdicts: Vec<PacketVerdict>,
    /// What a tracker that meets every copy knows of the flows captured at several places: verdicts
    /// are on every frame. Kept when they are wanted.
    meets_copies: BTreeMap<FlowKey, Track>,
    /// SYN-ACKs that do not fit their SYN, until the next packet of their flow tells what they are.
    held: BTreeMap<FlowKey, Item>,
    /// Whether one of them is being judged after all; what is said of it has been told.
    is_releasing: bool,
}

impl Shard {
    pub(super) fn new(panel: Panel, datagrams: Datagrams, seed: u64, plan: &Plan) -> Self {
        let desk = Desk {
            totals: Totals::new(panel.len()),
            panel,
            opinions: Opinions::default(),
            wanted: plan.wanted,
            full: plan.flow,
            findings: Findings::default(),
            verdicts: Vec::new(),
            meets_copies: BTreeMap::new(),
            held: BTreeMap::new(),
            is_releasing: false,
        };
        Self { table: Table::new(seed), datagrams, desk, guesses: Vec::new() }
    }

    /// Takes what the shard is to track, in capture order.
    #[inline(never)]
    pub(super) fn take(&mut self, items: &[Item]) {
        let mut guesses = std::mem::take(&mut self.guesses);
        for run in items.chunks(AHEAD) {
            self.table.fetch(run.iter().map(|item| item.hash), &mut guesses);
            for (item, guess) in run.iter().zip(&guesses) {
                match item.kind {
                    Kind::Segment => self.take_segment(item, *guess),
                    Kind::Error(traits) => self.take_error(item, traits),
                    Kind::TooBig(traits) => {
                        self.note_too_big(item);
                        self.take_error(item, traits);
                    }
                    Kind::ExemptSegment => self.take_exempt(item),
                    Kind::ExemptError => self.take_exempt_error(item),
                    Kind::Datagram(datagram) => {
                        self.datagrams.take(item, datagram, &mut self.desk.totals);
                    }
                }
            }
        }
        self.guesses = guesses;
    }

    /// Returns the verdicts on what was taken since the last time, when they are wanted.
    pub(super) fn take_verdicts(&mut self) -> Vec<PacketVerdict> {
        std::mem::take(&mut self.desk.verdicts)
    }

    /// Ends all flows and returns what they showed.
    pub(super) fn finish(mut self) -> (Totals, Findings) {
        self.table.drain(|flow| self.desk.bury(flow));
        self.datagrams.finish(&mut self.desk.totals);
        (self.desk.totals, self.desk.findings)
    }

    /// Takes a segment of a flow that is probably at `guess`, if there is one.
    #[inline]
    fn take_segment(&mut self, item: &Item, guess: Option<Position>) {
        let flow = guess.and_then(|position| self.table.get_mut(position));
        let is_its =
            |flow: &&mut Flow| flow.key == item.packet.key && !flow.is_over(item.stamp.clock);
        match flow.filter(is_its) {
            Some(flow) => self.desk.take(flow, item),
            None => self.take_elsewhere(item),
        }
    }

    /// Takes a segment of a flow that is not where it was thought to be, or of a new one.
    fn take_elsewhere(&mut self, item: &Item) {
        let position = self.find_or_start(item);
        if let Some(flow) = position.and_then(|position| self.table.get_mut(position)) {
            self.desk.take(flow, item);
        }
    }

    /// Judges an ICMP error by the flow that it quotes, which it does not prolong.
    fn take_error(&mut self, item: &Item, traits: ErrorTraits) {
        let arrival =
            ErrorArrival { quoted: item.packet.orientation, traits, now: item.stamp.clock };
        let position = self.table.find(&item.packet.key, item.hash);
        let flow = position.and_then(|position| self.table.get(position));
        let flow = flow.filter(|flow| !flow.is_over(item.stamp.clock));
        let judge = |policy| match flow {
            Some(flow) => flow.track.judge_error(&arrival, &self.desk.panel, policy),
            None => Track::default().judge_error(&arrival, &self.desk.panel, policy),
        };
        let (verdict, liberal) = (judge(0), judge(LIBERAL));
        let flow_id = flow.map(|flow| flow.audit.first_frame);
        let totals = &mut self.desk.totals;
        if verdict.is_invalid() {
            totals.errors_invalid += 1;
        } else {
            totals.errors_related += 1;
        }
        self.desk.tell(item, flow_id, verdict, liberal.ctstate);
    }

    /// Notes that a packet of a flow was too big for a hop.
    fn note_too_big(&mut self, item: &Item) {
        self.desk.totals.errors_too_big += 1;
        let position = self.table.find(&item.packet.key, item.hash);
        if let Some(flow) = position.and_then(|position| self.table.get_mut(position)) {
            flow.audit.note_too_big(item.packet.orientation);
        }
    }

    /// Takes a segment that a rule exempts: it makes and renews no entry, but is part of its flow.
    #[cold]
    fn take_exempt(&mut self, item: &Item) {
        let position = self.find_or_start(item);
        let Some(flow) = position.and_then(|position| self.table.get_mut(position)) else { return };
        let Stamp { number: frame, ts, .. } = item.stamp;
        self.desk.note(
            flow,
            item,
            &Observation {
                frame,
                ts,
                arrival: arrival(item),
                verdict: Verdict::untracked(),
                liberal: CtState::Untracked,
                invalid_for: Members::default(),
            },
        );
    }

    /// Takes an ICMP error that a rule exempts.
    #[cold]
    fn take_exempt_error(&mut self, item: &Item) {
        self.desk.totals.errors_untracked += 1;
        self.desk.tell(item, None, Verdict::untracked(), CtState::Untracked);
    }

    /// Finds the flow of an item; a flow that is over makes room for the next.
    fn find_or_start(&mut self, item: &Item) -> Option<Position> {
        let Item { stamp, hash, packet: Packet { key, .. }, .. } = *item;
        if let Some(position) = self.table.find(&key, hash) {
            if !self.table.get(position)?.is_over(stamp.clock) {
                return Some(position);
            }
            self.desk.bury(self.table.remove(position)?);
        }
        if self.table.wants_sweep() {
            self.table.sweep(|flow| flow.is_over(stamp.clock), |flow| self.desk.bury(flow));
        }
        let audit = start(stamp.number, stamp.ts, &arrival(item), self.desk.full);
        self.table.insert(hash, Flow { track: Track::default(), key, audit })
    }
}

impl Desk {
    /// Judges a segment of a flow, and takes in what it shows.
    #[inline]
    fn take(&mut self, flow: &mut Flow, item: &Item) {
        let segment = &item.packet.segment;
        if flow.audit.may_be_copy(segment) && self.leave_out(flow, item) {
            return;
        }
        let Stamp { number: frame, ts, .. } = item.stamp;
        let arrival = arrival(item);
        let segment = arrival.segment;
        let verdict = flow.track.judge(&arrival, &self.panel, &mut self.opinions);
        if flow.audit.ends_before(segment, &verdict) {
            let mut fresh = start(frame, ts, &arrival, self.full);
            fresh.reopened = true;
            let ended = std::mem::replace(&mut flow.audit, fresh);
            if ended.is_seen_twice() {
                flow.audit.expect_copies();
            }
            settle_accounts(flow.key, ended, &mut self.totals, &mut self.findings);
        }
        let unanimous = self.opinions.is_unanimous() && !verdict.is_invalid();
        let (liberal, invalid_for) = if unanimous {
            (verdict.ctstate, Members::default())
        } else {
            let liberal = self.opinions.of(LIBERAL, &verdict).ctstate;
            (liberal, self.opinions.invalid_for(&self.panel, &verdict))
        };
        self.note(flow, item, &Observation { frame, ts, arrival, verdict, liberal, invalid_for });
    }

    /// Takes in what a judged segment shows of its flow.
    #[inline]
    fn note(&mut self, flow: &mut Flow, item: &Item, observation: &Observation<'_>) {
        let Observation { arrival, verdict, liberal, invalid_for, .. } = *observation;
        if let Some(repeated) = flow.audit.observe(observation) {
            self.totals.behaviour.count_repeated(repeated);
        }
        self.totals.count(&verdict, invalid_for);
        self.totals.options_cut += u64::from(arrival.segment.options_cut);
        if self.wanted == Wanted::Verdicts {
            self.tell_of(flow, item, verdict, liberal);
        }
    }

    #[inline]
    fn tell(&mut self, item: &Item, flow: Option<u64>, verdict: Verdict, liberal: CtState) {
        if self.wanted == Wanted::Verdicts {
            let Stamp { number: frame, ts, clock, .. } = item.stamp;
            let direction = verdict.direction;
            let told = PacketVerdict { frame, ts, clock, flow, direction, verdict, liberal };
            self.verdicts.push(told);
        }
    }

    fn bury(&mut self, mut flow: Flow) {
        if flow.audit.is_seen_twice() {
            if let Some(held) = self.held.remove(&flow.key) {
                self.judge_held(&mut flow, &held);
            }
            self.meets_copies.remove(&flow.key);
        }
        settle_accounts(flow.key, flow.audit, &mut self.totals, &mut self.findings);
    }
}

/// Starts a flow, with everything told if it is the one to be reported in full.
#[inline]
fn start(frame: u64, ts: Timestamp, arrival: &Arrival<'_>, full: Option<u64>) -> FlowAudit {
    let mut audit = FlowAudit::new(frame, ts, arrival);
    if full == Some(frame) {
        audit.tell_all();
    }
    audit
}

#[inline]
const fn arrival(item: &Item) -> Arrival<'_> {
    let Packet { orientation, ref segment, .. } = item.packet;
    Arrival { segment, orientation, now: item.stamp.clock }
}

/// Adds a finished flow to the totals, and to the findings if a policy called it INVALID.
#[inline(never)]
fn settle_accounts(
    key: FlowKey,
    mut audit: FlowAudit,
    totals: &mut Totals,
    findings: &mut Findings,
) {
    let directions = audit.directions();
    totals.flows += 1;
    totals.flows_picked_up += u64::from(audit.picked_up);
    totals.flows_untracked += u64::from(!audit.tracked);
    let one_way = directions.original.packets == 0 || directions.reply.packets == 0;
    totals.flows_one_way += u64::from(one_way);
    let packets = directions.original.packets + directions.reply.packets;
    totals.payload_bytes += directions.original.bytes + directions.reply.bytes;
    let summary = audit.summary();
    let goes_on = packets >= HALF_SEEN_PACKETS && summary.conn_state != ConnState::S0;
    totals.flows_half_seen += u64::from(one_way && goes_on);
    totals.behaviour.count_flow(&summary);
    totals.peers.count_flow(&key, &audit, &summary);
    if let Some(story) = audit.take_story() {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.tell(FlowStory { key, audit, summary, story });
    }
    if let Some(sightings) = audit.take_sightings() {
        totals.flows_seen_twice += 1;
        let (first_frame, original) = (audit.first_frame, audit.original);
        findings.push_sightings(FlowSightings { key, first_frame, original, sightings });
    }
    audit.forget_details();
    if summary.is_suspect() {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.push_suspect(FlowTrouble { key, audit, summary });
    }
    if summary.weight() > 0 {
        let (audit, summary) = (audit.clone(), Box::new(summary.clone()));
        findings.push_troubled(FlowTrouble { key, audit, summary });
    }
    if let Some(evidence) = audit.evidence.take()
        && !evidence.hit_under.is_empty()
    {
        totals.count_flow_hits(evidence.hit_under);
        if evidence.invalid_packets() > 0 || evidence.invalid_liberal > 0 {
            let summary = Box::new(summary);
            findings.push(FlowFinding { key, audit, evidence: *evidence, summary });
        }
    }
}

/// Packets of one direction from which on a flow goes on as if the other were there: a SYN or a RST
/// alone may have had no answer.
const HALF_SEEN_PACKETS: u64 = 3;
