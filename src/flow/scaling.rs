//! Window scaling: what the SYNs said, what is in effect, and what the traffic betrays.
//!
//! Two tests find scaling that the captured handshake does not show. The ratio of the window in the
//! SYN to the next one: a Linux host that offers 64240 bytes writes 502 when it scales by 7. And the
//! least shift that makes the data fit the window, where the receiver acknowledges that data.
//!
//! Does not: name a cause.

use crate::flow::half::{Half, Offer};
use crate::seq::SeqNum;

/// The highest shift count that counts; a higher offer is taken as this (RFC 7323, section 2.3).
pub const MAX_SHIFT: u8 = 14;

/// How the windows of one side are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Scaling {
    /// A SYN was not seen.
    Unknown,
    /// At least one side did not offer scaling, so that nobody scales.
    Off,
    /// Both sides offered it; windows are shifted by this, 0–14.
    By(u8),
}

/// Returns how windows of a side with the first offer are read where the peer made the second.
pub(super) const fn in_effect(own: Offer, peer: Offer) -> Scaling {
    match (own, peer) {
        (Offer::NotOffered, _) | (_, Offer::NotOffered) => Scaling::Off,
        (Offer::NotSeen, _) | (_, Offer::NotSeen) => Scaling::Unknown,
        (Offer::Shift(shift), Offer::Shift(_)) => {
            Scaling::By(if shift > MAX_SHIFT { MAX_SHIFT } else { shift })
        }
    }
}

/// Returns how the windows of `own` are to be read.
#[inline]
pub(super) const fn of(own: &Half, peer: &Half) -> Scaling {
    in_effect(own.offer(), peer.offer())
}

/// The ratio of two windows counts from this shift on: a receiver may well halve its window twice.
const LEAST_RATIO: u8 = 3;

/// Returns the shift that the window after a SYN suggests: the logarithm of the ratio, rounded.
pub(super) fn ratio(syn_window: u16, next_window: u16) -> Option<u8> {
    if next_window == 0 {
        return None;
    }
    let (syn, next) = (u64::from(syn_window), u64::from(next_window));
    // log2 rounds up where the square of the ratio is at least 2^(2k + 1).
    let squared = (syn * syn) / (next * next);
    let doubled = squared.checked_ilog2()?;
    let shift = u8::try_from(doubled.div_ceil(2)).ok()?;
    (LEAST_RATIO..=MAX_SHIFT).contains(&shift).then_some(shift)
}

/// How far a suggested shift must be above the one in effect: a receiver may well halve its window
/// twice.
const LEAST_DIFFERENCE: u8 = 3;

/// Returns whether the shift that a ratio suggests is more than the one in effect.
///
/// Less says nothing: Windows offers 8192 bytes and a shift of 8 in the SYN, then 64 kB.
pub(super) const fn is_more(ratio: u8, scaling: Scaling) -> bool {
    match scaling {
        Scaling::Unknown => false,
        Scaling::Off => true,
        Scaling::By(shift) => ratio >= shift.saturating_add(LEAST_DIFFERENCE),
    }
}

/// Returns the least shift with which `flight` bytes fit into the window, up to 14.
pub(super) fn least_shift(flight: u32, window: u16) -> Option<u8> {
    if window == 0 {
        return None;
    }
    (0..=MAX_SHIFT).find(|shift| u64::from(window) << shift >= u64::from(flight))
}

/// Round trips in which data must not fit the window seen, before scaling is taken as hidden.
const ROUNDS: u8 = 3;
/// Windows filled to the unscaled byte, before a sender is taken as blind.
const BLIND_WINDOWS: u32 = 5;

/// What the traffic of one side betrays about the scaling of its windows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct ScalingAudit {
    /// The shift that the first window after the SYN suggests, where less or none was negotiated.
    pub ratio_shift: Option<u8>,
    /// The least shift with which all accepted data fits, where more was accepted than the
    /// handshake allows.
    needed: Option<u8>,
    /// Round trips in which it was needed.
    rounds: u8,
    /// The end of data beyond the window that is not acknowledged yet, and the shift it needs.
    pending: Option<(SeqNum, u8)>,
    /// How often the other side stopped exactly at the unscaled window.
    pub raw_stops: u32,
}

impl ScalingAudit {
    /// Returns the least shift that the receiver must have meant: data beyond the window it seemed
    /// to offer was acknowledged in three round trips.
    pub fn needed_shift(&self) -> Option<u8> {
        self.needed.filter(|_| self.rounds >= ROUNDS)
    }

    /// Returns whether the sender seems not to know that these windows are scaled.
    pub(super) const fn sender_is_blind(&self) -> bool {
        self.raw_stops >= BLIND_WINDOWS
    }

    /// Takes data beyond the window that needs this shift; one observation a round trip.
    pub(super) fn exceeded(&mut self, end: SeqNum, shift: u8) {
        match &mut self.pending {
            None => self.pending = Some((end, shift)),
            Some((_, pending)) => *pending = (*pending).max(shift),
        }
    }

    /// Takes an acknowledgement, which may accept data beyond the window.
    pub(super) fn acknowledged(&mut self, ack: SeqNum) {
        if let Some((end, shift)) = self.pending
            && !end.is_after(ack)
        {
            self.pending = None;
            self.rounds = self.rounds.saturating_add(1);
            self.needed = self.needed.max(Some(shift));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_needs_both_offers() {
        let (seven, none, unseen) = (Offer::Shift(7), Offer::NotOffered, Offer::NotSeen);
        assert_eq!(in_effect(seven, Offer::Shift(0)), Scaling::By(7));
        assert_eq!(in_effect(seven, none), Scaling::Off);
        assert_eq!(in_effect(none, unseen), Scaling::Off);
        assert_eq!(in_effect(seven, unseen), Scaling::Unknown);
        assert_eq!(in_effect(unseen, seven), Scaling::Unknown);
    }

    #[test]
    fn an_offer_above_fourteen_counts_as_fourteen() {
        let by = |shift| in_effect(Offer::Shift(shift), Offer::Shift(7));
        assert_eq!(by(13), Scaling::By(13));
        assert_eq!(by(14), Scaling::By(14));
        assert_eq!(by(15), Scaling::By(14));
        assert_eq!(by(255), Scaling::By(14));
    }

    #[test]
    fn the_ratio_of_a_linux_window_is_its_shift() {
        assert_eq!(ratio(64_240, 502), Some(7));
        assert_eq!(ratio(65_535, 2058), Some(5));
        assert_eq!(ratio(64_240, 64_240), None);
        assert_eq!(ratio(65_535, 0), None);
    }

    #[test]
    fn the_ratio_counts_from_eight_on_rounded() {
        // 2^2.5 = 5.66 is where rounding to 3 begins.
        assert_eq!(ratio(10_000, 1768), None);
        assert_eq!(ratio(10_000, 1767), Some(3));
        assert_eq!(ratio(8_000, 1_000), Some(3));
    }

    #[test]
    fn a_suggested_shift_counts_from_three_above_the_one_in_effect() {
        assert!(is_more(3, Scaling::Off));
        assert!(!is_more(14, Scaling::Unknown));
        let below: Vec<u8> = (0..=14).filter(|by| is_more(7, Scaling::By(*by))).collect();
        assert_eq!(below, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_least_shift_is_the_first_that_fits() {
        assert_eq!(least_shift(500, 500), Some(0));
        assert_eq!(least_shift(501, 500), Some(1));
        assert_eq!(least_shift(64_256, 502), Some(7));
        assert_eq!(least_shift(64_257, 502), Some(8));
        assert_eq!(least_shift(1, 0), None);
    }

    #[test]
    fn hidden_scaling_takes_three_round_trips_of_accepted_data() {
        let mut audit = ScalingAudit::default();
        for round in 1..=3 {
            let end = SeqNum(round * 1000);
            audit.exceeded(end, 4);
            audit.exceeded(end.plus(10), 5);
            audit.acknowledged(end.minus(1));
            assert_eq!(audit.needed_shift(), None);
            audit.acknowledged(end);
        }
        assert_eq!(audit.needed_shift(), Some(5));
    }
}
