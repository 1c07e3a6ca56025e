//! One connection in virtual time: two ends, two links, and the capture point between them.
//!
//! ```text
//! opener A ── near link ── tap ── far link ── B
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

use tcp_window_audit::segment::{Direction, PerDirection, Segment};

use super::Random;
use super::device::{Device, Fate};
use super::endpoint::{Endpoint, Offer};
use super::frame::{Addresses, options_len};

/// One half of the path; devices are in the order from A to B.
pub(crate) struct Link {
    pub delay_ns: i64,
    /// How many of a thousand data segments are lost here.
    pub loss_permille: u32,
    pub devices: Vec<Box<dyn Device>>,
    /// Routers that count the time to live down.
    pub hops: u8,
}

impl Link {
    pub(crate) const fn of(delay_ns: i64, hops: u8) -> Self {
        Self { delay_ns, loss_permille: 0, devices: Vec::new(), hops }
    }
}

/// What the capture point records.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tap {
    /// How many of a thousand frames it misses.
    pub loss_permille: u32,
    /// The one direction that passes here, if it is only one.
    pub only: Option<Direction>,
}

/// Everything about one connection.
pub(crate) struct Flow {
    pub addresses: Addresses,
    /// When A sends its SYN, in nanoseconds of the case.
    pub start_ns: i64,
    /// When the capture ends.
    pub stop_ns: i64,
    pub seed: u64,
    /// What A sends before B answers, and what B answers, in bytes.
    pub upload: u64,
    pub download: u64,
    /// The offers of A and B.
    pub offers: PerDirection<Offer>,
    pub near: Link,
    pub far: Link,
    pub tap: Tap,
    /// Bits per second of each end's interface.
    pub rate: i64,
}

/// A segment as it passed the capture point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    pub time_ns: i64,
    pub direction: Direction,
    pub addresses: Addresses,
    pub segment: Segment,
}

#[derive(Clone, Copy)]
enum Place {
    Tap,
    End,
}

/// Runs the connection until it is closed or the capture ends.
pub(crate) fn run(flow: Flow) -> Vec<Captured> {
    let mut random = Random(flow.seed);
    let ends = PerDirection {
        original: Endpoint::new(random.word(), flow.offers.original, false),
        reply: Endpoint::new(random.word(), flow.offers.reply, true),
    };
    let mut run = Run {
        ends,
        random,
        free: PerDirection::default(),
        events: BTreeMap::new(),
        serial: 0,
        captured: Vec::new(),
        flow,
    };
    run.until_the_end();
    run.captured
}

struct Run {
    flow: Flow,
    /// The ends, by the direction in which they send.
    ends: PerDirection<Endpoint>,
    random: Random,
    /// When each end's interface has sent what it was given.
    free: PerDirection<i64>,
    /// Arrivals by time, then by order of sending.
    events: BTreeMap<(i64, u64), (Place, Direction, Segment)>,
    serial: u64,
    captured: Vec<Captured>,
}

impl Run {
    fn until_the_end(&mut self) {
        let syn = self.ends.original.send(self.flow.start_ns, true);
        self.emit(self.flow.start_ns, Direction::Original, syn);
        while let Some(now) = self.next_time().filter(|now| *now <= self.flow.stop_ns) {
            let arrival = self.events.first_entry().filter(|event| event.key().0 == now);
            match arrival.map(OccupiedEntry::remove) {
                Some((Place::Tap, direction, segment)) => self.pass_tap(now, direction, segment),
                Some((Place::End, direction, segment)) => {
                    let segments = self.ends[direction.flip()].receive(now, &segment);
                    self.emit(now, direction.flip(), segments);
                    self.applications(now);
                }
                None => self.tick(now),
            }
        }
    }

    fn next_time(&self) -> Option<i64> {
        let arrival = self.events.keys().next().map(|key| key.0);
        let deadlines = Direction::BOTH.iter().filter_map(|d| self.ends[*d].deadline());
        arrival.into_iter().chain(deadlines).min()
    }

    fn tick(&mut self, now: i64) {
        for direction in Direction::BOTH {
            if self.ends[direction].deadline().is_some_and(|deadline| deadline <= now) {
                let segments = self.ends[direction].tick(now);
                self.emit(now, direction, segments);
            }
        }
    }

    /// A asks, B answers and closes, A closes.
    fn applications(&mut self, now: i64) {
        let (upload, download) = (self.flow.upload, self.flow.download);
        let (a, b) = (&mut self.ends.original, &mut self.ends.reply);
        if a.is_open() && a.sender.written == 1 {
            a.sender.written += upload;
        }
        a.sender.closing |= a.fin_arrived();
        if b.is_open() && b.bytes_arrived() >= upload && !b.sender.closing {
            b.sender.written += download;
            b.sender.closing = true;
        }
        for direction in Direction::BOTH {
            let segments = self.ends[direction].send(now, false);
            self.emit(now, direction, segments);
        }
    }

    fn emit(&mut self, now: i64, direction: Direction, segments: Vec<Segment>) {
        for segment in segments {
            let bits = (i64::from(segment.len) + 20 + i64::from(segment.header_len) + 38) * 8;
            let leaves = self.free[direction].max(now) + bits * 1_000_000_000 / self.flow.rate;
            self.free[direction] = leaves;
            self.travel(leaves, direction, segment, Place::Tap);
        }
    }

    /// Sends a segment over the link that leads to `place`.
    fn travel(&mut self, now: i64, direction: Direction, mut segment: Segment, place: Place) {
        let link = match (direction, place) {
            (Direction::Original, Place::Tap) | (Direction::Reply, Place::End) => {
                &mut self.flow.near
            }
            (Direction::Original, Place::End) | (Direction::Reply, Place::Tap) => {
                &mut self.flow.far
            }
        };
        let mut pass =
            |device: &mut Box<dyn Device>| device.handle(direction, &mut segment) == Fate::Passes;
        let passes = match direction {
            Direction::Original => link.devices.iter_mut().all(&mut pass),
            Direction::Reply => link.devices.iter_mut().rev().all(&mut pass),
        };
        let lost = segment.len > 0 && self.random.happens(link.loss_permille);
        if !passes || lost {
            return;
        }
        segment.header_len = 20 + options_len(&segment.options);
        segment.ttl -= link.hops;
        self.serial += 1;
        self.events.insert((now + link.delay_ns, self.serial), (place, direction, segment));
    }

    fn pass_tap(&mut self, now: i64, direction: Direction, segment: Segment) {
        let missed = self.random.happens(self.flow.tap.loss_permille);
        if !missed && self.flow.tap.only.is_none_or(|only| only == direction) {
            let addresses = self.flow.addresses;
            self.captured.push(Captured { time_ns: now, direction, addresses, segment });
        }
        self.travel(now, direction, segment, Place::End);
    }
}
