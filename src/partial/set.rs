//! Parts that belong together: of one run, one for each share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::partial::{Error, Header, Part, Source};
use crate::pipeline::Partial;
use crate::source::digest::Digest;
use crate::tuple::Share;

/// The parts of one run, complete, in the order of their shares.
#[derive(Debug)]
pub struct Set {
    parts: Vec<Part>,
}

/// Why parts do not make one run.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// A file is no part.
    #[error(transparent)]
    NoPart(#[from] Error),
    /// There is none at all.
    #[error("no parts to merge")]
    Nothing,
    /// A run of another number of shares.
    #[error("{}: is shard {share}, while {} is one of {count}", path.display(), other.display())]
    Count {
        /// The part.
        path: PathBuf,
        /// Which one it is.
        share: Share,
        /// The part before it.
        other: PathBuf,
        /// How many shards its run has.
        count: u16,
    },
    /// Two of the same share.
    #[error("{}: is shard {share}, as {} is", path.display(), other.display())]
    Twice {
        /// The part.
        path: PathBuf,
        /// Which one it is.
        share: Share,
        /// The part before it.
        other: PathBuf,
    },
    /// Some are not there.
    #[error("missing: shard {}", shares(.0))]
    Missing(Vec<Share>),
    /// Other options.
    #[error(
        "{}: was made with other options than {}: {} instead of {}",
        path.display(), other.display(), words(its), words(others)
    )]
    Options {
        /// The part.
        path: PathBuf,
        /// Its options.
        its: Vec<String>,
        /// The part before it.
        other: PathBuf,
        /// The options of that one.
        others: Vec<String>,
    },
    /// Other input.
    #[error("{}: was made from other input than {}: {what}", path.display(), other.display())]
    Input {
        /// The part.
        path: PathBuf,
        /// The part before it.
        other: PathBuf,
        /// What differs.
        what: String,
    },
}

/// The missing shares that are named.
const NAMED: usize = 20;

fn shares(shares: &[Share]) -> String {
    let mut names: Vec<_> = shares.iter().take(NAMED).map(Share::to_string).collect();
    if shares.len() > NAMED {
        names.push(format!("and {} more", shares.len() - NAMED));
    }
    names.join(", ")
}

fn words(options: &[String]) -> String {
    if options.is_empty() { "none".to_owned() } else { options.join(" ") }
}

impl Set {
    /// Reads parts and sees to it that they make one run, whatever their order.
    ///
    /// # Errors
    ///
    /// [`Stranger`] where they do not.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Stranger> {
        let mut parts: BTreeMap<u16, Part> = BTreeMap::new();
        for path in paths {
            let part = Part::open(path)?;
            if let Some(first) = parts.values().next() {
                compare(first, &part)?;
            }
            let share = part.header.share;
            if let Some(other) = parts.get(&share.index()) {
                return Err(Stranger::Twice {
                    path: path.clone(),
                    share,
                    other: other.path.clone(),
                });
            }
            parts.insert(share.index(), part);
        }
        let count = parts.values().next().ok_or(Stranger::Nothing)?.header.share.count();
        let is_missing = |index: &u16| !parts.contains_key(index);
        let missing: Vec<_> =
            (0..count).filter(is_missing).filter_map(|index| Share::of(index, count)).collect();
        if !missing.is_empty() {
            return Err(Stranger::Missing(missing));
        }
        Ok(Self { parts: parts.into_values().collect() })
    }

    /// Returns what the parts have in common, as the first of them says it.
    pub fn header(&self) -> Option<&Header> {
        self.parts.first().map(|part| &part.header)
    }

    /// Returns the parts, in the order of their shares.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the SHA-256 of an input, which one of the parts has.
    pub fn digest(&self, input: usize) -> Option<Digest> {
        self.parts.iter().find_map(|part| part.header.inputs.get(input)?.digest)
    }

    /// Puts together what all parts found out.
    ///
    /// # Errors
    ///
    /// [`Error`] where a file has changed since it was opened.
    pub fn results(&self) -> Result<Option<Partial>, Error> {
        let mut whole: Option<Partial> = None;
        for part in &self.parts {
            let results = part.results()?;
            match &mut whole {
                None => whole = Some(results),
                Some(whole) => whole.merge(results),
            }
        }
        Ok(whole)
    }
}

/// Sees to it that two parts are of one run.
fn compare(first: &Part, part: &Part) -> Result<(), Stranger> {
    let (path, other) = (part.path.clone(), first.path.clone());
    let (its, others) = (&part.header, &first.header);
    if its.share.count() != others.share.count() {
        let count = others.share.count();
        return Err(Stranger::Count { path, share: its.share, other, count });
    }
    if its.asked != others.asked {
        let options = |header: &Header| {
            let verdicts = header.asked.has_verdicts.then(|| "--keep-verdicts".to_owned());
            header.asked.options.iter().cloned().chain(verdicts).collect()
        };
        let (its, others) = (options(its), options(others));
        return Err(Stranger::Options { path, its, other, others });
    }
    match difference(its, others) {
        Some(what) => Err(Stranger::Input { path, other, what }),
        None => Ok(()),
    }
}

/// Says how the input of one part differs from that of another.
fn difference(its: &Header, others: &Header) -> Option<String> {
    let name = |source: &Source| Path::new(&source.path).display().to_string();
    if its.inputs.len() != others.inputs.len() {
        return Some(format!("{} files instead of {}", its.inputs.len(), others.inputs.len()));
    }
    for (one, other) in its.inputs.iter().zip(&others.inputs) {
        if one.path != other.path {
            return Some(format!("{} instead of {}", name(one), name(other)));
        }
        if one.print != other.print {
            return Some(format!("{} holds other bytes", name(one)));
        }
    }
    (its.frames != others.frames).then(|| "other frames were read".to_owned())
}
