//! A path between two tun devices that loses, holds up and copies packets, and records them.
#![expect(clippy::disallowed_methods, reason = "the path runs in real time, as the kernels do")]

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::generate::Random;
use crate::generate::file::Record;

/// What happens to packets of both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    /// One way.
    pub delay: Duration,
    /// Data packets of the sender that are lost, of ten thousand.
    pub loss: u64,
    /// Data packets that are held up for a quarter of the delay, of ten thousand.
    pub held_up: u64,
    /// Data packets that arrive twice, of ten thousand.
    pub copied: u64,
}

/// What travels: due time (earliest first), order, bytes.
type Queue = BinaryHeap<(std::cmp::Reverse<(Instant, u64)>, Vec<u8>)>;

#[derive(Default)]
struct Line {
    queue: Mutex<Queue>,
    has_more: Condvar,
}

/// Where packets are recorded: at the sender's device, before anything happens to them.
pub(super) type Tap = Arc<Mutex<Vec<Record>>>;

/// Joins the devices until the flag is set; the first one is the sender's.
pub(super) fn join(ends: [File; 2], how: Conditions, stop: &Arc<AtomicBool>) -> Tap {
    let tap = Tap::default();
    let begin = Instant::now();
    let [sender, receiver] = ends;
    for (number, from, to) in
        [(0, sender.try_clone().unwrap(), receiver.try_clone().unwrap()), (1, receiver, sender)]
    {
        let line = Arc::new(Line::default());
        let (incoming, outgoing) = (Arc::clone(&line), line);
        let (tap_in, tap_out) = (Arc::clone(&tap), Arc::clone(&tap));
        let (stop_in, stop_out) = (Arc::clone(stop), Arc::clone(stop));
        let is_data = number == 0;
        thread::spawn(move || {
            let record = is_data.then_some(tap_in);
            take_in(from, &incoming, how, begin, record.as_ref(), &stop_in);
        });
        thread::spawn(move || {
            let record = (!is_data).then_some(tap_out);
            give_out(to, &outgoing, begin, record.as_ref(), &stop_out);
        });
    }
    tap
}

fn record(tap: Option<&Tap>, begin: Instant, bytes: &[u8]) {
    if let Some(tap) = tap {
        let mut records = tap.lock().unwrap();
        let time_ns = i64::try_from(begin.elapsed().as_nanos()).unwrap();
        let kept = bytes.get(..100).unwrap_or(bytes).to_vec();
        records.push(Record { time_ns: 1_700_000_000_000_000_000 + time_ns, bytes: kept });
    }
}

#[expect(clippy::too_many_arguments, reason = "the state of one thread")]
fn take_in(
    mut from: File,
    line: &Line,
    how: Conditions,
    begin: Instant,
    tap: Option<&Tap>,
    stop: &AtomicBool,
) {
    let mut random = Random(4711);
    let mut buffer = vec![0; 65_536];
    let mut order = 0;
    while let Ok(len) = from.read(&mut buffer) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let packet = &buffer[..len];
        if packet.first().is_none_or(|byte| byte >> 4 != 4) {
            continue;
        }
        record(tap, begin, packet);
        let is_data = tap.is_some() && len > 100;
        let mut happens = |per_myriad: u64| is_data && random.next() % 10_000 < per_myriad;
        if happens(how.loss) {
            continue;
        }
        let late = if happens(how.held_up) { how.delay / 4 } else { Duration::ZERO };
        let copies = if happens(how.copied) { 2 } else { 1 };
        let due = Instant::now() + how.delay + late;
        let mut queue = line.queue.lock().unwrap();
        for _ in 0..copies {
            order += 1;
            queue.push((std::cmp::Reverse((due, order)), packet.to_vec()));
        }
        line.has_more.notify_one();
    }
}

fn give_out(mut to: File, line: &Line, begin: Instant, tap: Option<&Tap>, stop: &AtomicBool) {
    let mut queue = line.queue.lock().unwrap();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let due = queue.peek().map(|(due, _)| due.0.0);
        match due {
            Some(due) if due <= now => {
                let packet = queue.pop().map(|(_, packet)| packet).unwrap_or_default();
                drop(queue);
                record(tap, begin, &packet);
                // A device that is going down takes nothing any more.
                let _ = to.write(&packet);
                queue = line.queue.lock().unwrap();
            }
            _ => {
                let wait = due.map_or(Duration::from_millis(50), |due| due - now);
                queue = line.has_more.wait_timeout(queue, wait).unwrap().0;
            }
        }
    }
}
