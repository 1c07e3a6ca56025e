//! The kernels that are modelled, as rows of features.
//!
//! Each column was compared with the tracker of that kernel (compiled, or running); a kernel
//! between two columns behaves as one of them, which [`Profile::for_release`] chooses.

use crate::conntrack::policy::{Feature, Features};

use Feature::{
    AnnotateIgnoredWindow, CapUnrepliedEstablished, ChallengeAckLastAck, ChallengeAckSynSent,
    HeaderCheckBeforeLookup, IcmpOuterCheck, IgnoredSynResync, KeepLiberalOnOptions,
    LastWinUnscaled, LogInvalidNew, LowerBoundsIgnored, LowerTimeoutOnInvalidFinRst,
    MidstreamKeepalive, MidstreamReceiverInit, MidstreamScaled, OvershootIgnored, OvershootTracked,
    ReceiverMaxwinGuard, RecvWinZeroOk, ReinitOnSyn, ReplySynReopens, RstExactSeq,
    RstGuardAfterSyn, RstReplyDirCheck, RstSkipWhenClosing, RstTimeoutClose, RstTimeoutUnack,
    SimultaneousOpenAck, SynRetransmitNoRenew, SynackReworked, TimeoutZeroWindow,
    UdpAssuredWithStream, UdpStreamDelay, UpperBoundsFirst, WscaleResetReplyOnly, ZeroLenShortcut,
};

/// The names of the profiles, oldest behaviour first: the columns of [`MATRIX`].
#[rustfmt::skip]
const NAMES: [&str; 20] = [
    "2.6.32", "el6", "3.10", "el7", "4.19.0", "4.19.48", "el8", "5.4", "5.10.0", "5.10.166+", "5.14/5.15.0",
    "5.15.100", "5.18", "6.0", "6.1.0", "6.1.192", "6.6.57", "6.18.0", "6.18.44", "6.12.117",
];

/// Which profile has which feature: a row a feature, a column a name of [`NAMES`].
#[rustfmt::skip]
const MATRIX: [(Feature, &str); 36] = [
    (SynackReworked,              "--yyyyyyyyyyyyyyyyyy"),
    (ReplySynReopens,             "-y-yyyyyyyyyyyyyyyyy"),
    (IgnoredSynResync,            "-yyyyyyyyyyyyyyyyyyy"),
    (ChallengeAckLastAck,         "-y-yyyyyyyyyyyyyyyyy"),
    (SimultaneousOpenAck,         "----yyyyyyyyyyyyyyyy"),
    (RstExactSeq,                 "-----yyyyyyyyyyyyyyy"),
    (RstSkipWhenClosing,          "----------yyyyyyyyyy"),
    (RstGuardAfterSyn,            "----------yyyyyyyyyy"),
    (RstReplyDirCheck,            "---------------y--yy"),
    (ChallengeAckSynSent,         "---------------yyyyy"),
    (ZeroLenShortcut,             "yy------------------"),
    (RecvWinZeroOk,               "---yyyyyyyyyyyyyyyyy"),
    (MidstreamScaled,             "--yyyyyyyyyyyyyyyyyy"),
    (MidstreamReceiverInit,       "--yyyyyyyyyyyyyyyyyy"),
    (MidstreamKeepalive,          "------yyyyyyyyyyyyyy"),
    (ReinitOnSyn,                 "------y-----yyyyyyyy"),
    (WscaleResetReplyOnly,        "---------------yyyyy"),
    (KeepLiberalOnOptions,        "------y--y-yyyyyyyyy"),
    (OvershootTracked,            "-----------y-yyyyyyy"),
    (OvershootIgnored,            "--------------yyyyyy"),
    (LowerBoundsIgnored,          "--------------yyyyyy"),
    (UpperBoundsFirst,            "--------------yyyyyy"),
    (LowerTimeoutOnInvalidFinRst, "--------------yyyyyy"),
    (LastWinUnscaled,             "------yyyyyyyyyyyyyy"),
    (TimeoutZeroWindow,           "----yyyyyyyyyyyyyyyy"),
    (RstTimeoutClose,             "-----yyyyyyyyyyyyyy-"),
    (RstTimeoutUnack,             "-------------------y"),
    (CapUnrepliedEstablished,     "-y-yyyyyyyyyyyyyyyyy"),
    (SynRetransmitNoRenew,        "------y--yyyyyyyyyyy"),
    (ReceiverMaxwinGuard,         "--yyyyyyyyyyyyyyyyyy"),
    (AnnotateIgnoredWindow,       "-yyyyyyyyyyyyyyyyyyy"),
    (LogInvalidNew,               "-----------------yyy"),
    (HeaderCheckBeforeLookup,     "yyyyyy--------------"),
    (IcmpOuterCheck,              "------yyyyyyyyyyyyyy"),
    (UdpStreamDelay,              "-------yyyyyyyyyyyyy"),
    (UdpAssuredWithStream,        "--------yyyyyyyyyyyy"),
];

/// Which profiles have `nf_conntrack_tcp_ignore_invalid_rst` (5.14 and later).
const HAS_IGNORE_INVALID_RST: &str = "----------yyyyyyyyyy";

/// Which profiles compute the size of the table in which way: see [`TableEra`].
const TABLE_ERAS: &str = "aaaabbbbbbbccccccccc";

/// How a kernel computes the default size of its table from the memory of the machine: see
/// [`TableSize`](crate::conntrack::TableSize).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableEra {
    /// 16,384 buckets at most, four entries each (up to 3.10).
    SixteenThousandBuckets,
    /// 65,536 buckets above 4 GiB, four entries each (4.19 to 5.14).
    FourEntriesABucket,
    /// 262,144 buckets above 4 GiB, one entry each (5.15 on).
    OneEntryABucket,
}

/// One modelled behaviour of the tracker, named after a kernel that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Profile {
    column: u8,
}

impl Profile {
    /// The profile used when nothing else is asked for: Linux 6.18.44.
    pub const DEFAULT: Self = Self { column: 18 };

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

    /// Returns the profile of a kernel as `uname -r` prints its release, or of a profile's name.
    ///
    /// Stable trees are told apart by their patch level; distributions that carry changes of their
    /// own are `el6`, `el7` and `el8`. A kernel that was never compared with the model is mapped
    /// to the nearest one that was.
    pub fn for_release(release: &str) -> Option<Match> {
        if let Some(profile) = Self::named(release) {
            return Some(Match { profile, certainty: Compared });
        }
        let enterprise = [(".el6", "el6"), (".el7", "el7"), (".el8", "el8")];
        if let Some((_, name)) = enterprise.iter().find(|(mark, _)| release.contains(mark)) {
            let profile = Self::named(name)?;
            return Some(Match { profile, certainty: Compared });
        }
        let version = Version::parse(release)?;
        let nearest = release.contains(".el9") || release.contains(".el10");
        let row = SERIES.iter().rev().find(|(since, ..)| *since <= version)?;
        let (_, name, known) = *row;
        let certainty = if nearest { Nearest } else { known };
        Some(Match { profile: Self::named(name)?, certainty })
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

    /// Returns how the kernel computes the default size of its table.
    pub fn table_era(self) -> TableEra {
        match TABLE_ERAS.as_bytes().get(usize::from(self.column)) {
            Some(b'a') => TableEra::SixteenThousandBuckets,
            Some(b'b') => TableEra::FourEntriesABucket,
            _ => TableEra::OneEntryABucket,
        }
    }

    fn is_marked(self, columns: &str) -> bool {
        columns.as_bytes().get(usize::from(self.column)) == Some(&b'y')
    }
}

/// How a kernel release was mapped to a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// The profile.
    pub profile: Profile,
    /// How well founded the mapping is.
    pub certainty: Certainty,
}

/// How well founded the mapping of a release to a profile is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certainty {
    /// A kernel of this series and patch level was compared with the model.
    Compared,
    /// No kernel of this series was; the profile is that of the nearest one.
    Nearest,
}

/// Major, minor and patch level of a release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version(u32, u32, u32);

impl Version {
    /// Parses the leading numbers of `6.1.0-18-amd64`, `5.15.0-91-generic` or `3.10`.
    fn parse(release: &str) -> Option<Self> {
        let numeric = |c: char| !c.is_ascii_digit() && c != '.';
        let head = release.split(numeric).next()?;
        let mut numbers = head.split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self(major, minor, patch))
    }
}

use Certainty::{Compared, Nearest};

/// From which release on which profile holds: each row reaches up to the next.
///
/// A series without patch level in `uname -r` (distribution kernels such as `6.1.0-18-amd64`)
/// counts as its first release.
#[rustfmt::skip]
const SERIES: [(Version, &str, Certainty); 36] = [
    (Version(2, 6, 32),  "2.6.32",      Compared),
    (Version(2, 6, 33),  "2.6.32",      Nearest),
    (Version(3, 10, 0),  "3.10",        Compared),
    (Version(3, 11, 0),  "el7",         Nearest),
    (Version(4, 19, 0),  "4.19.0",      Compared),
    (Version(4, 19, 1),  "4.19.0",      Nearest),
    (Version(4, 19, 48), "4.19.48",     Compared),
    (Version(4, 19, 49), "4.19.48",     Nearest),
    (Version(4, 20, 0),  "5.4",         Nearest),
    (Version(5, 4, 0),   "5.4",         Compared),
    (Version(5, 5, 0),   "5.10.0",      Nearest),
    (Version(5, 10, 0),  "5.10.0",      Compared),
    (Version(5, 10, 110), "5.10.166+",  Nearest),
    (Version(5, 10, 166), "5.10.166+",  Compared),
    (Version(5, 11, 0),  "5.10.0",      Nearest),
    (Version(5, 14, 0),  "5.14/5.15.0", Compared),
    (Version(5, 15, 100), "5.15.100",   Compared),
    (Version(5, 16, 0),  "5.14/5.15.0", Nearest),
    (Version(5, 17, 6),  "5.18",        Nearest),
    (Version(5, 18, 0),  "5.18",        Compared),
    (Version(5, 19, 0),  "5.18",        Nearest),
    (Version(5, 19, 9),  "6.0",         Nearest),
    (Version(6, 0, 0),   "6.0",         Compared),
    (Version(6, 1, 0),   "6.1.0",       Compared),
    (Version(6, 1, 9),   "6.6.57",      Nearest),
    (Version(6, 1, 77),  "6.6.57",      Nearest),
    (Version(6, 1, 176), "6.1.192",     Compared),
    (Version(6, 2, 0),   "6.6.57",      Nearest),
    (Version(6, 6, 16),  "6.6.57",      Compared),
    (Version(6, 7, 0),   "6.6.57",      Nearest),
    (Version(6, 12, 0),  "6.18.0",      Compared),
    (Version(6, 12, 93), "6.18.44",     Compared),
    (Version(6, 12, 117), "6.12.117",   Compared),
    (Version(6, 13, 0),  "6.18.0",      Compared),
    (Version(6, 18, 30), "6.18.44",     Compared),
    (Version(7, 3, 0),   "6.12.117",    Compared),
];

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
    fn releases_find_their_profiles() {
        let cases = [
            ("2.6.32-754.el6.x86_64", "el6"),
            ("3.10.0-1160.119.1.el7.x86_64", "el7"),
            ("4.18.0-513.el8.x86_64", "el8"),
            ("5.10.46", "5.10.0"),
            ("5.10.218", "5.10.166+"),
            ("5.10.262", "5.10.166+"),
            ("5.15.0-91-generic", "5.14/5.15.0"),
            ("5.15.149", "5.15.100"),
            ("6.1.0", "6.1.0"),
            ("6.1.192", "6.1.192"),
            ("6.12.43+deb13-amd64", "6.18.0"),
            ("6.12.117", "6.12.117"),
            ("6.18.2", "6.18.0"),
            ("6.18.44-fc-v657", "6.18.44"),
            ("7.2.13", "6.18.44"),
            ("7.3.0-rc7", "6.12.117"),
        ];
        for (release, name) in cases {
            let found = Profile::for_release(release).unwrap_or_else(|| panic!("{release}"));
            assert_eq!(found.profile.name(), name, "{release}");
        }
        assert_eq!(Profile::for_release("banana"), None);
        assert_eq!(Profile::for_release("2.4.37"), None);
        let unknown = Profile::for_release("5.14.0-427.el9.x86_64").unwrap();
        assert_eq!(unknown.certainty, Nearest);
    }

    #[test]
    fn series_are_in_ascending_order_and_name_profiles() {
        assert!(SERIES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SERIES.iter().all(|(_, name, _)| Profile::named(name).is_some()));
    }

    #[test]
    fn the_default_is_the_newest_profile_of_its_name() {
        assert_eq!(Profile::DEFAULT.name(), "6.18.44");
        assert_eq!(Profile::named("6.18.44"), Some(Profile::DEFAULT));
        assert_eq!(Profile::named("no such kernel"), None);
    }
}
