//! Where the settings of a run came from, what it was asked for, and what its report gives away: all
//! that is needed to do it again.
//!
//! Does not: decide any of it.

use std::collections::BTreeMap;

use crate::audit::Private;
use crate::source::digest::Digest;

/// Who said it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// Nobody: the program's default.
    #[default]
    Default,
    /// The user.
    Option,
    /// The machine that the audit ran on.
    Host,
}

impl Origin {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Option => "option",
            Self::Host => "host",
        }
    }
}

/// What became of the addresses of a capture on their way into a report.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Addresses {
    /// They are as captured.
    #[default]
    Plain,
    /// Each is replaced by another, under a key that is not in the report.
    Mapped,
}

/// What became of its times.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Times {
    /// They are as captured.
    #[default]
    Absolute,
    /// They count from the earliest frame.
    Relative,
}

/// Where a run came from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Provenance {
    /// Who chose the kernel to judge by.
    pub kernel: Origin,
    /// Who chose the settings, by key; those not named are the program's defaults.
    pub sysctls: BTreeMap<&'static str, Origin>,
    /// The options that decide what a report says, as on the command line. What does not (threads,
    /// outputs, progress) is not among them, nor is a key.
    pub options: Vec<String>,
    /// The bytes of each input of [`Inputs::read`](crate::audit::Inputs::read), where they were
    /// wanted and can be read twice.
    pub digests: Vec<Option<Digest>>,
    /// What became of the addresses.
    pub addresses: Addresses,
    /// Which of them are private.
    pub private: Private,
    /// What became of the times.
    pub times: Times,
}
