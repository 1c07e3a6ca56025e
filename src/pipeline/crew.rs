//! Several workers on one source: who is free takes the next job, and nobody waits for all others.
//!
//! There are two kinds of job. *Reading* takes the source, fills a batch, gives the source back,
//! and decodes the batch while it is in the cache; slices are settled in the order in which they
//! were read, and laid into the inboxes of the shards. *Tracking* takes a shard with all that lies
//! in its inbox. A shard is with one worker at a time and its inbox is in capture order, so that
//! it makes no difference who works on what, or when.
//!
//! Does not: know what is decoded or tracked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use crate::audit::PacketVerdict;
use crate::frame::Batch;
use crate::pipeline::shard::{Finished, Shard};
use crate::pipeline::slice::{Decoder, Items, Settler, Slice};
use crate::source::{self, FrameSource};
use crate::time::Timestamp;

/// How often somebody looks around before going to sleep: some ten microseconds.
const PATIENCE: u32 = 2000;
/// Slices on their way for each worker: enough that nobody runs dry.
const SLICES_A_WORKER: u64 = 4;

/// What is told on the thread that called [`Crew::read`].
pub(super) trait Foreman {
    /// Takes the verdicts of the next slice, those of each shard in their order.
    fn verdicts(&mut self, verdicts: &mut Vec<PacketVerdict>);

    /// Takes note of so many more frames, and of how far the source is.
    fn progress(&mut self, frames: u64, source: &dyn FrameSource);
}

/// A run's state that the workers share.
pub(super) struct Crew<'a> {
    pub(super) decoder: Decoder,
    pub(super) settler: &'a mut Settler,
    pub(super) shards: &'a mut [Shard],
    pub(super) slices: &'a mut Vec<Slice>,
    /// The frames that came before.
    pub(super) frames: u64,
    /// The most entries with which the source is read on.
    pub(super) most_entries: usize,
}

impl Crew<'_> {
    /// Audits the rest of a source, with a worker for each shard.
    pub(super) fn read(
        self,
        source: &mut (dyn FrameSource + Send),
        foreman: &mut dyn Foreman,
    ) -> Result<(), source::Error> {
        let workers = self.shards.len();
        let most = SLICES_A_WORKER * workers as u64;
        self.slices.resize_with(self.slices.len().max(2 * workers), || Slice::new(workers));
        let desks = self.shards.iter_mut().map(Desk::new).collect();
        let hall = Hall {
            board: Mutex::new(Board {
                source: Some(&mut *source),
                end: None,
                settler: self.settler,
                desks,
                free: self.slices,
                decoded: BTreeMap::new(),
                tracked: VecDeque::new(),
                next_read: 0,
                frames_read: self.frames,
                next_settled: 0,
                most,
                frames: 0,
                finished: VecDeque::new(),
                is_abandoned: false,
                most_entries: self.most_entries,
            }),
            bell: Condvar::new(),
            news: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            decoder: self.decoder,
        };
        std::thread::scope(|scope| {
            for home in 1..workers {
                let hall = &hall;
                // Whoever is there does all the work: a thread that cannot be had is not missed.
                let _ = Builder::new().spawn_scoped(scope, move || hall.work(home, None));
            }
            hall.work(0, Some(foreman));
        });
        let board = hall.board.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Board { end, frames, finished, .. } = board;
        // The last slices are often finished when there is no source to tell of any more, or, where the
        // reading was left, when the foreman has gone.
        for mut verdicts in finished {
            foreman.verdicts(&mut verdicts);
        }
        if frames > 0 {
            foreman.progress(frames, source);
        }
        end.unwrap_or(Ok(()))
    }
}

/// Ends the flows of all shards, a worker for each, and returns what they showed, in the order of the
/// shards.
pub(super) fn finish(shards: Vec<Shard>, end: Timestamp) -> Vec<Finished> {
    let workers = shards.len();
    let waiting = Mutex::new(shards.into_iter().enumerate());
    let finished = Mutex::new(BTreeMap::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((number, shard)) = next() {
            let done = shard.finish(end);
            finished.lock().unwrap_or_else(PoisonError::into_inner).insert(number, done);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // Whoever is there does all the work: a thread that cannot be had is not missed.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    finished.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// A shard and what it is to track.
struct Desk<'a> {
    /// None while a worker has it.
    shard: Option<&'a mut Shard>,
    inbox: VecDeque<Part>,
    /// The entries of its trackers.
    entries: usize,
}

impl<'a> Desk<'a> {
    fn new(shard: &'a mut Shard) -> Self {
        Self { entries: shard.entries(), shard: Some(shard), inbox: VecDeque::new() }
    }
}

/// What one slice has for one shard, or the place to put that.
struct Part {
    /// The number of the slice.
    number: u64,
    items: Items,
    verdicts: Vec<PacketVerdict>,
}

/// A slice whose parts are being tracked.
struct Tracked {
    slice: Slice,
    parts_left: usize,
    frames: u64,
    verdicts: Vec<PacketVerdict>,
}

/// What the workers share: the jobs, and what became of them.
struct Board<'a> {
    /// None while a worker has it, and at its end.
    source: Option<&'a mut (dyn FrameSource + Send)>,
    end: Option<Result<(), source::Error>>,
    settler: &'a mut Settler,
    desks: Vec<Desk<'a>>,
    free: &'a mut Vec<Slice>,
    /// Slices that wait for those before them to be settled, by number, with their frames.
    decoded: BTreeMap<u64, (Slice, u64)>,
    /// Slices that have been settled, the oldest first; the last is number `next_settled - 1`.
    tracked: VecDeque<Tracked>,
    next_read: u64,
    /// The frames of the run that have been read.
    frames_read: u64,
    next_settled: u64,
    /// The most slices on their way.
    most: u64,
    /// Frames that the foreman has not been told of.
    frames: u64,
    /// The verdicts of finished slices, which the foreman has not been told of.
    finished: VecDeque<Vec<PacketVerdict>>,
    /// Whether a worker has panicked.
    is_abandoned: bool,
    /// The most entries with which the source is read on.
    most_entries: usize,
}

/// What a worker does next.
#[expect(clippy::large_enum_variant, reason = "a worker holds one; it is handed on, never stored")]
enum Job<'a> {
    Track { desk: usize, shard: &'a mut Shard, parts: VecDeque<Part> },
    Read { source: &'a mut (dyn FrameSource + Send), slice: Slice },
    Tell { verdicts: VecDeque<Vec<PacketVerdict>> },
}

impl<'a> Board<'a> {
    /// Chooses a job: tracking first, at one's own desk if possible; none when there is nothing.
    fn job(&mut self, home: usize) -> Option<Job<'a>> {
        let count = self.desks.len();
        for desk in (home..count).chain(0..home) {
            let Some(place) = self.desks.get_mut(desk).filter(|place| !place.inbox.is_empty())
            else {
                continue;
            };
            if let Some(shard) = place.shard.take() {
                return Some(Job::Track { desk, shard, parts: std::mem::take(&mut place.inbox) });
            }
        }
        let on_their_way = self.next_read - self.next_settled + self.tracked.len() as u64;
        if on_their_way + self.finished.len() as u64 >= self.most {
            return None;
        }
        let source = self.source.take()?;
        let slice = self.free.pop().unwrap_or_else(|| Slice::new(count));
        Some(Job::Read { source, slice })
    }

    fn is_done(&self) -> bool {
        let is_all_settled = self.next_settled == self.next_read;
        self.is_abandoned || (self.end.is_some() && is_all_settled && self.tracked.is_empty())
    }

    /// Takes a decoded slice, and lays all slices whose turn has come into the inboxes.
    fn settle(&mut self, number: u64, slice: Slice, frames: u64) {
        self.decoded.insert(number, (slice, frames));
        while let Some((mut slice, frames)) = self.decoded.remove(&self.next_settled) {
            self.settler.settle(&mut slice);
            for (desk, items) in self.desks.iter_mut().zip(&mut slice.items) {
                let items = std::mem::take(items);
                desk.inbox.push_back(Part { number: self.next_settled, items, verdicts: vec![] });
            }
            let parts_left = self.desks.len();
            self.tracked.push_back(Tracked { slice, parts_left, frames, verdicts: Vec::new() });
            self.next_settled += 1;
        }
    }

    /// Takes back a shard and what it has tracked.
    fn put_back(&mut self, desk: usize, shard: &'a mut Shard, parts: VecDeque<Part>) {
        if let Some(place) = self.desks.get_mut(desk) {
            place.entries = shard.entries();
            place.shard = Some(shard);
        }
        let entries = self.desks.iter().map(|desk| desk.entries).sum::<usize>();
        if entries > self.most_entries && self.end.is_none() {
            self.source = None;
            self.end = Some(Ok(()));
        }
        let first = self.next_settled - self.tracked.len() as u64;
        for Part { number, items, mut verdicts } in parts {
            let index = usize::try_from(number - first).unwrap_or(usize::MAX);
            let Some(tracked) = self.tracked.get_mut(index) else { continue };
            if let Some(place) = tracked.slice.items.get_mut(desk) {
                *place = items;
            }
            tracked.verdicts.append(&mut verdicts);
            tracked.parts_left -= 1;
        }
        while self.tracked.front().is_some_and(|tracked| tracked.parts_left == 0)
            && let Some(Tracked { slice, frames, verdicts, .. }) = self.tracked.pop_front()
        {
            self.free.push(slice);
            self.frames += frames;
            if !verdicts.is_empty() {
                self.finished.push_back(verdicts);
            }
        }
    }
}

/// Where the workers meet.
struct Hall<'a> {
    board: Mutex<Board<'a>>,
    /// Rung when there may be new jobs, for those who sleep.
    bell: Condvar,
    /// How often there may have been new jobs.
    news: AtomicUsize,
    /// How many sleep.
    sleepers: AtomicUsize,
    decoder: Decoder,
}

impl<'a> Hall<'a> {
    /// Works until all is done. The worker who is the foreman also tells what is finished.
    fn work(&self, home: usize, mut foreman: Option<&mut dyn Foreman>) {
        let _alarm = Alarm(self);
        let mut batch = Batch::default();
        while let Some(job) = self.next_job(home, &mut foreman) {
            match job {
                Job::Read { source, slice } => self.read(source, slice, &mut batch),
                Job::Track { desk, shard, mut parts } => {
                    for part in &mut parts {
                        shard.take(part.items.as_slice());
                        part.verdicts = shard.take_verdicts();
                    }
                    self.board().put_back(desk, shard, parts);
                    self.ring();
                }
                Job::Tell { verdicts } => {
                    for mut verdicts in verdicts {
                        if let Some(foreman) = &mut foreman {
                            foreman.verdicts(&mut verdicts);
                        }
                    }
                    self.ring();
                }
            }
        }
    }

    /// Waits for a job; returns none when all is done.
    ///
    /// Between two jobs there is often less time than it takes to wake somebody up: whoever waits
    /// looks around for a while before going to sleep.
    fn next_job(&self, home: usize, foreman: &mut Option<&mut dyn Foreman>) -> Option<Job<'a>> {
        let mut patience = PATIENCE;
        let mut board = self.board();
        loop {
            if let Some(foreman) = foreman {
                let frames = std::mem::take(&mut board.frames);
                match &board.source {
                    Some(source) if frames > 0 => foreman.progress(frames, *source),
                    _ => board.frames = frames,
                }
                if !board.finished.is_empty() {
                    return Some(Job::Tell { verdicts: std::mem::take(&mut board.finished) });
                }
            }
            if let Some(job) = board.job(home) {
                return Some(job);
            }
            if board.is_done() {
                return None;
            }
            if patience > 0 {
                let seen = self.news.load(Ordering::Relaxed);
                drop(board);
                patience = self.look_around(seen, patience);
                board = self.board();
                continue;
            }
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            board = self.bell.wait(board).unwrap_or_else(PoisonError::into_inner);
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            patience = PATIENCE;
        }
    }

    /// Waits for news beyond those `seen`; returns the patience left, none when there were no news.
    fn look_around(&self, seen: usize, mut patience: u32) -> u32 {
        while patience > 0 && self.news.load(Ordering::Relaxed) == seen {
            std::hint::spin_loop();
            patience -= 1;
        }
        patience
    }

    /// Tells everybody that there may be new jobs, once the board says so.
    fn ring(&self) {
        self.news.fetch_add(1, Ordering::SeqCst);
        // Who is about to sleep has looked at the board after it said so, or is counted.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.bell.notify_all();
        }
    }

    fn read(&self, source: &'a mut (dyn FrameSource + Send), mut slice: Slice, batch: &mut Batch) {
        let filled = source.fill(batch);
        let (number, frames_before) = {
            let mut board = self.board();
            match filled {
                Ok(true) => {
                    if board.end.is_none() {
                        board.source = Some(source);
                    }
                    board.next_read += 1;
                    board.frames_read += batch.len() as u64;
                    (board.next_read - 1, board.frames_read - batch.len() as u64)
                }
                ended => {
                    board.end = Some(ended.map(|_| ()));
                    board.free.push(slice);
                    self.ring();
                    return;
                }
            }
        };
        self.ring();
        slice.decode(batch, 0..batch.len(), frames_before, &self.decoder);
        self.board().settle(number, slice, batch.len() as u64);
        self.ring();
    }

    fn board(&self) -> MutexGuard<'_, Board<'a>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends everybody home when a worker panics: what it has in hand never comes back.
struct Alarm<'a, 'b>(&'a Hall<'b>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.board().is_abandoned = true;
            self.0.ring();
        }
    }
}
