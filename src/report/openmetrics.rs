//! The state of an audit as text for Prometheus.
//!
//! Counters only rise; what belongs to a connection is counted when that has ended.

use std::fmt::Display;
use std::io::{self, Write};

use crate::audit::{Histogram, HostTracker, Totals};
use crate::conntrack::Reason;
use crate::diagnose::Diagnosis;
use crate::flow::Kind;

/// Which text: the two say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exposition {
    /// OpenMetrics 1.0, for who asks for it.
    OpenMetrics,
    /// Prometheus' own format 0.0.4, which everything reads: the textfile collector nothing else.
    Prometheus,
}

impl Exposition {
    /// Returns the media type of the text.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Upper bounds of the classes of round-trip times, in microseconds.
const BOUNDS_US: [u64; 14] = [
    100, 500, 1000, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How an audit that goes on stands.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Standing {
    /// Frames that were read.
    pub packets: u64,
    /// Packets that the capturing host dropped.
    pub dropped_by_host: u64,
    /// Packets that the interface dropped.
    pub dropped_by_interface: u64,
    /// Counts over packets, and over the connections that have ended.
    pub totals: Totals,
    /// Connections that are remembered.
    pub connections_alive: u64,
    /// What the machine's own tracker says.
    pub host: Option<HostTracker>,
    /// The causes, as they were last looked for.
    pub causes: Vec<Diagnosis>,
}

/// Writes the text.
///
/// # Errors
///
/// Those of `out`.
pub fn write_metrics(
    standing: &Standing,
    exposition: Exposition,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut sheet = Sheet { out, exposition };
    sheet.family("build_info", "gauge", "The program that counts.")?;
    sheet.value("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
    packets(standing, &mut sheet)?;
    connections(standing, &mut sheet)?;
    causes(&standing.causes, &mut sheet)?;
    if exposition == Exposition::OpenMetrics { writeln!(sheet.out, "# EOF") } else { Ok(()) }
}

fn packets(standing: &Standing, sheet: &mut Sheet<'_>) -> io::Result<()> {
    let totals = &standing.totals;
    sheet.family("packets", "counter", "Packets captured.")?;
    sheet.value("packets_total", &[], standing.packets)?;
    sheet.family("dropped_packets", "counter", "Packets that the capture lost.")?;
    sheet.value("dropped_packets_total", &[("by", "host")], standing.dropped_by_host)?;
    sheet.value("dropped_packets_total", &[("by", "interface")], standing.dropped_by_interface)?;
    sheet.family("segments", "counter", "TCP segments by what rules would see.")?;
    for (ctstate, count) in [
        ("NEW", totals.new),
        ("ESTABLISHED", totals.established),
        ("INVALID", totals.invalid),
        ("DROPPED", totals.dropped),
    ] {
        sheet.value("segments_total", &[("ctstate", ctstate)], count)?;
    }
    sheet.family("invalid_segments", "counter", "TCP segments judged INVALID, by reason.")?;
    for reason in Reason::ALL {
        // From 0 on, so that the first is a rise.
        let count = totals.invalid_by_reason.get(&reason).copied().unwrap_or_default();
        sheet.value("invalid_segments_total", &[("reason", reason.code())], count)?;
    }
    if let Some(host) = standing.host.filter(HostTracker::is_in_use) {
        let help = "Packets that the kernel's own tracker found INVALID since the capture began.";
        sheet.family("kernel_invalid_packets", "counter", help)?;
        sheet.value("kernel_invalid_packets_total", &[], host.invalid_counted)?;
        let help = "Entries in the kernel's own tracker, of all protocols.";
        sheet.family("kernel_entries", "gauge", help)?;
        sheet.value("kernel_entries", &[], host.entries)?;
    }
    Ok(())
}

fn connections(standing: &Standing, sheet: &mut Sheet<'_>) -> io::Result<()> {
    let (totals, behaviour) = (&standing.totals, &standing.totals.behaviour);
    sheet.family("connections_alive", "gauge", "Connections that are remembered.")?;
    sheet.value("connections_alive", &[], standing.connections_alive)?;
    sheet.family("connections_ended", "counter", "Connections that have ended.")?;
    sheet.value("connections_ended_total", &[], totals.flows)?;
    let help = "Connections that were forgotten before the tracker would, to stay within --memory.";
    sheet.family("connections_forgotten", "counter", help)?;
    sheet.value("connections_forgotten_total", &[], totals.forgotten.flows)?;
    let help = "Packets that sent something again, by class, of connections that have ended.";
    sheet.family("repeated_segments", "counter", help)?;
    for kind in Kind::ALL {
        let count = behaviour.kinds.of(kind).packets;
        sheet.value("repeated_segments_total", &[("class", kind.code())], count)?;
    }
    let help = "The least round-trip time, of each connection that has ended, by side of the \
                capture point.";
    sheet.family("rtt_seconds", "histogram", help)?;
    if sheet.exposition == Exposition::OpenMetrics {
        writeln!(sheet.out, "# UNIT {PREFIX}rtt_seconds seconds")?;
    }
    sheet.histogram("rtt_seconds", ("side", "originator"), &behaviour.rtt_near)?;
    sheet.histogram("rtt_seconds", ("side", "responder"), &behaviour.rtt_far)
}

fn causes(causes: &[Diagnosis], sheet: &mut Sheet<'_>) -> io::Result<()> {
    sheet.family("cause_score", "gauge", "How sure a cause is, 0 to 100.")?;
    for found in causes {
        let labels = [("id", found.cause.id()), ("name", found.cause.name())];
        sheet.value("cause_score", &labels, found.score.total())?;
    }
    sheet.family("cause_connections", "gauge", "Connections that a cause affects.")?;
    for found in causes {
        let labels = [("id", found.cause.id()), ("name", found.cause.name())];
        sheet.value("cause_connections", &labels, found.flow_count)?;
    }
    Ok(())
}

const PREFIX: &str = "tcp_window_audit_";

/// Lines of the text; all label values are names of this program's own and need no escaping.
struct Sheet<'a> {
    out: &'a mut dyn Write,
    exposition: Exposition,
}

impl Sheet<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> io::Result<()> {
        // A counter is called as its samples in the one format, without their ending in the other.
        let is_whole = kind == "counter" && self.exposition == Exposition::Prometheus;
        let end = if is_whole { "_total" } else { "" };
        writeln!(self.out, "# HELP {PREFIX}{name}{end} {help}")?;
        writeln!(self.out, "# TYPE {PREFIX}{name}{end} {kind}")
    }

    fn value(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) -> io::Result<()> {
        let labels: Vec<_> =
            labels.iter().map(|(label, text)| format!("{label}=\"{text}\"")).collect();
        if labels.is_empty() {
            writeln!(self.out, "{PREFIX}{name} {value}")
        } else {
            writeln!(self.out, "{PREFIX}{name}{{{}}} {value}", labels.join(","))
        }
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), times: &Histogram) -> io::Result<()> {
        for bound in BOUNDS_US {
            let le = seconds(bound);
            let labels = [label, ("le", le.as_str())];
            self.value(&format!("{name}_bucket"), &labels, times.at_most(bound))?;
        }
        self.value(&format!("{name}_bucket"), &[label, ("le", "+Inf")], times.len())?;
        self.value(&format!("{name}_count"), &[label], times.len())?;
        self.value(&format!("{name}_sum"), &[label], seconds(times.sum_us()))
    }
}

/// Writes microseconds as seconds, in the least digits but at least one after the point.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_seconds() {
        assert_eq!(seconds(100), "0.0001");
        assert_eq!(seconds(1_000_000), "1.0");
        assert_eq!(seconds(2_500_000), "2.5");
        assert_eq!(seconds(0), "0.0");
    }

    #[test]
    fn classes_of_a_histogram_include_those_below() {
        let mut standing = Standing::default();
        for micros in [90, 400, 20_000_000] {
            standing.totals.behaviour.rtt_far.record(micros);
        }
        let mut text = Vec::new();
        write_metrics(&standing, Exposition::OpenMetrics, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let bucket = |le: &str| {
            let start = format!("{PREFIX}rtt_seconds_bucket{{side=\"responder\",le=\"{le}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
        };
        assert_eq!(
            [bucket("0.0001"), bucket("0.0005"), bucket("10.0"), bucket("+Inf")],
            ["1", "2", "2", "3"]
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn both_formats_have_the_same_samples_under_their_own_family_names() {
        let write = |exposition| {
            let mut text = Vec::new();
            write_metrics(&Standing::default(), exposition, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        let (open, own) = (write(Exposition::OpenMetrics), write(Exposition::Prometheus));
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&open), samples(&own));
        assert!(open.contains("# TYPE tcp_window_audit_packets counter\n"));
        assert!(own.contains("# TYPE tcp_window_audit_packets_total counter\n"));
        assert!(own.contains("# TYPE tcp_window_audit_rtt_seconds histogram\n"));
        assert!(!own.contains("# EOF") && !own.contains("# UNIT"));
    }
}
