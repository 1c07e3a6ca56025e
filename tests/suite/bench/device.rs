//! What can stand in a line: links, capture points, and the devices that spoil connections.

pub(super) mod blocker;
pub(super) mod card;
pub(super) mod copier;
pub(super) mod ending;
pub(super) mod injector;
pub(super) mod inspector;
pub(super) mod optimiser;
pub(super) mod options;
pub(super) mod randomiser;
pub(super) mod syn_proxy;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::packet::Packet;
use super::path::{Device, Element, Out, Way};
use crate::generate::Random;
use crate::generate::file::Record;

/// Puts a device into a line.
pub(super) fn put(device: impl Device + 'static) -> Element {
    Element::Device(Box::new(device))
}

/// Lets a packet go on at once.
pub(super) fn pass(way: Way, packet: Packet, out: &mut Vec<Out>) {
    out.push(Out { way, after: Duration::ZERO, packet });
}

/// Decides about packets.
pub(super) type Choice = Box<dyn FnMut(Way, &Packet) -> bool + Send>;

/// A stretch of the path that takes time and hops.
pub(super) struct Link {
    pub delay: Duration,
    pub hops: u8,
}

impl Link {
    /// Makes a stretch that takes so many milliseconds one way.
    pub(super) fn of(delay_ms: u64, hops: u8) -> Element {
        put(Self { delay: Duration::from_millis(delay_ms), hops })
    }
}

impl Device for Link {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        packet.set_ttl(packet.ttl().saturating_sub(self.hops));
        packet.mend_header();
        out.push(Out { way, after: self.delay, packet });
    }
}

/// When captures begin: 2023-11-14T22:13:20Z.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// What a capture point has seen.
pub(super) type Records = Arc<Mutex<Vec<Record>>>;

/// A capture point.
pub(super) struct Tap {
    pub records: Records,
    pub is_over: Arc<AtomicBool>,
    /// What it captures.
    pub captures: Choice,
}

impl Device for Tap {
    fn take(&mut self, way: Way, packet: Packet, now: Duration, out: &mut Vec<Out>) {
        let is_seen = !packet.is_hidden && !self.is_over.load(Ordering::Relaxed);
        if is_seen && (self.captures)(way, &packet) {
            let time_ns = BEGIN_NS + i64::try_from(now.as_nanos()).unwrap();
            self.records.lock().unwrap().push(Record { time_ns, bytes: packet.bytes.clone() });
        }
        pass(way, packet, out);
    }
}

/// Leads packets past routers and capture points, up to its counterpart on their other side.
pub(super) struct Bypass {
    /// The way in which packets come to those.
    pub entering: Way,
    pub hides: Choice,
}

impl Device for Bypass {
    fn take(&mut self, way: Way, mut packet: Packet, _: Duration, out: &mut Vec<Out>) {
        packet.is_hidden = way == self.entering && (self.hides)(way, &packet);
        pass(way, packet, out);
    }
}

/// Returns a choice of so many packets of a thousand, among those of this way that carry data.
pub(super) fn some_data(permille: u32, of: Way, seed: u64) -> Choice {
    let mut random = Random(seed);
    Box::new(move |way, packet| way == of && packet.payload_len() > 0 && random.happens(permille))
}

/// Returns a choice of so many packets of a thousand.
pub(super) fn some(permille: u32, seed: u64) -> Choice {
    let mut random = Random(seed);
    Box::new(move |_, _| random.happens(permille))
}
