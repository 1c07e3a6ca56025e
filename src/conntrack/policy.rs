//! Which kernel judges, and with which settings.
//!
//! A kernel is a set of named [`Feature`]s, not a version number: stable trees take changes out of
//! order, so that 5.10.46, 5.10.218 and 5.10.262 behave in three ways. Does not: judge.

use std::fmt;

/// One point in which kernels, or the settings of one kernel, differ.
///
/// The sources are commits of `nf_conntrack_proto_tcp.c`; the kernels that have each feature stand
/// in the matrix of [`profile`](crate::conntrack::profile).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Feature {
    /// `nf_conntrack_tcp_be_liberal` is set: only the state table and RST rules make INVALID.
    BeLiberal,
    /// `nf_conntrack_tcp_loose` is set: connections are picked up mid-stream.
    Loose,
    /// `nf_conntrack_tcp_ignore_invalid_rst` is set, on a kernel that has it.
    IgnoreInvalidRst,
    /// `nf_conntrack_tcp_no_window_check` of `OpenWrt` kernels is set.
    NoWindowCheck,
    /// The client's SYN/ACK is INVALID, the server's second SYN/ACK ignored (table since 3.x).
    SynackReworked,
    /// A SYN from the former server reopens a connection in `TIME_WAIT` (since 3.13).
    ReplySynReopens,
    /// A SYN/ACK that answers an ignored SYN resynchronises the entry (after 2.6.32).
    IgnoredSynResync,
    /// A challenge ACK in `LAST_ACK` does not end the connection (RFC 5961; 3.19).
    ChallengeAckLastAck,
    /// After SYNs from both sides an ACK from the reply side establishes the connection.
    SimultaneousOpenAck,
    /// A RST must match the next sequence number exactly to close an assured connection.
    RstExactSeq,
    /// A RST on a closing connection is not checked (5.14).
    RstSkipWhenClosing,
    /// A RST after an ignored SYN is not held against the highest acknowledgement (5.14).
    RstGuardAfterSyn,
    /// A RST that answers an ignored SYN must come from the other side (2026 stable trees).
    RstReplyDirCheck,
    /// The RST that a challenge ACK provokes in `SYN_SENT` is accepted (6.2).
    ChallengeAckSynSent,
    /// Empty segments are checked at the sender's highest byte, not at their own (2.6).
    ZeroLenShortcut,
    /// Bound II passes while the receiver's window is unknown (TCP Fast Open; 3.12).
    RecvWinZeroOk,
    /// The first window of a side that was picked up late is scaled.
    MidstreamScaled,
    /// A side that was never seen gets its end from the acknowledgement of the other.
    MidstreamReceiverInit,
    /// A keep-alive answer on a picked-up connection moves the other side's end by one.
    MidstreamKeepalive,
    /// Only a SYN restarts a side during the handshake, before any segment did (5.18).
    ReinitOnSyn,
    /// Only the reply side's SYN switches scaling off when the other offered none (6.8).
    WscaleResetReplyOnly,
    /// The liberal flag of a picked-up connection survives option parsing (5.18).
    KeepLiberalOnOptions,
    /// A segment slightly beyond the window moves the sender's end (6.0).
    OvershootTracked,
    /// A segment slightly beyond the window passes (6.1).
    OvershootIgnored,
    /// Data and acknowledgements that are too old pass (6.1).
    LowerBoundsIgnored,
    /// Both upper bounds are tested before both lower ones (6.1).
    UpperBoundsFirst,
    /// An out-of-window FIN or RST answered by another shortens the timeout (6.1).
    LowerTimeoutOnInvalidFinRst,
    /// The remembered window is the raw field, not the scaled value cut to 16 bits (5.3).
    LastWinUnscaled,
    /// A zero window shortens the timeout of an established connection.
    TimeoutZeroWindow,
    /// Any accepted RST sets the CLOSE timeout, even when the state stays.
    RstTimeoutClose,
    /// An accepted RST that leaves the state sets the unacknowledged timeout (6.12.117).
    RstTimeoutUnack,
    /// A pick-up that was never answered gets the unacknowledged timeout.
    CapUnrepliedEstablished,
    /// A retransmitted SYN does not renew the timeout (5.14).
    SynRetransmitNoRenew,
    /// A window that is not known yet does not grow with the data sent into it.
    ReceiverMaxwinGuard,
    /// The window of an ignored segment is remembered.
    AnnotateIgnoredWindow,
    /// A segment that cannot open a connection is logged as "invalid new" (6.12).
    LogInvalidNew,
    /// The header is checked before the look-up, and a short one logged (up to 4.19).
    HeaderCheckBeforeLookup,
    /// An ICMP error must be addressed to the sender of what it quotes (5.1).
    IcmpOuterCheck,
    /// An ICMP error must quote eight bytes of layer 4, not four (before 4.18).
    EightByteTuples,
    /// An `ICMPv6` redirect is an error about the flow that it quotes (6.3, and stable trees).
    Icmpv6Redirect,
    /// Multicast router discovery of IPv6 is not tracked, as neighbour discovery (6.9).
    MulticastRouterDiscovery,
    /// GRE has a tracker of its own (5.0).
    GreTracked,
    /// A UDP flow that was answered becomes a stream only 2 s after it began (5.0).
    UdpStreamDelay,
    /// A UDP flow is assured only as a stream, not by its first answer (5.10).
    UdpAssuredWithStream,
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u64);

impl Features {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Returns the set with `feature` in it.
    #[must_use]
    #[inline]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u8)
    }

    /// Returns the set without `feature`.
    #[must_use]
    #[inline]
    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u8))
    }

    /// Returns the set with `feature` in it if `on`, without it if not.
    #[must_use]
    #[inline]
    pub const fn set(self, feature: Feature, on: Setting) -> Self {
        match on {
            Setting::On => self.with(feature),
            Setting::Off => self.without(feature),
        }
    }

    /// Returns whether `feature` is in the set.
    #[inline]
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    /// Returns whether nothing is in the set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns a set for each feature that there is room for.
    pub fn singles() -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|bit| Self(1 << bit))
    }

    /// Returns what is in both sets.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns what is in either set.
    #[must_use]
    #[inline]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in exactly one of the sets.
    #[must_use]
    #[inline]
    pub const fn differing(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({:#x})", self.0)
    }
}

/// A switch, as a sysctl has it: 0 or not 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setting {
    /// Not 0.
    On,
    /// 0.
    Off,
}

impl Setting {
    /// Returns the other value.
    #[must_use]
    pub const fn flip(self) -> Self {
        match self {
            Self::On => Self::Off,
            Self::Off => Self::On,
        }
    }
}

/// The features of one policy, and which of them a decision depended on.
///
/// The model reads features only through [`Choices::has`]. Two policies that agree on all features
/// asked for come to the same decision and the same entry, so one history serves both: this is
/// what makes the what-if exact and cheap.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    features: Features,
    consulted: Features,
}

impl Choices {
    /// Starts a decision under these features.
    #[inline]
    pub const fn new(features: Features) -> Self {
        Self { features, consulted: Features::NONE }
    }

    /// Returns whether the policy has the feature, and remembers that it mattered.
    #[inline]
    pub const fn has(&mut self, feature: Feature) -> bool {
        self.consulted = self.consulted.with(feature);
        self.features.contains(feature)
    }

    /// Returns whether the policy has the feature, where those that differ share the outcome all
    /// the same, so that it does not matter yet.
    #[inline]
    pub const fn have(&self, feature: Feature) -> bool {
        self.features.contains(feature)
    }

    /// Returns the features that were asked for.
    #[inline]
    pub const fn consulted(&self) -> Features {
        self.consulted
    }
}

/// Timeouts by state and cause, in nanoseconds: `nf_conntrack_tcp_timeout_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// By state, in the order of [`TcpState`](crate::conntrack::TcpState); the first is unused.
    pub by_state: [i64; 10],
    /// After `nf_conntrack_tcp_max_retrans` identical acknowledgements: `timeout_max_retrans`.
    pub max_retrans: i64,
    /// While data is unacknowledged: `timeout_unacknowledged`.
    pub unacknowledged: i64,
}

impl Default for Timeouts {
    /// The defaults of `tcp_timeouts[]`, the same from 2.6.32 to 6.18.
    fn default() -> Self {
        const SEC: i64 = crate::time::NANOS_PER_SEC;
        Self {
            by_state: [0, 120, 60, 432_000, 120, 60, 30, 120, 10, 120].map(|seconds| seconds * SEC),
            max_retrans: 300 * SEC,
            unacknowledged: 300 * SEC,
        }
    }
}

/// The settings that all policies of a run share: they move timeouts, and never differ in a what-if.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// `nf_conntrack_tcp_max_retrans`: 0 ..= 255.
    pub max_retrans: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), max_retrans: 3 }
    }
}
