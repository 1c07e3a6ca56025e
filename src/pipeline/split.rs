//! Divides a capture into pieces, one for each share of its flows, so that each of several runs reads
//! only what it audits.
//!
//! Frames go the way of an audit up to the shards, which here are pieces: what is counted of frames is
//! counted by the same code, once. Fragments go into every piece, for a datagram belongs to nobody
//! until it is complete; so does one frame in [`TICK`], by which runs over pieces keep count.
//!
//! Does not: track, or know how pieces are written.

use std::io;
use std::ops::Range;

use crate::audit::{Inputs, Tally};
use crate::frame::{Batch, Frame, Tick};
use crate::pipeline::ledger::TICK;
use crate::pipeline::partial::Frames;
use crate::pipeline::slice::{Kind, Settler, Slice};
use crate::pipeline::{Observer, Plan, SLICE, chain, inputs, random_seed, settler};
use crate::source::FrameSource;
use crate::tuple::Share;
use crate::wire;

/// Where pieces go.
pub trait Pieces {
    /// Takes a frame that belongs to piece `piece`, in capture order, of which the first `kept` bytes
    /// are enough; `tick` is said of frames that keep count.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being written: the end of the splitting.
    fn put(
        &mut self,
        piece: usize,
        frame: &Frame<'_>,
        kept: usize,
        tick: Option<Tick>,
    ) -> io::Result<()>;

    /// Takes note of what the source says of itself so far.
    fn describe(&mut self, source: &dyn FrameSource);
}

/// A capture being divided.
pub struct Splitter {
    settler: Settler,
    slice: Slice,
    pieces: usize,
    /// The bytes of each frame that are kept at least.
    least: usize,
    /// The frames before the slice.
    frames: u64,
    /// Position and piece of what is to be written of a slice.
    targets: Vec<(usize, usize)>,
    /// The numbers of the frames of a slice, with their positions, in the order of the numbers.
    numbers: Vec<(u64, usize)>,
}

impl Splitter {
    /// Prepares to divide a capture into so many pieces; `plan` says how frames are decoded.
    pub fn new(plan: &Plan, pieces: u16, least: usize) -> Self {
        let pieces = usize::from(pieces.max(1));
        let plan = Plan { share: Share::ALL, ..plan.clone() };
        Self {
            settler: settler(&plan, pieces, random_seed()),
            slice: Slice::new(pieces),
            pieces,
            least,
            frames: 0,
            targets: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Reads a source to its end, and returns what all its frames were, and how many; fragments are counted
    /// by those who read the pieces.
    ///
    /// # Errors
    ///
    /// Those of `pieces`. What keeps the source from being read further is part of what is returned.
    pub fn read(
        mut self,
        plan: &Plan,
        source: &mut dyn FrameSource,
        pieces: &mut dyn Pieces,
        observer: &mut dyn Observer,
    ) -> io::Result<(Frames, u64)> {
        let mut batch = Batch::default();
        let mut incomplete = Vec::new();
        loop {
            match source.fill(&mut batch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    incomplete.push(chain(&error));
                    break;
                }
            }
            pieces.describe(source);
            for start in (0..batch.len()).step_by(SLICE) {
                self.split(&batch, start..batch.len().min(start + SLICE), pieces)?;
            }
            observer.progress(self.frames, source);
        }
        incomplete.extend(source.take_problems().iter().map(|problem| chain(problem)));
        let mut tally = Tally::default();
        tally.merge(&self.slice.tally);
        let read = inputs(source).collect();
        let frames = Frames {
            inputs: Inputs { asked_for: plan.inputs, read, filter: source.filter() },
            incomplete,
            tally,
            times: self.settler.times,
            clocks: self.settler.clocks,
        };
        Ok((frames, self.frames))
    }

    /// Divides the frames `range` of a batch.
    fn split(
        &mut self,
        batch: &Batch,
        range: Range<usize>,
        pieces: &mut dyn Pieces,
    ) -> io::Result<()> {
        self.slice.decode(batch, range.clone(), self.frames, &self.settler.decoder);
        self.numbers.clear();
        self.numbers
            .extend(batch.frames(range.clone()).map(|frame| frame.number).zip(range.clone()));
        self.numbers.sort_unstable();
        self.targets.clear();
        self.aim_at_all(range.clone());
        self.settler.settle(&mut self.slice);
        for (piece, items) in self.slice.items.iter().enumerate() {
            let packets =
                items.as_slice().iter().filter(|item| !matches!(item.kind, Kind::Census(_)));
            let positions = packets.filter_map(|item| position(&self.numbers, item.stamp.number));
            self.targets.extend(positions.map(|position| (position, piece)));
        }
        self.targets.sort_unstable();
        self.targets.dedup();
        let mut last = None;
        for &(position, piece) in &self.targets {
            let Some(frame) = batch.frame(position) else { continue };
            let kept = match last {
                Some((of, kept)) if of == position => kept,
                _ => self.enough(&frame),
            };
            last = Some((position, kept));
            pieces.put(piece, &frame, kept, self.tick(position - range.start))?;
        }
        self.frames += range.len() as u64;
        Ok(())
    }

    /// Sends ticks and fragments of a decoded slice into all pieces.
    fn aim_at_all(&mut self, range: Range<usize>) {
        let ticks = range.clone().filter(|position| self.tick(position - range.start).is_some());
        let fragments = self.slice.fragments();
        let fragments = fragments.filter_map(|number| position(&self.numbers, number));
        let of_all: Vec<_> = ticks.chain(fragments).collect();
        for position in of_all {
            self.targets.extend((0..self.pieces).map(|piece| (position, piece)));
        }
    }

    /// Returns the tick before the frame at this position of the slice, if there is one.
    fn tick(&self, position: usize) -> Option<Tick> {
        let to = self.frames + position as u64;
        (to > 0 && to.is_multiple_of(TICK)).then(|| Tick { from: to - TICK, to })
    }

    /// Returns how many bytes of a frame say all that an audit asks of it.
    fn enough(&self, frame: &Frame<'_>) -> usize {
        let decoder = &self.settler.decoder;
        let kept = wire::enough(frame, decoder.tunnels, self.least);
        let cut = Frame { bytes: frame.bytes.get(..kept).unwrap_or_default(), ..*frame };
        if decoder.is_treated_alike(frame, &cut) { kept } else { frame.bytes.len() }
    }
}

/// Finds the position of a frame by its number.
fn position(numbers: &[(u64, usize)], number: u64) -> Option<usize> {
    let at = numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    numbers.get(at).map(|(_, position)| *position)
}
