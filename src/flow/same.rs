//! Whether two SYNs, or two SYN-ACKs, are one packet that was captured at two places.
//!
//! Does not: know where they were captured.

use crate::segment::{Flags, Segment};

/// The time within which another SYN with the same clock or identification is a copy: below the
/// least timeout of a SYN, which is 1 s.
const SAME_SYN_US: u32 = 900_000;
/// The time within which a SYN with other numbers, but the same clock or identification, is the
/// same one behind a device that changes numbers.
const CHANGED_SYN_US: u32 = 100_000;
/// The same where only the identification tells.
const CHANGED_NAMED_US: u32 = 10_000;
/// The time within which a packet without any identity is a copy: nobody reacts so fast.
pub(super) const NO_IDENTITY_US: u32 = 1_000;

/// Returns whether two SYNs, or two SYN-ACKs, of one flow are the same packet at two places.
///
/// A SYN that is sent again has another clock and another identification, and comes a second later.
pub(super) fn is_same_syn(first: &Segment, second: &Segment, gap_us: u32) -> bool {
    let value = |segment: &Segment| segment.options.timestamps.map(|ts| ts.value);
    let same_kind = first.has(Flags::ACK) == second.has(Flags::ACK);
    let same_id = first.ip_id == second.ip_id;
    let is_named = same_id && first.ip_id != 0;
    let (one, other) = (value(first), value(second));
    let same_clock = one.is_some() && one == other;
    let other_clock = one.is_some() && other.is_some() && one != other;
    if !same_kind || other_clock {
        return false;
    }
    // Two servers that answer one SYN have numbers, and mostly clocks, of their own.
    let is_answer = first.has(Flags::ACK);
    let most = match (first.seq == second.seq, is_named, same_clock) {
        (true, true, _) => SAME_SYN_US,
        (true, false, true) | (false, true, true) => CHANGED_SYN_US,
        (true, false, false) if same_id => NO_IDENTITY_US,
        (false, true, false) => CHANGED_NAMED_US,
        (false, false, true) if !is_answer && first.ttl != second.ttl => CHANGED_SYN_US,
        _ => return false,
    };
    gap_us < most
}

/// Returns whether two SYNs, or two SYN-ACKs, of one flow are the same packet in two files or on two
/// interfaces, whatever time lies between by their clocks.
pub fn is_same_elsewhere(first: &Segment, second: &Segment) -> bool {
    let value = |segment: &Segment| segment.options.timestamps.map(|ts| ts.value);
    let (one, other) = (value(first), value(second));
    let same_clock = one.is_some() && one == other;
    let other_clock = one.is_some() && other.is_some() && one != other;
    let is_named = first.ip_id == second.ip_id && first.ip_id != 0;
    let other_name = first.ip_id != second.ip_id && first.ip_id != 0 && second.ip_id != 0;
    let same_seq = first.seq == second.seq;
    let same_kind = first.has(Flags::ACK) == second.has(Flags::ACK);
    let proofs = [same_seq, is_named, same_clock].into_iter().filter(|holds| *holds).count();
    // A device that names packets anew leaves the clock, or there is none.
    let contradicts = other_clock || other_name && !same_clock;
    same_kind && !contradicts && proofs >= 2
}

/// Returns whether a packet has something that tells it from the same one sent again.
pub(super) const fn has_identity(segment: &Segment) -> bool {
    segment.ip_id != 0 || segment.options.timestamps.is_some()
}

/// Returns whether two sights of a SYN offer the same.
pub fn offers_the_same(one: &Segment, other: &Segment) -> bool {
    let (a, b) = (&one.options, &other.options);
    let has_clock = (a.timestamps.is_some(), b.timestamps.is_some());
    a.mss == b.mss
        && a.wscale == b.wscale
        && a.sack_permitted == b.sack_permitted
        && has_clock.0 == has_clock.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Options, TcpTimestamps};
    use crate::seq::SeqNum;

    fn syn(seq: u32, ip_id: u16, clock: Option<u32>) -> Segment {
        let timestamps = clock.map(|value| TcpTimestamps { value, echo: 0 });
        let options = Options { timestamps, ..Options::default() };
        Segment { seq: SeqNum(seq), flags: Flags::SYN, ip_id, options, ..Segment::default() }
    }

    #[test]
    fn a_syn_with_its_identification_is_the_same_until_it_could_be_sent_again() {
        let (first, copy) = (syn(7, 5, None), syn(7, 5, None));
        assert!(is_same_syn(&first, &copy, SAME_SYN_US - 1));
        assert!(!is_same_syn(&first, &copy, SAME_SYN_US));
        assert!(!is_same_syn(&first, &syn(7, 6, None), 10));
    }

    #[test]
    fn a_syn_with_another_clock_was_sent_again() {
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(7, 5, Some(2)), 10));
        assert!(is_same_syn(&syn(7, 5, Some(1)), &syn(7, 9, Some(1)), 10));
    }

    #[test]
    fn other_numbers_need_the_same_identification_or_another_hop() {
        let next_hop = Segment { ttl: 9, ..syn(99, 8, Some(1)) };
        assert!(is_same_syn(&syn(7, 5, Some(1)), &next_hop, CHANGED_SYN_US - 1));
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(99, 8, Some(1)), 0));
        assert!(is_same_syn(&syn(7, 5, Some(1)), &syn(99, 5, Some(1)), CHANGED_SYN_US - 1));
        assert!(!is_same_syn(&syn(7, 5, Some(1)), &syn(99, 5, Some(1)), CHANGED_SYN_US));
        assert!(is_same_syn(&syn(7, 5, None), &syn(99, 5, None), CHANGED_NAMED_US - 1));
        assert!(!is_same_syn(&syn(7, 5, None), &syn(99, 5, None), CHANGED_NAMED_US));
        assert!(!is_same_syn(&syn(7, 0, None), &syn(99, 0, None), 0));
    }

    #[test]
    fn between_two_files_two_proofs_are_needed_and_no_time() {
        assert!(is_same_elsewhere(&syn(7, 5, None), &syn(7, 5, None)));
        assert!(is_same_elsewhere(&syn(7, 5, Some(1)), &syn(99, 5, Some(1))));
        assert!(is_same_elsewhere(&syn(7, 0, Some(1)), &syn(7, 0, Some(1))));
        assert!(!is_same_elsewhere(&syn(7, 0, None), &syn(7, 0, None)));
        assert!(!is_same_elsewhere(&syn(7, 5, Some(1)), &syn(7, 5, Some(2))), "sent again");
        assert!(!is_same_elsewhere(&syn(7, 5, None), &syn(7, 6, None)), "sent again");
        assert!(!is_same_elsewhere(&syn(7, 5, None), &syn(99, 5, None)), "another connection");
    }
}
