//! The result of a run: all totals and findings, mergeable from any division into shards.
//!
//! Does not: read frames, judge them, or write reports.

use std::collections::BTreeMap;

use crate::conntrack::{CtState, Members, Policy, Profile, Reason, Sysctls, Verdict};
use crate::flow::{FlowFinding, FlowSightings, FlowStory, FlowTrouble};
use crate::frame;
use crate::occupancy::{Assessment, Capacity, Occupancy};
use crate::segment::Direction;
use crate::source::{FilterSummary, SourceSummary};
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Orientation};
use crate::wire::{Tunnels, Undecodable};

mod behaviour;
mod clocks;
mod early;
mod exhibit;
mod findings;
mod histogram;
mod host;
mod opening;
mod peers;
mod private;
mod provenance;
mod queries;
mod tally;
mod timeline;

pub use behaviour::{Behaviour, FlowsWith};
pub use clocks::{ClockDifference, median};
pub use early::Early;
pub use exhibit::{Exhibits, MAX_SHOWN_PACKETS, ShownFlow, ShownPacket, WantedFlow, Wish};
pub use findings::{Collected, Findings, MAX_FINDINGS, MAX_SIGHTINGS, MAX_SUSPECTS, MAX_TROUBLED};
pub use histogram::{Bin, Histogram};
pub use host::HostTracker;
pub use opening::{MAX_OPENINGS, Opening, Openings};
pub use peers::{Clocks, Peers, Server, Span, UNANSWERED_RETRIES};
pub use private::Private;
pub use provenance::{Addresses, Origin, Provenance, Times};
pub use queries::Queries;
pub use tally::{ChecksumSample, Tally};
pub use timeline::{Happened, MAX_INTERVALS, Timeline};

/// Packets and flows that one policy of the panel calls INVALID.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Hits {
    /// INVALID packets.
    pub packets: u64,
    /// Flows with at least one of them.
    pub flows: u64,
}

/// Flows that were forgotten before the tracker would have done so, to bound memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Forgotten {
    /// Connections.
    pub flows: u64,
    /// Flows of other protocols.
    pub others: u64,
    /// When the first was forgotten, in the tracker's time.
    pub since: Option<Timestamp>,
}

impl Forgotten {
    /// Returns whether there is any.
    pub const fn is_any(&self) -> bool {
        self.flows > 0 || self.others > 0
    }

    /// Adds those of another shard.
    pub fn merge(&mut self, part: &Self) {
        self.flows += part.flows;
        self.others += part.others;
        self.since = [self.since, part.since].into_iter().flatten().min();
    }
}

/// Counts over all judged packets and all flows.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// TCP segments by what rules would see: NEW.
    pub new: u64,
    /// ESTABLISHED.
    pub established: u64,
    /// INVALID.
    pub invalid: u64,
    /// UNTRACKED, because a rule exempts them.
    pub untracked: u64,
    /// Dropped by the tracker itself.
    pub dropped: u64,
    /// ICMP errors about a tracked flow.
    pub errors_related: u64,
    /// ICMP errors about none.
    pub errors_invalid: u64,
    /// ICMP errors that say that a TCP packet was too big for a hop.
    pub errors_too_big: u64,
    /// ICMP queries by destination and size.
    pub queries: Queries,
    /// ICMP errors that a rule exempts.
    pub errors_untracked: u64,
    /// Datagrams of other protocols, by protocol number and by what rules would see.
    pub datagrams: BTreeMap<(u8, CtState), u64>,
    /// INVALID segments by reason.
    pub invalid_by_reason: BTreeMap<Reason, u64>,
    /// Segments that passed although a rule spoke of them, by reason.
    pub passed_by_reason: BTreeMap<Reason, u64>,
    /// Segments that were left out: copies of others, captured at another place.
    pub copies: u64,
    /// Flows that were captured at several places.
    pub flows_seen_twice: u64,
    /// Segments whose options the snap length cut, so that some may be missing.
    pub options_cut: u64,
    /// Flows.
    pub flows: u64,
    /// Flows that the tracker took up mid-stream: their windows are not judged strictly.
    pub flows_picked_up: u64,
    /// Those of them that hold nothing but segments with payload.
    pub flows_of_messages: u64,
    /// Those of these in which a bare acknowledgement was due.
    pub flows_lacking_acks: u64,
    /// Flows picked up of which one direction is there, from its SYN-ACK on.
    pub flows_answering: u64,
    /// Flows that the tracker never had an entry for.
    pub flows_untracked: u64,
    /// Flows with packets in one direction only.
    pub flows_one_way: u64,
    /// Those of them that go on as if the other direction were there.
    pub flows_half_seen: u64,
    /// Flows forgotten before their time.
    pub forgotten: Forgotten,
    /// Payload bytes of all flows.
    pub payload_bytes: u64,
    /// What each policy of the panel calls INVALID, in the panel's order.
    pub hits: Vec<Hits>,
    /// What the ends of the flows did.
    pub behaviour: Behaviour,
    /// The entries of the connection table over time.
    pub occupancy: Occupancy,
    /// When packets were INVALID or sent again.
    pub timeline: Timeline,
    /// Who answered whom.
    pub peers: Peers,
}

impl Totals {
    /// Starts counting for a panel of this many policies.
    pub fn new(policies: usize) -> Self {
        Self { hits: vec![Hits::default(); policies], ..Self::default() }
    }

    /// Counts a segment.
    #[inline]
    pub fn count(&mut self, verdict: &Verdict, invalid_for: Members) {
        match verdict.ctstate {
            CtState::New => self.new += 1,
            CtState::Established | CtState::Related => self.established += 1,
            CtState::Untracked => self.untracked += 1,
            CtState::Invalid => self.invalid += 1,
            CtState::Dropped => self.dropped += 1,
        }
        if let Some(reason) = verdict.reason {
            let by_reason = if verdict.is_invalid() {
                &mut self.invalid_by_reason
            } else {
                &mut self.passed_by_reason
            };
            *by_reason.entry(reason).or_default() += 1;
        }
        if !invalid_for.is_empty() {
            self.count_hits(invalid_for);
        }
    }

    fn count_hits(&mut self, invalid_for: Members) {
        for policy in invalid_for.iter() {
            if let Some(hits) = self.hits.get_mut(policy) {
                hits.packets += 1;
            }
        }
    }

    /// Counts a datagram of another protocol.
    pub fn count_datagram(&mut self, protocol: u8, ctstate: CtState) {
        *self.datagrams.entry((protocol, ctstate)).or_default() += 1;
    }

    /// Counts the flows that each policy hit.
    pub fn count_flow_hits(&mut self, hit_under: Members) {
        for policy in hit_under.iter() {
            if let Some(hits) = self.hits.get_mut(policy) {
                hits.flows += 1;
            }
        }
    }

    /// Adds the counts of another shard.
    pub fn merge(&mut self, part: &Self) {
        self.new += part.new;
        self.established += part.established;
        self.invalid += part.invalid;
        self.untracked += part.untracked;
        self.dropped += part.dropped;
        self.errors_related += part.errors_related;
        self.errors_invalid += part.errors_invalid;
        self.errors_too_big += part.errors_too_big;
        self.queries.merge(&part.queries);
        self.errors_untracked += part.errors_untracked;
        self.options_cut += part.options_cut;
        self.copies += part.copies;
        self.flows_seen_twice += part.flows_seen_twice;
        self.flows += part.flows;
        self.flows_picked_up += part.flows_picked_up;
        self.flows_of_messages += part.flows_of_messages;
        self.flows_lacking_acks += part.flows_lacking_acks;
        self.flows_answering += part.flows_answering;
        self.flows_untracked += part.flows_untracked;
        self.flows_one_way += part.flows_one_way;
        self.flows_half_seen += part.flows_half_seen;
        self.forgotten.merge(&part.forgotten);
        self.payload_bytes += part.payload_bytes;
        self.behaviour.merge(&part.behaviour);
        self.occupancy.merge(&part.occupancy);
        self.timeline.merge(&part.timeline);
        self.peers.merge(&part.peers);
        for (key, count) in &part.datagrams {
            *self.datagrams.entry(*key).or_default() += count;
        }
        for (mine, theirs) in [
            (&mut self.invalid_by_reason, &part.invalid_by_reason),
            (&mut self.passed_by_reason, &part.passed_by_reason),
        ] {
            for (key, count) in theirs {
                *mine.entry(*key).or_default() += count;
            }
        }
        for (mine, theirs) in self.hits.iter_mut().zip(&part.hits) {
            mine.packets += theirs.packets;
            mine.flows += theirs.flows;
        }
    }
}

/// The kernel and settings that a run judges by, and where they came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Method {
    /// The policies of the panel: the run's own, its liberal twin, then those of the what-if.
    pub policies: Vec<Policy>,
    /// The settings.
    pub sysctls: Sysctls,
    /// What rules exempt from tracking, as pcap-filter expressions.
    pub notrack: Vec<String>,
}

impl Method {
    /// Judges as a kernel does by these settings, and as its liberal twin, without exemptions.
    pub fn new(profile: Profile, sysctls: Sysctls) -> Self {
        let policy = Policy::new(profile, &sysctls);
        Self { policies: vec![policy, policy.liberal()], sysctls, notrack: Vec::new() }
    }
}

/// One input of a run.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Input {
    /// What the source says of it.
    pub summary: SourceSummary,
}

/// Where a frame stands, as reports tell it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Position of its input in [`Inputs::read`], if several inputs were asked for.
    pub file: Option<usize>,
    /// The number of the frame in its input, from 1, as Wireshark counts it.
    pub frame: u64,
}

/// The inputs of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Inputs {
    /// How many were asked for.
    pub asked_for: usize,
    /// Those that could be opened, in the order given.
    pub read: Vec<Input>,
    /// What a filter left out of them.
    pub filter: Option<FilterSummary>,
}

impl Inputs {
    /// Finds the place of a frame, given its number within the run.
    pub fn place(&self, number: u64) -> Place {
        let frame::Place { file, frame } = frame::Place::of(number);
        Place { file: (self.asked_for > 1).then_some(file), frame }
    }
}

/// Everything that a run found out, in final order.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What judged.
    pub method: Method,
    /// Where that came from, and what was asked for.
    pub provenance: Provenance,
    /// Which packet of a frame was judged.
    pub tunnels: Tunnels,
    /// The inputs.
    pub inputs: Inputs,
    /// What the capturing machine's own tracker told, in a live capture.
    pub host: Option<HostTracker>,
    /// Why the inputs were not read to their end, if they were not.
    pub incomplete: Vec<String>,
    /// Capture time of the earliest frame.
    pub first_ts: Option<Timestamp>,
    /// Capture time of the latest frame.
    pub last_ts: Option<Timestamp>,
    /// Frames that are earlier than the one before them.
    pub time_steps_back: u64,
    /// The longest of these steps, in nanoseconds.
    pub longest_step_back: i64,
    /// The longest time without any frame, in nanoseconds.
    pub longest_silence: i64,
    /// What became of the frames.
    pub tally: Tally,
    /// Counts over packets and flows.
    pub totals: Totals,
    /// The flows with INVALID packets, by first frame; at most [`MAX_FINDINGS`].
    pub findings: Vec<FlowFinding>,
    /// Flows with INVALID packets beyond those kept.
    pub findings_not_kept: u64,
    /// The flows whose ends had the most trouble, the worst first; at most [`MAX_TROUBLED`].
    pub troubled: Vec<FlowTrouble>,
    /// Flows whose ends had trouble beyond those kept.
    pub troubled_not_kept: u64,
    /// Flows whose ends behaved as under a known fault, by first frame; at most [`MAX_SUSPECTS`].
    pub suspects: Vec<FlowTrouble>,
    /// Flows captured at several places, by first frame; at most [`MAX_SIGHTINGS`].
    pub sightings: Vec<FlowSightings>,
    /// The earliest SYNs and SYN-ACKs; at most [`MAX_OPENINGS`].
    pub openings: Vec<Opening>,
    /// The flows that were asked for in full and were there, by first frame.
    pub stories: Vec<FlowStory>,
    /// Packets and flows themselves, where a report shows them.
    pub exhibits: Exhibits,
    /// The connection table in full, if that was asked for and there was an entry.
    pub table: Option<Box<Assessment>>,
}

impl Audit {
    /// Returns the size of the connection table.
    pub fn capacity(&self) -> Option<Capacity> {
        let own = self.method.policies.first()?;
        Some(Capacity::of(own.profile, self.method.sysctls.table))
    }

    /// Returns whether the connection table would ever have been more than half full.
    pub fn table_is_half_full(&self) -> bool {
        let max = self.capacity().and_then(|capacity| capacity.max);
        let peak = self.totals.occupancy.peak().map(|reading| reading.total());
        max.zip(peak).is_some_and(|(max, peak)| peak > max / 2)
    }

    /// Returns the INVALID packets and flows under the run's own policy.
    pub fn strict(&self) -> Hits {
        self.totals.hits.first().copied().unwrap_or_default()
    }

    /// Returns what a policy of the panel called INVALID; none when it is not in the panel.
    pub fn hits(&self, policy: Policy) -> Option<Hits> {
        let position = self.method.policies.iter().position(|other| *other == policy)?;
        self.totals.hits.get(position).copied()
    }

    /// Returns the same with `nf_conntrack_tcp_be_liberal` = 1.
    pub fn liberal(&self) -> Hits {
        self.totals.hits.get(1).copied().unwrap_or_default()
    }

    /// Returns the INVALID packets of all protocols, under the run's own policy.
    pub fn invalid_of_all_protocols(&self) -> u64 {
        let datagrams = self.totals.datagrams.iter();
        let datagrams = datagrams.filter(|((_, ctstate), _)| *ctstate == CtState::Invalid);
        let datagrams = datagrams.map(|(_, count)| count).sum::<u64>();
        self.totals.invalid + self.totals.errors_invalid + datagrams
    }

    /// Returns a link type that is not known, when all frames are of such: nothing was audited.
    pub fn unsupported_link_type(&self) -> Option<u16> {
        let mut unknown = 0;
        let mut link_type = None;
        for (reason, count) in &self.tally.undecodable {
            if let Undecodable::LinkType(number) = reason {
                unknown += count;
                link_type = link_type.or(Some(*number));
            }
        }
        link_type.filter(|_| unknown == self.tally.frames())
    }

    /// Returns the findings with the most INVALID packets first; among equals the earlier first.
    pub fn worst(&self, most: usize) -> Vec<&FlowFinding> {
        let mut worst: Vec<_> =
            self.findings.iter().filter(|f| f.evidence.invalid_packets() > 0).collect();
        worst.sort_by_key(|f| (u64::MAX - f.evidence.invalid_packets(), f.audit.first_frame));
        worst.truncate(most);
        worst
    }
}

/// The verdict on one packet, as the verdict stream shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct PacketVerdict {
    /// Number of the frame within the run, see [`frame::Place::number`].
    pub frame: u64,
    /// The position of the packet among those of its frame, from 0.
    pub part: u16,
    /// Capture time.
    pub ts: Timestamp,
    /// Tracker time, by which the frames of several files are ordered.
    pub clock: Timestamp,
    /// Number of the flow's first frame within the run.
    pub flow: Option<u64>,
    /// The flow, or the one that an ICMP error quotes.
    pub key: FlowKey,
    /// Which way the packet, or the quoted one, goes.
    pub orientation: Orientation,
    /// Direction in the entry.
    pub direction: Option<Direction>,
    /// What was said under the run's own policy.
    pub verdict: Verdict,
    /// What rules would see under its liberal twin.
    pub liberal: CtState,
}

/// When it is a packet's turn: verdicts come in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Turn {
    clock: Timestamp,
    frame: u64,
    part: u16,
}

impl PacketVerdict {
    /// Returns when it is the packet's turn.
    pub const fn turn(&self) -> Turn {
        Turn { clock: self.clock, frame: self.frame, part: self.part }
    }
}
