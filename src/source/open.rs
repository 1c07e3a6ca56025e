//! What kind of file an input is, by its first bytes.

use std::io;

use super::decompress::Codec;
use super::input::{Input, Walked};
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::{Error, Interface};
use crate::frame::Batch;
use crate::time::CaptureClock;

/// What capture formats are recognised by.
const MAGIC_BYTES: usize = 4;

/// Formats that other programs can convert, by the first bytes.
const FOREIGN_FORMATS: [([u8; MAGIC_BYTES], &str); 4] = [
    (*b"snoo", "snoop"),
    (*b"RTSS", "Network Monitor 1"),
    (*b"GMBU", "Network Monitor 2"),
    (*b"iptr", "iptrace"),
];

/// An input of which the header has been read.
pub(super) struct Opened {
    pub(super) input: Input,
    pub(super) codec: Option<Codec>,
    pub(super) format: Format,
}

/// A capture format, in the middle of a file.
pub(super) enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl Opened {
    /// Tells compression and format, and reads the header. Of what is decompressed so many chunks may wait.
    pub(super) fn new(name: &str, mut input: Input, chunks_ahead: usize) -> Result<Self, Error> {
        let codec = Codec::of(peek(name, None, &mut input, Codec::MAGIC_BYTES)?);
        if let Some(codec) = codec {
            let name = name.to_owned();
            if !codec.is_built_in() {
                return Err(Error::NotBuiltIn { name, codec: codec.name() });
            }
            let output = codec.decompress(input.into_reader(), chunks_ahead);
            input = Input::new(output.map_err(|source| Error::Read { name, offset: 0, source })?);
        }
        let format = Format::recognise(name, codec, &mut input)?;
        Ok(Self { input, codec, format })
    }
}

impl Format {
    /// Tells the format by its first bytes, and reads the header of the file.
    fn recognise(name: &str, codec: Option<Codec>, input: &mut Input) -> Result<Self, Error> {
        let magic = peek(name, codec, input, MAGIC_BYTES)?;
        let magic = magic.get(..MAGIC_BYTES).unwrap_or(magic).to_vec();
        if magic.is_empty() {
            return Err(Error::Empty { name: name.to_owned() });
        }
        if let Some((_, format)) = FOREIGN_FORMATS.iter().find(|(known, _)| *known == *magic) {
            return Err(Error::ForeignFormat { name: name.to_owned(), format });
        }
        if magic == pcapng::MAGIC {
            let header = peek(name, codec, input, pcapng::SECTION_HEADER_BYTES)?;
            let parsed = Pcapng::from_header(header).map(|parsed| parsed.map(Self::Pcapng));
            // The section header is a block, and left to be read as one.
            return check(name, parsed, header.len(), pcapng::SECTION_HEADER_BYTES);
        }
        if Pcap::recognises(&magic) {
            let header = peek(name, codec, input, pcap::HEADER_BYTES)?;
            let parsed = Pcap::from_header(header).map(|parsed| parsed.map(Self::Pcap));
            let format = check(name, parsed, header.len(), pcap::HEADER_BYTES)?;
            input.skip(pcap::HEADER_BYTES);
            return Ok(format);
        }
        Err(Error::NotACapture { name: name.to_owned(), magic })
    }

    /// Adds the frames of the whole elements that `bytes`, the start of the batch's buffer, has.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        batch: &mut Batch,
        clock: &mut CaptureClock,
    ) -> Walked {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, batch, clock),
            Self::Pcapng(pcapng) => pcapng.walk(bytes, batch, clock),
        }
    }

    /// Returns the name of the format with what is special about the file.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Pcap(pcap) => pcap.describe(),
            Self::Pcapng(pcapng) => pcapng.describe(),
        }
    }

    /// Returns what the file says of its interfaces.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        match self {
            Self::Pcap(pcap) => vec![pcap.interface()],
            Self::Pcapng(pcapng) => pcapng.interfaces(),
        }
    }
}

impl Error {
    /// Returns the error for a read that failed after `frames` frames and `offset` bytes.
    ///
    /// What the system reports is about the file; all else comes from the decompressor.
    pub(super) fn of_reading(
        name: String,
        codec: Option<Codec>,
        (frames, offset): (u64, u64),
        source: io::Error,
    ) -> Self {
        match codec {
            Some(codec) if source.raw_os_error().is_none() => {
                Self::Compression { name, codec: codec.name(), frames, offset, source }
            }
            _ => Self::Read { name, offset, source },
        }
    }
}

/// Returns the next bytes: `wanted` of them, fewer only at the end, or why they cannot be read.
fn peek<'a>(
    name: &str,
    codec: Option<Codec>,
    input: &'a mut Input,
    wanted: usize,
) -> Result<&'a [u8], Error> {
    let present = input.peek(wanted).len();
    match input.take_failure() {
        Some(source) => Err(Error::of_reading(name.to_owned(), codec, (0, present as u64), source)),
        None => Ok(input.peek(wanted)),
    }
}

/// Returns what was parsed from a header, or what is wrong with it.
fn check(
    name: &str,
    parsed: Option<Result<Format, super::Damage>>,
    present: usize,
    needed: usize,
) -> Result<Format, Error> {
    let (name, frame, offset) = (name.to_owned(), 1, 0);
    match parsed {
        Some(Err(problem)) => Err(Error::Damaged { name, frame, offset, problem }),
        Some(Ok(format)) if present >= needed => Ok(format),
        Some(Ok(_)) | None => {
            let (needed, present) = (needed as u64, present as u64);
            Err(Error::Truncated { name, frame, offset, needed, present })
        }
    }
}
