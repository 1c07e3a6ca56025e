//! Why a segment below the highest number was sent: the rules, without any state.
//!
//! The base is which bytes were seen before (see [`ranges`](super::ranges)); time only chooses among
//! the reasons for sending them again. RFC 6298 (timer), RFC 8985 (RACK and tail loss probe), RFC
//! 5681 and 6675 (duplicate and selective acknowledgements), with Linux' minimum of 200 ms.
//!
//! Does not: keep anything.

use crate::flow::ranges::Order;
use crate::seq::SeqNum;

/// What a segment below the highest number turned out to be.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// The same packet twice: copied by the network, or captured twice.
    Duplicate = 0,
    /// Sent once, but overtaken by a later segment before the capture point.
    Reordered,
    /// Sent again although the acknowledgement had passed long enough ago.
    Spurious,
    /// Sent again because the acknowledgement that passed here was not accepted by the sender.
    AckNotProcessed,
    /// Sent again, and the first time it did not reach the capture point.
    LostUpstream,
    /// Sent again by the retransmission timer.
    Rto,
    /// Sent again behind a timeout: everything in flight counts as lost then.
    SlowStart,
    /// The last segment sent again to provoke an acknowledgement (RFC 8985, section 7).
    TailProbe,
    /// Sent again after three duplicate acknowledgements, or as much by SACK.
    Fast,
    /// The same with less evidence: a later segment has arrived, and enough time has passed.
    Rack,
    /// A further hole of the same loss.
    SackRecovery,
    /// A SYN again.
    Syn,
    /// A SYN-ACK again.
    SynAck,
    /// A FIN without data again.
    Fin,
    /// The byte before the next one, after a second of silence.
    KeepAlive,
    /// A byte at most, while the receiver's window is zero.
    WindowProbe,
    /// Two rules apply, or none.
    Ambiguous,
    /// Sent twice by its sender, before an answer to the first could have come back.
    Unprompted,
    /// The data of a SYN, which the SYN-ACK did not take, in a segment of its own (RFC 7413, section
    /// 4.2.2).
    SynData,
}

impl Kind {
    /// All kinds, in their order.
    pub const ALL: [Self; 19] = [
        Self::Duplicate,
        Self::Reordered,
        Self::Spurious,
        Self::AckNotProcessed,
        Self::LostUpstream,
        Self::Rto,
        Self::SlowStart,
        Self::TailProbe,
        Self::Fast,
        Self::Rack,
        Self::SackRecovery,
        Self::Syn,
        Self::SynAck,
        Self::Fin,
        Self::KeepAlive,
        Self::WindowProbe,
        Self::Ambiguous,
        Self::Unprompted,
        Self::SynData,
    ];

    /// Returns the stable code: lower case with underscores.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Spurious => "spurious",
            Self::AckNotProcessed => "ack_not_processed",
            Self::LostUpstream => "lost_upstream",
            Self::Rto => "rto",
            Self::SlowStart => "slow_start",
            Self::TailProbe => "tlp",
            Self::Fast => "fast",
            Self::Rack => "rack",
            Self::SackRecovery => "sack_recovery",
            Self::Syn => "syn",
            Self::SynAck => "synack",
            Self::Fin => "fin",
            Self::KeepAlive => "keepalive",
            Self::WindowProbe => "zero_window_probe",
            Self::Ambiguous => "ambiguous",
            Self::Unprompted => "unprompted",
            Self::SynData => "syn_data",
        }
    }

    /// Returns the kind in words, as a report for people names it: in a table, in a list with a number
    /// behind it, and as what ended a stall.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Duplicate => "copy of the same packet",
            Self::Reordered => "packet overtaken before the capture point",
            Self::Spurious => "retransmission of acknowledged data",
            Self::AckNotProcessed => "retransmission after a refused acknowledgement",
            Self::LostUpstream => "retransmission of a loss before the capture point",
            Self::Rto => "retransmission timeout",
            Self::SlowStart => "further retransmission after a timeout",
            Self::TailProbe => "tail loss probe",
            Self::Fast => "fast retransmission",
            Self::Rack => "early retransmission (RACK)",
            Self::SackRecovery => "further retransmission of the same loss",
            Self::Syn => "SYN sent again",
            Self::SynAck => "SYN-ACK sent again",
            Self::Fin => "FIN sent again",
            Self::KeepAlive => "keep-alive",
            Self::WindowProbe => "probe of a zero window",
            Self::Ambiguous => "retransmission of unclear cause",
            Self::Unprompted => "repetition before an answer could come",
            Self::SynData => "data of a SYN sent again",
        }
    }

    /// Returns whether the sender sent bytes, a SYN or a FIN a second time because it had to
    /// believe that they were lost.
    pub const fn is_retransmission(self) -> bool {
        !matches!(
            self,
            Self::Duplicate
                | Self::Reordered
                | Self::KeepAlive
                | Self::WindowProbe
                | Self::Unprompted
                | Self::SynData
        )
    }
}

/// What a sender is recovering from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Loss {
    /// Told by acknowledgements.
    Reported,
    /// Its timer ran out.
    TimedOut,
}

/// A loss being repaired, until the highest number at its beginning is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Recovery {
    pub(super) loss: Loss,
    pub(super) until: SeqNum,
}

/// The circumstances in which bytes were sent again; times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
pub(super) struct View {
    /// Whether the segment holds the first byte that is not acknowledged.
    pub(super) first: bool,
    /// Whether it ends with the highest byte sent.
    pub(super) last: bool,
    /// Time since the data last made progress.
    pub(super) idle: u32,
    /// Time since the same bytes were last sent again, and the time before that.
    pub(super) gaps: Option<(u32, Option<u32>)>,
    /// Round trip between both ends, as far as it is known.
    pub(super) rtt: Option<u32>,
    /// The least round trip, as far as it is known.
    pub(super) least_rtt: Option<u32>,
    /// Whether both ends use SACK.
    pub(super) sack: bool,
    /// Duplicate acknowledgements without progress.
    pub(super) dup_acks: u8,
    /// Bytes above the first missing one that SACK reports.
    pub(super) sacked: u32,
    /// The segment size.
    pub(super) mss: u32,
    pub(super) recovery: Option<Recovery>,
    /// Whether the tail was probed since the last progress.
    pub(super) probed: bool,
}

/// Linux' least retransmission timeout, `TCP_RTO_MIN`.
const MIN_RTO_US: u32 = 200_000;
/// What scheduling may take off a timer as seen from elsewhere.
const TIMER_SLACK_US: u32 = 5_000;

impl View {
    /// Returns whether so much time has passed that the timer may have run out.
    fn timed_out(&self) -> bool {
        let estimate = self.rtt.unwrap_or(0).saturating_add(MIN_RTO_US);
        let least = (estimate / 5).saturating_mul(4).max(MIN_RTO_US - TIMER_SLACK_US);
        // A probe of the tail does not put the timer off: it runs from the segment itself.
        let waited = match self.gaps {
            Some((gap, _)) if !self.probed => gap.min(self.idle),
            _ => self.idle,
        };
        waited >= least || self.has_backed_off()
    }

    /// Returns whether the gaps between repetitions double: 1.7 to 2.3 times the one before.
    pub(super) fn has_backed_off(&self) -> bool {
        let Some((gap, Some(previous))) = self.gaps else { return false };
        let (gap, previous) = (u64::from(gap), u64::from(previous));
        gap * 10 >= previous * 17
            && gap * 10 <= previous * 23
            && previous * 2 >= u64::from(MIN_RTO_US)
    }

    /// Returns whether the receiver reported something above the first missing byte.
    pub(super) const fn some_evidence(&self) -> bool {
        if self.sack { self.sacked > 0 } else { self.dup_acks > 0 }
    }

    /// Returns whether it reported enough for a loss: three duplicates (RFC 5681), or more than two
    /// segments by SACK (RFC 6675).
    const fn enough_evidence(&self) -> bool {
        if self.sack { self.sacked > 2 * self.mss } else { self.dup_acks >= 3 }
    }

    /// Returns whether the segment is the probe of a tail: the last one sent, and nothing else
    /// known; about two round trips after the last progress.
    fn probes_tail(&self) -> bool {
        let early = self.rtt.unwrap_or(0).saturating_mul(3) / 2;
        self.last && self.sack && !self.probed && !self.some_evidence() && self.idle >= early
    }
}

/// Says what made the sender send bytes again that were seen before.
pub(super) fn trigger(view: &View) -> Kind {
    let timed_out = view.first && view.timed_out();
    match view.recovery.map(|recovery| recovery.loss) {
        Some(_) if timed_out => Kind::Rto,
        Some(Loss::TimedOut) => Kind::SlowStart,
        Some(Loss::Reported) => Kind::SackRecovery,
        None if view.probes_tail() => Kind::TailProbe,
        None if timed_out && view.enough_evidence() => Kind::Ambiguous,
        None if timed_out => Kind::Rto,
        None if view.enough_evidence() => Kind::Fast,
        None if view.some_evidence() => Kind::Rack,
        None => Kind::Ambiguous,
    }
}

/// Lag below which an unstamped segment counts as reordered when no round trip is known: 3 ms.
const UNKNOWN_LAG_US: u32 = 3_000;

/// Says what bytes are that were never seen although later ones were.
///
/// `order` is that of this segment and the one that opened the hole; `lag` the time between them.
pub(super) fn first_sight(order: Order, lag: u32, view: &View) -> Kind {
    match order {
        Order::Earlier => Kind::Reordered,
        Order::Later => Kind::LostUpstream,
        Order::Unknown => {
            // Whoever sends again what an acknowledgement reports missing needs a round trip, and
            // whoever's timer runs out has waited for longer.
            let soon = view.least_rtt.map_or(UNKNOWN_LAG_US, |rtt| rtt / 2);
            let timer = view.first && view.timed_out();
            if lag < soon && !timer { Kind::Reordered } else { Kind::LostUpstream }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MSS: u32 = 1448;

    /// The first byte in flight again, 300 ms after the last progress, 20 ms of round trip.
    const VIEW: View = View {
        first: true,
        last: false,
        idle: 300_000,
        gaps: None,
        rtt: Some(20_000),
        least_rtt: Some(20_000),
        sack: true,
        dup_acks: 0,
        sacked: 0,
        mss: MSS,
        recovery: None,
        probed: false,
    };

    fn recovering(loss: Loss) -> Recovery {
        Recovery { loss, until: SeqNum(0) }
    }

    #[test]
    fn the_timer_needs_the_first_byte_and_its_time() {
        assert_eq!(trigger(&VIEW), Kind::Rto);
        assert_eq!(trigger(&View { idle: 195_000, ..VIEW }), Kind::Rto);
        assert_eq!(trigger(&View { idle: 194_999, ..VIEW }), Kind::Ambiguous);
        assert_eq!(trigger(&View { first: false, ..VIEW }), Kind::Ambiguous);
    }

    #[test]
    fn a_long_path_has_a_longer_timer() {
        let far = View { rtt: Some(300_000), idle: 400_000, ..VIEW };
        assert_eq!(trigger(&far), Kind::Rto);
        assert_eq!(trigger(&View { idle: 399_999, ..far }), Kind::Ambiguous);
    }

    #[test]
    fn doubling_gaps_are_the_timer_even_where_the_estimate_is_longer() {
        let far = View { rtt: Some(2_000_000), idle: 200_000, ..VIEW };
        for (gap, kind) in [
            (169_999, Kind::Ambiguous),
            (170_000, Kind::Rto),
            (230_000, Kind::Rto),
            (230_001, Kind::Ambiguous),
        ] {
            let view = View { gaps: Some((gap, Some(100_000))), ..far };
            assert_eq!(trigger(&view), kind, "gap {gap}");
        }
    }

    #[test]
    fn the_tail_is_probed_once_after_one_and_a_half_round_trips_without_evidence() {
        let tail = View { last: true, idle: 30_000, ..VIEW };
        assert_eq!(trigger(&tail), Kind::TailProbe);
        assert_eq!(trigger(&View { idle: 29_999, ..tail }), Kind::Ambiguous);
        let probed = View { probed: true, gaps: Some((180_000, None)), ..tail };
        assert_eq!(trigger(&View { idle: 225_000, ..probed }), Kind::Rto);
        assert_eq!(trigger(&View { idle: 190_000, ..probed }), Kind::Ambiguous);
        assert_eq!(trigger(&View { sacked: 1, ..tail }), Kind::Rack);
        assert_eq!(trigger(&View { sack: false, idle: 240_000, ..tail }), Kind::Rto);
    }

    #[test]
    fn more_than_two_segments_by_sack_make_a_fast_retransmission() {
        let soon = View { idle: 20_000, ..VIEW };
        assert_eq!(trigger(&View { sacked: 2 * MSS, ..soon }), Kind::Rack);
        assert_eq!(trigger(&View { sacked: 2 * MSS + 1, ..soon }), Kind::Fast);
        assert_eq!(trigger(&View { sacked: 1, ..soon }), Kind::Rack);
        assert_eq!(trigger(&soon), Kind::Ambiguous);
    }

    #[test]
    fn without_sack_three_duplicates_make_a_fast_retransmission() {
        let soon = View { idle: 20_000, sack: false, ..VIEW };
        assert_eq!(trigger(&View { dup_acks: 3, ..soon }), Kind::Fast);
        assert_eq!(trigger(&View { dup_acks: 2, ..soon }), Kind::Rack);
        assert_eq!(trigger(&View { dup_acks: 4, sack: true, ..soon }), Kind::Ambiguous);
    }

    #[test]
    fn evidence_and_the_timer_together_are_ambiguous() {
        assert_eq!(trigger(&View { sacked: 3 * MSS, ..VIEW }), Kind::Ambiguous);
    }

    #[test]
    fn what_follows_belongs_to_the_recovery_that_runs() {
        let soon = View { idle: 20_000, ..VIEW };
        let reported = View { recovery: Some(recovering(Loss::Reported)), ..soon };
        assert_eq!(trigger(&reported), Kind::SackRecovery);
        let timed_out = View { recovery: Some(recovering(Loss::TimedOut)), ..soon };
        assert_eq!(trigger(&timed_out), Kind::SlowStart);
        assert_eq!(trigger(&View { idle: 300_000, ..reported }), Kind::Rto);
        assert_eq!(trigger(&View { idle: 300_000, first: false, ..timed_out }), Kind::SlowStart);
    }

    #[test]
    fn a_stamp_decides_before_the_clock_does() {
        assert_eq!(first_sight(Order::Earlier, 1_000_000, &VIEW), Kind::Reordered);
        assert_eq!(first_sight(Order::Later, 0, &VIEW), Kind::LostUpstream);
    }

    #[test]
    fn without_stamps_half_a_round_trip_parts_reordering_from_loss() {
        let view = View { idle: 10_000, ..VIEW };
        assert_eq!(first_sight(Order::Unknown, 9_999, &view), Kind::Reordered);
        assert_eq!(first_sight(Order::Unknown, 10_000, &view), Kind::LostUpstream);
        assert_eq!(first_sight(Order::Unknown, 9_999, &VIEW), Kind::LostUpstream, "the timer");
        let unknown = View { least_rtt: None, ..view };
        assert_eq!(first_sight(Order::Unknown, 2_999, &unknown), Kind::Reordered);
        assert_eq!(first_sight(Order::Unknown, 3_000, &unknown), Kind::LostUpstream);
    }

    #[test]
    fn the_codes_are_in_the_order_of_the_kinds() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    /// Lists join them by commas and put numbers behind them.
    #[test]
    fn each_kind_has_words_of_its_own_that_fit_into_a_list() {
        let words: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.words()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        for words in words {
            assert!(!words.contains(['_', ',', ':', ';']), "{words}");
            assert!(
                words.len() <= 50 && !words.ends_with(|last: char| last.is_ascii_digit()),
                "{words}"
            );
        }
    }
}
