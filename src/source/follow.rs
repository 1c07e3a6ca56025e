//! A file that another program is still writing.
//!
//! Waits at the end of the file for more, until the person has enough: then what is there is the
//! whole. The wait is by the wall, the time of the audit stays that of the capture.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long to wait before looking again: short for a person, long for a processor.
const PAUSE: Duration = Duration::from_millis(100);

/// The bytes of a growing file.
pub(super) struct Growing {
    file: File,
    /// Set when no more is wanted.
    stop: &'static AtomicBool,
}

impl Growing {
    pub(super) const fn new(file: File, stop: &'static AtomicBool) -> Self {
        Self { file, stop }
    }
}

impl Read for Growing {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            let is_over = self.stop.load(Ordering::Relaxed);
            let count = self.file.read(target)?;
            if count > 0 || target.is_empty() || is_over {
                return Ok(count);
            }
            // An early return does no harm: the file is looked at once more.
            thread::park_timeout(PAUSE);
        }
    }
}
