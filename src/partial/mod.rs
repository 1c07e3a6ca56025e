//! Parts of one audit, each a file: what a run over one share of the flows found out.
//!
//! ```text
//! magic │ verdicts │ verdicts │ … │ header │ results │ SHA-256 of all before
//! ```
//!
//! Between magic and SHA-256 stand records: a byte that says what it is, the length in eight bytes,
//! and the content in the format of postcard. A file without its SHA-256, or with another one, is no
//! part, whatever it holds; numbers in it that no run comes to are refused or do no harm.
//!
//! * [`Writer`]: a part on its way to a file.
//! * [`Part`]: a part that was read and is whole.
//! * [`Set`]: parts that belong together, and nothing missing.
//! * [`Verdicts`]: the verdicts of all parts, in capture order.
//! * [`Series`]: pieces of captures that one run audits.
//!
//! Does not: audit, or know what reports say.

mod read;
mod set;
mod verdicts;
mod whole;
mod write;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::audit::Origin;
use crate::pipeline::Frames;
use crate::source::digest::{Digest, Print};
use crate::tuple::Share;

pub use read::Part;
pub use set::{Set, Stranger};
pub use verdicts::Verdicts;
pub use whole::{Series, Unfit, Whole};
pub use write::Writer;

/// What a part begins with.
const MAGIC: [u8; 8] = *b"TWAPART\x02";
/// The bytes of the SHA-256 that it ends with.
const DIGEST_BYTES: usize = 32;

/// The program that writes parts and reads those of its own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a record of a part holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Verdicts,
    Header,
    Results,
}

impl Record {
    const ALL: [Self; 3] = [Self::Verdicts, Self::Header, Self::Results];

    const fn code(self) -> u8 {
        match self {
            Self::Verdicts => b'V',
            Self::Header => b'H',
            Self::Results => b'R',
        }
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.code() == code)
    }
}

/// What a part is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program that wrote it.
    pub version: String,
    /// The flows that it tells of.
    pub share: Share,
    /// What decides what it tells, beside the inputs.
    pub asked: Asked,
    /// The inputs, in the order given.
    pub inputs: Vec<Source>,
    /// The pieces of the inputs that were read instead, where they had been split.
    pub pieces: Vec<Source>,
    /// What all frames were.
    pub frames: Frames,
}

/// What decides what a part tells, beside the inputs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Options, as on the command line; what was read from a machine stands there with its value.
    pub options: Vec<String>,
    /// Who chose the kernel to judge by.
    pub kernel: Origin,
    /// Who chose the settings, by key.
    pub sysctls: Vec<(String, Origin)>,
    /// Whether the part holds the verdict on every packet.
    pub has_verdicts: bool,
}

/// An input of a part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Where it was.
    pub path: OsString,
    /// Size and time of the last change, of a plain file.
    pub stamp: Option<(u64, i128)>,
    /// Its bytes, of a plain file that was read to its end.
    pub print: Option<Print>,
    /// The SHA-256 of the same, which one part of each run has.
    pub digest: Option<Digest>,
}

impl Source {
    /// Returns whether plain files are where they were, and have not changed since.
    pub fn are_same(now: &[Self], then: &[Self]) -> bool {
        let is_same = |(now, then): (&Self, &Self)| {
            now.stamp.is_some() && (&now.path, now.stamp) == (&then.path, then.stamp)
        };
        now.len() == then.len() && now.iter().zip(then).all(is_same)
    }
}

/// Why a file is no part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: cannot read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is something else.
    #[error("{}: not a partial result of tcp-window-audit", .0.display())]
    NotAPart(PathBuf),
    /// It was cut short or changed.
    #[error("{}: damaged: it does not end with the checksum of what it holds", .0.display())]
    Damaged(PathBuf),
    /// Another version wrote it.
    #[error("{}: written by another version of tcp-window-audit; this is {VERSION}", .0.display())]
    Version(PathBuf),
}
