//! Frames in, an [`Audit`] out: batches are decoded, divided by flow and tracked.
//!
//! Each shard owns its flows and takes its packets in capture order; nothing is shared. Captures of
//! large packets are audited by one worker, who is hardly slower than reading; small packets by
//! all, in `crew`. Every step that is not a matter of one flow alone (the
//! clock, reassembly, the order of output) happens in one place and in capture order, so that the
//! result does not depend on the number of threads.
//!
//! Does not: know file formats or reports.

mod align;
mod crew;
mod datagrams;
mod ledger;
mod second;
mod shard;
mod slice;
mod watch;

use std::hash::{BuildHasher, Hasher};

use crate::audit::{
    Audit, Collected, Exhibits, Findings, Forgotten, HostTracker, Input, Inputs, Method,
    PacketVerdict, Provenance, Tally, Totals,
};
use crate::conntrack::{Entry, Panel, Policy};
use crate::frame::Batch;
use crate::occupancy::{Assessment, Basis, Occupancy, Watched};
use crate::source::rules::Exemptions;
use crate::source::{self, FrameSource};
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::FlowKey;
use crate::wire::fragments::Reassembler;
use crate::wire::{Checksums, Tunnels};
pub use align::align;
use crew::{Crew, Foreman};
use datagrams::Datagrams;
pub use ledger::Budget;
pub use second::gather;
use shard::{Finished, Shard};
use slice::{Decoder, Settler, Slice, Times};

/// Frames that are decoded and then tracked in one go: few enough to stay in the cache.
const SLICE: usize = 512;

/// Bytes of a frame, on average, above which reading is most of the work and other workers would
/// only cost.
const DENSE_FRAME_BYTES: usize = 400;

/// Batches of smaller frames after which other workers are called: a small input is done by then.
const DENSE_BATCHES: u32 = 8;

/// How a run is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What judges.
    pub method: Method,
    /// How checksums are judged.
    pub checksums: Checksums,
    /// Which packet of a frame is judged.
    pub tunnels: Tunnels,
    /// The rules of [`Method::notrack`], compiled.
    pub exemptions: Exemptions,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// How many inputs there will be.
    pub inputs: usize,
    /// What is wanted beside the audit.
    pub wanted: Wanted,
    /// The flows to report in full, by the numbers of their first frames.
    pub flows: Vec<u64>,
    /// How closely the connection table is looked at.
    pub table: TableView,
    /// The memory that the flows remembered may take.
    pub memory: Budget,
}

/// How closely the connection table is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableView {
    /// Entries are counted over time, by protocol.
    Counted,
    /// The life of each entry is recorded, and the table assessed: [`Audit::table`].
    Assessed,
    /// The same and nothing else, for inputs that were audited before: [`Run::assess`].
    AssessedAlone,
}

/// What a run gives beside the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Nothing.
    Findings,
    /// The verdict on every INVALID packet, handed to [`Observer::verdicts`].
    Invalid,
    /// The verdict on every packet, handed to [`Observer::verdicts`].
    Verdicts,
}

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
        let (checksums, tunnels) = (plan.checksums, plan.tunnels);
        let exemptions = plan.exemptions.clone();
        Self {
            shards: std::iter::repeat_with(shard).take(threads).collect(),
            settler: Settler {
                decoder: Decoder {
                    checksums,
                    tunnels,
                    exemptions,
                    seed,
                    shards: threads,
                    memory: plan.memory,
                },
                reassembler: Reassembler::new(checksums),
                times: Times::default(),
                clocks: None,
            },
        }
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
}

impl Run {
    /// Prepares a run.
    pub fn new(plan: &Plan) -> Self {
        let Tools { shards, settler } = Tools::new(plan);
        Self {
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

    /// Returns the audit as it would be if the run ended now.
    ///
    /// Takes as long as the flows that are alive are many, about a microsecond each.
    pub fn snapshot(&self) -> Audit {
        let mut tally = Tally::default();
        self.slices.iter().for_each(|slice| tally.merge(&slice.tally));
        tally.give_up_fragments(self.settler.reassembler.incomplete());
        let mut totals = Totals::new(self.method.policies.len());
        let mut findings = Findings::default();
        for shard in &self.shards {
            let (part, found) = shard.snapshot();
            totals.merge(&part);
            findings.merge(found);
        }
        self.audit(tally, totals, findings)
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
            if !self.step(source, &mut batch, observer)? {
                return Ok(());
            }
            let is_dense = batch.len() * DENSE_FRAME_BYTES > batch.buffer.len();
            dense = if is_dense { dense + 1 } else { 0 };
        }
        let (shards, slices) = (&mut self.shards[..], &mut self.slices);
        let frames = self.reports.frames;
        let decoder = self.settler.decoder.clone();
        let crew = Crew { decoder, settler: &mut self.settler, shards, slices, frames };
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
    pub fn finish(mut self) -> Audit {
        let mut tally = Tally::default();
        self.slices.iter().for_each(|slice| tally.merge(&slice.tally));
        tally.give_up_fragments(self.settler.reassembler.finish());
        let Finished { totals, findings, watched } = self.finish_shards();
        if totals.forgotten.is_any() {
            let begin = self.settler.times.range().map(|(earliest, _)| earliest);
            let text = forgotten(&totals.forgotten, begin.unwrap_or_default(), self.memory);
            self.reports.incomplete.push(text);
        }
        let table = self.assessment(&totals.occupancy, watched);
        let audit = self.audit(tally, totals, findings);
        Audit { table: table.map(Box::new), ..audit }
    }

    /// Ends a run that only looked at the table, and assesses it; `occupancy` is what the audit of
    /// the same inputs has counted.
    pub fn assess(mut self, occupancy: &Occupancy) -> Option<Assessment> {
        let Finished { watched, .. } = self.finish_shards();
        self.assessment(occupancy, watched)
    }

    fn finish_shards(&mut self) -> Finished {
        let end = self.settler.clocks.map(|(_, last)| last).unwrap_or_default();
        let mut all = Finished {
            totals: Totals::new(self.method.policies.len()),
            findings: Findings::default(),
            watched: None,
        };
        for shard in std::mem::take(&mut self.shards) {
            let finished = shard.finish(end);
            all.totals.merge(&finished.totals);
            all.findings.merge(finished.findings);
            if let Some(part) = finished.watched {
                all.watched.get_or_insert_default().merge(part);
            }
        }
        all
    }

    fn assessment(&self, occupancy: &Occupancy, watched: Option<Watched>) -> Option<Assessment> {
        let (policy, sysctls) = (*self.method.policies.first()?, &self.method.sysctls);
        let (begin, end) = self.settler.clocks?;
        Assessment::of(&Basis { policy, sysctls, occupancy, begin, end }, watched?)
    }

    fn audit(&self, tally: Tally, totals: Totals, findings: Findings) -> Audit {
        let found = findings.finish();
        let Collected { kept, not_kept, troubled, troubled_not_kept, .. } = found;
        let Reports { inputs, incomplete, .. } = &self.reports;
        Audit {
            method: self.method.clone(),
            provenance: Provenance::default(),
            tunnels: self.settler.decoder.tunnels,
            inputs: inputs.clone(),
            host: self.reports.host,
            incomplete: incomplete.clone(),
            first_ts: self.settler.times.range().map(|(earliest, _)| earliest),
            last_ts: self.settler.times.range().map(|(_, latest)| latest),
            time_steps_back: self.settler.times.steps_back,
            longest_step_back: self.settler.times.longest_step_back,
            longest_silence: self.settler.times.longest_silence,
            tally,
            totals,
            findings: kept,
            findings_not_kept: not_kept,
            troubled,
            troubled_not_kept,
            suspects: found.suspects,
            sightings: found.sightings,
            openings: found.openings,
            stories: found.stories,
            exhibits: Exhibits::default(),
            table: None,
        }
    }
}

fn inputs(source: &dyn FrameSource) -> impl Iterator<Item = Input> {
    source.summaries().into_iter().map(|summary| Input { summary })
}

/// Says that flows were forgotten before the tracker would have done so.
fn forgotten(forgotten: &Forgotten, begin: Timestamp, memory: Budget) -> String {
    let Forgotten { flows, others, since } = *forgotten;
    let seconds = since.unwrap_or(begin).nanos_since(begin) / NANOS_PER_SEC;
    format!(
        "{flows} connections and {others} flows of other protocols were forgotten early, from \
         second {seconds} on, to stay within --memory {}M: what came of them later is judged as begun \
         before the capture",
        memory.bytes() >> 20,
    )
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
        verdicts.sort_by_key(|verdict| (verdict.clock, verdict.frame));
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
