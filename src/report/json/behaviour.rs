//! What the ends did, as JSON: totals, and the part of a flow that speaks of TCP.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Audit, Behaviour, Histogram};
use crate::flow::community_id::community_id;
use crate::flow::{
    EffectCounts, FlowStory, FlowTrouble, Handshake, KindCount, KindCounts, Offer, Proofs,
    SackAudit, Scaling, SideSummary, Stall, Summary, WindowAudit,
};
use crate::report::json::story::Telling;
use crate::segment::PerDirection;
use crate::tuple::FlowKey;

/// Totals over all flows.
#[derive(Serialize)]
pub(super) struct Totals {
    segments: BTreeMap<&'static str, Count>,
    retransmitted: Count,
    proofs: ProofCounts,
    flows_with: BTreeMap<&'static str, u64>,
    conn_states: BTreeMap<&'static str, u64>,
    effects: Effects,
    missed_bytes: u64,
    holes_forgotten: u64,
    longest_stall_us: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_near_us: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_far_us: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmission_delay_us: Option<Distribution>,
}

#[derive(Serialize)]
struct Count {
    packets: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "super::is_zero")]
    first_frame: u64,
}

impl From<KindCount> for Count {
    fn from(KindCount { packets, bytes, first_frame }: KindCount) -> Self {
        Self { packets, bytes, first_frame }
    }
}

#[derive(Serialize)]
struct ProofCounts {
    dsack: u32,
    eifel: u32,
    too_early: u32,
}

impl From<Proofs> for ProofCounts {
    fn from(Proofs { dsack, eifel, too_early }: Proofs) -> Self {
        Self { dsack, eifel, too_early }
    }
}

#[derive(Serialize)]
struct Effects {
    dropped: u64,
    not_dropped: u64,
    unknown: u64,
}

impl From<EffectCounts> for Effects {
    fn from(EffectCounts { dropped, not_dropped, unknown }: EffectCounts) -> Self {
        Self { dropped, not_dropped, unknown }
    }
}

/// A distribution of times; quantiles are exact to 0.1 %.
#[derive(Serialize)]
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
pub(super) struct Troubled {
    id: u64,
    originator: String,
    responder: String,
    first_ts: String,
    last_ts: String,
    tcp: Tcp,
}

impl Troubled {
    pub(super) fn all(audit: &Audit) -> Vec<Self> {
        audit.troubled.iter().map(Self::of).collect()
    }

    fn of(flow: &FlowTrouble) -> Self {
        let (original, reply) = flow.key.endpoints(flow.audit.original);
        Self {
            id: flow.audit.first_frame,
            originator: original.to_string(),
            responder: reply.to_string(),
            first_ts: flow.audit.first_ts.to_string(),
            last_ts: flow.audit.last_ts.to_string(),
            tcp: Tcp::of(&flow.key, &flow.summary),
        }
    }
}

/// The flow that was asked for in full.
#[derive(Serialize)]
pub(super) struct Full {
    #[serde(flatten)]
    flow: Troubled,
    #[serde(flatten)]
    story: Telling,
}

impl Full {
    pub(super) fn of(told: &FlowStory) -> Self {
        let FlowStory { key, audit, summary, story } = told;
        let (audit, summary) = (audit.clone(), summary.clone());
        let direction = |orientation| audit.direction_of(orientation).name();
        let story = Telling::of(story, direction);
        Self { flow: Troubled::of(&FlowTrouble { key: *key, audit, summary }), story }
    }
}

/// What the ends of one flow did.
#[derive(Serialize)]
pub(super) struct Tcp {
    community_id: String,
    conn_state: &'static str,
    history: String,
    missed_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<u64>,
    stalls: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_stall: Option<LongestStall>,
    effects: Effects,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<Opening>,
    original: Side,
    reply: Side,
}

/// The longest time in which nothing passed although something was due.
#[derive(Serialize)]
struct LongestStall {
    us: u32,
    waiting_for: &'static str,
    ended_by: &'static str,
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
struct Side {
    scaling: ScalingOf,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<u16>,
    sack_permitted: bool,
    timestamps: bool,
    segments: BTreeMap<&'static str, Count>,
    retransmitted: Count,
    proofs: ProofCounts,
    longest_backoff: u32,
    window: Window,
    sack: Sack,
    max_flight: u32,
    missed_bytes: u64,
    acked_unseen: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_min_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_smoothed_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_handshake_us: Option<u32>,
    holes_forgotten: u32,
}

/// Window scaling of one side.
#[derive(Serialize)]
struct ScalingOf {
    offer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_shift: Option<u8>,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_shift: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspected_shift: Option<u8>,
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
struct Window {
    zero: u32,
    zero_us: u64,
    longest_zero_us: u32,
    full: u32,
    shrunk: u32,
    most_shrunk: u32,
    overrun: u32,
    most_overrun: u32,
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
struct Sack {
    inside: u32,
    beyond: u32,
    below: u32,
    dsack: u32,
    empty: u32,
    explained: u32,
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
    pub(super) fn of(key: &FlowKey, summary: &Summary) -> Self {
        let PerDirection { original, reply } = &summary.sides;
        let handshake = summary.handshake_us();
        Self {
            community_id: community_id(key),
            conn_state: summary.conn_state.name(),
            history: summary.history(),
            missed_bytes: summary.missed_bytes(),
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
