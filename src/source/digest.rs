//! The size and SHA-256 of a capture file, so that a report can name what it speaks of, and a print of
//! it that costs less, so that parts of one run can tell whether they read the same.
//!
//! Reads the file a second time, from the system's cache where the audit has just read it; meant for a
//! thread beside the audit. Does not: read what cannot be read twice.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_128;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The bytes of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Digest {
    /// Size in bytes, compressed as the file may be.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// What parts of a run know the bytes of an input by: not made against forgers, but as fast as reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Print {
    /// Size in bytes.
    pub size: u64,
    /// XXH3 of 128 bits, seed 0.
    pub xxh3: u128,
}

impl Print {
    /// Reads a file to its end, for its SHA-256 too where that is wanted; returns none where
    /// [`Digest::of`] does.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn of(
        path: &Path,
        wants_digest: bool,
        give_up: &AtomicBool,
    ) -> io::Result<Option<(Self, Option<Digest>)>> {
        let (mut print, mut hash) = (XxHash3_128::new(), wants_digest.then(Sha256::new));
        let size = each_block(path, give_up, |block| {
            print.write(block);
            if let Some(hash) = &mut hash {
                hash.update(block);
            }
        })?;
        Ok(size.map(|size| {
            let digest = hash.map(|hash| Digest { size, sha256: hash.finalize().into() });
            (Self { size, xxh3: print.finish_128() }, digest)
        }))
    }
}

/// Hands over a file block by block and returns its size; none for what is no plain file.
fn each_block(
    path: &Path,
    give_up: &AtomicBool,
    mut take: impl FnMut(&[u8]),
) -> io::Result<Option<u64>> {
    if path.as_os_str() == "-" || !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut size = 0;
    loop {
        if give_up.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = match file.read(&mut block) {
            Ok(0) => return Ok(Some(size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(block.get(..read).unwrap_or_default());
        size += read as u64;
    }
}

impl Digest {
    /// Reads a file to its end; returns none for what is no plain file (a pipe, a device, `-`), and
    /// when it is told to give up.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn of(path: &Path, give_up: &AtomicBool) -> io::Result<Option<Self>> {
        let mut hash = Sha256::new();
        let size = each_block(path, give_up, |block| hash.update(block))?;
        Ok(size.map(|size| Self { size, sha256: hash.finalize().into() }))
    }

    /// Writes the SHA-256 in hexadecimal digits.
    pub fn hex(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}
