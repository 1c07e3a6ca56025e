//! What a piece of a capture says of the whole: what its frames were, and what it was divided by.
//!
//! Captures that were divided by runs of their own make one time line where each begins after the one
//! before has ended; runs over them know of all frames what a run over all captures would have known.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::partial::{Source, VERSION};
use crate::pipeline::Frames;
use crate::source::SourceSummary;
use crate::source::piece::{PieceError, PieceFile, PieceSource};
use crate::time::{CaptureClock, Timestamp};
use crate::tuple::Share;

/// What a piece of a capture says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Whole {
    /// The version of the program that wrote it.
    pub version: String,
    /// The flows that the piece holds.
    pub share: Share,
    /// The options by which frames were decoded, as on the command line.
    pub options: Vec<String>,
    /// The bytes of each frame that were to be kept at least.
    pub least: u32,
    /// The inputs, in the order given.
    pub inputs: Vec<Source>,
    /// How many frames there were.
    pub count: u64,
    /// What all frames were, but for fragments.
    pub frames: Frames,
}

/// Why pieces are not what a run can audit.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A file is no piece.
    #[error(transparent)]
    NoPiece(#[from] PieceError),
    /// Another version wrote it.
    #[error("{0}: a piece that another version of tcp-window-audit has made; this is {VERSION}")]
    Version(String),
    /// None of them holds the flows of the share that is wanted.
    #[error("{name}: is piece {its}, and no file is one of shard {wanted}, which this run audits")]
    Share {
        /// A piece.
        name: String,
        /// Which one it is.
        its: Share,
        /// Which one is wanted.
        wanted: Share,
    },
    /// It was made with other options.
    #[error("{name}: was split {}, and this run is {}", words(its), words(wanted))]
    Options {
        /// The piece.
        name: String,
        /// Its options.
        its: Vec<String>,
        /// Those of the run.
        wanted: Vec<String>,
    },
    /// Two pieces are of the same time.
    #[error("{0}: of the same time as {1}: captures that overlap are to be split in one run")]
    Overlap(String, String),
    /// What follows depends on what was before.
    #[error("{0}: its clock was set back: it can be followed by no other; split them in one run")]
    SetBack(String),
}

fn words(options: &[String]) -> String {
    let how = options.join(" ");
    if how.is_empty() { "without options".to_owned() } else { format!("with {how}") }
}

/// Pieces that one run audits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    /// The pieces in the order of their times, with the inputs and frames of the captures before.
    pieces: Vec<(PieceFile, usize, u64)>,
    /// The inputs of all captures, in the order given.
    pub inputs: Vec<Source>,
    /// What all frames were, but for fragments.
    pub frames: Frames,
}

impl Series {
    /// Reads what pieces say, takes those of the share that is wanted, and sees to it that a run can
    /// audit them.
    ///
    /// # Errors
    ///
    /// [`Unfit`] where it cannot.
    pub fn open(pieces: Vec<PieceFile>, wanted: Share, options: &[String]) -> Result<Self, Unfit> {
        let mut inputs = Vec::new();
        let mut frames = Frames::default();
        let mut placed = Vec::new();
        let mut stranger = None;
        for file in pieces {
            let whole = Whole::of(&file, options)?;
            if whole.share != wanted {
                stranger.get_or_insert((file.path.display().to_string(), whole.share));
                continue;
            }
            let before = frames.inputs.read.len();
            inputs.extend(whole.inputs.iter().cloned());
            frames.adopt(&whole.frames);
            placed.push((file, before, whole));
        }
        if let Some((name, its)) = stranger.filter(|_| placed.is_empty()) {
            return Err(Unfit::Share { name, its, wanted });
        }
        // In the order of time, each counts on from the one before.
        placed.sort_by_key(|(_, _, whole)| whole.frames.clocks());
        for pair in placed.windows(2) {
            if let [(file, _, whole), (next, _, of_next)] = pair {
                follows((file, &whole.frames), (next, &of_next.frames))?;
            }
        }
        let mut count: u64 = 0;
        let mut pieces = Vec::new();
        for (file, before, whole) in placed {
            pieces.push((file, before, count));
            frames.append(&whole.frames);
            count = count.saturating_add(whole.count);
        }
        Ok(Self { pieces, inputs, frames })
    }

    /// Returns the files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pieces.iter().map(|(file, ..)| file.path.as_path())
    }

    /// Returns the frames of all pieces.
    pub fn source(&self) -> PieceSource {
        let read = self.frames.inputs.read.iter();
        let summaries: Vec<SourceSummary> = read.map(|input| input.summary.clone()).collect();
        PieceSource::new(self.pieces.clone(), summaries)
    }
}

impl Whole {
    /// Reads what a piece says, and sees to it that it was made with these options.
    ///
    /// # Errors
    ///
    /// [`Unfit`] where it was not.
    pub fn of(file: &PieceFile, options: &[String]) -> Result<Self, Unfit> {
        let name = file.path.display().to_string();
        let version = postcard::take_from_bytes::<String>(&file.whole);
        if !version.is_ok_and(|(version, _)| version == VERSION) {
            return Err(Unfit::Version(name));
        }
        let whole: Self = match postcard::from_bytes(&file.whole) {
            Ok(whole) => whole,
            Err(_) => return Err(Unfit::Version(name)),
        };
        if whole.options != options {
            return Err(Unfit::Options { name, its: whole.options, wanted: options.to_vec() });
        }
        Ok(whole)
    }

    /// Writes it as a piece holds it.
    ///
    /// # Errors
    ///
    /// Where something cannot be written, which does not happen.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(std::io::Error::other)
    }
}

/// Sees to it that one capture ends before the next begins.
fn follows(
    (file, frames): (&PieceFile, &Frames),
    (next, of_next): (&PieceFile, &Frames),
) -> Result<(), Unfit> {
    let name = |file: &PieceFile| file.path.display().to_string();
    let end = frames.clocks().map(|(_, end)| end).max(frames.range().map(|(_, latest)| latest));
    let begin = of_next.range().map(|(earliest, _): (Timestamp, Timestamp)| earliest);
    if end.is_some() && begin.is_some() && end >= begin {
        return Err(Unfit::Overlap(name(next), name(file)));
    }
    if frames.longest_step_back() > CaptureClock::TOLERANCE_NS {
        return Err(Unfit::SetBack(name(file)));
    }
    Ok(())
}
