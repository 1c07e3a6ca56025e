//! This machine's own tracker beside the model: what it knew before the capture, and how many
//! packets it has found INVALID meanwhile.

use std::io;
use std::time::Duration;

use super::counts::Counts;
use crate::output::say;
use tcp_window_audit::audit::HostTracker;
use tcp_window_audit::conntrack::Entry;
use tcp_window_audit::kernel::own::{self, Tracker};
use tcp_window_audit::pipeline::chain;
use tcp_window_audit::time::Timestamp;
use tcp_window_audit::tuple::FlowKey;

/// How often it has to be asked at least, so that its counters of 32 bits do not wrap unseen.
pub(super) const OFTEN: Duration = Duration::from_mins(1);

/// Why the tracker cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Tracker(#[from] own::Error),
    #[error("cannot read the tracker's counters")]
    Counts(#[source] io::Error),
}

/// A tracker that was asked at the beginning.
pub(super) struct Beside {
    counts: Counts,
    /// Taken by the run.
    connections: Vec<(FlowKey, Entry)>,
    connections_known: u64,
}

impl Beside {
    /// Asks the tracker what it holds; none when it cannot be asked, which is said.
    pub(super) fn begin(now: Timestamp) -> Option<Self> {
        let asked = Self::ask(now);
        asked.inspect_err(|error| say(&format!("{}; going on without", chain(error)))).ok()
    }

    fn ask(now: Timestamp) -> Result<Self, Error> {
        let connections = Tracker::open()?.connections(now)?;
        let mut counts = Counts::start().map_err(Error::Counts)?;
        let silent = || Error::Counts(io::ErrorKind::UnexpectedEof.into());
        // The count begins with the first question.
        counts.ask().ok_or_else(silent)?;
        let connections_known = connections.len() as u64;
        Ok(Self { counts, connections, connections_known })
    }

    /// Returns the connections that were open.
    pub(super) fn take_connections(&mut self) -> Vec<(FlowKey, Entry)> {
        std::mem::take(&mut self.connections)
    }

    /// Asks again; none when there is no answer any more.
    pub(super) fn now(&mut self) -> Option<HostTracker> {
        let (invalid_counted, entries) = self.counts.ask()?;
        Some(HostTracker { connections_known: self.connections_known, invalid_counted, entries })
    }
}
