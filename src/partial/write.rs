//! A part on its way to a file.

use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::audit::PacketVerdict;
use crate::partial::{Header, MAGIC, Record};
use crate::pipeline::Partial;

/// Verdicts that are written at a time: some 64 KiB.
const VERDICTS: usize = 1024;

/// Writes a part; one that is not finished is none.
pub struct Writer<W> {
    out: W,
    hash: Sha256,
    verdicts: Vec<PacketVerdict>,
}

impl<W: Write> Writer<W> {
    /// Begins a part.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, hash: Sha256::new(), verdicts: Vec::new() };
        writer.write(&MAGIC)?;
        Ok(writer)
    }

    /// Adds verdicts, which come in capture order.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn verdicts(&mut self, verdicts: &[PacketVerdict]) -> io::Result<()> {
        self.verdicts.extend_from_slice(verdicts);
        if self.verdicts.len() >= VERDICTS {
            self.write_verdicts()?;
        }
        Ok(())
    }

    /// Ends the part, and returns what it was written to.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(mut self, header: &Header, results: &Partial) -> io::Result<W> {
        self.write_verdicts()?;
        self.record(Record::Header, header)?;
        self.record(Record::Results, results)?;
        let Self { mut out, hash, .. } = self;
        out.write_all(&hash.finalize())?;
        Ok(out)
    }

    fn write_verdicts(&mut self) -> io::Result<()> {
        let verdicts = std::mem::take(&mut self.verdicts);
        if verdicts.is_empty() {
            return Ok(());
        }
        self.record(Record::Verdicts, &verdicts)?;
        self.verdicts = verdicts;
        self.verdicts.clear();
        Ok(())
    }

    fn record(&mut self, record: Record, content: &impl Serialize) -> io::Result<()> {
        let content = postcard::to_stdvec(content).map_err(io::Error::other)?;
        self.write(&[record.code()])?;
        self.write(&(content.len() as u64).to_le_bytes())?;
        self.write(&content)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}
