//! How far a run is, in a line of standard error that is written over and over.

use std::io::{self, Write};

use crate::cli::{Config, Progress};
use tcp_window_audit::report;
use tcp_window_audit::source::FrameSource;

/// Bytes of input below which progress is not worth showing: 64 MiB, well under a second.
const LARGE_INPUT: u64 = 64 << 20;
/// Frames between two updates of the progress line.
const PROGRESS_STEP: u64 = 500_000;

/// The progress line.
pub(crate) struct Progressing {
    wanted: Progress,
    next_update: u64,
    line_shown: bool,
}

impl Progressing {
    /// Prepares for what was asked for.
    pub(crate) const fn new(config: &Config) -> Self {
        Self { wanted: config.progress, next_update: PROGRESS_STEP, line_shown: false }
    }

    /// Shows that so many frames have been audited, if it is time to.
    pub(crate) fn show(&mut self, frames: u64, source: &dyn FrameSource) {
        if self.wanted == Progress::Never || frames < self.next_update {
            return;
        }
        self.next_update = frames + PROGRESS_STEP;
        let summary = source.summary();
        let is_large = summary.file_len.is_none_or(|len| len >= LARGE_INPUT);
        if self.wanted == Progress::ForLargeInputs && !is_large {
            return;
        }
        let share = summary.file_len.filter(|&len| len > 0).map_or_else(String::new, |len| {
            format!(", {} %", summary.bytes_read.saturating_mul(100) / len)
        });
        let name = report::printable(&summary.name);
        let _ = write!(io::stderr(), "\r\x1b[K{name}: {frames} frames{share}");
        self.line_shown = true;
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) {
        if self.line_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.line_shown = false;
        }
    }
}
