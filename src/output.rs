//! Where reports, verdicts and progress go: files, standard output, standard error.
//!
//! Files are written beside their place and renamed, so that a failure leaves no half report.

mod events;
mod incident;
mod progress;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use crate::cli::{Config, Live, Output, Reading};
use events::Events;
use incident::Incident;
pub(crate) use progress::Progressing;
use tcp_window_audit::audit::{Audit, Inputs, PacketVerdict};
use tcp_window_audit::pipeline::Observer;
use tcp_window_audit::report::{self, Look};
use tcp_window_audit::source::FrameSource;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot write", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// Says that a file cannot be written, and why.
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }

    /// Returns whether it is a matter of who writes.
    pub(crate) fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Tells the person something on standard error, in one line with the program's name in front.
pub(crate) fn say(message: &str) {
    // There is nobody left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "tcp-window-audit: {}", report::printable(message));
}

/// What a person was told, so that nothing is told twice.
#[derive(Default)]
pub(crate) struct Told(BTreeSet<String>);

impl Told {
    /// Tells something if it has not been told.
    pub(crate) fn say(&mut self, message: &str) {
        if self.0.insert(message.to_owned()) {
            say(message);
        }
    }
}

/// Prints a text that answers a question on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    forgive_closed_pipe(written).map_err(Error::at(Path::new("standard output")))
}

/// A file that appears under its name only when it is complete.
pub(crate) struct Pending {
    path: PathBuf,
    /// Where it is written until then; a device or pipe is written to directly.
    temporary: Option<PathBuf>,
    file: BufWriter<File>,
}

impl Pending {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let existing = fs::metadata(path).ok();
        if existing.is_some_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(path).map_err(Error::at(path))?;
            return Ok(Self { path: path.to_owned(), temporary: None, file: BufWriter::new(file) });
        }
        // What a link leads to is replaced, not the link.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // Hidden, so that what a killed program leaves is not taken for one of the files beside it.
        let mut name = OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let temporary = place.with_file_name(name);
        let file = File::create(&temporary).map_err(Error::at(path))?;
        Ok(Self { path: place, temporary: Some(temporary), file: BufWriter::new(file) })
    }

    /// Finds out whether a file could be created; a device or pipe is left alone until the end.
    fn check(path: &Path) -> Result<(), Error> {
        let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        if is_special { Ok(()) } else { Self::create(path).map(drop) }
    }

    /// Gives the file its name.
    pub(crate) fn complete(mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::at(&self.path))?;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        // Some file systems tell only now that the disk is full.
        let written = self.file.get_ref().sync_all();
        let done = written.and_then(|()| fs::rename(&temporary, &self.path));
        done.map_err(|source| {
            let _ = fs::remove_file(&temporary);
            Error { path: self.path.clone(), source }
        })
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Where the verdict stream goes.
enum VerdictSink {
    Nowhere,
    Stdout(BufWriter<StdoutLock<'static>>),
    File(Pending),
    /// The reader of standard output has gone away: the rest is not missed.
    ClosedPipe,
    /// It could not be written, and what there was is gone.
    Failed,
}

/// Everything that is written during and after a run.
pub(crate) struct Sinks {
    verdicts: VerdictSink,
    incident: Option<Incident>,
    /// Where INVALID packets are told at once.
    events: Option<Events>,
    progress: Progressing,
    /// Whether verdicts are to be seen as soon as they are known.
    is_followed: bool,
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
        let events = config.live.as_ref().and_then(|live| live.events.as_deref());
        let events = events.map(Events::open).transpose()?;
        for output in &config.outputs {
            Pending::check(&output.path)?;
        }
        if let Some(file) = config.live.as_ref().and_then(Live::metrics_file) {
            Pending::check(file)?;
        }
        let incident = config.incident.as_deref().map(Incident::create).transpose()?;
        let progress = Progressing::new(config);
        let is_followed = config.input == Reading::WhileItGrows;
        Ok(Self { verdicts, incident, events, progress, is_followed })
    }

    /// Ends the progress line.
    pub(crate) fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Writes the reports that go to files, as they are now.
    pub(crate) fn write_reports(audit: &Audit, config: &Config) -> Vec<Error> {
        let outputs = config.outputs.iter();
        outputs.filter_map(|output| write_report(audit, output).err()).collect()
    }

    /// Writes all reports and completes the files; one that fails keeps no other from being written.
    pub(crate) fn finish(self, audit: &Audit, config: &Config) -> Vec<Error> {
        let standard_output = Path::new("standard output");
        let mut results = Vec::new();
        let mut stdout_is_taken = false;
        match self.verdicts {
            VerdictSink::Nowhere | VerdictSink::Failed => {}
            VerdictSink::ClosedPipe => stdout_is_taken = true,
            VerdictSink::Stdout(mut out) => {
                stdout_is_taken = true;
                results.push(forgive_closed_pipe(out.flush()).map_err(Error::at(standard_output)));
            }
            VerdictSink::File(pending) => results.push(pending.complete()),
        }
        results.extend(self.events.map(Events::finish));
        let outputs = config.outputs.iter();
        results.extend(outputs.map(|output| write_report(audit, output)));
        results.extend(self.incident.map(|incident| incident.complete(audit)));
        if !stdout_is_taken {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = report::write(audit, config.format, config.look, &mut out);
            let written = forgive_closed_pipe(written.and_then(|()| out.flush()));
            results.push(written.map_err(Error::at(standard_output)));
        }
        results.into_iter().filter_map(Result::err).collect()
    }
}

/// Writes bytes to a file.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut pending = Pending::create(path)?;
    pending.file.write_all(bytes).map_err(Error::at(path))?;
    pending.complete()
}

/// Writes a report to a file.
fn write_report(audit: &Audit, output: &Output) -> Result<(), Error> {
    let mut pending = Pending::create(&output.path)?;
    report::write(audit, output.format, Look::FILE, &mut pending.file)
        .map_err(Error::at(&output.path))?;
    pending.complete()
}

/// A reader that has seen enough is no failure.
fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Who wants to hear nothing of a run while it goes on.
pub(crate) struct Silence;

impl Observer for Silence {
    fn verdicts(&mut self, _: &[PacketVerdict], _: &Inputs) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: &dyn FrameSource) {}
}

impl Observer for Sinks {
    fn verdicts(&mut self, verdicts: &[PacketVerdict], inputs: &Inputs) -> io::Result<()> {
        if let Some(events) = &mut self.events {
            let mut lines = Vec::new();
            report::write_invalid(verdicts, inputs, &mut lines)?;
            events.write(&lines);
        }
        match &mut self.verdicts {
            VerdictSink::Nowhere | VerdictSink::ClosedPipe | VerdictSink::Failed => Ok(()),
            VerdictSink::File(pending) => {
                let written = report::write_verdicts(verdicts, inputs, &mut pending.file);
                if written.is_err() {
                    self.verdicts = VerdictSink::Failed;
                }
                written
            }
            VerdictSink::Stdout(out) => {
                let mut written = report::write_verdicts(verdicts, inputs, out);
                if self.is_followed {
                    written = written.and_then(|()| out.flush());
                }
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
        self.progress.show(frames, source);
    }
}
