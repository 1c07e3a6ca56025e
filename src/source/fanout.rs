//! Several captures of one interface, among which the kernel divides the flows, as one time line.
//!
//! Each capture has a thread that takes its packets from the kernel. They are merged by time: a
//! packet is handed on when no capture can still have an earlier one. A capture that is ahead of
//! the others, or of the audit, waits with what is in its queue, and then the kernel's buffer
//! holds the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use super::live::{LiveSource, Options};
use super::{Error, FilterSummary, FrameSource, SourceSummary};
use crate::frame::{Batch, Place};
use crate::time::{CaptureClock, Timestamp};

/// Batches of each capture that wait to be merged: beyond, the kernel's buffer has to hold them.
const WAITING: usize = 64;
/// How long a merge waits for the next batch.
const PATIENCE: Duration = Duration::from_millis(100);
/// An odd number whose multiples are spread over all numbers: 2^32 divided by the golden ratio.
const GROUP_SPREAD: u32 = 0x9e37_79b1;
/// Frames of a merged batch, at most.
const BATCH_FRAMES: usize = 8192;

/// What a capture's thread tells.
struct News {
    batch: Batch,
    /// No packet before this time comes any more.
    until: Timestamp,
    summary: SourceSummary,
    events: Vec<String>,
    /// Set with the last news.
    end: Option<Result<(), Error>>,
    problems: Vec<Error>,
}

/// One capture, as the merge sees it.
struct Lane {
    news: Receiver<News>,
    /// What is handed on now, and its next frame.
    batch: Batch,
    next: usize,
    until: Timestamp,
    summary: SourceSummary,
    events: Vec<String>,
    problems: Vec<Error>,
    failure: Option<Error>,
    is_over: bool,
}

/// The captures, merged.
pub struct Fanout {
    /// Captures whose threads begin with the first batch: what the program gives up before, they
    /// do not have either.
    unstarted: Vec<(LiveSource, SyncSender<News>)>,
    lanes: Vec<Lane>,
    clock: CaptureClock,
    next_number: u64,
    end_number: u64,
    filter: Option<FilterSummary>,
    stop: &'static AtomicBool,
}

impl Fanout {
    /// Begins `captures` captures of an interface, which `stop` ends.
    ///
    /// # Errors
    ///
    /// [`Error`] as [`LiveSource::open`], and [`Error::Fanout`] where the kernel cannot divide.
    pub fn open(
        options: &Options,
        captures: u16,
        stop: &'static AtomicBool,
    ) -> Result<Self, Error> {
        // The count is of all captures together.
        let each = Options { count: None, ..options.clone() };
        // Another for each process, and far from those of the processes that begin with it.
        let group = std::process::id().wrapping_mul(GROUP_SPREAD);
        let group = u16::try_from(group >> 16).unwrap_or_default();
        let mut lanes = Vec::new();
        let mut filter = None;
        let mut unstarted = Vec::new();
        for _ in 0..captures {
            let mut source = LiveSource::open(&each, stop)?;
            source.share(group)?;
            filter = source.filter();
            let (sender, news) = sync_channel(WAITING);
            lanes.push(Lane::new(news, source.summary()));
            unstarted.push((source, sender));
        }
        let first = Place { file: 0, frame: 1 }.number();
        Ok(Self {
            unstarted,
            lanes,
            clock: CaptureClock::default(),
            next_number: first,
            end_number: options.count.map_or(u64::MAX, |count| first.saturating_add(count)),
            filter,
            stop,
        })
    }

    /// Starts the threads of the captures.
    fn start(&mut self) -> Result<(), Error> {
        for (capture, (source, news)) in self.unstarted.drain(..).enumerate() {
            let thread = thread::Builder::new().name(format!("capture {capture}"));
            let spawned = thread.spawn(move || run(source, &news));
            spawned.map_err(|source| Error::Fanout { source })?;
        }
        Ok(())
    }

    /// Waits for what keeps the merge from going on: the capture that may be furthest behind.
    fn listen(&mut self) {
        let behind = self.lanes.iter_mut().filter(|lane| lane.is_awaited());
        if let Some(lane) = behind.min_by_key(|lane| lane.until) {
            lane.wait();
        }
    }

    /// Hands on what no capture can precede any more, in the order of time.
    fn merge(&mut self, batch: &mut Batch) {
        let mut until = self.certain();
        while batch.len() < BATCH_FRAMES && self.next_number < self.end_number {
            let heads = self.lanes.iter().enumerate();
            let heads = heads.filter_map(|(index, lane)| Some((lane.head()?, index)));
            let Some((ts, index)) = heads.min() else { return };
            if ts > until {
                self.lanes.iter_mut().for_each(Lane::refill);
                let now = self.certain();
                if now == until {
                    return;
                }
                until = now;
                continue;
            }
            let Some(lane) = self.lanes.get_mut(index) else { return };
            lane.pass(batch, self.next_number, &mut self.clock);
            self.next_number += 1;
            if lane.head().is_none() {
                lane.refill();
                until = self.certain();
            }
        }
    }

    /// Returns the time before which nothing comes any more of the captures that have nothing now.
    fn certain(&self) -> Timestamp {
        let awaited = self.lanes.iter().filter(|lane| lane.is_awaited());
        awaited.map(|lane| lane.until).min().unwrap_or(Timestamp(i64::MAX))
    }
}

impl Lane {
    fn new(news: Receiver<News>, summary: SourceSummary) -> Self {
        Self {
            news,
            batch: Batch::default(),
            next: 0,
            until: Timestamp(i64::MIN),
            summary,
            events: Vec::new(),
            problems: Vec::new(),
            failure: None,
            is_over: false,
        }
    }

    /// Returns whether it has nothing, and may have something later.
    fn is_awaited(&self) -> bool {
        !self.is_over && self.head().is_none()
    }

    /// Returns the time of the next packet.
    fn head(&self) -> Option<Timestamp> {
        Some(self.batch.frame(self.next)?.ts)
    }

    /// Takes in what has been told, up to the next packets.
    fn refill(&mut self) {
        while self.is_awaited() {
            match self.news.try_recv() {
                Ok(news) => self.note(news),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.is_over = true,
            }
        }
    }

    /// Waits for news.
    fn wait(&mut self) {
        if let Ok(news) = self.news.recv_timeout(PATIENCE) {
            self.note(news);
        }
    }

    fn note(&mut self, news: News) {
        (self.batch, self.next) = (news.batch, 0);
        self.until = self.until.max(news.until);
        self.summary = news.summary;
        self.events.extend(news.events);
        self.problems.extend(news.problems);
        if let Some(end) = news.end {
            self.is_over = true;
            self.failure = end.err();
        }
    }

    /// Hands on the next packet.
    fn pass(&mut self, target: &mut Batch, number: u64, clock: &mut CaptureClock) {
        if let Some(mut frame) = self.batch.frame(self.next) {
            frame.number = number;
            target.push_copy(&frame, clock);
        }
        self.next += 1;
    }
}

/// Captures until the end, on a thread of its own.
fn run(mut source: LiveSource, news: &SyncSender<News>) {
    loop {
        let mut batch = Batch::default();
        let filled = source.fill(&mut batch);
        let end = match filled {
            Ok(true) => None,
            Ok(false) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        // The kernel hands packets over late, but in order.
        let until = batch.latest().unwrap_or_else(|| source.all_until());
        let problems = if end.is_some() { source.take_problems() } else { Vec::new() };
        let is_over = end.is_some();
        let told = news.send(News {
            batch,
            until,
            summary: source.summary(),
            events: source.take_events(),
            end,
            problems,
        });
        if is_over || told.is_err() {
            return;
        }
    }
}

impl FrameSource for Fanout {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear(self.next_number);
        batch.buffer.clear();
        self.start()?;
        if self.next_number >= self.end_number {
            // The other captures have packets that nobody wants.
            self.stop.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        self.merge(batch);
        if batch.is_empty() {
            self.listen();
            self.merge(batch);
        }
        if !batch.is_empty() || self.lanes.iter().any(|lane| !lane.is_over) {
            return Ok(true);
        }
        let failure = self.lanes.iter_mut().find_map(|lane| lane.failure.take());
        failure.map_or(Ok(false), Err)
    }

    fn summary(&self) -> SourceSummary {
        let mut lanes = self.lanes.iter().map(|lane| &lane.summary);
        let mut sum = lanes.next().cloned().unwrap_or_default();
        for summary in lanes {
            sum.bytes_read += summary.bytes_read;
            // The interface drops for all captures at once, the host for each.
            for (mine, theirs) in sum.interfaces.iter_mut().zip(&summary.interfaces) {
                mine.dropped_by_host =
                    mine.dropped_by_host.zip(theirs.dropped_by_host).map(|(a, b)| a + b);
            }
        }
        sum
    }

    // Each capture sees the same happen to the interface: one tells of it.
    fn take_problems(&mut self) -> Vec<Error> {
        self.lanes.first_mut().map(|lane| std::mem::take(&mut lane.problems)).unwrap_or_default()
    }

    fn take_events(&mut self) -> Vec<String> {
        self.lanes.first_mut().map(|lane| std::mem::take(&mut lane.events)).unwrap_or_default()
    }

    fn filter(&self) -> Option<FilterSummary> {
        self.filter.clone()
    }
}
