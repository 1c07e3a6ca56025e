//! One of several runs that audit a capture together: its result goes to a file, for `merge`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use crate::cli::{Config, PartWanted};
use crate::output::{self, Pending, Progressing, Told, say};
use crate::{CLEAN, FAILED, is_read_to_its_end, open, plan};
use tcp_window_audit::audit::{Inputs, PacketVerdict};
use tcp_window_audit::conntrack::Setting;
use tcp_window_audit::partial::{Header, Part, Series, Source, Unfit, VERSION, Writer};
use tcp_window_audit::pipeline::{Observer, Partial, Plan, Run, Wanted, Whole, chain};
use tcp_window_audit::source::FrameSource;
use tcp_window_audit::source::digest::{Digest, Print};
use tcp_window_audit::source::piece::PieceFile;
use tcp_window_audit::tuple::Share;

/// Makes a part, unless it is there; returns the exit status.
pub(crate) fn run(config: &Config, part: &PartWanted) -> u8 {
    for note in &config.notes {
        say(note);
    }
    match make(config, part) {
        Ok(()) => CLEAN,
        Err(NotMade::NotBegun) => FAILED,
        Err(error) => {
            say(&chain(&error));
            FAILED
        }
    }
}

/// Returns whether a part is there that this run would make again.
fn is_there(part: &PartWanted, read: &Read) -> bool {
    // A pipe is not looked into.
    if !std::fs::metadata(&part.path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let Ok(Part { header, .. }) = Part::open(&part.path) else { return false };
    let (now, then) = match read {
        Read::Inputs(inputs) => (inputs, &header.inputs),
        Read::Pieces(pieces, _) => (pieces, &header.pieces),
    };
    header.share == part.share
        && header.asked == part.asked
        && header.pieces.is_empty() == matches!(read, Read::Inputs(_))
        && Source::are_same(now, then)
}

/// What a run reads.
enum Read {
    /// The inputs themselves.
    Inputs(Vec<Source>),
    /// Pieces of them.
    Pieces(Vec<Source>, Box<Series>),
}

impl Read {
    /// Finds out what the files are that a run is to read.
    fn of(config: &Config, part: &PartWanted) -> Result<Self, NotMade> {
        if !config.files.iter().any(|path| PieceFile::is_one(path)) {
            return Ok(Self::Inputs(config.files.iter().map(|path| source(path)).collect()));
        }
        if config.method.sysctls.checksum == Setting::On {
            return Err(NotMade::Checksums);
        }
        let pieces = config.files.iter().map(|path| PieceFile::open(path));
        let pieces = pieces.collect::<Result<_, _>>().map_err(Unfit::from)?;
        let series = Series::open(pieces, part.share, &config.decoding())?;
        Ok(Self::Pieces(series.paths().map(source).collect(), Box::new(series)))
    }
}

/// Why a part was not made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// It cannot be begun, and why has been said.
    #[error("nothing was audited")]
    NotBegun,
    #[error(transparent)]
    Unwritten(#[from] output::Error),
    #[error(transparent)]
    Pieces(#[from] Unfit),
    #[error(
        "nf_conntrack_checksum=1: pieces hold no payload, and their checksums cannot be judged"
    )]
    Checksums,
    /// A piece cannot be read to its end.
    #[error("{0}")]
    Damaged(String),
}

/// Says where an input is, and what the file system knows of it.
pub(crate) fn source(path: &Path) -> Source {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let stamp = metadata.and_then(|metadata| {
        let nanos = |time: std::time::SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => {
                i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |nanos| -nanos)
            }
        };
        Some((metadata.len(), nanos(metadata.modified().ok()?)))
    });
    Source { path: path.as_os_str().to_owned(), stamp, print: None, digest: None }
}

/// Audits the flows of one share, and writes what they showed, unless it is there.
fn make(config: &Config, part: &PartWanted) -> Result<(), NotMade> {
    let read = Read::of(config, part)?;
    if is_there(part, &read) {
        say(&format!("{}: is there, whole and made alike: kept", part.path.display()));
        return Ok(());
    }
    let mut plan = plan(config).ok_or(NotMade::NotBegun)?;
    if part.asked.has_verdicts {
        plan.wanted = Wanted::Verdicts;
    }
    let pending = Pending::create(&part.path)?;
    let failed = |source| output::Error::new(&part.path, source);
    let writer = Writer::new(pending).map_err(failed)?;
    let mut recorder = Recorder { writer, problem: None, progress: Progressing::new(config) };
    let mut told = Told::default();
    let (results, inputs, pieces) = match read {
        Read::Inputs(inputs) => {
            let (results, inputs) = audit(config, &plan, inputs, (&mut recorder, &mut told))?;
            (results, inputs, Vec::new())
        }
        Read::Pieces(files, series) => {
            let results = audit_pieces(plan, &series, &mut recorder).map_err(NotMade::Damaged)?;
            (results, series.inputs, files)
        }
    };
    recorder.progress.end();
    results.frames.incomplete.iter().for_each(|problem| told.say(problem));
    if let Some(problem) = recorder.problem {
        return Err(failed(problem).into());
    }
    let header = Header {
        version: VERSION.to_owned(),
        share: part.share,
        asked: part.asked.clone(),
        inputs,
        pieces,
        frames: results.frames.clone(),
    };
    recorder.writer.finish(&header, &results).map_err(failed)?.complete()?;
    Ok(())
}

/// Audits the flows of one share from the inputs themselves, and takes their prints.
fn audit(
    config: &Config,
    plan: &Plan,
    mut inputs: Vec<Source>,
    (observer, told): (&mut dyn Observer, &mut Told),
) -> Result<(Partial, Vec<Source>), NotMade> {
    // Beside the audit, which reads the same blocks at about the same time.
    let printing = Printing::start(config.files.clone(), plan.share);
    let mut run = Run::new(plan);
    let source = open(config, |error| {
        told.say(&chain(error));
        run.miss(error);
    });
    let mut source = source.ok_or(NotMade::NotBegun)?;
    run.read(&mut *source, observer);
    let results = run.finish_part();
    printing.finish(&results.frames.inputs, &mut inputs);
    Ok((results, inputs))
}

/// Audits the flows of one share from pieces of the inputs; fails where those are damaged.
pub(crate) fn audit_pieces(
    plan: Plan,
    series: &Series,
    observer: &mut dyn Observer,
) -> Result<Partial, String> {
    let mut run = Run::new(&Plan { frames: Whole::Piece, ..plan });
    run.read(&mut series.source(), observer);
    let (results, problems) = run.finish_piece(series.frames.clone());
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(results),
    }
}

/// Takes the verdicts of a run into its part.
struct Recorder {
    writer: Writer<Pending>,
    /// What kept a verdict from being written.
    problem: Option<std::io::Error>,
    progress: Progressing,
}

impl Observer for Recorder {
    /// Never fails: a part whose verdicts cannot be written is not made at all.
    fn verdicts(&mut self, verdicts: &[PacketVerdict], _: &Inputs) -> std::io::Result<()> {
        if self.problem.is_none() {
            self.problem = self.writer.verdicts(verdicts).err();
        }
        Ok(())
    }

    fn progress(&mut self, frames: u64, source: &dyn FrameSource) {
        self.progress.show(frames, source);
    }
}

/// What was read of an input's bytes; none of what is no plain file.
type Printed = Option<(Print, Option<Digest>)>;

/// Prints of the inputs, taken on a thread of their own.
pub(crate) struct Printing {
    give_up: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Printed>>,
}

impl Printing {
    /// Begins. The SHA-256 of each input, which costs more, is taken by one share of the run.
    pub(crate) fn start(files: Vec<PathBuf>, share: Share) -> Self {
        let give_up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&give_up);
        let print = move |(place, path): (usize, PathBuf)| {
            let is_its = place % usize::from(share.count()) == usize::from(share.index());
            Print::of(&path, is_its, &told).ok()?
        };
        let thread = std::thread::spawn(move || files.into_iter().enumerate().map(print).collect());
        Self { give_up, thread }
    }

    /// Waits for the prints; there are none where an input was left before its end.
    pub(crate) fn finish(self, read: &Inputs, inputs: &mut [Source]) {
        if !is_read_to_its_end(read) {
            self.give_up.store(true, Ordering::Relaxed);
            return;
        }
        for (input, print) in inputs.iter_mut().zip(self.thread.join().unwrap_or_default()) {
            if let Some((print, digest)) = print {
                (input.print, input.digest) = (Some(print), digest);
            }
        }
    }
}
