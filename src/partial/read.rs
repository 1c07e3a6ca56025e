//! A part that was read and is whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::partial::{DIGEST_BYTES, Error, Header, MAGIC, Record, VERSION};
use crate::pipeline::Partial;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// The bytes before the content of a record.
const RECORD_HEADER_BYTES: usize = 9;

/// Where the content of a record stands in a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    start: u64,
    len: u64,
}

/// A part whose checksum is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub header: Header,
    results: Stretch,
    pub(super) verdicts: Vec<Stretch>,
}

impl Part {
    /// Reads a part to its end, and keeps what it is.
    ///
    /// # Errors
    ///
    /// [`Error`] for what is no part of this version, or not whole.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|error| Error::Read(path.to_owned(), error))?;
        let end = check(&mut file, path)?;
        let damaged = || Error::Damaged(path.to_owned());
        let read = |error| Error::Read(path.to_owned(), error);
        let (mut header, mut results, mut verdicts) = (None, None, Vec::new());
        let mut at = MAGIC.len() as u64;
        while at < end {
            let mut head = [0; RECORD_HEADER_BYTES];
            file.seek(SeekFrom::Start(at)).map_err(read)?;
            file.read_exact(&mut head).map_err(read)?;
            let [code, len @ ..] = head;
            let stretch =
                Stretch { start: at + RECORD_HEADER_BYTES as u64, len: u64::from_le_bytes(len) };
            at = stretch
                .start
                .checked_add(stretch.len)
                .filter(|at| *at <= end)
                .ok_or_else(damaged)?;
            match Record::of(code).ok_or_else(|| Error::Version(path.to_owned()))? {
                Record::Verdicts => verdicts.push(stretch),
                Record::Header => header = Some(stretch),
                Record::Results => results = Some(stretch),
            }
        }
        let (header, results) = header.zip(results).ok_or_else(damaged)?;
        // The version stands first, so that it can be told whatever follows.
        let content = content(&mut file, header).map_err(read)?;
        let version = postcard::take_from_bytes::<String>(&content).map_err(|_| damaged())?.0;
        if version != VERSION {
            return Err(Error::Version(path.to_owned()));
        }
        let header = postcard::from_bytes(&content).map_err(|_| Error::Version(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), header, results, verdicts })
    }

    /// Reads what the part found out.
    ///
    /// # Errors
    ///
    /// [`Error`] where the file has changed since it was opened.
    pub fn results(&self) -> Result<Partial, Error> {
        self.decode(self.results)
    }

    /// Reads the content of a record.
    pub(super) fn decode<T: DeserializeOwned>(&self, stretch: Stretch) -> Result<T, Error> {
        let read = |error| Error::Read(self.path.clone(), error);
        let mut file = File::open(&self.path).map_err(read)?;
        let content = content(&mut file, stretch).map_err(read)?;
        postcard::from_bytes(&content).map_err(|_| Error::Version(self.path.clone()))
    }
}

/// Compares a file with the checksum that it ends with, and returns where that begins.
fn check(file: &mut File, path: &Path) -> Result<u64, Error> {
    let read = |error| Error::Read(path.to_owned(), error);
    let len = file.metadata().map_err(read)?.len();
    let mut magic = [0; MAGIC.len()];
    let is_part = file.read_exact(&mut magic).is_ok() && magic == MAGIC;
    if !is_part {
        return Err(Error::NotAPart(path.to_owned()));
    }
    let damaged = || Error::Damaged(path.to_owned());
    let least = (MAGIC.len() + DIGEST_BYTES) as u64;
    let end = if len >= least { len - DIGEST_BYTES as u64 } else { return Err(damaged()) };
    let mut hash = Sha256::new();
    hash.update(magic);
    let mut body = BufReader::with_capacity(BLOCK_BYTES, &*file).take(end - MAGIC.len() as u64);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match body.read(&mut block) {
            Ok(0) => break,
            Ok(count) => hash.update(block.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read(error)),
        }
    }
    let mut digest = [0; DIGEST_BYTES];
    file.seek(SeekFrom::Start(end)).map_err(read)?;
    file.read_exact(&mut digest).map_err(read)?;
    if hash.finalize()[..] == digest { Ok(end) } else { Err(damaged()) }
}

/// Reads a stretch, which takes no more memory than the file has bytes.
fn content(file: &mut File, stretch: Stretch) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(stretch.start))?;
    let mut content = Vec::new();
    file.take(stretch.len).read_to_end(&mut content)?;
    Ok(content)
}
