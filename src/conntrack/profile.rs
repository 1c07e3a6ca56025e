//! The kernels that are modelled, as rows of features.
//!
//! Each column was compared with the tracker of that kernel (compiled, or running); a kernel
//! between two columns behaves as one of them, which [`Profile::for_release`] chooses.

use crate::conntrack::policy::{Feature, Features};

use Feature::{
    AnnotateIgnoredWindow, CapUnrepliedEstablished, ChallengeAckLastAck, ChallengeAckSynSent,
    EightByteTuples, GreTracked, HeaderCheckBeforeLookup, IcmpOuterCheck, Icmpv6Redirect,
    IgnoredSynResync, KeepLiberalOnOptions, LastWinUnscaled, LogInvalidNew, LowerBoundsIgnored,
    LowerTimeoutOnInvalidFinRst, MidstreamKeepalive, MidstreamReceiverInit, MidstreamScaled,
    MulticastRouterDiscovery, OvershootIgnored, OvershootTracked, ReceiverMaxwinGuard,
    RecvWinZeroOk, ReinitOnSyn, ReplySynReopens, RstExactSeq, RstGuardAfterSyn, RstReplyDirCheck,
    RstSkipWhenClosing, RstTimeoutClose, RstTimeoutUnack, SimultaneousOpenAck,
    SynRetransmitNoRenew, SynackReworked, TimeoutZeroWindow, UdpAssuredWithStream, UdpStreamDelay,
    UpperBoundsFirst, WscaleResetReplyOnly, ZeroLenShortcut,
};

/// The names of the profiles, oldest behaviour first: the columns of [`MATRIX`].
#[rustfmt::skip]
const NAMES: [&str; 21] = [
    "2.6.32", "el6", "3.10", "el7", "4.19.0", "4.19.48", "4.19.67", "el8", "5.4", "5.10.0", "5.10.166+", "5.14/5.15.0",
    "5.15.100", "5.18", "6.0", "6.1.0", "6.1.192", "6.6.57", "6.18.0", "6.18.44", "6.12.117",
];

/// Which profile has which feature: a row a feature, a column a name of [`NAMES`].
#[rustfmt::skip]
const MATRIX: [(Feature, &str); 40] = [
    (SynackReworked,              "--yyyyyyyyyyyyyyyyyyy"),
    (ReplySynReopens,             "-y-yyyyyyyyyyyyyyyyyy"),
    (IgnoredSynResync,            "-yyyyyyyyyyyyyyyyyyyy"),
    (ChallengeAckLastAck,         "-y-yyyyyyyyyyyyyyyyyy"),
    (SimultaneousOpenAck,         "----yyyyyyyyyyyyyyyyy"),
    (RstExactSeq,                 "-----yyyyyyyyyyyyyyyy"),
    (RstSkipWhenClosing,          "-----------yyyyyyyyyy"),
    (RstGuardAfterSyn,            "-----------yyyyyyyyyy"),
    (RstReplyDirCheck,            "----------------y--yy"),
    (ChallengeAckSynSent,         "----------------yyyyy"),
    (ZeroLenShortcut,             "yy-------------------"),
    (RecvWinZeroOk,               "---yyyyyyyyyyyyyyyyyy"),
    (MidstreamScaled,             "--yyyyyyyyyyyyyyyyyyy"),
    (MidstreamReceiverInit,       "--yyyyyyyyyyyyyyyyyyy"),
    (MidstreamKeepalive,          "-------yyyyyyyyyyyyyy"),
    (ReinitOnSyn,                 "-------y-----yyyyyyyy"),
    (WscaleResetReplyOnly,        "----------------yyyyy"),
    (KeepLiberalOnOptions,        "-------y--y-yyyyyyyyy"),
    (OvershootTracked,            "------------y-yyyyyyy"),
    (OvershootIgnored,            "---------------yyyyyy"),
    (LowerBoundsIgnored,          "---------------yyyyyy"),
    (UpperBoundsFirst,            "---------------yyyyyy"),
    (LowerTimeoutOnInvalidFinRst, "---------------yyyyyy"),
    (LastWinUnscaled,             "------yyyyyyyyyyyyyyy"),
    (TimeoutZeroWindow,           "----yyyyyyyyyyyyyyyyy"),
    (RstTimeoutClose,             "-----yyyyyyyyyyyyyyy-"),
    (RstTimeoutUnack,             "--------------------y"),
    (CapUnrepliedEstablished,     "-y-yyyyyyyyyyyyyyyyyy"),
    (SynRetransmitNoRenew,        "-------y--yyyyyyyyyyy"),
    (ReceiverMaxwinGuard,         "--yyyyyyyyyyyyyyyyyyy"),
    (AnnotateIgnoredWindow,       "-yyyyyyyyyyyyyyyyyyyy"),
    (LogInvalidNew,               "------------------yyy"),
    (HeaderCheckBeforeLookup,     "yyyyyyy--------------"),
    (IcmpOuterCheck,              "-------yyyyyyyyyyyyyy"),
    (EightByteTuples,             "yyyy-----------------"),
    (Icmpv6Redirect,              "----------y-y---yyyyy"),
    (MulticastRouterDiscovery,    "------------------yyy"),
    (GreTracked,                  "--------yyyyyyyyyyyyy"),
    (UdpStreamDelay,              "--------yyyyyyyyyyyyy"),
    (UdpAssuredWithStream,        "---------yyyyyyyyyyyy"),
];

/// Which profiles have `nf_conntrack_tcp_ignore_invalid_rst` (5.14 and later).
const HAS_IGNORE_INVALID_RST: &str = "-----------yyyyyyyyyy";

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
    /// The version of the tables that tell kernels apart: raised whenever one of them changes.
    pub const DATA_VERSION: u32 = 1;

    /// The profile used when nothing else is asked for: Linux 6.18.44.
    pub const DEFAULT: Self = Self { column: 19 };

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
    /// own are `el6`, `el7` and `el8`. A series alone, such as `6.1`, is its latest profile. A kernel
    /// that was never compared with the model is mapped to the nearest one that was.
    pub fn for_release(release: &str) -> Option<Match> {
        if let Some(profile) = Self::named(release) {
            return Some(Match { profile, certainty: Compared });
        }
        let (version, told) = Version::parse(release)?;
        let is_enterprise = |(mark, base, _): &&(&str, Version, &str)| {
            release.contains(mark) && version == *base && !release.contains("uek")
        };
        if let Some((_, _, name)) = ENTERPRISE.iter().find(is_enterprise) {
            let profile = Self::named(name)?;
            return Some(Match { profile, certainty: Compared });
        }
        let latest = Version(version.0, version.1, u32::MAX);
        let row = |version: Version| SERIES.iter().rev().find(|(since, ..)| *since <= version);
        let (_, name, known) = *row(if told == PatchLevel::Told { version } else { latest })?;
        let has_changes_of_its_own = [".el", "-default"].iter().any(|mark| release.contains(mark));
        let is_ambiguous = told == PatchLevel::Hidden && row(version)?.1 != name;
        let certainty = match known {
            _ if has_changes_of_its_own => Nearest,
            _ if is_ambiguous => Certainty::PatchLevelHidden,
            known => known,
        };
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
    /// The release names the series alone, as those of Debian and Ubuntu do; the profile is that of
    /// its latest kernel.
    PatchLevelHidden,
}

/// Major, minor and patch level of a release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version(u32, u32, u32);

/// What a release says of its patch level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PatchLevel {
    /// `6.1.76`, `6.1.0`, `7.3.0-rc7`.
    Told,
    /// `6.1`: the latest is meant.
    Latest,
    /// `6.1.0-18-amd64`, `5.15.0-91-generic`: the number of an interface of the distribution
    /// stands where the patch level is not.
    Hidden,
}

impl Version {
    /// Parses the leading numbers of `6.1.0-18-amd64`, `5.15.0-91-generic` or `3.10`.
    fn parse(release: &str) -> Option<(Self, PatchLevel)> {
        let numeric = |c: char| !c.is_ascii_digit() && c != '.';
        let head = release.split(numeric).next()?;
        let mut numbers = head.split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok);
        let tail = release.strip_prefix(head)?;
        let has_number =
            tail.strip_prefix('-').is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()));
        let told = match patch {
            None if tail.is_empty() => PatchLevel::Latest,
            None | Some(0) if has_number => PatchLevel::Hidden,
            _ => PatchLevel::Told,
        };
        Some((Self(major, minor, patch.unwrap_or(0)), told))
    }
}

/// Distributions whose kernels carry so many changes that they are profiles of their own: what their
/// releases contain, the version that they all have, and the profile.
const ENTERPRISE: [(&str, Version, &str); 3] = [
    (".el6", Version(2, 6, 32), "el6"),
    (".el7", Version(3, 10, 0), "el7"),
    (".el8", Version(4, 18, 0), "el8"),
];

use Certainty::{Compared, Nearest};

/// From which release on which profile holds: each row reaches up to the next.
#[rustfmt::skip]
const SERIES: [(Version, &str, Certainty); 40] = [
    (Version(2, 6, 32),  "2.6.32",      Compared),
    (Version(2, 6, 33),  "2.6.32",      Nearest),
    (Version(3, 10, 0),  "3.10",        Compared),
    (Version(3, 11, 0),  "el7",         Nearest),
    (Version(4, 19, 0),  "4.19.0",      Compared),
    (Version(4, 19, 1),  "4.19.0",      Nearest),
    (Version(4, 19, 48), "4.19.48",     Compared),
    (Version(4, 19, 49), "4.19.48",     Nearest),
    (Version(4, 19, 67), "4.19.67",     Nearest),
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
    (Version(6, 19, 0),  "6.18.44",     Nearest),
    (Version(7, 2, 0),   "6.18.44",     Compared),
    (Version(7, 3, 0),   "6.12.117",    Compared),
    (Version(7, 4, 0),   "6.12.117",    Nearest),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum over all that tells kernels apart, with the version of it.
    const KNOWN: (u32, u64) = (1, 9_933_418_300_284_085_585);

    #[test]
    fn the_version_of_the_data_is_raised_with_the_data() {
        let mut text = format!("{MATRIX:?}{HAS_IGNORE_INVALID_RST}{TABLE_ERAS}");
        text.push_str(&NAMES.join(","));
        let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!((Profile::DATA_VERSION, sum), KNOWN, "raise DATA_VERSION, and keep both here");
    }

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
            ("5.15.0-91-generic", "5.15.100"),
            ("4.19", "4.19.67"),
            ("5.10", "5.10.166+"),
            ("6.1", "6.1.192"),
            ("6.12", "6.12.117"),
            ("6.18", "6.18.44"),
            ("6.1.0-18-amd64", "6.1.192"),
            ("6.1.0-0.deb11.17-amd64", "6.1.192"),
            ("6.1.76-1", "6.6.57"),
            ("5.4.290-1.el7.elrepo.x86_64", "5.4"),
            ("5.15.0-200.131.27.el8uek.x86_64", "5.15.100"),
            ("5.10.218-208.862.amzn2.x86_64", "5.10.166+"),
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
        let certainty = |release| Profile::for_release(release).unwrap().certainty;
        let nearest =
            ["5.14.0-427.el9.x86_64", "5.14.21-150500.55.52-default", "6.19.1", "7.4.0", "4.4.302"];
        assert_eq!(nearest.map(certainty), [Nearest; 5]);
        let hidden = ["6.1.0-18-amd64", "5.15.0-91-generic", "5.10.0-30-cloud-amd64"];
        assert_eq!(hidden.map(certainty), [Certainty::PatchLevelHidden; 3]);
        let compared = ["5.4.0-150-generic", "6.1", "3.10.0-1160.el7.x86_64", "7.3.0-rc7", "6.1.0"];
        assert_eq!(compared.map(certainty), [Compared; 5]);
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
