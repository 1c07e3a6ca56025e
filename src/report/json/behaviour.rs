//! What the ends did, as JSON: totals, and the part of a flow that speaks of TCP.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Audit, Behaviour, Histogram};
use crate::flow::{
    EffectCounts, FlowStory, FlowTrouble, Handshake, KindCount, KindCounts, Offer, Proofs,
    SackAudit, Scaling, SideSummary, Stall, Summary, WindowAudit,
};
use crate::report::json::flow::Record;
use crate::report::json::story::Telling;
use crate::segment::PerDirection;

/// Totals over all flows.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Totals {
    /// Segments below the highest number sent, by kind.
    segments: BTreeMap<&'static str, Count>,
    /// Those of them that were sent again.
    retransmitted: Count,
    /// Proofs that something had been sent again without need.
    proofs: ProofCounts,
    /// Flows with something to tell, by what it is.
    flows_with: BTreeMap<&'static str, u64>,
    /// Flows by how they ended, in the words of Zeek.
    conn_states: BTreeMap<&'static str, u64>,
    /// What became of INVALID packets behind the capture point.
    effects: Effects,
    /// Payload bytes that were acknowledged and never seen.
    missed_bytes: u64,
    /// Payload bytes that were acknowledged before the first segment of their side was seen.
    acked_before_bytes: u64,
    /// Gaps that were not followed because there were too many in one flow.
    holes_forgotten: u64,
    /// The longest time in which nothing passed although something was due.
    longest_stall_us: u32,
    /// Round trips to the originators.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_near_us: Option<Distribution>,
    /// Round trips to the responders.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_far_us: Option<Distribution>,
    /// Handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<Distribution>,
    /// From first sending to sending again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmission_delay_us: Option<Distribution>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Count {
    packets: u64,
    /// Payload bytes.
    bytes: u64,
    /// The first frame of the kind.
    #[serde(skip_serializing_if = "super::is_zero")]
    first_frame: u64,
}

impl From<KindCount> for Count {
    fn from(KindCount { packets, bytes, first_frame }: KindCount) -> Self {
        Self { packets, bytes, first_frame }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ProofCounts {
    /// Duplicates reported by the receiver (RFC 2883).
    dsack: u32,
    /// Acknowledged before it could have been, by its timestamp (RFC 3522).
    eifel: u32,
    /// Acknowledged sooner than a round trip takes.
    too_early: u32,
}

impl From<Proofs> for ProofCounts {
    fn from(Proofs { dsack, eifel, too_early }: Proofs) -> Self {
        Self { dsack, eifel, too_early }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Effects {
    /// The receiver never processed them.
    dropped: u64,
    /// The receiver processed them.
    not_dropped: u64,
    /// Nothing proves either.
    unknown: u64,
}

impl From<EffectCounts> for Effects {
    fn from(EffectCounts { dropped, not_dropped, unknown }: EffectCounts) -> Self {
        Self { dropped, not_dropped, unknown }
    }
}

/// A distribution of times; quantiles are exact to 0.1 %. 0 stands for a time between equal time
/// stamps, which is too short to tell.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Distribution {
    count: u64,
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Distribution {
    fn of(times: &Histogram) -> Option<Self> {
        Some(Self {
            count: times.len(),
            min: times.quantile_us(0)?,
            p50: times.quantile_us(500)?,
            p90: times.quantile_us(900)?,
            p99: times.quantile_us(990)?,
            max: times.quantile_us(1000)?,
        })
    }
}

fn by_code(kinds: &KindCounts) -> BTreeMap<&'static str, Count> {
    kinds.iter().map(|(kind, count)| (kind.code(), count.into())).collect()
}

impl Totals {
    pub(super) fn of(behaviour: &Behaviour) -> Self {
        let conn_states = behaviour.conn_states.iter();
        Self {
            segments: by_code(&behaviour.kinds),
            retransmitted: behaviour.kinds.retransmitted().into(),
            proofs: behaviour.proofs.into(),
            flows_with: behaviour.flows.list().into_iter().filter(|(_, n)| *n > 0).collect(),
            conn_states: conn_states.map(|(state, count)| (state.name(), *count)).collect(),
            effects: behaviour.effects.into(),
            missed_bytes: behaviour.missed_bytes,
            acked_before_bytes: behaviour.acked_before,
            holes_forgotten: behaviour.holes_forgotten,
            longest_stall_us: behaviour.longest_stall_us,
            rtt_near_us: Distribution::of(&behaviour.rtt_near),
            rtt_far_us: Distribution::of(&behaviour.rtt_far),
            rtt_handshake_us: Distribution::of(&behaviour.rtt_handshake),
            retransmission_delay_us: Distribution::of(&behaviour.retransmission_delay),
        }
    }
}

/// A flow whose ends had trouble.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Troubled {
    #[serde(flatten)]
    record: Record,
    /// Capture time of the last packet.
    last_ts: String,
    tcp: Tcp,
}

impl Troubled {
    pub(super) fn of(flow: &FlowTrouble, audit: &Audit) -> Self {
        Self {
            record: Record::of(&flow.key, &flow.audit, &flow.summary, audit),
            last_ts: flow.audit.last_ts.to_string(),
            tcp: Tcp::of(&flow.summary),
        }
    }
}

/// The flow that was asked for in full.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Full {
    #[serde(flatten)]
    flow: Troubled,
    #[serde(flatten)]
    story: Telling,
}

impl Full {
    pub(super) fn of(told: &FlowStory, audit: &Audit) -> Self {
        let FlowStory { key, audit: flow, summary, story } = told;
        let direction = |orientation| flow.direction_of(orientation).name();
        let story = Telling::of(story, direction);
        let trouble = FlowTrouble { key: *key, audit: flow.clone(), summary: summary.clone() };
        Self { flow: Troubled::of(&trouble, audit), story }
    }
}

/// What the ends of one flow did.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Tcp {
    /// Time of the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<u64>,
    /// Times in which nothing passed although something was due.
    stalls: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_stall: Option<LongestStall>,
    /// What became of INVALID packets behind the capture point.
    effects: Effects,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<Opening>,
    original: Side,
    reply: Side,
}

/// The longest time in which nothing passed although something was due.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LongestStall {
    /// Microseconds.
    us: u32,
    /// What was due: `handshake`, `acknowledgement` or `window`.
    waiting_for: &'static str,
    /// What came then. For something sent again its kind, as in `segments`; else `ack`, `data`,
    /// `new_syn`, `new_synack`, `new_fin`, `rst` or `other`.
    ended_by: &'static str,
    /// The frame that ended it.
    frame: u64,
    ts: String,
}

impl From<Stall> for LongestStall {
    fn from(Stall { frame, ts, micros: us, waiting, end }: Stall) -> Self {
        let (waiting_for, ended_by) = (waiting.code(), end.code());
        Self { us, waiting_for, ended_by, frame, ts: ts.to_string() }
    }
}

/// Trouble with the handshake.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Opening {
    syn_retries_us: Vec<u32>,
    syn_retries_not_kept: u32,
    syn_acks_reset: u32,
    challenge_acks: u32,
    other_syn_acks: u32,
    options_changed: u32,
    options_rewritten: u32,
}

impl Opening {
    fn of(handshake: &Handshake) -> Option<Self> {
        handshake.is_troubled().then(|| Self {
            syn_retries_us: handshake.syn_retries_us.clone(),
            syn_retries_not_kept: handshake.syn_retries_not_kept,
            syn_acks_reset: handshake.syn_acks_reset,
            challenge_acks: handshake.challenge_acks,
            other_syn_acks: handshake.other_syn_acks,
            options_changed: handshake.options_changed,
            options_rewritten: handshake.options_rewritten,
        })
    }
}

/// What one side did.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Side {
    scaling: ScalingOf,
    /// The segment size that its SYN announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<u16>,
    /// Whether its SYN permitted SACK.
    sack_permitted: bool,
    /// Whether its segments carry timestamps.
    timestamps: bool,
    /// Segments below the highest number sent, by kind.
    segments: BTreeMap<&'static str, Count>,
    retransmitted: Count,
    proofs: ProofCounts,
    /// Timeouts in a row, at most.
    longest_backoff: u32,
    window: Window,
    sack: Sack,
    /// The most bytes in flight.
    max_flight: u32,
    /// Bytes of this side that were acknowledged and never seen.
    missed_bytes: u64,
    /// Acknowledgements that this side sent of bytes never seen.
    acked_unseen: u32,
    /// The shortest time the other side took to answer; 0 where it is too short to tell by the time
    /// stamps of the capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_min_us: Option<u32>,
    /// The same, smoothed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_smoothed_us: Option<u32>,
    /// The same for the SYN or SYN-ACK.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<u32>,
    /// Gaps given up because there were too many.
    holes_forgotten: u32,
}

/// Window scaling of one side.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ScalingOf {
    /// What its SYN said: `offered`, `not_offered` or `not_seen`.
    offer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_shift: Option<u8>,
    /// How its windows are to be read: `on`, `off` or `unknown`.
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<u8>,
    /// The least shift that its windows must have been meant with, where that is more than the
    /// handshake says.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_shift: Option<u8>,
    /// The shift that its first window suggests, where none was negotiated.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspected_shift: Option<u8>,
    /// Whether the other side seems not to know that these windows are scaled.
    peer_is_blind: bool,
}

impl ScalingOf {
    fn of(side: &SideSummary) -> Self {
        let (offer, offered_shift) = match side.offer {
            Offer::NotSeen => ("not_seen", None),
            Offer::NotOffered => ("not_offered", None),
            Offer::Shift(shift) => ("offered", Some(shift)),
        };
        let (effect, shift) = match side.scaling {
            Scaling::Unknown => ("unknown", None),
            Scaling::Off => ("off", None),
            Scaling::By(shift) => ("on", Some(shift)),
        };
        Self {
            offer,
            offered_shift,
            effect,
            shift,
            hidden_shift: side.hidden_shift,
            suspected_shift: side.suspected_shift,
            peer_is_blind: side.peer_is_blind,
        }
    }
}

/// The windows that one side offered.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Window {
    /// Times that it was zero.
    zero: u32,
    /// How long, in all.
    zero_us: u64,
    longest_zero_us: u32,
    /// Times that the other side filled it.
    full: u32,
    /// Times that its right edge moved left.
    shrunk: u32,
    /// By how many bytes at most.
    most_shrunk: u32,
    /// Segments of the other side beyond it.
    overrun: u32,
    /// By how many bytes at most.
    most_overrun: u32,
    /// Windows below a segment.
    silly: u32,
}

impl From<WindowAudit> for Window {
    fn from(window: WindowAudit) -> Self {
        Self {
            zero: window.zero,
            zero_us: window.zero_us,
            longest_zero_us: window.longest_zero_us,
            full: window.full,
            shrunk: window.shrunk,
            most_shrunk: window.most_shrunk,
            overrun: window.overrun,
            most_overrun: window.most_overrun,
            silly: window.silly,
        }
    }
}

/// The SACK blocks that one side sent, and the bounds of a shift that would explain them.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sack {
    /// Blocks between the acknowledgement and the data sent.
    inside: u32,
    /// Blocks above the data sent.
    beyond: u32,
    /// Blocks below the acknowledgement.
    below: u32,
    /// Reports of duplicates.
    dsack: u32,
    /// Blocks without a byte.
    empty: u32,
    /// Blocks that one shift explains.
    explained: u32,
    /// The least and the largest such shift.
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<[i32; 2]>,
}

impl From<SackAudit> for Sack {
    fn from(sack: SackAudit) -> Self {
        let shift = sack.shift().map(|(low, high)| [low, high]);
        let SackAudit { inside, beyond, below, dsack, empty, explained, .. } = sack;
        Self { inside, beyond, below, dsack, empty, explained, shift }
    }
}

impl Side {
    fn of(side: &SideSummary) -> Self {
        Self {
            scaling: ScalingOf::of(side),
            mss: side.mss,
            sack_permitted: side.sack_permitted,
            timestamps: side.timestamps,
            segments: by_code(&side.counts()),
            retransmitted: side.retransmitted.into(),
            proofs: side.proofs.into(),
            longest_backoff: side.longest_backoff,
            window: side.window.into(),
            sack: side.sack.into(),
            max_flight: side.max_flight,
            missed_bytes: side.missed_bytes,
            acked_unseen: side.acked_unseen,
            rtt_min_us: side.rtt_min_us,
            rtt_smoothed_us: side.rtt_smoothed_us,
            rtt_handshake_us: side.rtt_handshake_us,
            holes_forgotten: side.holes_forgotten,
        }
    }
}

impl Tcp {
    pub(super) fn of(summary: &Summary) -> Self {
        let PerDirection { original, reply } = &summary.sides;
        let handshake = summary.handshake_us();
        Self {
            rtt_handshake_us: handshake.map(|(far, near)| u64::from(far) + u64::from(near)),
            stalls: summary.stalls,
            longest_stall: summary.stall.map(LongestStall::from),
            effects: summary.effects.into(),
            handshake: Opening::of(&summary.handshake),
            original: Side::of(original),
            reply: Side::of(reply),
        }
    }
}
