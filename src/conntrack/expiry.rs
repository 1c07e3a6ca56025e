//! When an entry expires: the timeout that a segment gives it, and what kernels before 5.3 make of a
//! window of which they see 16 bits.
//!
//! The end of `nf_conntrack_tcp_packet()` (`nf_conntrack_proto_tcp.c`, Linux 6.18). Does not: change an
//! entry.

use crate::conntrack::entry::{Entry, Visit};
use crate::conntrack::policy::{Choices, Feature, Features, Limits};
use crate::conntrack::state::{Class, TcpState};
use crate::conntrack::window::SideFlags;
use crate::time::{NANOS_PER_SEC, Timestamp};

impl Entry {
    /// Chooses the timeout of the new state, in nanoseconds; the first cause that applies wins. With
    /// it comes how many seconds sooner kernels before 5.3 let the entry expire.
    pub(super) fn timeout(
        &self,
        visit: &Visit<'_>,
        new: TcpState,
        choices: &mut Choices,
    ) -> (i64, u32) {
        let Limits { timeouts, max_retrans } = visit.limits;
        let of = |state: TcpState| timeouts.by_state.get(state as usize).copied().unwrap_or(0);
        let normal = of(new);
        let is_tired = |repeats: u8| repeats >= *max_retrans && normal > timeouts.max_retrans;
        let (raw, scaled) = (is_tired(self.retrans.raw), is_tired(self.retrans.scaled));
        if (raw || scaled) && (raw == scaled || choices.has(Feature::LastWinUnscaled) == raw) {
            return (timeouts.max_retrans, 0);
        }
        if visit.class == Class::Rst && new != TcpState::Close {
            if choices.has(Feature::RstTimeoutClose) {
                return (of(TcpState::Close), 0);
            }
            let unack = timeouts.unacknowledged;
            let kept = new == TcpState::Established && normal > unack;
            if kept && choices.has(Feature::RstTimeoutUnack) {
                return (unack, 0);
            }
        }
        let flags = self.sides.original.flags.or(self.sides.reply.flags);
        let unacknowledged = flags.contains(SideFlags::DATA_UNACKNOWLEDGED);
        if unacknowledged && normal > timeouts.unacknowledged {
            return (timeouts.unacknowledged, 0);
        }
        if normal > timeouts.max_retrans {
            return self.timeout_of_closed(normal, timeouts.max_retrans, choices);
        }
        (normal, 0)
    }

    /// Chooses between the timeout of the state and that of a closed window.
    fn timeout_of_closed(&self, normal: i64, closed: i64, choices: &mut Choices) -> (i64, u32) {
        let (closed_raw, closed_scaled) = (self.last.win == 0, self.last.scaled_win == 0);
        let is_cut_only = closed_scaled && !closed_raw;
        if is_cut_only && self.seen_reply && choices.have(Feature::LastWinUnscaled) {
            return (normal, seconds(normal - closed));
        }
        let is_closed = (closed_raw || closed_scaled)
            && (closed_raw == closed_scaled || choices.has(Feature::LastWinUnscaled) == closed_raw);
        if is_closed && choices.has(Feature::TimeoutZeroWindow) {
            return (closed, 0);
        }
        (normal, 0)
    }

    /// Returns whether the entry has expired at a time.
    #[inline]
    pub(super) fn has_expired(&self, now: Timestamp, choices: &mut Choices) -> bool {
        if self.expires <= now {
            return true;
        }
        let is_over_before = self.sooner_s > 0 && self.sooner() <= now;
        is_over_before
            && !choices.has(Feature::LastWinUnscaled)
            && choices.has(Feature::TimeoutZeroWindow)
    }

    /// Returns whether the entry has expired at a time for no kernel.
    #[inline]
    pub(super) fn lives_at(&self, now: Timestamp) -> bool {
        // Asked of nearly every packet, and hardly ever does it expire sooner anywhere.
        now < self.expires && (self.sooner_s == 0 || now < self.sooner())
    }

    /// Returns when the entry expires for kernels before 5.3.
    #[inline]
    pub(super) fn sooner(&self) -> Timestamp {
        self.expires.plus_nanos(-NANOS_PER_SEC * i64::from(self.sooner_s))
    }

    /// Returns the entry as it is under a policy with these features alone.
    pub fn under(&self, features: Features) -> Self {
        let is_sooner = !features.contains(Feature::LastWinUnscaled)
            && features.contains(Feature::TimeoutZeroWindow);
        let expires = if is_sooner { self.sooner() } else { self.expires };
        Self { expires, sooner_s: 0, ..*self }
    }
}

/// Returns whole seconds of a difference between timeouts, which are set in seconds.
#[inline]
pub(super) fn seconds(nanos: i64) -> u32 {
    u32::try_from(nanos / NANOS_PER_SEC).unwrap_or(u32::MAX)
}
