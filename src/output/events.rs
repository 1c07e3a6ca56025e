//! Where INVALID packets are told as soon as they come.
//!
//! A disk that is full for a while must not end that for ever: what could not be written is counted,
//! and the next lines are tried again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Error, forgive_closed_pipe, say};
use tcp_window_audit::pipeline::chain;

/// The file, or standard output.
pub(super) struct Events {
    path: PathBuf,
    out: Box<dyn Write>,
    /// Why the first lines could not be written.
    problem: Option<io::Error>,
    /// Whether the last ones could not: one of them may have been cut.
    has_failed: bool,
}

impl Events {
    /// Opens it: lines are added to a file that is there.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let out: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            let file = File::options().append(true).create(true).open(path);
            Box::new(file.map_err(Error::at(path))?)
        };
        Ok(Self { path: path.to_owned(), out, problem: None, has_failed: false })
    }

    /// Writes whole lines, or says why not.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let line_end = if self.has_failed { &b"\n"[..] } else { &[] };
        let written = self.out.write_all(line_end).and_then(|()| self.out.write_all(lines));
        match forgive_closed_pipe(written.and_then(|()| self.out.flush())) {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                if !self.has_failed {
                    let error = Error { path: self.path.clone(), source: error };
                    say(&format!("{}; the capture goes on", chain(&error)));
                    self.problem.get_or_insert(error.source);
                }
                self.has_failed = true;
            }
        }
    }

    /// Says whether lines are missing.
    pub(super) fn finish(self) -> Result<(), Error> {
        let path = self.path;
        self.problem.map_or(Ok(()), |source| Err(Error { path, source }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_at_the_end_and_does_not_keep_later_lines_from_being_tried() {
        let mut events = Events::open(Path::new("/dev/full")).unwrap();
        events.write(b"{}\n");
        assert!(events.has_failed);
        events.out = Box::new(io::sink());
        events.write(b"{}\n");
        assert!(!events.has_failed);
        assert!(events.finish().is_err());
    }
}
