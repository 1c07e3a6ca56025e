//! This machine's own tracker beside the model: what it knew before the capture, and how many
//! packets it has found INVALID meanwhile.

use tcp_window_audit::audit::HostTracker;
use tcp_window_audit::kernel::own::{Error, Tracker};
use tcp_window_audit::pipeline::{Run, chain};
use tcp_window_audit::time::Timestamp;

use crate::output::say;

/// A tracker that was asked at the beginning.
pub(super) struct Beside {
    tracker: Tracker,
    connections_known: u64,
    invalid_before: u64,
}

impl Beside {
    /// Asks the tracker what it holds, and has the run take it over; none when it cannot be asked,
    /// which is said.
    pub(super) fn begin(run: &mut Run, now: Timestamp) -> Option<Self> {
        match Self::ask(run, now) {
            Ok(beside) => Some(beside),
            Err(error) => {
                say(&format!("{}; going on without", chain(&error)));
                None
            }
        }
    }

    fn ask(run: &mut Run, now: Timestamp) -> Result<Self, Error> {
        let mut tracker = Tracker::open()?;
        let invalid_before = tracker.invalid_packets()?;
        let connections = tracker.connections(now)?;
        let connections_known = connections.len() as u64;
        run.know(connections);
        Ok(Self { tracker, connections_known, invalid_before })
    }

    /// Asks again; none when there is no answer any more.
    pub(super) fn now(&mut self) -> Option<HostTracker> {
        let invalid = self.tracker.invalid_packets().ok()?;
        Some(HostTracker {
            connections_known: self.connections_known,
            // The counters start anew when the module is loaded anew.
            invalid_counted: invalid.saturating_sub(self.invalid_before),
        })
    }
}
