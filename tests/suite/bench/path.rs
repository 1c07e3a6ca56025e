//! The path between hosts: lines of devices that meet in a hub, run by one thread in real time.
//!
//! A packet walks the line of its host away from it, device by device, to the hub, and from there
//! home along the line of the host that it is addressed to.
#![expect(clippy::disallowed_methods, reason = "the path runs in real time, as the kernels do")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::host::readable;
use super::packet::Packet;

/// Which way a packet walks along a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    /// From the host of the line to the hub.
    Away,
    /// To the host of the line.
    Home,
}

impl Way {
    pub(super) const fn flip(self) -> Self {
        match self {
            Self::Away => Self::Home,
            Self::Home => Self::Away,
        }
    }
}

/// What comes out of a device.
pub(super) struct Out {
    pub way: Way,
    /// How much later.
    pub after: Duration,
    pub packet: Packet,
}

/// A box in a line.
pub(super) trait Device: Send {
    /// Takes a packet that walks this way; what comes out goes into `out`, in this order.
    fn take(&mut self, way: Way, packet: Packet, now: Duration, out: &mut Vec<Out>);
}

/// What stands in a line.
pub(super) enum Element {
    Device(Box<dyn Device>),
    /// A host that forwards; its devices towards the host of the line and towards the hub.
    Router {
        home: File,
        away: File,
    },
}

/// A host and what stands between it and the hub.
pub(super) struct Line {
    pub addresses: Vec<Ipv4Addr>,
    pub host: File,
    /// The one nearest to the host comes first.
    pub elements: Vec<Element>,
}

/// Where a packet is, and where it goes from there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    /// The element it comes to; −1 is the host, the number of elements the hub.
    at: isize,
    way: Way,
}

impl Place {
    const fn next(self) -> Self {
        let step = match self.way {
            Way::Away => 1,
            Way::Home => -1,
        };
        Self { at: self.at + step, ..self }
    }
}

type Waiting = BinaryHeap<(Reverse<(Duration, u64)>, Place, Vec<u8>, bool)>;

pub(super) struct Path {
    lines: Vec<Line>,
    waiting: Waiting,
    order: u64,
    begin: Instant,
}

impl Path {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self { lines, waiting: Waiting::new(), order: 0, begin: Instant::now() }
    }

    /// Carries packets until the flag is set.
    pub(super) fn run(mut self, stop: &Arc<AtomicBool>) {
        let ports = self.ports();
        let mut files: Vec<File> = ports.iter().map(|place| self.port(*place)).collect();
        let mut buffer = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            let most = Duration::from_millis(20);
            let now = self.begin.elapsed();
            let wait = self.waiting.peek().map_or(most, |next| next.0.0.0.saturating_sub(now));
            for index in readable(&files, wait.min(most)) {
                let Ok(len) = files[index].read(&mut buffer) else { continue };
                if let Some(packet) = Packet::new(&buffer[..len]) {
                    self.walk(ports[index], packet);
                }
            }
            self.release();
        }
    }

    /// Returns where packets come in: from hosts, and from both sides of routers.
    fn ports(&self) -> Vec<Place> {
        let mut ports = Vec::new();
        for (line, Line { elements, .. }) in self.lines.iter().enumerate() {
            ports.push(Place { line, at: 0, way: Way::Away });
            for (at, element) in (0..).zip(elements) {
                if matches!(element, Element::Router { .. }) {
                    ports.push(Place { line, at: at - 1, way: Way::Home });
                    ports.push(Place { line, at: at + 1, way: Way::Away });
                }
            }
        }
        ports
    }

    /// Returns the device whose packets come in at this place.
    fn port(&self, place: Place) -> File {
        let line = &self.lines[place.line];
        let before = place.at + if place.way == Way::Away { -1 } else { 1 };
        let file = match usize::try_from(before).map(|at| &line.elements[at]) {
            Ok(Element::Router { home, away }) => {
                if place.way == Way::Home {
                    home
                } else {
                    away
                }
            }
            _ => &line.host,
        };
        file.try_clone().unwrap()
    }

    fn release(&mut self) {
        while self.waiting.peek().is_some_and(|next| next.0.0.0 <= self.begin.elapsed()) {
            if let Some((_, place, bytes, is_hidden)) = self.waiting.pop() {
                self.walk(place, Packet { bytes, is_hidden });
            }
        }
    }

    /// Walks a packet, and what devices make of it, as far as it gets without waiting.
    fn walk(&mut self, place: Place, packet: Packet) {
        let mut steps = VecDeque::from([(place, packet)]);
        while let Some((place, packet)) = steps.pop_front() {
            let now = self.begin.elapsed();
            let line = &mut self.lines[place.line];
            let Ok(at) = usize::try_from(place.at) else {
                // A device that is going down takes nothing any more.
                let _ = line.host.write(&packet.bytes);
                continue;
            };
            let mut out = Vec::new();
            match line.elements.get_mut(at) {
                None => steps.extend(self.cross(packet)),
                Some(Element::Router { .. }) if packet.is_hidden => {
                    steps.push_back((place.next(), packet));
                }
                Some(Element::Router { home, away }) => {
                    let port = if place.way == Way::Away { home } else { away };
                    let _ = port.write(&packet.bytes);
                }
                Some(Element::Device(device)) => device.take(place.way, packet, now, &mut out),
            }
            for Out { way, after, packet } in out {
                let next = Place { way, ..place }.next();
                if after.is_zero() {
                    steps.push_back((next, packet));
                } else {
                    self.order += 1;
                    let due = Reverse((now + after, self.order));
                    self.waiting.push((due, next, packet.bytes, packet.is_hidden));
                }
            }
        }
    }

    /// Takes a packet over the hub into the line of the host that it is for.
    fn cross(&self, packet: Packet) -> Option<(Place, Packet)> {
        let to = packet.ends().dst.0;
        let line = self.lines.iter().position(|line| line.addresses.contains(&to))?;
        let at = isize::try_from(self.lines[line].elements.len()).unwrap() - 1;
        Some((Place { line, at, way: Way::Home }, packet))
    }
}
