//! What the two ends of a finished flow did, in numbers and in the flow's own directions.
//!
//! Does not: format anything.

use std::sync::LazyLock;

use crate::flow::OneWay;
use crate::flow::detail::{Detail, KindCount, KindCounts, Proofs, Side, Stall};
use crate::flow::effect::EffectCounts;
use crate::flow::exchange::Exchange;
use crate::flow::gist::{Gist, SideGist};
use crate::flow::half::{Half, Offer};
use crate::flow::handshake::Handshake;
use crate::flow::history::{ConnState, History};
use crate::flow::joined::Joined;
use crate::flow::retransmission::Kind;
use crate::flow::sack::SackAudit;
use crate::flow::scaling::{self, Scaling};
use crate::flow::signs::{Pause, SideSigns, Signs};
use crate::flow::steps::Steps;
use crate::flow::stuck::Stuck;
use crate::flow::window::WindowAudit;
use crate::segment::{Direction, PerDirection};
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// What one side did.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
pub struct SideSummary {
    /// What its SYN said of window scaling.
    pub offer: Offer,
    /// How its windows are to be read.
    pub scaling: Scaling,
    /// The segment size that its SYN announced.
    pub mss: Option<u16>,
    /// Whether its SYN permitted SACK.
    pub sack_permitted: bool,
    /// Whether its segments carry timestamps.
    pub timestamps: bool,
    /// What it sent below its highest number: the kinds that occurred.
    pub kinds: Vec<(Kind, KindCount)>,
    /// What it sent again, all kinds together.
    pub retransmitted: KindCount,
    /// Proofs that something had been sent again without need.
    pub proofs: Proofs,
    /// Timeouts in a row, at most.
    pub longest_backoff: u32,
    /// The windows that it offered.
    pub window: WindowAudit,
    /// The least shift that its windows must have been meant with, where that is more than the
    /// handshake says.
    pub hidden_shift: Option<u8>,
    /// The shift that its first window after the SYN suggests, where none was negotiated.
    pub suspected_shift: Option<u8>,
    /// Whether the other side seems not to know that these windows are scaled.
    pub peer_is_blind: bool,
    /// The SACK blocks that it sent.
    pub sack: SackAudit,
    /// By how much blocks of its reached beyond everything sent, where that was little.
    pub sack_over: Steps,
    /// The most bytes in flight.
    pub max_flight: u32,
    /// Payload bytes of the largest packet; 65535 for all beyond.
    pub largest: u16,
    /// Time to live, or hop limit, of the last packet.
    pub ttl: u8,
    /// Whether a packet is larger than the other side accepts segments: captured before it was cut,
    /// or after several were joined.
    pub sends_superpackets: bool,
    /// Data that was captured after its acknowledgement.
    pub data_after_ack: u32,
    /// What was sent again and again without getting through.
    pub stuck: Stuck,
    /// Packets of several segments that were sent again.
    pub joined: Joined,
    /// Bytes of this side that were acknowledged and never seen.
    pub missed_bytes: u64,
    /// Bytes of this side that were acknowledged in the capture before its first segment in it.
    pub acked_before: u32,
    /// Acknowledgements that this side sent of bytes never seen.
    pub acked_unseen: u32,
    /// The shortest time the other side took to answer, in microseconds.
    pub rtt_min_us: Option<u32>,
    /// The same, smoothed.
    pub rtt_smoothed_us: Option<u32>,
    /// The same for the SYN or SYN-ACK.
    pub rtt_handshake_us: Option<u32>,
    /// Holes given up because there were too many.
    pub holes_forgotten: u32,
}

/// What the two ends did.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// How the flow ended.
    pub conn_state: ConnState,
    history: History,
    original_is_high: bool,
    /// What each side did.
    pub sides: PerDirection<SideSummary>,
    /// The longest stall.
    pub stall: Option<Stall>,
    /// The number of stalls.
    pub stalls: u32,
    /// What went wrong in the handshake.
    pub handshake: Handshake,
    /// What became of INVALID packets.
    pub effects: EffectCounts,
    /// Signs of a fault on the path, if there are any.
    pub signs: Option<Box<Signs>>,
}

impl Summary {
    pub(super) fn of(
        exchange: &Exchange,
        original: Orientation,
        ways: PerDirection<OneWay>,
    ) -> Self {
        let detail = exchange.detail.as_deref();
        let halves = PerDirection {
            original: &exchange.halves[original],
            reply: &exchange.halves[original.flip()],
        };
        let side = |direction: Direction| {
            let orientation = match direction {
                Direction::Original => original,
                Direction::Reply => original.flip(),
            };
            let kept = detail.and_then(|detail| detail.sides[orientation].as_deref());
            let halves = (halves[direction], halves[direction.flip()]);
            SideSummary::of(halves, kept, &ways[direction])
        };
        let sides =
            PerDirection { original: side(Direction::Original), reply: side(Direction::Reply) };
        let original_is_high = original == Orientation::HighToLow;
        Self {
            conn_state: ConnState::of(halves.original.marks, halves.reply.marks),
            history: exchange.history,
            original_is_high,
            sides,
            stall: detail.and_then(|detail| detail.stall),
            stalls: detail.map_or(0, |detail| detail.stalls),
            handshake: detail.map(Detail::handshake).unwrap_or_default(),
            effects: detail.map(Detail::effects).unwrap_or_default(),
            signs: detail.and_then(|detail| detail.signs.clone()),
        }
    }

    /// Returns the signs in the packets of one side.
    pub fn side_signs(&self, direction: Direction) -> SideSigns {
        let orientation = match (direction, self.original_is_high) {
            (Direction::Original, false) | (Direction::Reply, true) => Orientation::LowToHigh,
            (Direction::Original, true) | (Direction::Reply, false) => Orientation::HighToLow,
        };
        self.signs.as_ref().map(|signs| signs.sides[orientation]).unwrap_or_default()
    }

    /// Returns which side spoke first after the pause that the flow did not survive.
    pub fn paused_side(&self, pause: &Pause) -> Direction {
        let is_original = pause.from_high == self.original_is_high;
        if is_original { Direction::Original } else { Direction::Reply }
    }

    /// Returns every capture time, so that all can be shifted alike.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.stall.iter_mut().map(|stall| &mut stall.ts)
    }

    /// Returns the history of the flow in letters.
    pub fn history(&self) -> String {
        self.history.text(self.original_is_high)
    }

    /// Returns how much trouble the flow had, for choosing which flows to show: packets sent again,
    /// stalls and windows that were zero.
    pub fn weight(&self) -> u64 {
        let sides = [&self.sides.original, &self.sides.reply];
        let of_side = |side: &SideSummary| {
            let window = &side.window;
            let windows = window.zero + window.overrun + window.shrunk;
            side.retransmitted.packets + u64::from(windows)
        };
        let handshake = u64::from(self.handshake.is_troubled());
        sides.into_iter().map(of_side).sum::<u64>() + u64::from(self.stalls) + handshake
    }

    /// Returns whether an end behaved as under a known fault, so that a diagnosis may rest on it.
    pub fn is_suspect(&self) -> bool {
        let of_side = |side: &SideSummary| {
            let scaling = side.hidden_shift.is_some() || side.suspected_shift.is_some();
            let is_stuck =
                side.stuck.timeouts > 0 || side.stuck.too_big > 0 || side.joined.in_vain > 0;
            side.sack.beyond + side.sack.below > 0 || scaling || side.peer_is_blind || is_stuck
        };
        of_side(&self.sides.original) || of_side(&self.sides.reply) || self.signs.is_some()
    }

    /// Returns the time of the handshake as seen from the capture point: answer to the SYN, and
    /// answer to the SYN-ACK, in microseconds.
    pub fn handshake_us(&self) -> Option<(u32, u32)> {
        self.gist().handshake_us()
    }

    /// Returns whether there is nothing to count or to show but what the gist says.
    pub(super) fn says_only(&self, gist: &Gist) -> bool {
        let is_clean = |side: &SideSummary| {
            let counts = [side.acked_before, side.data_after_ack, side.holes_forgotten];
            side.kinds.is_empty()
                && side.proofs == Proofs::default()
                && side.window == WindowAudit::default()
                && counts == [0; 3]
        };
        let sides = [&self.sides.original, &self.sides.reply];
        let is_quiet = self.stall.is_none() && self.handshake == Handshake::default();
        let is_plain = !self.is_suspect() && self.weight() == 0;
        self.gist() == *gist
            && sides.into_iter().all(is_clean)
            && self.effects == EffectCounts::default()
            && is_quiet
            && is_plain
    }

    /// Returns the payload bytes that were acknowledged and never seen, of both sides.
    pub const fn missed_bytes(&self) -> u64 {
        self.sides.original.missed_bytes + self.sides.reply.missed_bytes
    }
}

/// What is kept of a side of which there is nothing to keep.
static NOTHING: LazyLock<Side> = LazyLock::new(Side::default);

impl SideSummary {
    fn of((own, peer): (&Half, &Half), kept: Option<&Side>, way: &OneWay) -> Self {
        let gist = SideGist::of((own, peer), kept, way);
        let side = kept.unwrap_or(&NOTHING);
        let scaling = scaling::of(own, peer);
        let known_shift = match scaling {
            Scaling::By(shift) => shift,
            Scaling::Off | Scaling::Unknown => 0,
        };
        let mut window = side.window;
        if let Some(micros) = window.zero_since.map(|since| own.last_at.since(since)) {
            window.zero_us += u64::from(micros);
            window.longest_zero_us = window.longest_zero_us.max(micros);
        }
        Self {
            offer: gist.offer,
            scaling,
            mss: own.is(Half::MSS).then_some(own.mss),
            sack_permitted: gist.sack_permitted,
            timestamps: own.is(Half::TIMESTAMPS),
            kinds: kept.map(|side| side.kinds.iter().collect()).unwrap_or_default(),
            retransmitted: kept.map(|side| side.kinds.retransmitted()).unwrap_or_default(),
            proofs: side.proofs,
            longest_backoff: side.longest_backoff,
            window,
            hidden_shift: side.scaling.needed_shift().filter(|shift| *shift > known_shift),
            suspected_shift: side.scaling.ratio_shift,
            peer_is_blind: side.scaling.sender_is_blind() && !peer.is(Half::SCALES),
            sack: side.sack,
            sack_over: side.sack_over,
            max_flight: own.max_flight,
            largest: way.largest,
            ttl: way.ttl,
            sends_superpackets: gist.sends_superpackets,
            data_after_ack: side.data_after_ack,
            stuck: side.stuck,
            joined: side.joined,
            missed_bytes: gist.missed_bytes,
            acked_before: side.acked_before,
            acked_unseen: side.acked_unseen,
            rtt_min_us: gist.rtt_min_us,
            rtt_smoothed_us: own.srtt(),
            rtt_handshake_us: gist.rtt_handshake_us,
            holes_forgotten: side.holes_forgotten(),
        }
    }

    /// Returns the counts by kind.
    pub fn counts(&self) -> KindCounts {
        KindCounts::from_list(&self.kinds)
    }

    /// Returns the packets of a kind.
    pub fn packets(&self, kind: Kind) -> u64 {
        self.kinds.iter().find(|(k, _)| *k == kind).map_or(0, |(_, count)| count.packets)
    }
}
