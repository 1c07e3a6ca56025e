//! The verdicts of all parts, in capture order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::audit::{PacketVerdict, Turn};
use crate::partial::{Error, Part, Set};

/// Verdicts that are handed over at a time.
const BATCH: usize = 4096;

/// Merges the verdicts of parts, each of which has its own in order.
pub struct Verdicts<'a> {
    streams: Vec<Stream<'a>>,
    /// The next of each stream: its place in the capture, and which stream.
    heads: BinaryHeap<Reverse<(Turn, usize)>>,
}

/// The verdicts of one part.
struct Stream<'a> {
    part: &'a Part,
    next_record: usize,
    verdicts: std::vec::IntoIter<PacketVerdict>,
}

impl Stream<'_> {
    /// Returns the place of the next verdict; reads the next record when all are used up.
    fn head(&mut self) -> Result<Option<Turn>, Error> {
        while self.verdicts.as_slice().is_empty() {
            let Some(stretch) = self.part.verdicts.get(self.next_record) else { return Ok(None) };
            self.next_record += 1;
            self.verdicts = self.part.decode::<Vec<PacketVerdict>>(*stretch)?.into_iter();
        }
        let next = self.verdicts.as_slice().first();
        Ok(next.map(PacketVerdict::turn))
    }
}

impl<'a> Verdicts<'a> {
    /// Begins to merge the verdicts of a run's parts.
    ///
    /// # Errors
    ///
    /// [`Error`] where a file has changed since it was opened.
    pub fn of(set: &'a Set) -> Result<Self, Error> {
        let mut merged = Self { streams: Vec::new(), heads: BinaryHeap::new() };
        for part in set.parts() {
            let verdicts = Vec::new().into_iter();
            merged.streams.push(Stream { part, next_record: 0, verdicts });
            merged.advance(merged.streams.len() - 1)?;
        }
        Ok(merged)
    }

    /// Returns the next verdicts; none at the end.
    ///
    /// # Errors
    ///
    /// [`Error`] where a file has changed since it was opened.
    pub fn batch(&mut self) -> Result<Vec<PacketVerdict>, Error> {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH
            && let Some(Reverse((_, at))) = self.heads.pop()
        {
            batch.extend(self.streams.get_mut(at).and_then(|stream| stream.verdicts.next()));
            self.advance(at)?;
        }
        Ok(batch)
    }

    fn advance(&mut self, at: usize) -> Result<(), Error> {
        if let Some(stream) = self.streams.get_mut(at)
            && let Some(place) = stream.head()?
        {
            self.heads.push(Reverse((place, at)));
        }
        Ok(())
    }
}
