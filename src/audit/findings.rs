//! The flows that a report tells of, bounded in number while the run goes on.
//!
//! Does not: say what is worth telling.

use crate::audit::{Opening, Openings};
use crate::flow::{FlowFinding, FlowSightings, FlowStory, FlowTrouble};
use crate::tuple::SECTIONS;

/// The flows with findings that are kept with their evidence, earliest first.
///
/// Flows beyond are counted, and their number is reported.
pub const MAX_FINDINGS: usize = 100_000;

/// The flows with findings that are kept of one section while the run goes on, earliest first: the
/// earliest of all are among them, unless one section has far more than its share.
///
/// A finding takes 2 KiB, so that a capture in which everything is INVALID costs 550 MB at most,
/// with any number of threads.
const SECTION_FINDINGS: u8 = 128;
/// Findings of a shard below which none is dropped.
const FEW_FINDINGS: usize = 2048;

/// The flows whose ends had the most trouble that are kept, whatever the tracker said of them.
pub const MAX_TROUBLED: usize = 50;

/// The flows kept because their ends behaved as under a known fault, earliest first.
pub const MAX_SUSPECTS: usize = 1000;

/// The flows captured at several places that are kept with what changed between, earliest first.
pub const MAX_SIGHTINGS: usize = 1000;

/// The findings of one shard, or of several, bounded and in the order of their first frames; those of
/// one frame, where frames hold several packets, in that of their keys.
#[derive(Clone, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Findings {
    kept: Vec<FlowFinding>,
    /// The findings left when some were last dropped.
    kept_at_trim: usize,
    not_kept: u64,
    troubled: Vec<FlowTrouble>,
    /// Flows with trouble, those that were not kept included.
    troubled_seen: u64,
    suspects: Vec<FlowTrouble>,
    sightings: Vec<FlowSightings>,
    openings: Openings,
    stories: Vec<FlowStory>,
}

impl Findings {
    /// Returns whether there is no room for a SYN or SYN-ACK more.
    pub fn has_all_openings(&self) -> bool {
        self.openings.is_full()
    }

    /// Adds a SYN or SYN-ACK.
    pub fn push_opening(&mut self, opening: Opening) {
        self.openings.push(opening);
    }

    /// Adds a finding; when there are too many, the latest are dropped and counted.
    pub fn push(&mut self, finding: FlowFinding) {
        self.kept.push(finding);
        if self.kept.len() >= 2 * self.kept_at_trim.max(FEW_FINDINGS) {
            self.trim();
        }
    }

    /// Adds a flow whose ends had trouble; when there are too many, those with the least go.
    pub fn push_troubled(&mut self, trouble: FlowTrouble) {
        self.troubled.push(trouble);
        self.troubled_seen += 1;
        if self.troubled.len() >= 2 * MAX_TROUBLED {
            self.trim_troubled();
        }
    }

    /// Adds a flow whose ends behaved as under a known fault; the latest are dropped.
    pub fn push_suspect(&mut self, suspect: FlowTrouble) {
        self.suspects.push(suspect);
        if self.suspects.len() >= 2 * MAX_SUSPECTS {
            self.trim_suspects();
        }
    }

    /// Adds a flow captured at several places; the latest are dropped.
    pub fn push_sightings(&mut self, sightings: FlowSightings) {
        self.sightings.push(sightings);
        if self.sightings.len() >= 2 * MAX_SIGHTINGS {
            self.trim_sightings();
        }
    }

    /// Adds a flow that is reported in full.
    pub fn tell(&mut self, story: FlowStory) {
        self.stories.push(story);
    }

    /// Adds the findings of another shard.
    pub fn merge(&mut self, part: Self) {
        self.not_kept += part.not_kept;
        self.kept.extend(part.kept);
        self.trim();
        self.troubled.extend(part.troubled);
        self.troubled_seen += part.troubled_seen;
        self.trim_troubled();
        self.suspects.extend(part.suspects);
        self.trim_suspects();
        self.sightings.extend(part.sightings);
        self.trim_sightings();
        self.openings.merge(part.openings);
        self.stories.extend(part.stories);
    }

    /// Returns the findings in order, how many were not kept, and the flows with trouble.
    pub fn finish(mut self) -> Collected {
        self.trim();
        self.not_kept += self.kept.len().saturating_sub(MAX_FINDINGS) as u64;
        self.kept.truncate(MAX_FINDINGS);
        self.trim_troubled();
        self.trim_suspects();
        self.trim_sightings();
        self.stories.sort_by_key(|told| (told.audit.first_frame, told.key));
        let troubled_not_kept = self.troubled_seen - self.troubled.len() as u64;
        Collected {
            kept: self.kept,
            not_kept: self.not_kept,
            troubled: self.troubled,
            troubled_not_kept,
            suspects: self.suspects,
            sightings: self.sightings,
            openings: self.openings.finish(),
            stories: self.stories,
        }
    }

    /// Keeps the flows with the most trouble; among equals the earlier ones.
    fn trim_troubled(&mut self) {
        self.troubled.sort_by_key(|flow| {
            (u64::MAX - flow.summary.weight(), flow.audit.first_frame, flow.key)
        });
        self.troubled.truncate(MAX_TROUBLED);
    }

    fn trim_sightings(&mut self) {
        self.sightings.sort_by_key(|flow| (flow.first_frame, flow.key));
        self.sightings.truncate(MAX_SIGHTINGS);
    }

    fn trim_suspects(&mut self) {
        self.suspects.sort_by_key(|flow| (flow.audit.first_frame, flow.key));
        self.suspects.truncate(MAX_SUSPECTS);
    }

    /// Keeps the earliest of each section, which is with one shard alone.
    fn trim(&mut self) {
        let before = self.kept.len();
        let mut room = vec![SECTION_FINDINGS; SECTIONS];
        self.kept.sort_by_key(|finding| (finding.audit.first_frame, finding.key));
        self.kept.retain(|finding| match room.get_mut(finding.key.section()) {
            Some(0) | None => false,
            Some(places) => {
                *places -= 1;
                true
            }
        });
        self.not_kept += (before - self.kept.len()) as u64;
        self.kept_at_trim = self.kept.len();
    }
}

/// The findings of all shards, in final order.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The flows with INVALID packets.
    pub kept: Vec<FlowFinding>,
    /// How many more there were.
    pub not_kept: u64,
    /// The flows whose ends had the most trouble.
    pub troubled: Vec<FlowTrouble>,
    /// How many more there were.
    pub troubled_not_kept: u64,
    /// The flows whose ends behaved as under a known fault.
    pub suspects: Vec<FlowTrouble>,
    /// The flows captured at several places.
    pub sightings: Vec<FlowSightings>,
    /// The earliest SYNs and SYN-ACKs.
    pub openings: Vec<Opening>,
    /// The flows that were asked for in full.
    pub stories: Vec<FlowStory>,
}
