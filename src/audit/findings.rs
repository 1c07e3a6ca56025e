//! The flows that are kept with what they showed: bounded lists, mergeable from any division into
//! shards.
//!
//! Does not: say what is worth keeping.

use crate::audit::{MAX_FINDINGS, MAX_SIGHTINGS, MAX_SUSPECTS, MAX_TROUBLED, Opening, Openings};
use crate::flow::{FlowFinding, FlowSightings, FlowStory, FlowTrouble};

/// The findings of one shard, or of several, bounded and in the order of their first frames.
#[derive(Clone, Default, Debug)]
pub struct Findings {
    kept: Vec<FlowFinding>,
    not_kept: u64,
    troubled: Vec<FlowTrouble>,
    /// Flows with trouble, those that were not kept included.
    troubled_seen: u64,
    suspects: Vec<FlowTrouble>,
    sightings: Vec<FlowSightings>,
    openings: Openings,
    story: Option<Box<FlowStory>>,
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
        if self.kept.len() >= 2 * MAX_FINDINGS {
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

    /// Adds the flow that is reported in full.
    pub fn tell(&mut self, story: FlowStory) {
        self.story = Some(Box::new(story));
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
        self.story = self.story.take().or(part.story);
    }

    /// Returns the findings in order, how many were not kept, and the flows with trouble.
    pub fn finish(mut self) -> Collected {
        self.trim();
        self.trim_troubled();
        self.trim_suspects();
        self.trim_sightings();
        let troubled_not_kept = self.troubled_seen - self.troubled.len() as u64;
        Collected {
            kept: self.kept,
            not_kept: self.not_kept,
            troubled: self.troubled,
            troubled_not_kept,
            suspects: self.suspects,
            sightings: self.sightings,
            openings: self.openings.finish(),
            story: self.story,
        }
    }

    /// Keeps the flows with the most trouble; among equals the earlier ones.
    fn trim_troubled(&mut self) {
        self.troubled
            .sort_by_key(|flow| (u64::MAX - flow.summary.weight(), flow.audit.first_frame));
        self.troubled.truncate(MAX_TROUBLED);
    }

    fn trim_sightings(&mut self) {
        self.sightings.sort_by_key(|flow| flow.first_frame);
        self.sightings.truncate(MAX_SIGHTINGS);
    }

    fn trim_suspects(&mut self) {
        self.suspects.sort_by_key(|flow| flow.audit.first_frame);
        self.suspects.truncate(MAX_SUSPECTS);
    }

    /// Keeps the earliest: the earliest of all shards are among the earliest of each.
    fn trim(&mut self) {
        self.kept.sort_by_key(|finding| finding.audit.first_frame);
        let beyond = self.kept.len().saturating_sub(MAX_FINDINGS);
        self.kept.truncate(MAX_FINDINGS);
        self.not_kept += beyond as u64;
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
    /// The flow that was asked for in full.
    pub story: Option<Box<FlowStory>>,
}
