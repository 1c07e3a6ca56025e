//! Captures, divided into pieces by flow.

use std::io;

use crate::cli::{Config, SplitArgs};
use crate::job::{Printing, source};
use crate::output::{Pending, Progressing, Told, say};
use crate::{CLEAN, FAILED, open, plan};
use tcp_window_audit::audit::{Inputs, PacketVerdict};
use tcp_window_audit::frame::{Frame, Place, Tick};
use tcp_window_audit::partial::{Source, VERSION, Whole};
use tcp_window_audit::pipeline::{Observer, Pieces, Splitter, chain};
use tcp_window_audit::source::piece::{PieceFile, PieceWriter};
use tcp_window_audit::source::{FrameSource, SourceSummary};
use tcp_window_audit::tuple::Share;

/// Splits captures, and returns the exit status.
pub(crate) fn run(split: &SplitArgs) -> u8 {
    match divide(split) {
        Ok(Some(())) => CLEAN,
        Ok(None) => FAILED,
        Err(error) => {
            say(&chain(&*error));
            FAILED
        }
    }
}

/// Makes the pieces, unless they are there; none where that cannot be begun, and why has been said.
/// What keeps an input from being read to its end stands in the pieces.
fn divide(split: &SplitArgs) -> Result<Option<()>, Box<dyn std::error::Error>> {
    let config = split.config()?;
    let shares = (0..split.pieces).filter_map(|index| Share::of(index, split.pieces));
    let shares: Vec<_> = shares.collect();
    let mut inputs: Vec<_> = config.files.iter().map(|path| source(path)).collect();
    if shares.iter().all(|share| is_there(split, *share, &inputs, &config)) {
        say(&format!("{}: all pieces are there, made alike: kept", split.output.display()));
        return Ok(Some(()));
    }
    let Some(plan) = plan(&config) else { return Ok(None) };
    std::fs::create_dir_all(&split.output)?;
    let printing = Printing::start(config.files.clone(), Share::ALL);
    let (mut missed, mut told) = (Vec::new(), Told::default());
    let source = open(&config, |error| {
        told.say(&chain(error));
        missed.push(chain(error));
    });
    let Some(mut source) = source else { return Ok(None) };
    let mut writers = Writers::create(split, &shares)?;
    let mut progress = Progress(Progressing::new(&config));
    let splitter = Splitter::new(&plan, split.pieces, split.snap as usize);
    let (mut frames, count) = splitter.read(&plan, &mut *source, &mut writers, &mut progress)?;
    progress.0.end();
    frames.incomplete.splice(0..0, missed);
    frames.incomplete.iter().for_each(|problem| told.say(problem));
    printing.finish(&frames.inputs, &mut inputs);
    let least = split.snap;
    let options = config.decoding();
    for (writer, share) in writers.pieces.into_iter().zip(shares) {
        let (version, inputs, options) = (VERSION.to_owned(), inputs.clone(), options.clone());
        let frames = frames.clone();
        let whole = Whole { version, share, options, least, inputs, count, frames };
        let failed = |error| crate::output::Error::new(&split.path(share), error);
        writer.finish(&whole.to_bytes()?).map_err(failed)?.complete()?;
    }
    Ok(Some(()))
}

/// Returns whether a piece is there that this run would make again.
fn is_there(split: &SplitArgs, share: Share, inputs: &[Source], config: &Config) -> bool {
    let Ok(file) = PieceFile::open(&split.path(share)) else { return false };
    let Ok(whole) = Whole::of(&file, &config.decoding()) else { return false };
    (whole.share, whole.least) == (share, split.snap) && Source::are_same(inputs, &whole.inputs)
}

/// The pieces being written.
struct Writers<'a> {
    split: &'a SplitArgs,
    pieces: Vec<PieceWriter<Pending>>,
    /// What is known of the inputs so far.
    summaries: Vec<SourceSummary>,
}

impl<'a> Writers<'a> {
    fn create(split: &'a SplitArgs, shares: &[Share]) -> Result<Self, crate::output::Error> {
        let mut writers = Vec::new();
        for share in shares {
            let path = split.path(*share);
            let about = format!("{share}, version {VERSION}: headers of the flows of one share");
            let writer = PieceWriter::new(Pending::create(&path)?, &about);
            writers.push(writer.map_err(|error| crate::output::Error::new(&path, error))?);
        }
        Ok(Self { split, pieces: writers, summaries: Vec::new() })
    }
}

impl Pieces for Writers<'_> {
    fn put(
        &mut self,
        piece: usize,
        frame: &Frame<'_>,
        kept: usize,
        tick: Option<Tick>,
    ) -> io::Result<()> {
        let Some(writer) = self.pieces.get_mut(piece) else { return Ok(()) };
        let file = Place::of(frame.number).file;
        let summary = self.summaries.get(file);
        let interface =
            summary.and_then(|summary| summary.interfaces.get(usize::from(frame.interface)));
        let name = interface.and_then(|interface| interface.name.as_deref());
        writer.frame((file as u64, name), frame, kept, tick).map_err(|error| {
            let kind = error.kind();
            io::Error::new(kind, format!("{}: {error}", self.split.output.display()))
        })
    }

    fn describe(&mut self, source: &dyn FrameSource) {
        self.summaries = source.summaries();
    }
}

/// Who wants to know how far it is.
struct Progress(Progressing);

impl Observer for Progress {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, frames: u64, source: &dyn FrameSource) {
        self.0.show(frames, source);
    }
}
