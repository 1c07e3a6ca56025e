//! Several captures of one interface, among which the kernel divides the flows, as one time line.
//!
//! Each capture has a thread that takes its packets from the kernel. They are merged by time: a
//! packet is handed on when no capture can still have an earlier one.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
/// Frames of a merged batch, at most.
const BATCH_FRAMES: usize = 8192;

/// What a capture's thread tells.
struct News {
    capture: usize,
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
    waiting: VecDeque<Batch>,
    /// The next frame of the first batch.
    next: usize,
    until: Timestamp,
    summary: SourceSummary,
    is_over: bool,
}

/// The captures, merged.
pub struct Fanout {
    /// Captures whose threads begin with the first batch: what the program gives up before, they
    /// do not have either.
    unstarted: Vec<(LiveSource, SyncSender<News>)>,
    news: Receiver<News>,
    lanes: Vec<Lane>,
    clock: CaptureClock,
    next_number: u64,
    end_number: u64,
    filter: Option<FilterSummary>,
    events: Vec<String>,
    problems: Vec<Error>,
    failure: Option<Error>,
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
        let group = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
        let (sender, news) = sync_channel(WAITING * usize::from(captures));
        let mut lanes = Vec::new();
        let mut filter = None;
        let mut sources = Vec::new();
        for _ in 0..captures {
            let mut source = LiveSource::open(&each, stop)?;
            source.share(group)?;
            filter = source.filter();
            let summary = source.summary();
            let until = Timestamp(i64::MIN);
            lanes.push(Lane { waiting: VecDeque::new(), next: 0, until, summary, is_over: false });
            sources.push(source);
        }
        let first = Place { file: 0, frame: 1 }.number();
        Ok(Self {
            unstarted: sources.into_iter().map(|source| (source, sender.clone())).collect(),
            news,
            lanes,
            clock: CaptureClock::default(),
            next_number: first,
            end_number: options.count.map_or(u64::MAX, |count| first.saturating_add(count)),
            filter,
            events: Vec::new(),
            problems: Vec::new(),
            failure: None,
            stop,
        })
    }

    /// Starts the threads of the captures.
    fn start(&mut self) -> Result<(), Error> {
        for (capture, (source, news)) in self.unstarted.drain(..).enumerate() {
            let thread = thread::Builder::new().name(format!("capture {capture}"));
            let spawned = thread.spawn(move || run(capture, source, &news));
            spawned.map_err(|source| Error::Fanout { source })?;
        }
        Ok(())
    }

    /// Takes in what the captures tell, waiting for the first of it.
    fn listen(&mut self) {
        let mut patience = PATIENCE;
        loop {
            match self.news.recv_timeout(patience) {
                Ok(news) => self.note(news),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
            patience = Duration::ZERO;
        }
    }

    fn note(&mut self, news: News) {
        // Each capture sees the same happen to the interface: one tells of it.
        if news.capture == 0 {
            self.events.extend(news.events);
            self.problems.extend(news.problems);
        }
        let Some(lane) = self.lanes.get_mut(news.capture) else { return };
        lane.summary = news.summary;
        lane.until = lane.until.max(news.until);
        if !news.batch.is_empty() {
            lane.waiting.push_back(news.batch);
        }
        if let Some(end) = news.end {
            lane.is_over = true;
            self.failure = self.failure.take().or(end.err());
        }
    }

    /// Hands on what no capture can precede any more, in the order of time.
    fn merge(&mut self, batch: &mut Batch) {
        let open = self.lanes.iter().filter(|lane| !lane.is_over);
        let until = open.map(|lane| lane.until).min().unwrap_or(Timestamp(i64::MAX));
        while batch.len() < BATCH_FRAMES && self.next_number < self.end_number {
            let heads = self.lanes.iter().enumerate();
            let heads = heads.filter_map(|(index, lane)| Some((lane.head()?, index)));
            let Some((ts, index)) = heads.min().filter(|(ts, _)| *ts <= until) else { return };
            debug_assert!(ts <= until);
            let Some(lane) = self.lanes.get_mut(index) else { return };
            lane.pass(batch, self.next_number, &mut self.clock);
            self.next_number += 1;
        }
    }
}

impl Lane {
    /// Returns the time of the next packet.
    fn head(&self) -> Option<Timestamp> {
        Some(self.waiting.front()?.frame(self.next)?.ts)
    }

    /// Hands on the next packet.
    fn pass(&mut self, target: &mut Batch, number: u64, clock: &mut CaptureClock) {
        let Some(batch) = self.waiting.front() else { return };
        if let Some(mut frame) = batch.frame(self.next) {
            frame.number = number;
            target.push_copy(&frame, clock);
        }
        self.next += 1;
        if self.next >= batch.len() {
            self.waiting.pop_front();
            self.next = 0;
        }
    }
}

/// Captures until the end, on a thread of its own.
fn run(capture: usize, mut source: LiveSource, news: &SyncSender<News>) {
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
            capture,
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
            self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
            return Ok(false);
        }
        self.merge(batch);
        if batch.is_empty() {
            self.listen();
            self.merge(batch);
        }
        let is_over = batch.is_empty() && self.lanes.iter().all(|lane| lane.is_over);
        match self.failure.take() {
            Some(error) if is_over => Err(error),
            failure => {
                self.failure = failure;
                Ok(!is_over)
            }
        }
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

    fn take_problems(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.problems)
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn filter(&self) -> Option<FilterSummary> {
        self.filter.clone()
    }
}
