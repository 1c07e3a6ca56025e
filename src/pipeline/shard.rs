//! A shard: the flows it owns, and what they showed.
//!
//! A flow that was captured at several places is judged from one of them, and its copies are left
//! out; the verdicts on single frames, where wanted, are those of a tracker that meets all of them.

mod account;
mod ahead;
mod first_sights;
mod flow;
mod forget;
mod gauge;
mod recorded;
mod short_ways;
mod sights;
mod starts;

use std::collections::BTreeMap;

use crate::audit::{Findings, PacketVerdict, Totals};
use crate::conntrack::table::Position;
use crate::conntrack::{
    Arrival, CtState, Entry, ErrorArrival, Members, Opinions, Panel, Table, Track, Verdict,
};
use crate::flow::{Attention, Observation};
use crate::occupancy::{Group, Watched};
use crate::pipeline::datagrams::{Books, Datagrams};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::recorder::Recorder;
use crate::pipeline::slice::{Item, Kind, Stamp};
use crate::pipeline::{Plan, TableView, Wanted};
use crate::segment::ErrorTraits;
use crate::time::Timestamp;
use crate::tuple::FlowKey;
use crate::wire::Packet;
use ahead::{Guess, Guesses, turns};
use first_sights::FirstSights;
use flow::Flow;
use gauge::Gauge;
use starts::new_audit;

/// The policy number of the liberal twin in the panel.
const LIBERAL: usize = 1;

/// The owner of a part of the flows.
pub(super) struct Shard {
    table: Table<Flow>,
    datagrams: Datagrams,
    desk: Desk,
    /// Where the flows of the packets ahead most probably are.
    guesses: Guesses,
    /// Entries that another tracker knew before the capture began.
    known: BTreeMap<FlowKey, Entry>,
    /// How many entries there are, when that is looked at as the run goes on.
    gauge: Option<Gauge>,
}

/// Everything of a shard but the flows: what judges them, and what they showed.
struct Desk {
    panel: Panel,
    opinions: Opinions,
    wanted: Wanted,
    /// The flows that are reported in full.
    full: Vec<u64>,
    totals: Totals,
    findings: Findings,
    /// The verdicts since they were last taken, when wanted.
    verdicts: Vec<PacketVerdict>,
    /// What a tracker that meets every copy knows of the flows captured at several places: verdicts
    /// are on every frame. Kept when they are wanted.
    meets_copies: BTreeMap<FlowKey, Track>,
    /// SYN-ACKs that do not fit their SYN, until the next packet of their flow tells what they are.
    held: BTreeMap<FlowKey, Item>,
    /// The SYNs of late, where copies may come with any delay: from several files.
    first_sights: Option<FirstSights>,
    /// Whether one of them is being judged after all; what is said of it has been told.
    is_releasing: bool,
    /// What the flows take in memory.
    ledger: Ledger,
    /// Who records the life of each entry, when that is wanted.
    recorder: Option<Box<Recorder>>,
}

/// What a shard's flows showed.
pub(super) struct Finished {
    pub(super) totals: Totals,
    pub(super) findings: Findings,
    pub(super) watched: Option<Watched>,
}

impl Shard {
    pub(super) fn new(panel: Panel, datagrams: Datagrams, seed: u64, plan: &Plan) -> Self {
        let desk = Desk {
            totals: Totals::new(panel.len()),
            panel,
            opinions: Opinions::default(),
            wanted: plan.wanted,
            full: plan.flows.clone(),
            findings: Findings::default(),
            verdicts: Vec::new(),
            meets_copies: BTreeMap::new(),
            held: BTreeMap::new(),
            first_sights: (plan.inputs > 1).then(FirstSights::default),
            is_releasing: false,
            ledger: Ledger::new(plan.memory),
            recorder: (plan.table == TableView::Assessed)
                .then(|| Recorder::new(&plan.method))
                .flatten()
                .map(Box::new),
        };
        let (table, guesses, known) = (Table::new(seed), Guesses::default(), BTreeMap::new());
        let gauge = (plan.table == TableView::UntilHalfFull).then(Gauge::default);
        Self { table, datagrams, desk, guesses, known, gauge }
    }

    /// Takes over an entry that another tracker knows, for a flow that has not been seen yet.
    pub(super) fn know(&mut self, key: FlowKey, entry: Entry) {
        self.known.insert(key, entry);
    }

    /// Takes what the shard is to track, in capture order.
    #[inline(never)]
    pub(super) fn take(&mut self, items: &[Item]) {
        let mut guesses = std::mem::take(&mut self.guesses);
        for turn in 0..turns(items) {
            let (run, guesses) = self.look_ahead(items, turn, &mut guesses);
            self.take_run(run, guesses);
        }
        self.guesses = guesses;
        if self.gauge.is_some() {
            self.read_gauge(items);
        }
    }

    /// Takes packets of which it is known where their flows most probably are. Stands alone, so that
    /// its variables stay in registers.
    #[inline(never)]
    fn take_run(&mut self, run: &[Item], guesses: &[Guess]) {
        for (item, guess) in run.iter().zip(guesses) {
            match item.kind {
                Kind::Segment => self.take_segment(item, *guess),
                _ => self.take_other(item),
            }
        }
    }

    /// Takes what is no segment to be tracked.
    #[inline(never)]
    fn take_other(&mut self, item: &Item) {
        match item.kind {
            Kind::Segment => self.take_elsewhere(item),
            Kind::Error(traits) => self.take_error(item, traits),
            Kind::TooBig(traits) => {
                self.note_too_big(item);
                self.take_error(item, traits);
            }
            Kind::ExemptSegment => self.take_exempt(item),
            Kind::ExemptError => self.take_exempt_error(item),
            Kind::Datagram(datagram) => {
                self.datagrams.take(item, datagram, &mut self.desk.books());
            }
            Kind::Census(census) => self.hold(census, item.stamp.clock),
        }
    }

    /// Returns the verdicts on what was taken since the last time, when they are wanted.
    pub(super) fn take_verdicts(&mut self) -> Vec<PacketVerdict> {
        std::mem::take(&mut self.desk.verdicts)
    }

    /// Ends all flows and returns what they showed; `end` is the tracker time of the last frame.
    pub(super) fn finish(mut self, end: Timestamp) -> Finished {
        if let Some(recorder) = &mut self.desk.recorder {
            recorder.note_end();
        }
        self.table.drain(|flow| self.desk.bury(flow, end));
        self.datagrams.finish(end, &mut self.desk.books());
        let Desk { totals, findings, recorder, .. } = self.desk;
        Finished { totals, findings, watched: recorder.map(|recorder| recorder.finish(end)) }
    }

    /// Returns the counts so far.
    pub(super) const fn totals(&self) -> &Totals {
        &self.desk.totals
    }

    /// Returns how many flows are remembered.
    pub(super) fn flows_alive(&self) -> usize {
        self.table.len()
    }

    /// Returns what [`Shard::finish`] would, and goes on.
    pub(super) fn snapshot(&self) -> (Totals, Findings) {
        let (mut totals, mut findings) = (self.desk.totals.clone(), self.desk.findings.clone());
        for flow in self.table.iter() {
            let at = (flow.key, flow.audit().last_seen());
            account::settle(at, &mut flow.audit().clone(), &mut totals, &mut findings);
        }
        (totals, findings)
    }

    /// Takes a segment of a flow that is probably at `guess`, if there is one.
    #[inline]
    fn take_segment(&mut self, item: &Item, guess: Option<Position>) {
        let flow = guess.and_then(|position| self.table.get_mut(position));
        let Some(flow) = flow.filter(|flow| flow.key == item.packet.key) else {
            return self.take_elsewhere(item);
        };
        if self.desk.let_pass(flow, item) {
            return;
        }
        if flow.is_over(item.stamp.clock) {
            self.take_elsewhere(item);
        } else {
            self.desk.take(flow, item);
        }
    }

    /// Judges an ICMP error by the flow that it quotes, which it does not prolong.
    fn take_error(&mut self, item: &Item, traits: ErrorTraits) {
        let arrival =
            ErrorArrival { quoted: item.packet.orientation, traits, now: item.stamp.clock };
        let position = self.table.find(&item.packet.key, item.hash);
        let flow = position.and_then(|position| self.table.get_mut(position));
        let mut flow = flow.filter(|flow| !flow.is_over(item.stamp.clock));
        let mut judge = |policy| match &mut flow {
            Some(flow) => flow.track().judge_error(&arrival, &self.desk.panel, policy),
            None => Track::default().judge_error(&arrival, &self.desk.panel, policy),
        };
        let (verdict, liberal) = (judge(0), judge(LIBERAL));
        let flow_id = flow.map(|flow| flow.audit().first_frame);
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
            flow.open().1.note_too_big(item.packet.orientation);
        }
    }

    /// Takes a segment that a rule exempts: it makes and renews no entry, but is part of its flow.
    #[cold]
    fn take_exempt(&mut self, item: &Item) {
        let position = self.find(item).or_else(|| self.start(item));
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
}

impl Desk {
    /// Takes a segment that only goes on where its flow was, as most do, so that nothing is to be said
    /// of it. Any other leaves the flow as it is.
    ///
    /// Stands alone, so that its variables stay in registers.
    #[inline(never)]
    fn let_pass(&mut self, flow: &mut Flow, item: &Item) -> bool {
        if self.recorder.is_some() {
            return self.let_run(flow, item);
        }
        let is_next = flow.take_next(item.stamp.ts, &arrival(item), &self.panel);
        self.totals.established += u64::from(is_next);
        is_next
    }

    /// Takes a segment of a flow that is not merely the next one, or not known to be.
    #[inline(never)]
    fn take(&mut self, flow: &mut Flow, item: &Item) {
        if self.take_a_short_way(flow, item) {
            return;
        }
        self.take_closely(flow, item);
        if self.wanted != Wanted::Verdicts && !self.is_recorded_closely(flow, item) {
            flow.compare(&self.panel);
        }
    }

    /// Takes a segment by one of the short ways, if one is for it.
    #[inline]
    fn take_a_short_way(&mut self, flow: &mut Flow, item: &Item) -> bool {
        if self.recorder.is_some() {
            return self.take_a_recorded_way(flow, item);
        }
        self.take_greeting(flow, item) || self.take_onward(flow, item)
    }

    /// Judges a segment of a flow, and takes in what it shows.
    fn take_closely(&mut self, flow: &mut Flow, item: &Item) {
        let segment = &item.packet.segment;
        if flow.audit().may_be_copy(segment) && self.leave_out(flow, item) {
            return;
        }
        let Stamp { number: frame, ts, .. } = item.stamp;
        let arrival = arrival(item);
        // There is nothing to say of it when the tracker has nothing to say either.
        let is_told = self.wanted == Wanted::Verdicts;
        let is_regular = !is_told && flow.audit().is_regular(ts, &arrival);
        let verdict = if self.recorder.is_some() {
            self.judge_recorded(flow, item)
        } else {
            self.judge(flow, &arrival)
        };
        if flow.audit().ends_before(segment, &verdict) {
            let mut fresh = new_audit(frame, ts, &arrival, &self.full);
            fresh.reopened = true;
            let (_, audit) = flow.open();
            let mut ended = std::mem::replace(audit, fresh);
            audit.expect_copies_as(&ended);
            audit.first_seen_at(arrival.orientation, item.stamp.vantage());
            let at = (flow.key, item.stamp.clock);
            account::settle(at, &mut ended, &mut self.totals, &mut self.findings);
        }
        let forked = !self.opinions.is_unanimous();
        let unanimous = !forked && !verdict.is_invalid();
        if unanimous && verdict.is_silent() && is_regular {
            flow.open().1.carry_on(ts, &arrival);
            self.totals.count(&verdict, Members::default());
            self.totals.options_cut += u64::from(segment.options_cut);
            return;
        }
        let (liberal, invalid_for) = if unanimous {
            (verdict.ctstate, Members::default())
        } else {
            if verdict.is_invalid() {
                self.totals.timeline.count_invalid(ts);
            }
            let liberal = self.opinions.of(LIBERAL, &verdict).ctstate;
            (liberal, self.opinions.invalid_for(&self.panel, &verdict))
        };
        self.note(flow, item, &Observation { frame, ts, arrival, verdict, liberal, invalid_for });
        if forked {
            self.charge(flow);
        }
    }

    /// Judges a segment, and counts the entry that it makes or ends.
    fn judge(&mut self, flow: &mut Flow, arrival: &Arrival<'_>) -> Verdict {
        let (track, _) = flow.open();
        let before = track.entry().map(|entry| entry.expires);
        let verdict = track.judge(arrival, &self.panel, &mut self.opinions);
        if verdict.opened || verdict.state.is_none() {
            let is_there = track.entry().is_some();
            self.count_entry(before, (verdict.opened, is_there), arrival.now);
        }
        verdict
    }

    /// Takes in what a judged segment shows of its flow.
    fn note(&mut self, flow: &mut Flow, item: &Item, observation: &Observation<'_>) {
        let Observation { ts, arrival, verdict, liberal, invalid_for, .. } = *observation;
        if let Attention::Closely(repeated) = flow.open().1.observe(observation) {
            self.charge(flow);
            if let Some(repeated) = repeated {
                self.totals.behaviour.count_repeated(repeated);
                self.totals.timeline.count_retransmission(ts);
            }
        }
        self.totals.count(&verdict, invalid_for);
        self.totals.options_cut += u64::from(arrival.segment.options_cut);
        if self.wanted != Wanted::Findings {
            self.tell_of(flow, item, verdict, liberal);
        }
    }

    /// Counts an entry that was made, and the end of the one before, which would expire at `before`.
    fn count_entry(
        &mut self,
        before: Option<Timestamp>,
        (opened, is_there): (bool, bool),
        now: Timestamp,
    ) {
        let occupancy = &mut self.totals.occupancy;
        if let Some(expires) = before.filter(|_| opened || !is_there) {
            occupancy.close(expires.min(now), Group::Tcp);
        }
        if opened && is_there {
            occupancy.open(now, Group::Tcp);
        }
    }

    /// Returns what is kept of all entries, also of those that are not TCP.
    fn books(&mut self) -> Books<'_> {
        let Self { totals, ledger, recorder, .. } = self;
        Books { totals, ledger, recorder: recorder.as_deref_mut() }
    }

    #[inline]
    fn tell(&mut self, item: &Item, flow: Option<u64>, verdict: Verdict, liberal: CtState) {
        let is_wanted = match self.wanted {
            Wanted::Findings => false,
            Wanted::Invalid => verdict.is_invalid(),
            Wanted::Verdicts => true,
        };
        if is_wanted {
            let Stamp { number: frame, ts, clock, part, .. } = item.stamp;
            let Packet { key, orientation, .. } = item.packet;
            let direction = verdict.direction;
            self.verdicts.push(PacketVerdict {
                frame,
                part,
                ts,
                clock,
                flow,
                key,
                orientation,
                direction,
                verdict,
                liberal,
            });
        }
    }

    /// Notes what a flow takes in memory, when that has changed.
    fn charge(&mut self, flow: &mut Flow) {
        let (before, now) = (flow.bytes as usize, flow.bytes_taken());
        if now != before {
            self.ledger.change(flow.key.section(), before, now);
            flow.bytes = u32::try_from(now).unwrap_or(u32::MAX);
        }
    }

    /// Ends a flow. An entry that lives on at `end` is still there when the capture ends.
    fn bury(&mut self, flow: &mut Flow, end: Timestamp) {
        if flow.audit().is_seen_twice() {
            if let Some(held) = self.held.remove(&flow.key) {
                self.judge_held(flow, &held);
            }
            self.meets_copies.remove(&flow.key);
        }
        self.ledger.change(flow.key.section(), flow.bytes as usize, 0);
        if let Some(expires) = flow.expires().filter(|expires| *expires <= end) {
            self.totals.occupancy.close(expires, Group::Tcp);
        }
        self.record_end(flow, end);
        let at = (flow.key, end);
        account::settle(at, flow.last_account(), &mut self.totals, &mut self.findings);
    }
}

#[inline]
const fn arrival(item: &Item) -> Arrival<'_> {
    let Packet { orientation, ref segment, .. } = item.packet;
    Arrival { segment, orientation, now: item.stamp.clock }
}
