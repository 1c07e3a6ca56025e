//! The life of each entry, recorded when the table is asked for.
//!
//! Does not: track packets; it is told what became of them.

use std::cmp::Ordering;

use crate::conntrack::TcpState;
use crate::occupancy::count::Occupancy;
use crate::occupancy::series::Series;
use crate::time::Timestamp;
use crate::tuple::{FlowKey, Orientation};

/// The lives that are kept, earliest first: 80 bytes each. Those beyond are counted over time, but
/// not by service, and not simulated.
pub const MAX_LIVES: usize = 2_000_000;

/// What an entry is at a moment.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum Phase {
    /// A TCP connection in this state.
    Tcp(TcpState),
    /// UDP without a reply so far.
    UdpUnreplied,
    /// UDP with a reply, not yet a stream.
    UdpReplied,
    /// A UDP stream: assured.
    UdpStream,
    /// An ICMP or `ICMPv6` query.
    Icmp,
    /// Any other protocol.
    Generic,
}

impl Phase {
    /// All phases, in the order in which they are counted.
    pub const ALL: [Self; 14] = [
        Self::Tcp(TcpState::SynSent),
        Self::Tcp(TcpState::SynSent2),
        Self::Tcp(TcpState::SynRecv),
        Self::Tcp(TcpState::Established),
        Self::Tcp(TcpState::FinWait),
        Self::Tcp(TcpState::CloseWait),
        Self::Tcp(TcpState::LastAck),
        Self::Tcp(TcpState::TimeWait),
        Self::Tcp(TcpState::Close),
        Self::UdpUnreplied,
        Self::UdpReplied,
        Self::UdpStream,
        Self::Icmp,
        Self::Generic,
    ];

    /// Returns protocol and state as `conntrack -L` has them.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Tcp(state) => ("TCP", state.name()),
            Self::UdpUnreplied => ("UDP", "unreplied"),
            Self::UdpReplied => ("UDP", "replied"),
            Self::UdpStream => ("UDP", "stream"),
            Self::Icmp => ("ICMP", "query"),
            Self::Generic => ("other", "generic"),
        }
    }

    /// Returns whether the entry only waits for its end: nothing more is due.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Tcp(TcpState::TimeWait | TcpState::Close))
    }

    /// Returns whether a full table may give the entry up although it is assured:
    /// `tcp_can_early_drop()`, `nf_conntrack_proto_tcp.c`, Linux 4.19 and later.
    pub const fn is_closing(self) -> bool {
        use TcpState::{Close, CloseWait, FinWait, LastAck, TimeWait};
        matches!(self, Self::Tcp(FinWait | CloseWait | LastAck | TimeWait | Close))
    }

    const fn column(self) -> usize {
        match self {
            Self::Tcp(TcpState::None | TcpState::SynSent) => 0,
            Self::Tcp(TcpState::SynSent2) => 1,
            Self::Tcp(TcpState::SynRecv) => 2,
            Self::Tcp(TcpState::Established) => 3,
            Self::Tcp(TcpState::FinWait) => 4,
            Self::Tcp(TcpState::CloseWait) => 5,
            Self::Tcp(TcpState::LastAck) => 6,
            Self::Tcp(TcpState::TimeWait) => 7,
            Self::Tcp(TcpState::Close) => 8,
            Self::UdpUnreplied => 9,
            Self::UdpReplied => 10,
            Self::UdpStream => 11,
            Self::Icmp => 12,
            Self::Generic => 13,
        }
    }
}

/// Milliseconds after the beginning of a life, rounded down, up to 49 days.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct After(u32);

impl After {
    /// Not in this life.
    pub const NEVER: Self = Self(u32::MAX);

    /// Returns how long `at` is after `start`.
    pub fn between(start: Timestamp, at: Timestamp) -> Self {
        let millis = at.nanos_since(start).max(0) / NANOS_PER_MILLI;
        Self(u32::try_from(millis).unwrap_or(u32::MAX - 1).min(u32::MAX - 1))
    }

    /// Returns the time, or none if there is none.
    pub fn from(self, start: Timestamp) -> Option<Timestamp> {
        (self != Self::NEVER).then(|| start.plus_nanos(i64::from(self.0) * NANOS_PER_MILLI))
    }
}

const NANOS_PER_MILLI: i64 = 1_000_000;

/// One entry from its first packet on, while it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Course {
    frame: u64,
    start: Timestamp,
    last_packet: After,
    assured: After,
    closing: After,
    original: Orientation,
    picked_up: bool,
    phase: Phase,
}

impl Course {
    /// Starts with the frame that made the entry, which way it went, and whether it is TCP that was taken
    /// up mid-stream.
    pub const fn new(
        (frame, start): (u64, Timestamp),
        original: Orientation,
        picked_up: bool,
        phase: Phase,
    ) -> Self {
        Self {
            frame,
            start,
            last_packet: After(0),
            assured: After::NEVER,
            closing: After::NEVER,
            original,
            picked_up,
            phase,
        }
    }

    /// Takes in what the entry is after a packet.
    pub fn go_on(&mut self, now: Timestamp, phase: Phase, is_assured: bool) {
        let now = After::between(self.start, now);
        self.last_packet = now;
        self.phase = phase;
        if is_assured {
            self.assured = self.assured.min(now);
        }
        self.closing = if phase.is_closing() { self.closing.min(now) } else { After::NEVER };
    }

    /// Returns what the entry is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the whole life of the entry.
    pub const fn end(self, key: FlowKey, end: Timestamp) -> Life {
        let Self { frame, start, last_packet, assured, closing, original, picked_up, phase } = self;
        Life { key, frame, start, end, last_packet, assured, closing, original, picked_up, phase }
    }
}

/// One entry from its first packet to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Life {
    /// The endpoints.
    pub key: FlowKey,
    /// Number of the frame that made the entry.
    pub frame: u64,
    /// When it was made.
    pub start: Timestamp,
    /// When it was deleted, or expired if nothing but what the capture holds renews it.
    pub end: Timestamp,
    /// Its last packet.
    pub last_packet: After,
    /// When it became assured, so that a full table spares it.
    pub assured: After,
    /// When it began to close, so that the collector of a full table does not.
    pub closing: After,
    /// Which way its first packet went.
    pub original: Orientation,
    /// Whether it is TCP that was taken up mid-stream.
    pub picked_up: bool,
    /// What it was at last.
    pub phase: Phase,
}

const _: () = assert!(size_of::<Life>() <= 80, "millions of them are kept");

impl Life {
    /// Starts a life.
    pub const fn new(key: FlowKey, frame: u64, start: Timestamp, phase: Phase) -> Self {
        Self {
            key,
            frame,
            start,
            end: start,
            last_packet: After(0),
            assured: After::NEVER,
            closing: After::NEVER,
            original: Orientation::LowToHigh,
            picked_up: false,
            phase,
        }
    }

    /// Returns whether there is an entry at this time.
    pub fn is_there(&self, at: Timestamp) -> bool {
        self.start < at && at <= self.end
    }

    /// Returns whether the entry still has a packet to come at this time, or has one at it.
    pub fn is_in_use(&self, at: Timestamp) -> bool {
        self.last_packet.from(self.start).is_some_and(|last| last >= at)
    }
}

/// The lives of a run or of a part of it: the earliest of all.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Lives {
    kept: Vec<Life>,
    not_kept: u64,
}

impl Lives {
    /// Adds a life that is over.
    pub fn push(&mut self, life: Life) {
        self.kept.push(life);
        if self.kept.len() >= MAX_LIVES + MAX_LIVES / 4 {
            self.trim();
        }
    }

    /// Adds the lives of another part of the run.
    pub fn merge(&mut self, part: Self) {
        if self.kept.is_empty() {
            self.kept = part.kept;
        } else {
            self.kept.extend(part.kept);
        }
        self.not_kept += part.not_kept;
        if self.kept.len() > MAX_LIVES {
            self.trim();
        }
    }

    /// Puts them in the order in which they began, so that this is not to be done for all parts together. Most
    /// are in that order already, in few runs, which such a sort finds.
    pub fn sort(&mut self) {
        self.kept.sort_by(order);
    }

    /// Returns the lives in the order in which they began, and how many later ones were not kept.
    pub fn finish(mut self) -> (Vec<Life>, u64) {
        self.trim();
        (self.kept, self.not_kept)
    }

    /// Keeps the earliest: the earliest of all parts are among the earliest of each.
    fn trim(&mut self) {
        // Parts that are in order are only joined.
        self.kept.sort_by(order);
        let beyond = self.kept.len().saturating_sub(MAX_LIVES);
        self.kept.truncate(MAX_LIVES);
        self.not_kept += beyond as u64;
    }
}

/// Orders lives by their beginnings; those that one frame began have an order too, whatever part has them.
fn order(one: &Life, other: &Life) -> Ordering {
    let by_time = (one.start, one.frame).cmp(&(other.start, other.frame));
    by_time.then_with(|| one.key.cmp(&other.key))
}

/// Everything recorded of the table when it is asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Watched {
    /// Entries by phase, in the order of [`Phase::ALL`].
    phases: Series<{ Phase::ALL.len() }>,
    /// The lives.
    pub lives: Lives,
    /// Entries with shorter timeouts.
    pub shorter: Occupancy,
}

impl Watched {
    /// Counts that entries change from one phase to another; none is no entry.
    pub fn change(&mut self, at: Timestamp, from: Option<Phase>, to: Option<Phase>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.phases.add(at, from.column(), -1);
        }
        if let Some(to) = to {
            self.phases.add(at, to.column(), 1);
        }
    }

    /// Returns the entries by phase at the end of the step that contains this time, or that ends
    /// with it.
    pub fn phases_at(&self, end: Timestamp) -> Vec<(Phase, u64)> {
        let step = self.phases.steps().take_while(|step| step.end <= end).last();
        let sums = step.map_or([0; Phase::ALL.len()], |step| step.sums);
        let counts = sums.map(|sum| u64::try_from(sum).unwrap_or(0));
        Phase::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// Adds what another part of the run recorded.
    pub fn merge(&mut self, part: Self) {
        self.phases.merge(&part.phases);
        self.lives.merge(part.lives);
        self.shorter.merge(&part.shorter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NANOS_PER_SEC;
    use crate::tuple::TCP;

    fn life(start: i64, frame: u64) -> Life {
        let key = FlowKey::of_v4(TCP, (1, 1), (2, 2)).0;
        let start = Timestamp::from_parts(start, 0);
        Life { end: start, ..Life::new(key, frame, start, Phase::UdpUnreplied) }
    }

    #[test]
    fn every_phase_has_a_column_of_its_own() {
        for (column, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.column(), column, "{phase:?}");
        }
    }

    #[test]
    fn a_life_knows_when_it_was_assured_closing_and_last_used() {
        let Life { key, frame, start, original, picked_up, phase, .. } = life(100, 1);
        let mut course = Course::new((frame, start), original, picked_up, phase);
        let second = |n: i64| Timestamp::from_parts(100 + n, 500_000);
        course.go_on(second(1), Phase::Tcp(TcpState::Established), true);
        course.go_on(second(5), Phase::Tcp(TcpState::TimeWait), true);
        course.go_on(second(6), Phase::Tcp(TcpState::TimeWait), true);
        let one = course.end(key, second(126));
        assert_eq!(one.assured.from(one.start), Some(Timestamp(101 * NANOS_PER_SEC)));
        assert_eq!(one.closing.from(one.start), Some(Timestamp(105 * NANOS_PER_SEC)));
        assert!(one.is_there(second(126)) && !one.is_there(second(127)));
        assert!(!one.is_there(one.start), "what is made at a time is not there before it");
        assert!(one.is_in_use(Timestamp(106 * NANOS_PER_SEC)) && !one.is_in_use(second(7)));
    }

    #[test]
    fn the_earliest_lives_are_kept_however_they_come() {
        let mut lives = Lives::default();
        for n in [3, 1, 2] {
            lives.push(life(n, 10 - n.unsigned_abs()));
        }
        let mut other = Lives::default();
        other.push(life(1, 1));
        lives.merge(other);
        let (kept, not_kept) = lives.finish();
        let order: Vec<_> = kept.iter().map(|life| life.frame).collect();
        assert_eq!((order, not_kept), (vec![1, 9, 8, 7], 0));
    }
}
