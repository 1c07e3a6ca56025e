//! What was captured, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Audit, HostTracker, Tally};
use crate::source::digest::Digest;
use crate::source::{FilterSummary, Interface, SourceSummary};
use crate::wire::Tunnels;

/// What was captured; every frame is in exactly one count.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Capture {
    files: Vec<File>,
    frames: u64,
    /// Capture time of the earliest frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ts: Option<String>,
    /// Capture time of the latest frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ts: Option<String>,
    /// Frames that are earlier than the one before them.
    time_steps_back: u64,
    /// Packets behind the first of their frame, where frames hold several; the counts that follow are
    /// of packets then.
    #[serde(skip_serializing_if = "Option::is_none")]
    further_packets: Option<u64>,
    /// TCP segments judged.
    tcp_segments: u64,
    /// ICMP errors about TCP judged.
    tcp_errors: u64,
    /// Fragments of datagrams.
    fragments: u64,
    /// Datagrams of other protocols, by protocol number.
    other_protocols: BTreeMap<String, u64>,
    /// Frames that gave nothing to judge, by reason.
    undecodable: BTreeMap<String, u64>,
    /// Segments whose options the snap length cut.
    options_cut: u64,
    /// Segments left out as copies from another place, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<u64>,
    /// Connections that have them, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    flows_seen_twice: Option<u64>,
    /// Frames whose checksums were not judged because the capturing host sent them, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    excused_checksums: Option<u64>,
    /// What the capturing machine's own tracker told, in a live capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filter>,
    /// Whether tunnels were opened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inner: bool,
}

/// What the capturing machine's own tracker told, beside what was predicted of it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Host {
    /// TCP connections that it had before the capture began.
    connections_known: u64,
    /// INVALID packets of all protocols at the capture point.
    invalid_predicted: u64,
    /// Those that it counted meanwhile, in its whole network namespace.
    invalid_counted: u64,
    /// Entries that it had at last, of all protocols; none where no rule has it track.
    entries: u64,
}

impl Host {
    fn of(audit: &Audit) -> Option<Self> {
        let HostTracker { connections_known, invalid_counted, entries } = audit.host?;
        let invalid_predicted = audit.invalid_of_all_protocols();
        Some(Self { connections_known, invalid_predicted, invalid_counted, entries })
    }
}

/// What was left out on request, and is in no other count.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Filter {
    expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames_left_out: Option<u64>,
}

impl Filter {
    fn of(filter: &FilterSummary) -> Self {
        Self { expression: filter.expression.clone(), frames_left_out: filter.left_out }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct File {
    /// Its name as it was asked for.
    name: String,
    format: String,
    /// Bytes of the file, compressed as it may be, that were read.
    bytes_read: u64,
    /// Its size in bytes; absent when it cannot be read twice, and when addresses are mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Its SHA-256 in hexadecimal digits; absent as the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    interfaces: Vec<CaptureInterface>,
    /// By how much its clock is ahead of that of an earlier file, by the connections that both hold,
    /// in nanoseconds; taken off its times.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_ns: Option<i64>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CaptureInterface {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// A LINKTYPE_ value.
    link_type: u16,
    /// Bytes captured of a packet at most; 0 when unlimited.
    snaplen: u32,
    /// Packets that the interface dropped, if the capture says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    drops_if: Option<u64>,
    /// Packets that the capturing host dropped, if the capture says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    drops_os: Option<u64>,
}

impl Capture {
    pub(super) fn of(audit: &Audit) -> Self {
        let tally: &Tally = &audit.tally;
        let digests = audit.provenance.digests.iter().copied().chain(std::iter::repeat(None));
        let files = audit.inputs.read.iter().zip(digests);
        Self {
            files: files.map(|(input, digest)| File::of(&input.summary, digest)).collect(),
            frames: tally.frames(),
            first_ts: audit.first_ts.map(|ts| ts.to_string()),
            last_ts: audit.last_ts.map(|ts| ts.to_string()),
            time_steps_back: audit.time_steps_back,
            further_packets: Some(tally.further_packets).filter(|count| *count > 0),
            tcp_segments: tally.segments,
            tcp_errors: tally.tcp_errors,
            fragments: tally.fragments,
            other_protocols: tally.other.iter().map(|(p, count)| (p.to_string(), *count)).collect(),
            undecodable: tally.undecodable.iter().map(|(r, count)| (r.code(), *count)).collect(),
            options_cut: audit.totals.options_cut,
            copies: Some(audit.totals.copies).filter(|count| *count > 0),
            flows_seen_twice: Some(audit.totals.flows_seen_twice).filter(|count| *count > 0),
            excused_checksums: Some(tally.excused_checksums).filter(|count| *count > 0),
            host: Host::of(audit),
            filter: audit.inputs.filter.as_ref().map(Filter::of),
            inner: audit.tunnels == Tunnels::Opened,
        }
    }
}

impl File {
    fn of(input: &SourceSummary, digest: Option<Digest>) -> Self {
        Self {
            name: input.name.clone(),
            format: input.format.clone(),
            bytes_read: input.bytes_read,
            size: digest.map(|digest| digest.size),
            sha256: digest.map(|digest| digest.hex()),
            interfaces: input.interfaces.iter().map(CaptureInterface::of).collect(),
            clock_ahead_ns: input.set_back.map(|back| back.ahead_ns),
        }
    }
}

impl CaptureInterface {
    fn of(interface: &Interface) -> Self {
        Self {
            name: interface.name.clone(),
            link_type: interface.link_type,
            snaplen: interface.snaplen,
            drops_if: interface.dropped_by_interface,
            drops_os: interface.dropped_by_host,
        }
    }
}
