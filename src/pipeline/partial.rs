//! What a run found out before it is put in its final order: what the frames were, which every shard
//! of a run meets alike, and what its own flows showed.
//!
//! Whatever looks at several flows (pairs across an address translator, control groups, the quality of
//! the capture, how full the table would be, the bounds of lists) happens after parts are merged.
//!
//! Does not: know files.

use serde::{Deserialize, Serialize};

use crate::audit::{
    Audit, Collected, Exhibits, Findings, Forgotten, HostTracker, Inputs, Method, Provenance,
    Tally, Totals,
};
use crate::occupancy::{Assessment, Basis, Occupancy, Watched};
use crate::pipeline::Budget;
use crate::pipeline::times::Times;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::wire::Tunnels;

/// What the frames of a run were, whoever owns the flows in them.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Frames {
    /// The inputs.
    pub inputs: Inputs,
    /// What kept them from being read to their ends.
    pub incomplete: Vec<String>,
    /// What became of each frame.
    pub tally: Tally,
    pub(super) times: Times,
    /// Tracker time of the first and the last frame.
    pub(super) clocks: Option<(Timestamp, Timestamp)>,
}

/// What one part of a run found out: the frames, and the flows of one shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Partial {
    /// The frames; the same in all parts of a run.
    pub frames: Frames,
    pub(super) totals: Totals,
    pub(super) findings: Findings,
    pub(super) watched: Option<Watched>,
}

/// What a run is put together by.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What judged.
    pub method: Method,
    /// Which packet of a frame was judged.
    pub tunnels: Tunnels,
    /// The memory that flows could take.
    pub memory: Budget,
    /// What the capturing machine's own tracker told.
    pub host: Option<HostTracker>,
    /// How many threads may work, at least 1.
    pub threads: usize,
}

impl Frames {
    /// Takes over the inputs of another capture, which come after those that are there.
    pub fn adopt(&mut self, other: &Self) {
        self.inputs.asked_for += other.inputs.asked_for;
        self.inputs.read.extend(other.inputs.read.iter().cloned());
        self.incomplete.extend(other.incomplete.iter().cloned());
        let Some(filter) = &other.inputs.filter else { return };
        match &mut self.inputs.filter {
            None => self.inputs.filter = Some(filter.clone()),
            Some(own) => {
                own.left_out = own.left_out.zip(filter.left_out).map(|(own, more)| own + more);
            }
        }
    }

    /// Counts the frames of another capture, which come after those counted.
    pub fn append(&mut self, next: &Self) {
        self.tally.merge(&next.tally);
        self.times.merge(&next.times);
        let Some((first, last)) = next.clocks else { return };
        let (begin, end) = self.clocks.unwrap_or((first, last));
        self.clocks = Some((begin, end.max(last)));
    }

    /// Returns the tracker's time of the first and the last frame.
    pub const fn clocks(&self) -> Option<(Timestamp, Timestamp)> {
        self.clocks
    }

    /// Returns the times of the earliest and the latest frame.
    pub fn range(&self) -> Option<(Timestamp, Timestamp)> {
        self.times.range()
    }

    /// Returns the longest step back in time, in nanoseconds.
    pub const fn longest_step_back(&self) -> i64 {
        self.times.longest_step_back
    }
}

impl Partial {
    /// Adds the flows of another shard of the same run.
    pub fn merge(&mut self, part: Self) {
        self.totals.merge(&part.totals);
        self.findings.merge(part.findings);
        if let Some(watched) = part.watched {
            self.watched.get_or_insert_default().merge(watched);
        }
    }

    /// Returns the audit of a run that has ended, of which this is all.
    pub fn finish(mut self, terms: &Terms) -> Audit {
        if self.totals.forgotten.is_any() {
            let begin = self.frames.times.range().map(|(earliest, _)| earliest);
            let text = forgotten(&self.totals.forgotten, begin.unwrap_or_default(), terms.memory);
            self.frames.incomplete.push(text);
        }
        let watched = self.watched.take();
        let table = self.assessment(terms, &self.totals.occupancy, watched);
        Audit { table: table.map(Box::new), ..self.audit(terms) }
    }

    /// Assesses the table, for a run that only looked at it; `occupancy` is what the audit of the same
    /// inputs has counted.
    pub(super) fn assess(mut self, terms: &Terms, occupancy: &Occupancy) -> Option<Assessment> {
        let watched = self.watched.take();
        self.assessment(terms, occupancy, watched)
    }

    fn assessment(
        &self,
        terms: &Terms,
        occupancy: &Occupancy,
        watched: Option<Watched>,
    ) -> Option<Assessment> {
        let (policy, sysctls) = (*terms.method.policies.first()?, &terms.method.sysctls);
        let ((begin, end), threads) = (self.frames.clocks?, terms.threads);
        Assessment::of(&Basis { policy, sysctls, occupancy, begin, end, threads }, watched?)
    }

    /// Returns the audit as it is, without what is said at the end of a run only.
    pub(super) fn audit(self, terms: &Terms) -> Audit {
        let Self { frames, totals, findings, .. } = self;
        let Frames { inputs, incomplete, tally, times, .. } = frames;
        let found = findings.finish();
        let Collected { kept, not_kept, troubled, troubled_not_kept, .. } = found;
        Audit {
            method: terms.method.clone(),
            provenance: Provenance::default(),
            tunnels: terms.tunnels,
            inputs,
            host: terms.host,
            incomplete,
            first_ts: times.range().map(|(earliest, _)| earliest),
            last_ts: times.range().map(|(_, latest)| latest),
            time_steps_back: times.steps_back,
            longest_step_back: times.longest_step_back,
            longest_silence: times.longest_silence,
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
