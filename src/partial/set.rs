//! Parts that belong together: of one run, one for each share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::partial::{Error, Header, Part, Source};
use crate::pipeline::{Frames, Partial};
use crate::source::digest::Digest;
use crate::tuple::Share;

/// The parts of one run, complete, in the order of their shares.
#[derive(Debug)]
pub struct Set {
    /// What all parts have in common, as one of them says it.
    common: Header,
    /// The parts, without it.
    parts: Vec<Part>,
    /// The SHA-256 of each input, which one of the parts has.
    digests: Vec<Option<Digest>>,
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
        let mut first: Option<Part> = None;
        let mut digests = Vec::new();
        for path in paths {
            let mut part = Part::open(path)?;
            compare(first.get_or_insert_with(|| part.clone()), &part)?;
            let share = part.header.share;
            if let Some(other) = parts.get(&share.index()) {
                let (path, other) = (path.clone(), other.path.clone());
                return Err(Stranger::Twice { path, share, other });
            }
            // What all have in common is kept once: it grows with the number of inputs.
            part.header.frames = Frames::default();
            let inputs = std::mem::take(&mut part.header.inputs);
            digests.resize(inputs.len(), None);
            for (known, input) in digests.iter_mut().zip(inputs) {
                *known = known.or(input.digest);
            }
            parts.insert(share.index(), part);
        }
        let common = first.ok_or(Stranger::Nothing)?.header;
        let count = common.share.count();
        let is_missing = |index: &u16| !parts.contains_key(index);
        let missing: Vec<_> =
            (0..count).filter(is_missing).filter_map(|index| Share::of(index, count)).collect();
        if !missing.is_empty() {
            return Err(Stranger::Missing(missing));
        }
        Ok(Self { common, parts: parts.into_values().collect(), digests })
    }

    /// Returns what the parts have in common, as one of them says it.
    pub const fn common(&self) -> &Header {
        &self.common
    }

    /// Returns the parts in the order of their shares, without what they have in common.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the SHA-256 of an input.
    pub fn digest(&self, input: usize) -> Option<Digest> {
        self.digests.get(input).copied().flatten()
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
