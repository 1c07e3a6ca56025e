//! Frames in, an [`Audit`] out: batches are decoded, divided by flow and tracked.
//!
//! Each shard owns its flows and takes its packets in capture order; nothing is shared. While one
//! batch is worked on, the next is read. Every step that is not a matter of one flow alone (the
//! clock, reassembly, the order of output) happens in one place and in capture order, so that the
//! result does not depend on the number of threads.
//!
//! Does not: know file formats or reports.

mod shard;
mod slice;

use std::hash::{BuildHasher, Hasher};

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::audit::{Audit, Findings, Input, Inputs, Method, PacketVerdict, Tally, Totals};
use crate::conntrack::{Panel, Policy};
use crate::frame::Batch;
use crate::source::{self, FrameSource};
use crate::wire::fragments::Reassembler;
use crate::wire::{Checksums, Tunnels};
use shard::Shard;
use slice::{Decoder, Slice, Times};

/// Frames that are decoded and then tracked in one go: few enough to stay in the cache.
const SLICE: usize = 512;

/// How a run is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What judges.
    pub method: Method,
    /// How checksums are judged.
    pub checksums: Checksums,
    /// Which packet of a frame is judged.
    pub tunnels: Tunnels,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// How many inputs there will be.
    pub inputs: usize,
    /// What is wanted beside the audit.
    pub wanted: Wanted,
}

/// What a run gives beside the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Nothing.
    Findings,
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

/// A run through one or several sources, which are one time line.
pub struct Run {
    /// None with a single worker, which needs no pool.
    pool: Option<ThreadPool>,
    shards: Vec<Shard>,
    slices: Vec<Slice>,
    reassembler: Reassembler,
    decoder: Decoder,
    tally: Tally,
    times: Times,
    verdicts: Vec<PacketVerdict>,
    verdicts_failed: bool,
    inputs: Inputs,
    /// What kept the run from being complete.
    incomplete: Vec<String>,
    method: Method,
}

impl Run {
    /// Prepares a run.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started.
    pub fn new(plan: &Plan) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = plan.threads.max(1);
        let pool = match threads {
            1 => None,
            _ => Some(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?),
        };
        let features = plan.method.policies.iter().map(Policy::features).collect();
        let panel = Panel::new(features, plan.method.sysctls.limits);
        let seed = random_seed();
        let shards = (0..threads).map(|_| Shard::new(panel.clone(), seed, plan.wanted)).collect();
        let checksums = plan.checksums;
        Ok(Self {
            pool,
            shards,
            slices: Vec::new(),
            reassembler: Reassembler::new(checksums),
            decoder: Decoder { checksums, tunnels: plan.tunnels, seed, shards: threads },
            tally: Tally::default(),
            times: Times::default(),
            verdicts: Vec::new(),
            verdicts_failed: false,
            inputs: Inputs { asked_for: plan.inputs, ..Inputs::default() },
            incomplete: Vec::new(),
            method: plan.method.clone(),
        })
    }

    /// Audits a source to its end; what keeps it from being read further becomes part of the audit.
    pub fn read(&mut self, source: &mut (dyn FrameSource + Send), observer: &mut dyn Observer) {
        let begun = self.inputs.read.len();
        self.inputs.read.extend(inputs(source));
        if let Err(error) = self.read_batches(source, observer) {
            self.incomplete.push(chain(&error));
        }
        self.incomplete.extend(source.take_problems().iter().map(|problem| chain(problem)));
        self.inputs.filter = source.filter();
        self.inputs.read.truncate(begun);
        self.inputs.read.extend(inputs(source));
    }

    /// Notes an input that could not even be opened.
    pub fn miss(&mut self, error: &source::Error) {
        self.incomplete.push(chain(error));
    }

    /// Reads batch after batch; with several workers, the next is read while one is worked on.
    fn read_batches(
        &mut self,
        source: &mut (dyn FrameSource + Send),
        observer: &mut dyn Observer,
    ) -> Result<(), source::Error> {
        let (mut current, mut next) = (Batch::default(), Batch::default());
        let mut more = source.fill(&mut current)?;
        while more {
            let reading = if let Some(pool) = self.pool.take() {
                let (reading, ()) = pool.install(|| {
                    rayon::join(|| source.fill(&mut next), || self.work_parallel(&current))
                });
                self.pool = Some(pool);
                self.hand_over(observer);
                reading
            } else {
                self.work(&current);
                self.hand_over(observer);
                source.fill(&mut next)
            };
            observer.progress(self.tally.frames(), source);
            more = reading?;
            std::mem::swap(&mut current, &mut next);
        }
        Ok(())
    }

    /// Decodes and tracks a batch slice by slice, so that what is decoded stays in the cache.
    fn work(&mut self, batch: &Batch) {
        let mut slice = self.slices.pop().unwrap_or_default();
        for start in (0..batch.len()).step_by(SLICE) {
            slice.decode(batch, start, &self.decoder);
            self.settle(&mut slice);
            for shard in &mut self.shards {
                shard.take(&slice.items, None);
            }
        }
        self.slices.push(slice);
    }

    /// Decodes a batch in parallel, then tracks it in parallel, a shard a worker.
    fn work_parallel(&mut self, batch: &Batch) {
        let count = batch.len().div_ceil(SLICE);
        let mut slices = std::mem::take(&mut self.slices);
        slices.resize_with(slices.len().max(count), Slice::default);
        let decoder = &self.decoder;
        slices.par_iter_mut().take(count).enumerate().for_each(|(index, slice)| {
            slice.decode(batch, index * SLICE, decoder);
        });
        for slice in slices.iter_mut().take(count) {
            self.settle(slice);
        }
        self.shards.par_iter_mut().enumerate().for_each(|(index, shard)| {
            for slice in slices.iter().take(count) {
                shard.take(&slice.items, Some(index));
            }
        });
        self.slices = slices;
    }

    /// Does what must happen in capture order: counts, and completes fragmented datagrams.
    fn settle(&mut self, slice: &mut Slice) {
        self.times.merge(&slice.times);
        for (position, piece) in &slice.fragments {
            if let Some(item) = slice.items.get_mut(*position) {
                self.decoder.complete(item, piece, &mut self.reassembler, &mut slice.tally);
            }
        }
        self.tally.merge(&slice.tally);
    }

    /// Hands the verdicts of the batch over, in capture order.
    fn hand_over(&mut self, observer: &mut dyn Observer) {
        self.verdicts.clear();
        for shard in &mut self.shards {
            self.verdicts.append(&mut shard.verdicts);
        }
        if self.verdicts.is_empty() || self.verdicts_failed {
            return;
        }
        self.verdicts.sort_by_key(|verdict| (verdict.clock, verdict.frame));
        if let Err(error) = observer.verdicts(&self.verdicts, &self.inputs) {
            self.verdicts_failed = true;
            self.incomplete.push(format!("the verdicts are not complete: {}", chain(&error)));
        }
    }

    /// Ends all flows and merges the shards.
    pub fn finish(mut self) -> Audit {
        self.tally.give_up_fragments(self.reassembler.finish());
        let mut totals = Totals::new(self.method.policies.len());
        let mut findings = Findings::default();
        for shard in self.shards {
            let (part, found) = shard.finish();
            totals.merge(&part);
            findings.merge(found);
        }
        let (findings, findings_not_kept) = findings.finish();
        Audit {
            method: self.method,
            tunnels: self.decoder.tunnels,
            inputs: self.inputs,
            incomplete: self.incomplete,
            first_ts: self.times.earliest,
            last_ts: self.times.latest,
            time_steps_back: self.times.steps_back,
            tally: self.tally,
            totals,
            findings,
            findings_not_kept,
        }
    }
}

fn inputs(source: &dyn FrameSource) -> impl Iterator<Item = Input> {
    source.summaries().into_iter().map(|summary| Input { summary })
}

/// Returns a seed that an input cannot know. It decides where an entry lies in memory, nothing
/// that is reported.
#[expect(clippy::disallowed_types, reason = "randomness is the point, and no output depends on it")]
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
