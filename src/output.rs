//! Where reports, verdicts and progress go: files, standard output, standard error.
//!
//! Files are written beside their place and renamed, so that a failure leaves no half report.

use std::fs::{self, File};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use crate::cli::{Config, Progress};
use tcp_window_audit::audit::{Audit, Inputs, PacketVerdict};
use tcp_window_audit::pipeline::Observer;
use tcp_window_audit::report::{self, Detail};
use tcp_window_audit::source::FrameSource;

/// Bytes of input below which progress is not worth showing: 64 MiB, well under a second.
const LARGE_INPUT: u64 = 64 << 20;
/// Frames between two updates of the progress line.
const PROGRESS_STEP: u64 = 500_000;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Error {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}

/// Tells the person something on standard error, in one line with the program's name in front.
pub(crate) fn say(message: &str) {
    // There is nobody left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "tcp-window-audit: {}", report::printable(message));
}

/// Prints a text that answers a question on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    forgive_closed_pipe(written).map_err(Error::at(Path::new("standard output")))
}

/// A file that appears under its name only when it is complete.
struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
}

impl Pending {
    fn create(path: &Path) -> Result<Self, Error> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(Error::at(path))?;
        Ok(Self { path: path.to_owned(), temporary, file: BufWriter::new(file) })
    }

    fn complete(mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::at(&self.path))?;
        fs::rename(&self.temporary, &self.path).map_err(Error::at(&self.path))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After completion the name is gone, and nothing happens here.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Where the verdict stream goes.
enum VerdictSink {
    Nowhere,
    Stdout(BufWriter<StdoutLock<'static>>),
    File(Pending),
    /// The reader of standard output has gone away: the rest is not missed.
    ClosedPipe,
}

/// Everything that is written during and after a run.
pub(crate) struct Sinks {
    verdicts: VerdictSink,
    progress: Progress,
    next_update: u64,
    line_shown: bool,
}

impl Sinks {
    /// Opens what has to be open before the run: a bad path must fail at once, not at the end.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let verdicts = match config.verdicts.as_deref() {
            None => VerdictSink::Nowhere,
            Some(path) if path == Path::new("-") => {
                VerdictSink::Stdout(BufWriter::new(io::stdout().lock()))
            }
            Some(path) => VerdictSink::File(Pending::create(path)?),
        };
        for output in &config.outputs {
            drop(Pending::create(&output.path)?);
        }
        let progress = config.progress;
        Ok(Self { verdicts, progress, next_update: PROGRESS_STEP, line_shown: false })
    }

    /// Ends the progress line.
    pub(crate) fn end_progress(&mut self) {
        if self.line_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.line_shown = false;
        }
    }

    /// Writes all reports and completes the files.
    pub(crate) fn finish(self, audit: &Audit, config: &Config) -> Result<(), Error> {
        let stdout_is_taken =
            matches!(self.verdicts, VerdictSink::Stdout(_) | VerdictSink::ClosedPipe);
        match self.verdicts {
            VerdictSink::Nowhere | VerdictSink::ClosedPipe => {}
            VerdictSink::Stdout(mut out) => {
                forgive_closed_pipe(out.flush())
                    .map_err(Error::at(Path::new("standard output")))?;
            }
            VerdictSink::File(pending) => pending.complete()?,
        }
        for output in &config.outputs {
            let mut pending = Pending::create(&output.path)?;
            report::write(audit, output.format, Detail::Verbose, &mut pending.file)
                .map_err(Error::at(&output.path))?;
            pending.complete()?;
        }
        if stdout_is_taken {
            return Ok(());
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let written = report::write(audit, config.format, config.detail, &mut out);
        forgive_closed_pipe(written.and_then(|()| out.flush()))
            .map_err(Error::at(Path::new("standard output")))
    }
}

/// A reader that has seen enough is no failure.
fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

impl Observer for Sinks {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], inputs: &Inputs) -> io::Result<()> {
        match &mut self.verdicts {
            VerdictSink::Nowhere | VerdictSink::ClosedPipe => Ok(()),
            VerdictSink::File(pending) => {
                report::write_verdicts(verdicts, inputs, &mut pending.file)
            }
            VerdictSink::Stdout(out) => {
                let written = report::write_verdicts(verdicts, inputs, out);
                let closed =
                    written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
                if closed {
                    self.verdicts = VerdictSink::ClosedPipe;
                }
                forgive_closed_pipe(written)
            }
        }
    }

    fn progress(&mut self, frames: u64, source: &dyn FrameSource) {
        if self.progress == Progress::Never || frames < self.next_update {
            return;
        }
        self.next_update = frames + PROGRESS_STEP;
        let summary = source.summary();
        let is_large = summary.file_len.is_none_or(|len| len >= LARGE_INPUT);
        if self.progress == Progress::ForLargeInputs && !is_large {
            return;
        }
        let share = summary.file_len.filter(|&len| len > 0).map_or_else(String::new, |len| {
            format!(", {} %", summary.bytes_read.saturating_mul(100) / len)
        });
        let name = report::printable(&summary.name);
        let _ = write!(io::stderr(), "\r\x1b[K{name}: {frames} frames{share}");
        self.line_shown = true;
    }
}
