//! The capture's clock in place of the kernel's: codes for timeouts, and when each entry ends.
//!
//! Does not: know netlink or packets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::packet::Tuple;
use super::verdict::TcpEntry;
use crate::conntrack::TcpState;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Where an entry is parked after each packet, in seconds: above every code.
pub(super) const PARKED: u32 = 1_500_000;
/// Where an entry that ends soon is parked before a packet that might shorten its life: below every
/// code, above all that the kernel compares it with.
pub(super) const PARKED_LOW: u32 = 900_000;

/// Below the first code, in seconds.
const BASE: u32 = 1_000_000;
/// From one code to the next, in seconds; a run must take less for a code to be read rightly.
const STEP: u32 = 10_000;
/// The timeout of `SYN_SENT2` in seconds: the only one without a sysctl.
const SYN_SENT2: u32 = 120;
/// An entry that ends within so many seconds is not shortened by a reset or a FIN outside the
/// window (`nf_tcp_handle_invalid()`, `nf_conntrack_proto_tcp.c`, Linux 6.18).
const SHORTENED_FROM: u32 = 120;

/// Stands for each nominal timeout in the kernel, in the same order.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    /// Distinct, ascending, in seconds.
    nominal: Vec<u32>,
}

impl Codes {
    /// Makes codes for these timeouts, in seconds.
    pub(super) fn new(nominal: impl IntoIterator<Item = u32>) -> Self {
        let mut nominal: Vec<u32> = nominal.into_iter().collect();
        nominal.sort_unstable();
        nominal.dedup();
        Self { nominal }
    }

    /// Returns the code of a nominal timeout, both in seconds.
    pub(super) fn encode(&self, seconds: u32) -> u32 {
        let rank = self.nominal.partition_point(|&n| n < seconds);
        BASE + STEP * u32::try_from(rank + 1).unwrap_or(1)
    }

    /// Returns the nominal timeout that an entry was given, in seconds; `None` when it is parked.
    pub(super) fn decode(&self, remaining_s: u32, tcp: Option<&TcpEntry>) -> Option<u32> {
        let is_syn_sent2 = tcp.is_some_and(|tcp| tcp.state == TcpState::SynSent2);
        if remaining_s <= SYN_SENT2 && is_syn_sent2 {
            return Some(SYN_SENT2);
        }
        let rank = remaining_s.checked_sub(BASE)?.div_ceil(STEP).checked_sub(1)?;
        self.nominal.get(usize::try_from(rank).ok()?).copied()
    }
}

/// When an entry ends.
#[derive(Clone, Copy, Debug)]
struct Ending {
    at: Timestamp,
    /// Where it stands in the queue; not after `at`.
    queued_at: Timestamp,
}

/// When each entry of the table ends, by the capture's clock.
#[derive(Default, Debug)]
pub(super) struct Expiries {
    endings: HashMap<Tuple, Ending, BuildHasherDefault<Fold>>,
    queue: BinaryHeap<Reverse<(Timestamp, Tuple)>>,
}

impl Expiries {
    /// Removes and returns an entry that has ended.
    pub(super) fn pop_ended(&mut self, now: Timestamp) -> Option<Tuple> {
        loop {
            let Reverse((at, tuple)) = *self.queue.peek()?;
            if at > now {
                return None;
            }
            self.queue.pop();
            let Some(ending) = self.endings.get_mut(&tuple) else { continue };
            if ending.queued_at != at {
                continue;
            }
            if ending.at <= now {
                self.endings.remove(&tuple);
                return Some(tuple);
            }
            ending.queued_at = ending.at;
            self.queue.push(Reverse((ending.at, tuple)));
        }
    }

    /// Notes that the entry ends `seconds` after `now`.
    pub(super) fn set(&mut self, tuple: Tuple, now: Timestamp, seconds: u32) {
        let at = now.plus_nanos(i64::from(seconds).saturating_mul(NANOS_PER_SEC));
        let ending =
            self.endings.entry(tuple).or_insert(Ending { at, queued_at: Timestamp(i64::MAX) });
        ending.at = at;
        if at < ending.queued_at {
            ending.queued_at = at;
            self.queue.push(Reverse((at, tuple)));
        }
    }

    /// Forgets an entry that the kernel has removed.
    pub(super) fn remove(&mut self, tuple: &Tuple) {
        self.endings.remove(tuple);
    }

    /// Returns whether a reset or FIN outside the window must not shorten the entry's life to
    /// `unacknowledged_s`, because it ends as soon anyway.
    pub(super) fn ends_soon(&self, tuple: &Tuple, now: Timestamp, unacknowledged_s: u32) -> bool {
        let limit = i64::from(unacknowledged_s.max(SHORTENED_FROM)).saturating_mul(NANOS_PER_SEC);
        self.endings.get(tuple).is_some_and(|ending| ending.at.nanos_since(now) <= limit)
    }
}

/// Folds the words of a tuple into a hash that is the same in every run.
#[derive(Default, Debug)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tap::IpVersion;
    use super::*;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            version: IpVersion::V4,
            protocol: 6,
            source: [1; 16],
            destination: [2; 16],
            detail: [port, 80],
        }
    }

    fn second(seconds: i64) -> Timestamp {
        Timestamp::from_parts(seconds, 0)
    }

    #[test]
    fn codes_keep_the_order_and_come_back() {
        let codes = Codes::new([300, 10, 432_000, 300]);
        assert!(codes.encode(10) < codes.encode(300) && codes.encode(432_000) < PARKED);
        for nominal in [10, 300, 432_000] {
            let code = codes.encode(nominal);
            assert!(code > PARKED_LOW);
            for late in [0, 1, 9_999] {
                assert_eq!(codes.decode(code - late, None), Some(nominal));
            }
        }
        for parked in [PARKED, PARKED - 1, PARKED - 9_000, PARKED_LOW, 5] {
            assert_eq!(codes.decode(parked, None), None);
        }
    }

    #[test]
    fn an_entry_ends_at_its_time_and_not_before() {
        let mut expiries = Expiries::default();
        expiries.set(tuple(1), second(0), 10);
        assert_eq!(expiries.pop_ended(second(9)), None);
        expiries.set(tuple(1), second(9), 10);
        assert_eq!(expiries.pop_ended(second(18)), None);
        assert_eq!(expiries.pop_ended(second(19)), Some(tuple(1)));
        assert_eq!(expiries.pop_ended(second(99)), None);
        assert!(expiries.endings.is_empty());
    }

    #[test]
    fn a_shortened_entry_ends_earlier() {
        let mut expiries = Expiries::default();
        expiries.set(tuple(1), second(0), 432_000);
        expiries.set(tuple(2), second(0), 50);
        expiries.set(tuple(1), second(5), 10);
        assert!(expiries.ends_soon(&tuple(1), second(5), 300));
        assert_eq!(expiries.pop_ended(second(15)), Some(tuple(1)));
        expiries.set(tuple(1), second(16), 432_000);
        assert!(!expiries.ends_soon(&tuple(1), second(16), 300));
        expiries.remove(&tuple(2));
        assert_eq!(expiries.pop_ended(second(60)), None);
        assert_eq!(expiries.pop_ended(second(432_016)), Some(tuple(1)));
    }
}
