//! The size and SHA-256 of a capture file, so that a report can name what it speaks of.
//!
//! Reads the file a second time, from the system's cache where the audit has just read it; meant for a
//! thread beside the audit. Does not: read what cannot be read twice.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The bytes of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Size in bytes, compressed as the file may be.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Digest {
    /// Reads a file to its end; returns none for what is no plain file (a pipe, a device, `-`), and
    /// when it is told to give up.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn of(path: &Path, give_up: &AtomicBool) -> io::Result<Option<Self>> {
        if path.as_os_str() == "-" || !std::fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let mut block = vec![0; BLOCK_BYTES];
        let (mut hash, mut size) = (Sha256::new(), 0);
        loop {
            if give_up.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let read = match file.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(block.get(..read).unwrap_or_default());
            size += read as u64;
        }
        Ok(Some(Self { size, sha256: hash.finalize().into() }))
    }

    /// Writes the SHA-256 in hexadecimal digits.
    pub fn hex(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}
