//! The kernels that are modelled, as rows of features.
//!
//! Each column was compared with the tracker of that kernel (compiled, or running); a kernel
//! between two columns behaves as one of them, which [`Profile::for_release`] chooses.

use crate::conntrack::policy::{Feature, Features};

use Feature::{
    AnnotateIgnoredWindow, CapUnrepliedEstablished, ChallengeAckLastAck, ChallengeAckSynSent,
    HeaderCheckBeforeLookup, IgnoredSynResync, KeepLiberalOnOptions, LastWinUnscaled,
    LogInvalidNew, LowerBoundsIgnored, LowerTimeoutOnInvalidFinRst, MidstreamKeepalive,
    MidstreamReceiverInit, MidstreamScaled, OvershootIgnored, OvershootTracked,
    ReceiverMaxwinGuard, RecvWinZeroOk, ReinitOnSyn, ReplySynReopens, RstExactSeq,
    RstGuardAfterSyn, RstReplyDirCheck, RstSkipWhenClosing, RstTimeoutClose, RstTimeoutUnack,
    SimultaneousOpenAck, SynRetransmitNoRenew, SynackReworked, TimeoutZeroWindow, UpperBoundsFirst,
    WscaleResetReplyOnly, ZeroLenShortcut,
};

/// The names of the profiles, oldest behaviour first: the columns of [`MATRIX`].
#[rustfmt::skip]
const NAMES: [&str; 19] = [
    "2.6.32", "el6", "3.10", "el7", "4.19.0", "el8", "5.4", "5.10.0", "5.10.166+", "5.14/5.15.0",
    "5.15.100", "5.18", "6.0", "6.1.0", "6.1.192", "6.6.57", "6.18.0", "6.18.44", "6.12.117",
];

/// Which profile has which feature: a row a feature, a column a name of [`NAMES`].
#[rustfmt::skip]
const MATRIX: [(Feature, &str); 33] = [
    (SynackReworked,              "--yyyyyyyyyyyyyyyyy"),
    (ReplySynReopens,             "-y-yyyyyyyyyyyyyyyy"),
    (IgnoredSynResync,            "-yyyyyyyyyyyyyyyyyy"),
    (ChallengeAckLastAck,         "-y-yyyyyyyyyyyyyyyy"),
    (SimultaneousOpenAck,         "----yyyyyyyyyyyyyyy"),
    (RstExactSeq,                 "-----yyyyyyyyyyyyyy"),
    (RstSkipWhenClosing,          "---------yyyyyyyyyy"),
    (RstGuardAfterSyn,            "---------yyyyyyyyyy"),
    (RstReplyDirCheck,            "--------------y--yy"),
    (ChallengeAckSynSent,         "--------------yyyyy"),
    (ZeroLenShortcut,             "yy-----------------"),
    (RecvWinZeroOk,               "---yyyyyyyyyyyyyyyy"),
    (MidstreamScaled,             "--yyyyyyyyyyyyyyyyy"),
    (MidstreamReceiverInit,       "--yyyyyyyyyyyyyyyyy"),
    (MidstreamKeepalive,          "-----yyyyyyyyyyyyyy"),
    (ReinitOnSyn,                 "-----y-----yyyyyyyy"),
    (WscaleResetReplyOnly,        "--------------yyyyy"),
    (KeepLiberalOnOptions,        "-----y--y-yyyyyyyyy"),
    (OvershootTracked,            "----------y-yyyyyyy"),
    (OvershootIgnored,            "-------------yyyyyy"),
    (LowerBoundsIgnored,          "-------------yyyyyy"),
    (UpperBoundsFirst,            "-------------yyyyyy"),
    (LowerTimeoutOnInvalidFinRst, "-------------yyyyyy"),
    (LastWinUnscaled,             "-----yyyyyyyyyyyyyy"),
    (TimeoutZeroWindow,           "----yyyyyyyyyyyyyyy"),
    (RstTimeoutClose,             "-----yyyyyyyyyyyyy-"),
    (RstTimeoutUnack,             "------------------y"),
    (CapUnrepliedEstablished,     "-y-yyyyyyyyyyyyyyyy"),
    (SynRetransmitNoRenew,        "-----y--yyyyyyyyyyy"),
    (ReceiverMaxwinGuard,         "--yyyyyyyyyyyyyyyyy"),
    (AnnotateIgnoredWindow,       "-yyyyyyyyyyyyyyyyyy"),
    (LogInvalidNew,               "----------------yyy"),
    (HeaderCheckBeforeLookup,     "yyyyy--------------"),
];

/// Which profiles have `nf_conntrack_tcp_ignore_invalid_rst` (5.14 and later).
const HAS_IGNORE_INVALID_RST: &str = "---------yyyyyyyyyy";

/// One modelled behaviour of the tracker, named after a kernel that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Profile {
    column: u8,
}

impl Profile {
    /// The profile used when nothing else is asked for: Linux 6.18.44.
    pub const DEFAULT: Self = Self { column: 17 };

    /// Returns all profiles, oldest behaviour first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len())
            .filter_map(|column| u8::try_from(column).ok())
            .map(|column| Self { column })
    }

    /// Returns the profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|profile| profile.name() == name)
    }

    /// Returns the profile's name.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.column)).copied().unwrap_or_default()
    }

    /// Returns what this kernel does, without any sysctl's effect.
    pub fn features(self) -> Features {
        MATRIX.iter().fold(Features::NONE, |set, (feature, columns)| {
            if self.is_marked(columns) { set.with(*feature) } else { set }
        })
    }

    /// Returns whether the kernel has the sysctl `nf_conntrack_tcp_ignore_invalid_rst`.
    pub fn has_ignore_invalid_rst(self) -> bool {
        self.is_marked(HAS_IGNORE_INVALID_RST)
    }

    fn is_marked(self, columns: &str) -> bool {
        columns.as_bytes().get(usize::from(self.column)) == Some(&b'y')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_mark_for_every_profile() {
        for (feature, columns) in MATRIX {
            assert_eq!(columns.len(), NAMES.len(), "{feature:?}");
            assert!(columns.bytes().all(|mark| mark == b'y' || mark == b'-'), "{feature:?}");
        }
        assert_eq!(HAS_IGNORE_INVALID_RST.len(), NAMES.len());
    }

    #[test]
    fn the_default_is_the_newest_profile_of_its_name() {
        assert_eq!(Profile::DEFAULT.name(), "6.18.44");
        assert_eq!(Profile::named("6.18.44"), Some(Profile::DEFAULT));
        assert_eq!(Profile::named("no such kernel"), None);
    }
}
