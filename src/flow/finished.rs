//! Flows that have ended, with what was kept of them.
//!
//! Does not: decide what is kept.

use crate::flow::{Evidence, FlowAudit, Sightings, Story, Summary};
use crate::tuple::{FlowKey, Orientation};

/// A finished flow with findings.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowFinding {
    /// The endpoints.
    pub key: FlowKey,
    /// What the flow showed.
    pub audit: FlowAudit,
    /// The findings.
    pub evidence: Evidence,
    /// What the two ends did.
    pub summary: Box<Summary>,
}

/// A finished flow that was captured at several places.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowSightings {
    /// The endpoints.
    pub key: FlowKey,
    /// Number of the first frame: the flow's id.
    pub first_frame: u64,
    /// Which way the original direction goes.
    pub original: Orientation,
    /// The places.
    pub sightings: Sightings,
}

/// A finished flow whose ends had trouble, whatever the tracker said.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowTrouble {
    /// The endpoints.
    pub key: FlowKey,
    /// What the flow showed.
    pub audit: FlowAudit,
    /// What the two ends did.
    pub summary: Box<Summary>,
}

/// The flow that is reported in full.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct FlowStory {
    /// The endpoints.
    pub key: FlowKey,
    /// What the flow showed, the key packets included.
    pub audit: FlowAudit,
    /// What the two ends did.
    pub summary: Box<Summary>,
    /// Everything that happened.
    pub story: Box<Story>,
}
