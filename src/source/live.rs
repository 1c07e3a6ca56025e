//! Packets of an interface, as they come.
//!
//! A capture outlives its interface: while that is down or gone, it is looked for again and again,
//! and what was missed is said. Does not: keep packets, or decide what to do with them.
#![expect(clippy::disallowed_methods, reason = "a live capture lives by the wall's clock")]

use std::ffi::CString;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::libpcap::{Appetite, Device, Handle, Library, Refusal, Statistics, Wish};
use super::link::{Link, Watch};
use super::{Error, FrameSource, Interface, SourceSummary, filter};
use crate::frame::{Batch, FrameHeader, LinkType, Place};
use crate::time::{CaptureClock, Timestamp};

/// Bytes of each frame that hold all headers and options that are judged, with room for VLAN tags,
/// IPv6 extension headers, and the packet that an ICMP error quotes.
pub const DEFAULT_SNAPLEN: u32 = 256;

/// Bytes of the kernel's buffer for a capture: a quarter of a second of a million packets a second.
pub const DEFAULT_BUFFER_BYTES: u32 = 64 << 20;

/// How long the kernel gathers packets before it hands them over.
const GATHER: Duration = Duration::from_millis(100);
/// How long [`FrameSource::fill`] waits for a packet at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the kernel may take, after the end was wished for, to hand over what it has gathered.
const REST: Duration = Duration::from_millis(150);
/// How long taking that may last: a clock that was set back must not make it last for ever.
const PATIENCE_AT_END: Duration = Duration::from_secs(5);
/// How often the interface is looked at, and the kernel's drop counts are read.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes and frames of a batch, about.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_FRAMES: usize = 4096;

/// How an interface is to be captured on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Its name, or `any`.
    pub interface: String,
    /// Bytes captured of each frame at most.
    pub snaplen: u32,
    /// Whether packets for others are wanted too.
    pub is_promiscuous: bool,
    /// Bytes of the kernel's buffer.
    pub buffer_bytes: u32,
    /// Whether each packet is wanted at once, at the price of a wake-up for each.
    pub is_immediate: bool,
    /// What to capture, in libpcap's words.
    pub filter: Option<String>,
    /// Packets after which the capture ends.
    pub count: Option<u64>,
    /// How long the capture goes on.
    pub duration: Option<Duration>,
}

/// Lists the interfaces that can be captured on.
///
/// # Errors
///
/// [`Error::NoLibpcap`] where libpcap is not installed, [`Error::Devices`] when it cannot tell.
pub fn devices() -> Result<Vec<Device>, Error> {
    let library = Library::load().ok_or(Error::NoLibpcap)?;
    library.devices().map_err(|reason| Error::Devices { reason })
}

/// Returns the time of the wall's clock, by which packets are stamped.
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    Timestamp::from_parts(seconds, i64::from(now.subsec_nanos()))
}

/// A capture on an interface.
///
/// [`FrameSource::fill`] returns after a tenth of a second at most, with an empty batch when no
/// packet came; it says that there is no more when `stop` is set, the count is reached or the time
/// is up.
pub struct LiveSource {
    library: Library,
    wish: Wish,
    stop: &'static AtomicBool,
    /// The capture that goes on; while the interface is down or gone, the one that it had.
    handle: Handle,
    /// When a lost interface is looked for again.
    waits: Option<Instant>,
    link: LinkType,
    /// What kind of device the interface is.
    hardware: Option<u16>,
    next_number: u64,
    /// The number after the last frame wanted.
    end_number: u64,
    /// When the time is up.
    deadline: Option<Instant>,
    ending: Option<Ending>,
    clock: CaptureClock,
    bytes: u64,
    drops: Drops,
    /// Other captures that share the packets.
    group: Option<u16>,
    watch: Option<Watch>,
    /// What the interface was like when it was last looked at.
    last_seen: Link,
    next_look: Instant,
    /// What happened to the interface since it was last asked for.
    events: Vec<String>,
    outages: u64,
}

/// The end, once it was wished for: what came until then is still taken.
#[derive(Clone, Copy)]
struct Ending {
    last: Timestamp,
    begun: Instant,
    is_reached: bool,
}

/// Drops of all captures so far, beyond what the kernel's counters hold.
#[derive(Default)]
struct Drops {
    by_host: u64,
    by_interface: u64,
    last: Statistics,
}

impl Drops {
    /// Adds what was dropped since the last look.
    fn look(&mut self, handle: &Handle) {
        let Some(now) = handle.statistics() else { return };
        self.by_host += increase(now.dropped_by_host, self.last.dropped_by_host);
        self.by_interface += increase(now.dropped_by_interface, self.last.dropped_by_interface);
        self.last = now;
    }
}

/// Returns how much a counter of 32 bits rose. One that went far down began anew: an interface that
/// was made again counts from 0.
fn increase(now: u32, before: u32) -> u64 {
    let rise = now.wrapping_sub(before);
    if rise > u32::MAX / 2 { 0 } else { u64::from(rise) }
}

impl LiveSource {
    /// Begins a capture, which `stop` ends.
    ///
    /// # Errors
    ///
    /// [`Error`] where libpcap is not installed, the interface is not there or not up, the
    /// permission is missing, or the filter is none.
    pub fn open(options: &Options, stop: &'static AtomicBool) -> Result<Self, Error> {
        let library = Library::load().ok_or(Error::NoLibpcap)?;
        let filter = options.filter.as_deref().map(|filter| {
            CString::new(filter).map_err(|_| Error::LiveFilter {
                expression: filter.to_owned(),
                reason: "a null byte in it".to_owned(),
            })
        });
        let wish = Wish {
            interface: options.interface.clone(),
            snaplen: options.snaplen,
            is_promiscuous: options.is_promiscuous,
            buffer_bytes: options.buffer_bytes,
            gather: (!options.is_immediate).then_some(GATHER),
            filter: filter.transpose()?,
        };
        let handle = library.capture(&wish).map_err(|refusal| refused(&wish, refusal))?;
        let first = Place { file: 0, frame: 1 }.number();
        Ok(Self {
            library,
            wish,
            stop,
            link: filter::link_type(handle.dlt()),
            hardware: handle.hardware(),
            handle,
            waits: None,
            next_number: first,
            end_number: options.count.map_or(u64::MAX, |count| first.saturating_add(count)),
            deadline: options.duration.map(|duration| Instant::now() + duration),
            ending: None,
            clock: CaptureClock::default(),
            bytes: 0,
            drops: Drops::default(),
            group: None,
            watch: Watch::new(&options.interface),
            last_seen: Link::Up,
            next_look: Instant::now() + LOOK,
            events: Vec::new(),
            outages: 0,
        })
    }

    /// Shares the packets with the other captures of a group: each gets some of the flows.
    ///
    /// # Errors
    ///
    /// [`Error::Fanout`] where the system cannot.
    pub fn share(&mut self, group: u16) -> Result<(), Error> {
        self.handle.share(group).map_err(|source| Error::Fanout { source })?;
        self.group = Some(group);
        Ok(())
    }

    /// Returns a time before which no packet comes any more, when none came now: the kernel keeps
    /// packets to itself for a while.
    pub fn all_until(&self) -> Timestamp {
        let delay = self.wish.gather.unwrap_or_default() + PATIENCE;
        now().plus_nanos(-i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Returns whether nothing more is wanted, and begins to end when that is wished for.
    fn is_over(&mut self) -> bool {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_late {
            self.stop.store(true, Ordering::Relaxed);
        }
        if self.stop.load(Ordering::Relaxed) && self.ending.is_none() {
            self.ending = Some(Ending { last: now(), begun: Instant::now(), is_reached: false });
        }
        let is_at_end = self.ending.is_some_and(|e| e.is_reached || self.waits.is_some());
        is_at_end || self.next_number >= self.end_number
    }

    /// Takes the packets that are there.
    fn take(&mut self, batch: &mut Batch) {
        let handle = &mut self.handle;
        let (clock, link) = (&mut self.clock, self.link);
        let room = usize::try_from(self.end_number - self.next_number).unwrap_or(usize::MAX);
        let room = room.min(BATCH_FRAMES);
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let last = self.ending.map_or(Timestamp(i64::MAX), |ending| ending.last);
        let mut is_past = false;
        let taken = handle.dispatch(|ts, original_len, bytes| {
            is_past |= ts > last;
            if batch.len() < room && !is_past {
                let (start, captured_len) = (len(batch.buffer.len()), len(bytes.len()));
                batch.buffer.extend_from_slice(bytes);
                let header = FrameHeader {
                    ts,
                    link,
                    interface: 0,
                    start,
                    captured_len,
                    original_len,
                    is_outbound: false,
                };
                batch.push(header, clock);
            }
            let is_full = batch.len() >= room || batch.buffer.len() >= BATCH_BYTES;
            if is_full || is_past { Appetite::Enough } else { Appetite::More }
        });
        if let Some(ending) = &mut self.ending {
            let lasting = ending.begun.elapsed();
            let most = if batch.is_empty() { REST } else { PATIENCE_AT_END };
            ending.is_reached = is_past || lasting >= most;
        }
        if batch.is_empty() && taken.is_ok() && !is_past {
            handle.wait(if self.ending.is_some() { REST / 4 } else { PATIENCE });
        }
        if let Err(reason) = taken {
            self.lose(&reason);
        }
    }

    /// Looks whether the interface is up, says so when that has changed, and reads the drops.
    ///
    /// One that was lost is up again once it is captured on again.
    fn look(&mut self) {
        self.next_look = Instant::now() + LOOK;
        self.drops.look(&self.handle);
        let now = self.interface_now();
        let is_lost = self.waits.is_some();
        if now == self.last_seen || (now == Link::Up && is_lost) {
            return;
        }
        let what = match now {
            Link::Up => "up again",
            Link::Down => "went down; waiting for it to come back",
            Link::Gone => "disappeared; waiting for it to come back",
        };
        if self.last_seen == Link::Up {
            self.outages += 1;
        }
        self.events.push(format!("{}: {what}", self.wish.interface));
        self.last_seen = now;
    }

    fn interface_now(&self) -> Link {
        self.watch.as_ref().map_or(Link::Up, Watch::look)
    }

    /// Lets go of an interface that gives nothing any more.
    fn lose(&mut self, reason: &str) {
        self.waits = Some(Instant::now() + LOOK);
        self.look();
        if self.last_seen == Link::Up {
            self.events.push(format!("{}: {reason}; beginning again", self.wish.interface));
            self.outages += 1;
        }
    }

    /// Begins again on an interface that was lost, when it is time and it is up.
    fn begin_again(&mut self, due: Instant) -> Result<(), Error> {
        let now = Instant::now();
        if now < due {
            std::thread::park_timeout((due - now).min(PATIENCE));
            return Ok(());
        }
        self.look();
        self.waits = Some(now + LOOK);
        if self.interface_now() != Link::Up {
            return Ok(());
        }
        match self.library.capture(&self.wish) {
            // It went away again meanwhile.
            Err(Refusal::NotUp | Refusal::NoSuchInterface(_)) => Ok(()),
            // What made the capture was given up; it can still be bound to the new interface.
            Err(Refusal::NotPermitted(_)) => self.bind_again(),
            Ok(handle) => self.replace(handle),
            Err(refusal) => Err(refused(&self.wish, refusal)),
        }
    }

    /// Goes on with a new capture of the interface.
    fn replace(&mut self, handle: Handle) -> Result<(), Error> {
        if filter::link_type(handle.dlt()) != self.link {
            return Err(self.is_of_another_kind());
        }
        if let Some(group) = self.group {
            handle.share(group).map_err(|source| Error::Fanout { source })?;
        }
        self.drops.last = Statistics::default();
        self.handle = handle;
        self.go_on();
        Ok(())
    }

    /// Goes on with the capture that there was, on the interface that has the name now.
    fn bind_again(&mut self) -> Result<(), Error> {
        match self.handle.bind_again(&self.wish) {
            Err(error) if is_gone(&error) => return Ok(()),
            Err(source) => {
                let interface = self.wish.interface.clone();
                return Err(Error::NotPermittedAgain { interface, source });
            }
            Ok(()) => {}
        }
        if self.handle.hardware() != self.hardware {
            return Err(self.is_of_another_kind());
        }
        self.go_on();
        Ok(())
    }

    /// Says that an interface that was lost is captured on again.
    fn go_on(&mut self) {
        self.waits = None;
        self.look();
    }

    fn is_of_another_kind(&self) -> Error {
        let reason = "it came back as a link of another type".to_owned();
        Error::Capture { interface: self.wish.interface.clone(), reason }
    }
}

impl FrameSource for LiveSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear(self.next_number);
        batch.buffer.clear();
        if self.is_over() {
            self.drops.look(&self.handle);
            return Ok(false);
        }
        match self.waits {
            None => self.take(batch),
            Some(due) => self.begin_again(due)?,
        }
        if self.next_look <= Instant::now() {
            self.look();
        }
        self.next_number = batch.next_number();
        self.bytes += batch.buffer.len() as u64;
        Ok(true)
    }

    fn summary(&self) -> SourceSummary {
        let interface = Interface {
            name: Some(self.wish.interface.clone()),
            link_type: self.link.0,
            snaplen: self.wish.snaplen,
            dropped_by_interface: Some(self.drops.by_interface),
            dropped_by_host: Some(self.drops.by_host),
        };
        SourceSummary {
            name: self.wish.interface.clone(),
            format: "live".to_owned(),
            bytes_read: self.bytes,
            file_len: None,
            interfaces: vec![interface],
            set_back: None,
        }
    }

    fn take_problems(&mut self) -> Vec<Error> {
        let (interface, count) = (self.wish.interface.clone(), self.outages);
        if count == 0 { Vec::new() } else { vec![Error::Outages { interface, count }] }
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn filter(&self) -> Option<super::FilterSummary> {
        let expression = self.wish.filter.as_ref()?.to_string_lossy().into_owned();
        Some(super::FilterSummary { expression, left_out: None })
    }
}

/// Returns whether an interface went away, or down, while it was to be used.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
}

/// Says why an interface cannot be captured on, and what would help.
fn refused(wish: &Wish, refusal: Refusal) -> Error {
    let interface = wish.interface.clone();
    match refusal {
        Refusal::NotPermitted(reason) => Error::NotPermitted { interface, reason },
        Refusal::NoSuchInterface(reason) => Error::NoSuchInterface { interface, reason },
        Refusal::NotUp => Error::NotUp { interface },
        Refusal::Other(reason) => Error::Capture { interface, reason },
        Refusal::Filter(reason) => {
            let expression = wish.filter.as_ref().map(|filter| filter.to_string_lossy());
            let expression = expression.unwrap_or_default().into_owned();
            Error::LiveFilter { expression, reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that no interface can have.
    const NOWHERE: &str = "no/where";
    /// `DLT_EN10MB` and `DLT_RAW`.
    const ETHERNET: i32 = 1;
    const RAW: i32 = 12;
    static STOP: AtomicBool = AtomicBool::new(false);

    /// Returns a capture of nothing, on an interface that is not there; none, and says so, where libpcap
    /// is absent.
    fn capture_nothing() -> Option<LiveSource> {
        let Some(library) = Library::load() else {
            eprintln!("skipped: libpcap is not installed");
            return None;
        };
        let wish = Wish {
            interface: NOWHERE.to_owned(),
            snaplen: DEFAULT_SNAPLEN,
            is_promiscuous: false,
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            gather: None,
            filter: None,
        };
        Some(LiveSource {
            library,
            wish,
            stop: &STOP,
            handle: library.capture_nothing(ETHERNET),
            waits: None,
            link: LinkType::ETHERNET,
            hardware: None,
            next_number: 1,
            end_number: u64::MAX,
            deadline: None,
            ending: None,
            clock: CaptureClock::default(),
            bytes: 0,
            drops: Drops::default(),
            group: None,
            watch: Watch::new(NOWHERE),
            last_seen: Link::Up,
            next_look: Instant::now(),
            events: Vec::new(),
            outages: 0,
        })
    }

    /// Has an interface come back: what cannot be looked at counts as up.
    fn bring_back(source: &mut LiveSource) {
        source.watch = None;
    }

    #[test]
    fn a_lost_interface_is_up_again_once_it_is_captured_on_and_not_before() {
        let Some(mut source) = capture_nothing() else { return };
        source.lose("no packets any more");
        assert_eq!(source.take_events(), ["no/where: disappeared; waiting for it to come back"]);
        source.begin_again(Instant::now()).unwrap();
        assert!(source.waits.is_some() && source.take_events().is_empty());
        bring_back(&mut source);
        source.look();
        assert!(source.take_events().is_empty(), "nothing captures on it yet");
        let handle = source.library.capture_nothing(ETHERNET);
        source.replace(handle).unwrap();
        assert_eq!(source.take_events(), ["no/where: up again"]);
        assert!(source.waits.is_none());
        source.look();
        assert!(source.take_events().is_empty());
        assert_eq!(source.outages, 1);
    }

    #[test]
    fn an_interface_that_was_down_and_never_lost_is_up_again_when_it_is_seen_so() {
        let Some(mut source) = capture_nothing() else { return };
        source.look();
        assert_eq!(source.take_events(), ["no/where: disappeared; waiting for it to come back"]);
        bring_back(&mut source);
        source.look();
        assert_eq!(source.take_events(), ["no/where: up again"]);
    }

    #[test]
    fn an_interface_that_comes_back_as_another_kind_of_link_is_not_up_again() {
        let Some(mut source) = capture_nothing() else { return };
        source.lose("no packets any more");
        bring_back(&mut source);
        source.take_events();
        let handle = source.library.capture_nothing(RAW);
        let error = source.replace(handle).unwrap_err().to_string();
        assert!(error.ends_with("it came back as a link of another type"), "{error}");
        assert!(source.take_events().is_empty());
    }

    #[test]
    fn a_capture_that_fails_on_an_interface_that_is_up_begins_again_and_says_so_once() {
        let Some(mut source) = capture_nothing() else { return };
        bring_back(&mut source);
        source.lose("a reason");
        assert_eq!(source.take_events(), ["no/where: a reason; beginning again"]);
        let handle = source.library.capture_nothing(ETHERNET);
        source.replace(handle).unwrap();
        assert!(source.take_events().is_empty());
        assert_eq!(source.outages, 1);
    }
}
