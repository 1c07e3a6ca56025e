//! How a run is done.
//!
//! Does not: know what users may ask for, or what it is called.

use super::ledger::Budget;
use crate::audit::Method;
use crate::conntrack::Setting;
use crate::source::rules::Exemptions;
use crate::tuple::Share;
use crate::wire::{Checksums, Tunnels};

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
    /// The flows that are audited: all, but in one of several runs over the same capture.
    pub share: Share,
    /// Which frames are read.
    pub frames: Whole,
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

impl Plan {
    /// Plans an audit of one whole capture, by one worker: findings alone, of outermost packets.
    pub fn new(method: Method) -> Self {
        let checksums = match method.sysctls.checksum {
            Setting::On => Checksums::Verified,
            Setting::Off => Checksums::Ignored,
        };
        Self {
            method,
            checksums,
            tunnels: Tunnels::Closed,
            exemptions: Exemptions::default(),
            threads: 1,
            share: Share::ALL,
            frames: Whole::Capture,
            inputs: 1,
            wanted: Wanted::Findings,
            flows: Vec::new(),
            table: TableView::Counted,
            memory: Budget::DEFAULT,
        }
    }
}

/// Which frames of a capture a run reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whole {
    /// All.
    Capture,
    /// Those of one share of the flows, which another run has written to a file of their own.
    Piece,
}

/// How closely the connection table is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableView {
    /// Entries are counted over time, by protocol.
    Counted,
    /// The same, and the run is left where more than half of the table would be full, to be begun again
    /// with [`TableView::Assessed`]: [`super::Run::is_left_half_full`].
    UntilHalfFull,
    /// The life of each entry is recorded, and the table assessed: [`crate::audit::Audit::table`].
    Assessed,
}

/// What a run gives beside the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Nothing.
    Findings,
    /// The verdict on every INVALID packet, handed to [`super::Observer::verdicts`].
    Invalid,
    /// The verdict on every packet, handed to [`super::Observer::verdicts`].
    Verdicts,
}
