//! What the tracker says of a packet, and why.
//!
//! Does not: decide anything.

use crate::conntrack::state::TcpState;
use crate::conntrack::window::Margins;
use crate::segment::{Direction, HeaderFault};

/// What `iptables -m conntrack --ctstate` or `nft ct state` matches.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum CtState {
    /// The packet opened a connection, or its connection has had no reply yet.
    New,
    /// The packet belongs to a connection that has seen a reply, or is a reply.
    Established,
    /// An ICMP error about a tracked connection.
    Related,
    /// The packet belongs to no connection: it is not translated, and usual rule sets drop it.
    Invalid,
    /// A rule exempted the packet from tracking.
    Untracked,
    /// The tracker itself dropped the packet: no rule sees it (Linux 2.6.32 and older).
    Dropped,
}

impl CtState {
    /// Returns the name that rules use, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Established => "ESTABLISHED",
            Self::Related => "RELATED",
            Self::Invalid => "INVALID",
            Self::Untracked => "UNTRACKED",
            Self::Dropped => "DROP",
        }
    }
}

/// Why a packet is INVALID, or what the kernel logs of a packet that it lets pass.
///
/// The order is that in which a packet meets the tests.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// Fewer than 4 bytes of the layer-4 header: no tuple. Never logged.
    NotTrackable,
    /// Fewer than 20 bytes of TCP header.
    TcpShort,
    /// Data offset below 5 words or beyond the datagram.
    TcpTruncated,
    /// Wrong TCP checksum.
    TcpBadCsum,
    /// A combination of flags that no TCP sends.
    TcpBadFlags,
    /// No connection, and a segment that cannot open one. Logged from 6.12 on.
    InvalidNew,
    /// No connection, and `nf_conntrack_tcp_loose` is 0. Never logged.
    PickupDisabled,
    /// The state table has the segment ignored; it passes.
    StateIgnored,
    /// The state table has no such segment in this state.
    StateInvalid,
    /// An ACK that answers an ignored SYN in `LAST_ACK`; it passes.
    ChallengeAckIgnored,
    /// A RST below the highest acknowledgement of the other side.
    RstInvalid,
    /// Bound I: the segment starts beyond the window of the receiver.
    SeqOver,
    /// Bound I is exceeded by no more than the receiver's largest window; passes from 6.1 on.
    SeqOvershoot,
    /// Bound III: acknowledgement, or a SACK edge, of data not seen yet.
    AckOver,
    /// Bound II: data that was acknowledged long ago; passes from 6.1 on.
    SeqUnder,
    /// Bound IV: an overly delayed acknowledgement; passes from 6.1 on.
    AckUnder,
    /// A SYN/ACK that answers an ignored SYN: entry deleted, packet dropped (2.6.32).
    OutOfSyncKilled,
    /// An ICMP error that quotes no tracked connection. Never logged.
    IcmpUnknown,
    /// An ICMP error that is not addressed to the sender of what it quotes.
    IcmpOuterMismatch,
}

impl Reason {
    /// All reasons, in their order.
    pub const ALL: [Self; 19] = [
        Self::NotTrackable,
        Self::TcpShort,
        Self::TcpTruncated,
        Self::TcpBadCsum,
        Self::TcpBadFlags,
        Self::InvalidNew,
        Self::PickupDisabled,
        Self::StateIgnored,
        Self::StateInvalid,
        Self::ChallengeAckIgnored,
        Self::RstInvalid,
        Self::SeqOver,
        Self::SeqOvershoot,
        Self::AckOver,
        Self::SeqUnder,
        Self::AckUnder,
        Self::OutOfSyncKilled,
        Self::IcmpUnknown,
        Self::IcmpOuterMismatch,
    ];

    /// Returns the stable code: lower case with underscores.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotTrackable => "not_trackable",
            Self::TcpShort => "tcp_short",
            Self::TcpTruncated => "tcp_truncated",
            Self::TcpBadCsum => "tcp_bad_csum",
            Self::TcpBadFlags => "tcp_bad_flags",
            Self::InvalidNew => "invalid_new",
            Self::PickupDisabled => "pickup_disabled",
            Self::StateIgnored => "state_ignored",
            Self::StateInvalid => "state_invalid",
            Self::ChallengeAckIgnored => "challenge_ack_ignored",
            Self::RstInvalid => "rst_invalid",
            Self::SeqOver => "seq_over",
            Self::SeqOvershoot => "seq_overshoot",
            Self::AckOver => "ack_over",
            Self::SeqUnder => "seq_under",
            Self::AckUnder => "ack_under",
            Self::OutOfSyncKilled => "out_of_sync_killed",
            Self::IcmpUnknown => "icmp_unknown",
            Self::IcmpOuterMismatch => "icmp_outer_mismatch",
        }
    }

    /// Returns the rule in words, as a report says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotTrackable => "the datagram ends before its ports",
            Self::TcpShort => "the datagram ends inside the TCP header",
            Self::TcpTruncated => "the TCP header length is impossible",
            Self::TcpBadCsum => "the TCP checksum is wrong",
            Self::TcpBadFlags => "no TCP sends this combination of flags",
            Self::InvalidNew => "no connection is known, and this segment cannot open one",
            Self::PickupDisabled => "no connection is known, and mid-stream pick-up is off",
            Self::StateIgnored => "out of place in this state, but let through",
            Self::StateInvalid => "impossible in this state",
            Self::ChallengeAckIgnored => "challenge ACK, let through",
            Self::RstInvalid => "RST below the highest acknowledged byte",
            Self::SeqOver => "data beyond the receiver's window",
            Self::SeqOvershoot => "data slightly beyond the receiver's window",
            Self::AckOver => "acknowledges data that the tracker has not seen",
            Self::SeqUnder => "data acknowledged long ago",
            Self::AckUnder => "acknowledgement far too old",
            Self::OutOfSyncKilled => "out of sync: the entry is deleted and the packet dropped",
            Self::IcmpUnknown => "ICMP error about no tracked connection",
            Self::IcmpOuterMismatch => {
                "ICMP error addressed to someone else than the quoted sender"
            }
        }
    }
}

impl From<HeaderFault> for Reason {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::NotTrackable => Self::NotTrackable,
            HeaderFault::Short => Self::TcpShort,
            HeaderFault::Truncated => Self::TcpTruncated,
            HeaderFault::BadChecksum => Self::TcpBadCsum,
            HeaderFault::BadFlags => Self::TcpBadFlags,
        }
    }
}

/// The tracker's answer to one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// What rules match.
    pub ctstate: CtState,
    /// Why, when there is something to say; also for packets that pass.
    pub reason: Option<Reason>,
    /// Direction in the entry, when the packet met one.
    pub direction: Option<Direction>,
    /// TCP state of the entry after the packet; none when no entry is left.
    pub state: Option<TcpState>,
    /// Distances to the four bounds; none where the window was not checked.
    pub margins: Option<Margins>,
    /// Whether this INVALID packet made the kernel shorten the entry's timeout (6.1 and later).
    pub timeout_lowered: bool,
    /// Whether this packet made the entry: the first packet of a tracked connection.
    pub opened: bool,
}

impl Verdict {
    /// Returns the verdict of a packet that a rule exempts from tracking: no entry is looked for.
    pub const fn untracked() -> Self {
        Self { ctstate: CtState::Untracked, reason: None, ..Self::invalid(Reason::InvalidNew) }
    }

    /// Returns the verdict of a packet that meets no entry and makes none.
    pub const fn invalid(reason: Reason) -> Self {
        Self {
            ctstate: CtState::Invalid,
            reason: Some(reason),
            direction: None,
            state: None,
            margins: None,
            timeout_lowered: false,
            opened: false,
        }
    }

    /// Returns whether there is nothing to say: the packet passes by the rules, and makes no entry.
    #[inline]
    pub const fn is_silent(&self) -> bool {
        self.reason.is_none() && !self.opened && !self.is_invalid()
    }

    /// Returns whether rules see the packet as INVALID.
    #[inline]
    pub const fn is_invalid(&self) -> bool {
        matches!(self.ctstate, CtState::Invalid)
    }
}
