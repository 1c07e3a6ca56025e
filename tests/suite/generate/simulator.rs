//! One connection in virtual time: two ends, two links, and the capture point between them.
//!
//! ```text
//! opener A ── near link ── tap ── far link ── B
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

use tcp_window_audit::segment::{Direction, PerDirection, Segment};
use tcp_window_audit::seq::SeqNum;

use super::Random;
use super::device::{Device, Fate};
use super::endpoint::{Endpoint, Offer};
use super::frame::{Addresses, options_len};

/// One half of the path; devices are in the order from A to B.
pub(crate) struct Link {
    pub delay_ns: i64,
    /// How many of a thousand data segments are lost here.
    pub loss_permille: u32,
    /// How many of a thousand data segments are held up here, and for how long at most.
    pub reorder_permille: u32,
    pub held_up_ns: u64,
    pub devices: Vec<Box<dyn Device>>,
    /// Routers that count the time to live down.
    pub hops: u8,
}

impl Link {
    pub(crate) const fn of(delay_ns: i64, hops: u8) -> Self {
        let (loss_permille, reorder_permille, held_up_ns) = (0, 0, 0);
        Self { delay_ns, loss_permille, reorder_permille, held_up_ns, devices: Vec::new(), hops }
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
    /// Bytes in flight that losses do not keep an end from having.
    pub least_cwnd: u64,
}

/// A segment as it passed the capture point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    pub time_ns: i64,
    pub direction: Direction,
    pub addresses: Addresses,
    pub segment: Segment,
    /// Whether its sender had sent some of its bytes before.
    pub sent_again: bool,
    /// Whether a segment that its sender sent later has passed before.
    pub overtaken: bool,
}

/// A segment on its way.
#[derive(Clone, Copy)]
struct Travelling {
    segment: Segment,
    /// The number of the segment among those of its sender.
    number: u64,
    sent_again: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Tap,
    End,
}

/// Runs the connection until it is closed or the capture ends.
pub(crate) fn run(flow: Flow) -> Vec<Captured> {
    let mut random = Random(flow.seed);
    let mut ends = PerDirection {
        original: Endpoint::new(random.word(), flow.offers.original, false),
        reply: Endpoint::new(random.word(), flow.offers.reply, true),
    };
    ends.original.sender.least_cwnd = flow.least_cwnd;
    ends.reply.sender.least_cwnd = flow.least_cwnd;
    let mut run = Run {
        ends,
        sent: PerDirection::default(),
        passed: PerDirection::default(),
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
    events: BTreeMap<(i64, u64), (Place, Direction, Travelling)>,
    /// How many segments each end has sent, and the end of the highest one.
    sent: PerDirection<(u64, Option<SeqNum>)>,
    /// The number after the latest segment of each end that passed the tap.
    passed: PerDirection<u64>,
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
                Some((Place::Tap, direction, sent)) => self.pass_tap(now, direction, sent),
                Some((Place::End, direction, sent)) => {
                    let segments = self.ends[direction.flip()].receive(now, &sent.segment);
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
            let sent = self.number(direction, segment);
            self.travel(leaves, direction, sent, Place::Tap);
        }
    }

    /// Notes which segment of its sender this is, and whether it repeats bytes.
    fn number(&mut self, direction: Direction, segment: Segment) -> Travelling {
        let (number, highest) = self.sent[direction];
        let sent_again = segment.len > 0 && highest.is_some_and(|end| segment.seq.is_before(end));
        let end = highest.map_or(segment.end(), |end| end.latest(segment.end()));
        self.sent[direction] = (number + 1, Some(end));
        Travelling { segment, number, sent_again }
    }

    /// Sends a segment over the link that leads to `place`.
    fn travel(&mut self, now: i64, direction: Direction, mut sent: Travelling, place: Place) {
        let segment = &mut sent.segment;
        let link = match (direction, place) {
            (Direction::Original, Place::Tap) | (Direction::Reply, Place::End) => {
                &mut self.flow.near
            }
            (Direction::Original, Place::End) | (Direction::Reply, Place::Tap) => {
                &mut self.flow.far
            }
        };
        let mut pass =
            |device: &mut Box<dyn Device>| device.handle(direction, segment) == Fate::Passes;
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
        let mut arrives = now + link.delay_ns;
        if link.reorder_permille > 0
            && segment.len > 0
            && self.random.happens(link.reorder_permille)
        {
            arrives += i64::try_from(self.random.next() % link.held_up_ns).unwrap();
        }
        self.serial += 1;
        self.events.insert((arrives, self.serial), (place, direction, sent));
    }

    fn pass_tap(&mut self, now: i64, direction: Direction, sent: Travelling) {
        let Travelling { segment, number, sent_again } = sent;
        let overtaken = number < self.passed[direction];
        self.passed[direction] = self.passed[direction].max(number + 1);
        let missed = self.random.happens(self.flow.tap.loss_permille);
        if !missed && self.flow.tap.only.is_none_or(|only| only == direction) {
            let addresses = self.flow.addresses;
            let captured =
                Captured { time_ns: now, direction, addresses, segment, sent_again, overtaken };
            self.captured.push(captured);
        }
        self.travel(now, direction, sent, Place::End);
    }
}
