//! How the audit stands, looked at now and then: what the metrics and the screen show.
#![expect(clippy::disallowed_methods, reason = "a person waits by the wall's clock")]

use std::time::{Duration, Instant};

use tcp_window_audit::diagnose::diagnose;
use tcp_window_audit::flow::FlowFinding;
use tcp_window_audit::pipeline::Run;
use tcp_window_audit::report::Standing;
use tcp_window_audit::source::FrameSource;

use super::tracker::Beside;

/// How often the counts are taken.
const COUNTS: Duration = Duration::from_secs(1);
/// How often causes are looked for, at most.
const CAUSES: Duration = Duration::from_secs(10);
/// Looking for causes may take one part in so many of the time: the packets come first.
const SHARE: u32 = 50;

/// Connections that are named.
const WORST: usize = 32;

/// The picture, and when it is to be taken again.
pub(super) struct Picture {
    pub(super) standing: Standing,
    /// The connections with the most INVALID packets, and how many those are.
    pub(super) worst: Vec<(String, u64)>,
    next_counts: Instant,
    next_causes: Instant,
}

impl Picture {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (standing, worst) = (Standing::default(), Vec::new());
        Self { standing, worst, next_counts: now, next_causes: now }
    }

    /// Takes the picture if it is time, and returns whether it was.
    pub(super) fn take(
        &mut self,
        run: &Run,
        source: &dyn FrameSource,
        beside: Option<&mut Beside>,
    ) -> bool {
        let now = Instant::now();
        if now < self.next_counts {
            return false;
        }
        self.next_counts = now + COUNTS;
        let standing = &mut self.standing;
        standing.packets = run.frames();
        standing.totals = run.totals();
        standing.connections_alive = run.flows_alive() as u64;
        standing.host = beside.and_then(Beside::now).or(standing.host);
        (standing.dropped_by_host, standing.dropped_by_interface) = drops(source);
        if now >= self.next_causes {
            let audit = run.snapshot();
            standing.causes = diagnose(&audit).causes;
            let worst = audit.worst(WORST).into_iter();
            self.worst =
                worst.map(|found| (name(found), found.evidence.invalid_packets())).collect();
            let cost = now.elapsed();
            self.next_causes = now + CAUSES.max(cost.saturating_mul(SHARE));
        }
        true
    }
}

/// Returns the ends of a connection, the one that opened it first.
fn name(found: &FlowFinding) -> String {
    let (from, to) = found.key.endpoints(found.audit.original);
    format!("{from} > {to}")
}

/// Returns what the host and the interface dropped.
pub(super) fn drops(source: &dyn FrameSource) -> (u64, u64) {
    source.summary().interfaces.iter().fold((0, 0), |(host, interface), described| {
        let by_host = described.dropped_by_host.unwrap_or_default();
        let by_interface = described.dropped_by_interface.unwrap_or_default();
        (host + by_host, interface + by_interface)
    })
}
