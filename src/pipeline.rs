//! Frames in, an [`Audit`] out: batches are decoded, divided by flow and tracked.
//!
//! Each shard owns its flows and takes its packets in capture order; nothing is shared. Captures of
//! very large packets are audited by one worker, who is hardly slower than reading; all others by
//! all, in `crew`. Every step that is not a matter of one flow alone (the
//! clock, reassembly, the order of output) happens in one place and in capture order, so that the
//! result does not depend on the number of threads.
//!
//! Does not: know file formats or reports.

mod align;
mod crew;
mod datagrams;
mod ledger;
mod partial;
mod plan;
mod recorder;
mod second;
mod shard;
mod slice;
mod split;
mod times;

use std::hash::{BuildHasher, Hasher};

use crate::audit::{
    Audit, Findings, HostTracker, Input, Inputs, Method, PacketVerdict, Tally, Totals,
};
use crate::conntrack::{Entry, Panel, Policy};
use crate::frame::Batch;
use crate::occupancy::{Assessment, Capacity, Occupancy};
use crate::source::{self, FrameSource};
use crate::tuple::FlowKey;
use crate::wire::fragments::Reassembler;
pub use align::align;
use crew::{Crew, Foreman};
use datagrams::Datagrams;
pub use ledger::Budget;
pub use partial::{Frames, Partial, Terms};
pub use plan::{Plan, TableView, Wanted, Whole};
pub use second::gather;
use shard::{Finished, Shard};
use slice::{Decoder, Settler, Slice};
pub use split::{Pieces, Splitter};
use times::Times;

/// Frames that are decoded and then tracked in one go: few enough to stay in the cache.
const SLICE: usize = 512;

/// Bytes of a frame, on average, above which reading is most of the work and other workers would
/// only cost.
const DENSE_FRAME_BYTES: usize = 4000;

/// Batches of smaller frames after which other workers are called: a small input is done by then.
const DENSE_BATCHES: u32 = 8;

/// What a run tells while it goes on.
pub trait Observer {
    /// Takes the verdicts of one batch, in capture order; `inputs` are those begun so far.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from taking them; the run goes on without verdicts, and says so.
    fn verdicts(&mut self, verdicts: &[PacketVerdict], inputs: &Inputs) -> std::io::Result<()>;

    /// Takes note that this many frames have been audited, and how far the source is.
    fn progress(&mut self, frames: u64, source: &dyn FrameSource);
}

/// Writes an error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What frames go through, whichever reading it is.
struct Tools {
    shards: Vec<Shard>,
    settler: Settler,
}

impl Tools {
    fn new(plan: &Plan) -> Self {
        let threads = plan.threads.max(1);
        let features = plan.method.policies.iter().map(Policy::features).collect();
        let panel = Panel::new(features, plan.method.sysctls.limits);
        let seed = random_seed();
        let own = plan.method.policies.first().map(Policy::features).unwrap_or_default();
        let datagrams = || Datagrams::new(seed, own, plan.method.sysctls.datagram);
        let shard = || Shard::new(panel.clone(), datagrams(), seed, plan);
        Self {
            shards: std::iter::repeat_with(shard).take(threads).collect(),
            settler: settler(plan, threads, seed),
        }
    }
}

/// Prepares what frames go through before they are divided among so many shards.
fn settler(plan: &Plan, shards: usize, seed: u64) -> Settler {
    Settler {
        decoder: Decoder {
            checksums: plan.checksums,
            tunnels: plan.tunnels,
            exemptions: plan.exemptions.clone(),
            seed,
            shards,
            share: plan.share,
            memory: plan.memory,
            is_piece: plan.frames == Whole::Piece,
        },
        reassembler: Reassembler::new(plan.checksums),
        times: Times::default(),
        clocks: None,
        tally: Tally::default(),
    }
}

/// A run through one or several sources, which are one time line.
pub struct Run {
    shards: Vec<Shard>,
    slices: Vec<Slice>,
    settler: Settler,
    reports: Reports,
    method: Method,
    memory: Budget,
    /// The most entries with which the run goes on.
    most_entries: usize,
}

impl Run {
    /// Prepares a run.
    pub fn new(plan: &Plan) -> Self {
        let Tools { shards, settler } = Tools::new(plan);
        let profile = plan.method.policies.first().map(|policy| policy.profile);
        let max = profile.and_then(|it| Capacity::of(it, plan.method.sysctls.table).max);
        let half = max.and_then(|max| usize::try_from(max / 2).ok());
        Self {
            most_entries: half.unwrap_or(usize::MAX),
            slices: vec![Slice::new(shards.len())],
            shards,
            settler,
            reports: Reports {
                inputs: Inputs { asked_for: plan.inputs, ..Inputs::default() },
                ..Reports::default()
            },
            method: plan.method.clone(),
            memory: plan.memory,
        }
    }

    /// Takes over entries that another tracker knows, before the first packet.
    pub fn know(&mut self, entries: impl IntoIterator<Item = (FlowKey, Entry)>) {
        let shards = self.shards.len();
        for (key, entry) in entries {
            if let Some(shard) = self.shards.get_mut(key.shard(shards)) {
                shard.know(key, entry);
            }
        }
    }

    /// Audits a source to its end; what keeps it from being read further becomes part of the audit.
    pub fn read(&mut self, source: &mut (dyn FrameSource + Send), observer: &mut dyn Observer) {
        self.describe(source);
        if let Err(error) = self.read_batches(source, observer) {
            self.reports.incomplete.push(chain(&error));
        }
        self.end(source);
    }

    /// Audits the next batch of a source on the calling thread, and returns whether there may be
    /// more; [`Run::end`] is to be called when there is not.
    ///
    /// # Errors
    ///
    /// [`source::Error`] when the input cannot be read further.
    pub fn step(
        &mut self,
        source: &mut dyn FrameSource,
        batch: &mut Batch,
        observer: &mut dyn Observer,
    ) -> Result<bool, source::Error> {
        if !source.fill(batch)? {
            return Ok(false);
        }
        self.work(batch);
        let mut teller = Teller { reports: &mut self.reports, observer };
        let mut verdicts = Vec::new();
        self.shards.iter_mut().for_each(|shard| verdicts.append(&mut shard.take_verdicts()));
        teller.verdicts(&mut verdicts);
        teller.progress(batch.len() as u64, source);
        Ok(true)
    }

    /// Takes in what a source says of itself at its end.
    pub fn end(&mut self, source: &mut dyn FrameSource) {
        let problems = source.take_problems();
        self.reports.incomplete.extend(problems.iter().map(|problem| chain(problem)));
        self.describe(source);
    }

    /// Takes in what a source says of itself so far.
    pub fn describe(&mut self, source: &dyn FrameSource) {
        self.reports.inputs.filter = source.filter();
        self.reports.inputs.read.clear();
        self.reports.inputs.read.extend(inputs(source));
    }

    /// Takes in what the capturing machine's own tracker has told until now.
    pub fn hear(&mut self, host: Option<HostTracker>) {
        self.reports.host = host.or(self.reports.host);
    }

    /// Returns the counts so far; those of flows are of the flows that have ended.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new(self.method.policies.len());
        self.shards.iter().for_each(|shard| totals.merge(shard.totals()));
        totals
    }

    /// Returns how many frames have been audited.
    pub const fn frames(&self) -> u64 {
        self.reports.frames
    }

    /// Returns how many flows are remembered now.
    pub fn flows_alive(&self) -> usize {
        self.shards.iter().map(Shard::flows_alive).sum()
    }

    /// Returns whether the run was left because the connection table would be more than half full, where
    /// [`TableView::UntilHalfFull`] asked for that.
    pub fn is_left_half_full(&self) -> bool {
        self.shards.iter().map(Shard::entries).sum::<usize>() > self.most_entries
    }

    /// Returns the audit as it would be if the run ended now.
    ///
    /// Takes as long as the flows that are alive are many, about a microsecond each.
    pub fn snapshot(&self) -> Audit {
        let mut totals = Totals::new(self.method.policies.len());
        let mut findings = Findings::default();
        for shard in &self.shards {
            let (part, found) = shard.snapshot();
            totals.merge(&part);
            findings.merge(found);
        }
        let frames = self.frames_with(self.settler.reassembler.incomplete());
        Partial { frames, totals, findings, watched: None }.audit(&self.terms())
    }

    /// Notes an input that could not even be opened.
    pub fn miss(&mut self, error: &source::Error) {
        self.reports.incomplete.push(chain(error));
    }

    /// Reads and works on batch after batch; with several workers and small packets, many at once.
    fn read_batches(
        &mut self,
        source: &mut (dyn FrameSource + Send),
        observer: &mut dyn Observer,
    ) -> Result<(), source::Error> {
        let mut batch = Batch::default();
        let mut dense = 0;
        while self.shards.len() == 1 || dense < DENSE_BATCHES {
            if !self.step(source, &mut batch, observer)? || self.is_left_half_full() {
                return Ok(());
            }
            let is_dense = batch.len() * DENSE_FRAME_BYTES > batch.buffer.len();
            dense = if is_dense { dense + 1 } else { 0 };
        }
        let (shards, slices) = (&mut self.shards[..], &mut self.slices);
        let frames = self.reports.frames;
        let decoder = self.settler.decoder.clone();
        let (settler, most_entries) = (&mut self.settler, self.most_entries);
        let crew = Crew { decoder, settler, shards, slices, frames, most_entries };
        crew.read(source, &mut Teller { reports: &mut self.reports, observer })
    }

    /// Decodes and tracks a batch slice by slice, so that what is decoded stays in the cache.
    fn work(&mut self, batch: &Batch) {
        let Some(slice) = self.slices.first_mut() else { return };
        for start in (0..batch.len()).step_by(SLICE) {
            let range = start..batch.len().min(start + SLICE);
            let frames = self.reports.frames + start as u64;
            slice.decode(batch, range, frames, &self.settler.decoder);
            self.settler.settle(slice);
            for (shard, items) in self.shards.iter_mut().zip(&slice.items) {
                shard.take(items.as_slice());
            }
        }
    }

    /// Ends all flows and merges the shards.
    pub fn finish(self) -> Audit {
        let terms = self.terms();
        self.finish_part().finish(&terms)
    }

    /// Ends a run that only looked at the table, and assesses it; `occupancy` is what the audit of
    /// the same inputs has counted.
    pub fn assess(self, occupancy: &Occupancy) -> Option<Assessment> {
        let terms = self.terms();
        self.finish_part().assess(&terms, occupancy)
    }

    /// Ends a run over pieces of a capture, of which another run has said what all frames were. Returns
    /// also what kept the pieces from being read to their ends.
    pub fn finish_piece(mut self, mut frames: Frames) -> (Partial, Vec<String>) {
        self.settler.clocks = frames.clocks;
        let incomplete = std::mem::take(&mut self.reports.incomplete);
        // Every piece has all fragments, and nobody else counts them.
        frames.tally.merge(&self.settler.tally);
        frames.tally.give_up_fragments(self.settler.reassembler.finish());
        (Partial { frames, ..self.finish_part() }, incomplete)
    }

    /// Ends all flows and merges the shards, for a run that is one of several parts.
    pub fn finish_part(mut self) -> Partial {
        let end = self.settler.clocks.map(|(_, last)| last).unwrap_or_default();
        let incomplete = self.settler.reassembler.finish();
        let mut part = Partial {
            frames: self.frames_with(incomplete),
            totals: Totals::new(self.method.policies.len()),
            findings: Findings::default(),
            watched: None,
        };
        let shards = std::mem::take(&mut self.shards);
        for Finished { totals, findings, watched } in crew::finish(shards, end) {
            part.totals.merge(&totals);
            part.findings.merge(findings);
            if let Some(watched) = watched {
                part.watched.get_or_insert_default().merge(watched);
            }
        }
        part
    }

    /// Returns what the frames were so far, of which so many wait for the rest of their datagrams.
    fn frames_with(&self, incomplete: u64) -> Frames {
        let mut tally = Tally::default();
        self.slices.iter().for_each(|slice| tally.merge(&slice.tally));
        tally.merge(&self.settler.tally);
        tally.give_up_fragments(incomplete);
        Frames {
            inputs: self.reports.inputs.clone(),
            incomplete: self.reports.incomplete.clone(),
            tally,
            times: self.settler.times,
            clocks: self.settler.clocks,
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            method: self.method.clone(),
            tunnels: self.settler.decoder.tunnels,
            memory: self.memory,
            host: self.reports.host,
            threads: self.shards.len(),
        }
    }
}

fn inputs(source: &dyn FrameSource) -> impl Iterator<Item = Input> {
    source.summaries().into_iter().map(|summary| Input { summary })
}

/// What a run has told so far, and will say of itself at its end.
#[derive(Default)]
struct Reports {
    inputs: Inputs,
    host: Option<HostTracker>,
    /// What kept the run from being complete.
    incomplete: Vec<String>,
    frames: u64,
    verdicts_failed: bool,
}

/// Tells the observer what is finished.
struct Teller<'a> {
    reports: &'a mut Reports,
    observer: &'a mut dyn Observer,
}

impl Foreman for Teller<'_> {
    fn verdicts(&mut self, verdicts: &mut Vec<PacketVerdict>) {
        if verdicts.is_empty() || self.reports.verdicts_failed {
            return;
        }
        verdicts.sort_by_key(PacketVerdict::turn);
        if let Err(error) = self.observer.verdicts(verdicts, &self.reports.inputs) {
            self.reports.verdicts_failed = true;
            let note = format!("the verdicts are not complete: {}", chain(&error));
            self.reports.incomplete.push(note);
        }
    }

    fn progress(&mut self, frames: u64, source: &dyn FrameSource) {
        self.reports.frames += frames;
        self.observer.progress(self.reports.frames, source);
    }
}

/// Returns a seed that an input cannot know. It decides where an entry lies in memory, nothing
/// that is reported.
#[expect(clippy::disallowed_types, reason = "randomness is the point, and no output depends on it")]
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
