//! Pieces of a capture as a source of frames.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;

use super::{
    COMMENT, END, ENHANCED_PACKET, EPB_FLAGS, EPB_PACKETID, INTERFACE_DESCRIPTION, OUTBOUND,
    PieceError, SECTION_HEADER, TITLE,
};
use crate::frame::{Batch, FrameHeader, LinkType, Place, Tick};
use crate::source::bytes::Endian;
use crate::source::input::MAX_ELEMENT_BYTES;
use crate::source::interface::Options;
use crate::source::{Damage, Error, FrameSource, SourceSummary};
use crate::time::Timestamp;

/// The numbers of a piece, whichever machine wrote it.
const ENDIAN: Endian = Endian::Little;
/// When a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;
/// The same in frames.
const BATCH_FRAMES: usize = 8192;
const READ_BYTES: usize = 1 << 20;
const NO_NUMBER: u64 = u64::MAX / 2;
/// What stands before the options of a section header.
const SECTION_BYTES: usize = 24;
const INTERFACE_BYTES: usize = 16;
const PACKET_BYTES: usize = 28;
const TRAILER_BYTES: usize = 4;

/// A piece whose ends are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceFile {
    /// The file.
    pub path: PathBuf,
    /// What is said of the whole capture.
    pub whole: Vec<u8>,
    /// The XXH3 of all bytes before the end.
    print: u128,
    /// Where the end begins.
    end: u64,
}

impl PieceFile {
    /// Returns whether a file begins as a piece does.
    pub fn is_one(path: &Path) -> bool {
        let head = File::open(path).and_then(|mut file| block(&mut file, 0));
        head.is_ok_and(|head| comments(&head).next().is_some_and(|text| text.starts_with(TITLE)))
    }

    /// Reads what stands at both ends of a piece.
    ///
    /// # Errors
    ///
    /// [`PieceError`] for what is no piece, or not whole.
    pub fn open(path: &Path) -> Result<Self, PieceError> {
        let read = |error| PieceError::Read(path.to_owned(), error);
        let damaged = || PieceError::Damaged(path.to_owned());
        let mut file = File::open(path).map_err(read)?;
        if !Self::is_one(path) {
            return Err(PieceError::NotAPiece(path.to_owned()));
        }
        let len = file.metadata().map_err(read)?.len();
        let trailer = len.checked_sub(TRAILER_BYTES as u64).ok_or_else(damaged)?;
        file.seek(SeekFrom::Start(trailer)).map_err(read)?;
        let mut last = [0; TRAILER_BYTES];
        file.read_exact(&mut last).map_err(read)?;
        let end = len.checked_sub(u64::from(u32::from_le_bytes(last))).ok_or_else(damaged)?;
        let last = block(&mut file, end).map_err(|_| damaged())?;
        let mut said = comments(&last);
        let print = said.next().and_then(|text| text.strip_prefix(END).map(str::to_owned));
        let print =
            print.and_then(|hex| u128::from_str_radix(&hex, 16).ok()).ok_or_else(damaged)?;
        let whole: Option<Vec<_>> = said.map(bytes).collect();
        Ok(Self { path: path.to_owned(), whole: whole.ok_or_else(damaged)?.concat(), print, end })
    }
}

/// Reads the block that begins at a place of a file.
fn block(file: &mut File, at: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    next_block(file, &mut bytes)?;
    Ok(bytes)
}

/// Appends the next block to a buffer.
fn next_block(reader: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut head = [0; 8];
    reader.read_exact(&mut head)?;
    let [_, _, _, _, len @ ..] = head;
    let len = u32::from_le_bytes(len);
    if len > MAX_ELEMENT_BYTES || !len.is_multiple_of(4) || len < 12 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let start = buffer.len();
    buffer.extend_from_slice(&head);
    let read = reader.take(u64::from(len) - 8).read_to_end(buffer)?;
    let is_whole = read as u64 == u64::from(len) - 8;
    if is_whole && buffer.len() - start == len as usize {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Returns the options of a block, which begin `start` bytes into it.
fn options(block: &[u8], start: usize) -> Options<'_> {
    let end = block.len().saturating_sub(TRAILER_BYTES);
    Options { endian: ENDIAN, bytes: block.get(start..end).unwrap_or_default() }
}

/// Returns the comments of a section header.
fn comments(block: &[u8]) -> impl Iterator<Item = &str> {
    let is_section = ENDIAN.words(block) == Some([SECTION_HEADER]);
    let comments =
        options(block, SECTION_BYTES).filter(move |(code, _)| is_section && *code == COMMENT);
    comments.filter_map(|(_, text)| str::from_utf8(text).ok())
}

/// Reads hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// A piece among others that follow one another in time.
#[derive(Clone, Debug)]
struct Placed {
    file: PieceFile,
    /// The inputs of the captures before it.
    inputs: usize,
    /// The frames of the captures before it.
    frames: u64,
}

/// The frames of pieces, one after another.
pub struct PieceSource {
    /// The pieces that are still to be read, the next one last.
    waiting: Vec<Placed>,
    current: Option<Reading>,
    /// What is said of the inputs that the pieces are from.
    summaries: Vec<SourceSummary>,
    bytes_read: u64,
    bytes: u64,
}

/// A piece being read.
struct Reading {
    placed: Placed,
    reader: BufReader<File>,
    at: u64,
    hash: XxHash3_128,
    /// Position in its own file and link type of each interface described so far.
    interfaces: Vec<(u16, LinkType)>,
}

impl PieceSource {
    /// Reads pieces, each with the number of inputs and of frames of the captures before it.
    pub fn new(pieces: Vec<(PieceFile, usize, u64)>, summaries: Vec<SourceSummary>) -> Self {
        let bytes = pieces.iter().map(|(file, ..)| file.end).sum();
        let placed =
            pieces.into_iter().map(|(file, inputs, frames)| Placed { file, inputs, frames });
        let mut waiting: Vec<_> = placed.collect();
        waiting.reverse();
        Self { waiting, current: None, summaries, bytes_read: 0, bytes }
    }

    /// Opens the next piece; returns whether there is one.
    fn advance(&mut self) -> Result<bool, Error> {
        if self.current.is_some() {
            return Ok(true);
        }
        let Some(placed) = self.waiting.pop() else { return Ok(false) };
        let path = placed.file.path.clone();
        let file = File::open(&path).map_err(|source| Error::Open { path, source })?;
        let reader = BufReader::with_capacity(READ_BYTES, file);
        let (hash, interfaces) = (XxHash3_128::new(), Vec::new());
        self.current = Some(Reading { placed, reader, at: 0, hash, interfaces });
        Ok(true)
    }
}

impl Reading {
    /// Reads frames until the batch is full or the piece at its end; returns whether it is.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let mut buffer = std::mem::take(&mut batch.buffer);
        buffer.clear();
        let mut outcome = Ok(false);
        while self.at < self.placed.file.end
            && buffer.len() < BATCH_BYTES
            && batch.len() < BATCH_FRAMES
        {
            let start = buffer.len();
            outcome = next_block(&mut self.reader, &mut buffer)
                .map_err(|_| self.changed())
                .and_then(|()| self.take(buffer.get(start..).unwrap_or_default(), start, batch))
                .map(|()| false);
            if outcome.is_err() {
                break;
            }
            self.at += (buffer.len() - start) as u64;
        }
        self.hash.write(&buffer);
        batch.buffer = buffer;
        outcome?;
        if self.at < self.placed.file.end {
            return Ok(false);
        }
        if self.at > self.placed.file.end || self.hash.finish_128() != self.placed.file.print {
            return Err(self.changed());
        }
        Ok(true)
    }

    fn changed(&self) -> Error {
        Error::Damaged {
            name: self.placed.file.path.display().to_string(),
            frame: 0,
            offset: self.at,
            problem: Damage::Changed,
        }
    }

    /// Takes what a block says, which lies at `start` of the buffer.
    fn take(&mut self, block: &[u8], start: usize, batch: &mut Batch) -> Result<(), Error> {
        match ENDIAN.words(block) {
            Some([SECTION_HEADER]) => Some(()),
            Some([INTERFACE_DESCRIPTION]) => self.describe(block),
            Some([ENHANCED_PACKET]) => self.frame(block, start, batch),
            _ => None,
        }
        .ok_or_else(|| self.changed())
    }

    fn describe(&mut self, block: &[u8]) -> Option<()> {
        let [_, _, link] = ENDIAN.words(block)?;
        let [link, _] = ENDIAN.halves(link);
        let mut comments = options(block, INTERFACE_BYTES).filter(|(code, _)| *code == COMMENT);
        let comment = str::from_utf8(comments.next()?.1).ok()?;
        let position = comment.strip_prefix("interface ")?.parse().ok()?;
        self.interfaces.push((position, LinkType(link)));
        Some(())
    }

    fn frame(&self, block: &[u8], start: usize, batch: &mut Batch) -> Option<()> {
        let [_, _, interface, high, low, captured_len, original_len] = ENDIAN.words(block)?;
        let (interface, link) = *self.interfaces.get(interface as usize)?;
        let ticks = u64::from(high) << 32 | u64::from(low);
        let mut ts = Timestamp(i64::try_from(ticks).ok()?);
        let data_end = PACKET_BYTES + (captured_len as usize).next_multiple_of(4);
        if data_end + TRAILER_BYTES > block.len() {
            return None;
        }
        let (mut number, mut clock, mut is_outbound) = (None, None, false);
        for (code, value) in options(block, data_end) {
            match code {
                EPB_FLAGS => is_outbound = ENDIAN.words(value) == Some([OUTBOUND]),
                EPB_PACKETID => number = ENDIAN.u64(value),
                COMMENT => match Said::of(value)? {
                    Said::Time(time) => ts = time,
                    Said::Clock(time) => clock = Some(time),
                    Said::Frames(tick) => batch.note_tick(self.moved(tick)),
                },
                _ => {}
            }
        }
        let Place { file, frame } = Place::of(number?);
        let number = Place { file: file + self.placed.inputs, frame }.number();
        let start = u32::try_from(start + PACKET_BYTES).ok()?;
        let header =
            FrameHeader { ts, link, interface, start, captured_len, original_len, is_outbound };
        batch.push_known(header, number, clock.unwrap_or(ts));
        Some(())
    }

    /// Counts the frames of the captures before as well.
    const fn moved(&self, tick: Tick) -> Tick {
        let before = self.placed.frames;
        Tick { from: before.saturating_add(tick.from), to: before.saturating_add(tick.to) }
    }
}

/// What a comment on a frame says.
enum Said {
    Time(Timestamp),
    Clock(Timestamp),
    Frames(Tick),
}

impl Said {
    fn of(comment: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(comment).ok()?.split(' ');
        let (what, first) = (words.next()?, words.next()?);
        match what {
            "time" => Some(Self::Time(Timestamp(first.parse().ok()?))),
            "clock" => Some(Self::Clock(Timestamp(first.parse().ok()?))),
            "frames" => {
                let tick = Tick { from: first.parse().ok()?, to: words.next()?.parse().ok()? };
                Some(Self::Frames(tick))
            }
            _ => None,
        }
    }
}

impl FrameSource for PieceSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        // Each frame has a number of its own; none is taken for one of the first of a capture.
        batch.clear(NO_NUMBER);
        while self.advance()? {
            let Some(reading) = &mut self.current else { return Ok(false) };
            let before = reading.at;
            let is_over = reading.fill(batch)?;
            self.bytes_read += reading.at - before;
            if is_over {
                self.current = None;
            }
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells how far the pieces have been read.
    fn summary(&self) -> SourceSummary {
        let name =
            self.current.as_ref().map(|reading| reading.placed.file.path.display().to_string());
        SourceSummary {
            name: name.unwrap_or_default(),
            bytes_read: self.bytes_read,
            file_len: Some(self.bytes),
            ..SourceSummary::default()
        }
    }

    /// Tells of the inputs that the pieces are from.
    fn summaries(&self) -> Vec<SourceSummary> {
        self.summaries.clone()
    }
}
