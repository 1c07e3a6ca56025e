//! What a shard records, against a tracker that judges every packet twice.

use super::*;
use crate::conntrack::{Panel, Profile};
use crate::occupancy::Life;
use crate::pipeline::datagrams::{Datagram, Datagrams};
use crate::pipeline::shard::Shard;
use crate::pipeline::slice::{Kind, Stamp};
use crate::pipeline::{Plan, TableView, Wanted};
use crate::random::Random;
use crate::segment::{HeaderFault, Options, Segment, TcpTimestamps};
use crate::seq::SeqNum;
use crate::tuple::{Orientation, TCP};
use crate::wire::Packet;

const SEED: u64 = 3;
const UDP: u8 = 17;
const START: i64 = 1_700_000_000;

/// Every packet judged with either set of timeouts, and all that follows from it written down.
struct Reference {
    method: Method,
    shorter: Sysctls,
    flows: BTreeMap<FlowKey, (Slot, Slot, Option<Course>)>,
    watched: Watched,
}

impl Reference {
    fn new(method: &Method) -> Self {
        let shorter = shorter(&method.sysctls).0;
        let (method, flows, watched) = (method.clone(), BTreeMap::new(), Watched::default());
        Self { method, shorter, flows, watched }
    }

    fn take(&mut self, item: &Item) {
        let features = self.method.policies[0].features();
        let (key, now) = (item.packet.key, item.stamp.clock);
        let none = match item.kind {
            Kind::Datagram(datagram) => {
                Slot::Datagram(datagram.tracked_as(features).unwrap(), None)
            }
            _ => Slot::Tcp(None),
        };
        let (slot, twin, course) = self.flows.entry(key).or_insert((none, none, None));
        let group = Group::of(key.protocol());
        let before = slot.state();
        let is_new = slot.judge(item, &self.method.sysctls, features);
        let after = slot.state();
        if let (Some((_, expires, _)), true) = (before, is_new || after.is_none()) {
            let course = course.take().unwrap();
            self.watched.change(expires.min(now), Some(course.phase()), None);
            self.watched.lives.push(course.end(key, expires.min(now)));
        }
        if let Some((phase, _, is_assured)) = after {
            let is_tcp = matches!(slot, Slot::Tcp(_));
            let is_picked_up = is_tcp && !item.packet.segment.has(Flags::SYN);
            let first = (item.stamp.number, now);
            let orientation = item.packet.orientation;
            let from = course.map(|course| course.phase());
            self.watched.change(now, from, Some(phase));
            let fresh = || Course::new(first, orientation, is_picked_up, phase);
            course.get_or_insert_with(fresh).go_on(now, phase, is_assured);
        }
        let before = twin.state();
        let is_new = twin.judge(item, &self.shorter, features);
        let is_there = twin.state().is_some();
        if let Some((_, expires, _)) = before.filter(|_| is_new || !is_there) {
            self.watched.shorter.close(expires.min(now), group);
        }
        if is_new && is_there {
            self.watched.shorter.open(now, group);
        }
    }

    fn finish(mut self, end: Timestamp) -> Watched {
        for (key, (slot, twin, course)) in self.flows {
            if let Some((_, expires, _)) = twin.state().filter(|(_, expires, _)| *expires <= end) {
                self.watched.shorter.close(expires, Group::of(key.protocol()));
            }
            let Some((_, expires, _)) = slot.state() else { continue };
            let course = course.unwrap();
            if expires <= end {
                self.watched.change(expires, Some(course.phase()), None);
            }
            self.watched.lives.push(course.end(key, expires));
        }
        self.watched
    }
}

/// Returns everything that can be read from a record, in an order of its own.
fn told(watched: Watched) -> (Vec<Life>, Vec<String>, Vec<String>) {
    let readings: Vec<_> = watched.shorter.readings().collect();
    let some = readings.iter().step_by(readings.len() / 40 + 1);
    let phases = some.map(|reading| format!("{:?}", watched.phases_at(reading.at))).collect();
    (watched.lives.finish().0, readings.iter().map(|it| format!("{it:?}")).collect(), phases)
}

/// One end of a connection.
#[derive(Clone, Copy)]
struct End {
    next: SeqNum,
    ip_id: u16,
}

/// A pair of ends, and how far they are.
struct Talk {
    key: FlowKey,
    there: Orientation,
    ends: [End; 2],
    sent: u32,
}

impl Talk {
    fn new(number: u16) -> Self {
        let (key, there) = FlowKey::of_v4(TCP, (1, 1000 + number), (2, 80));
        let end = |next| End { next: SeqNum(next), ip_id: 1 };
        Self { key, there, ends: [end(7), end(u32::MAX - 3000)], sent: 0 }
    }

    /// Says what mostly comes next in a connection, and seldom something odd.
    fn say(&mut self, random: &mut Random, clock: u32) -> Packet {
        let opening = match self.sent {
            0 => Some((0, 2)),
            1 => Some((1, 18)),
            2 => Some((0, 16)),
            _ => None,
        };
        self.sent += 1;
        let closing = if self.sent > 12 { random.of(&[16, 16, 17, 17, 20]) } else { 16 };
        let (who, flags) = opening.unwrap_or_else(|| (random.of(&[0, 1]), closing));
        if self.sent > 18 && random.of(&[true, false, false]) {
            self.sent = 0;
        }
        let flags = if random.seldom() { random.of(&[2, 4, 16, 17, 18, 20]) } else { flags };
        let is_answer = flags & 16 != 0;
        let len = if flags == 16 { random.of(&[0, 0, 10, 1448]) } else { 0 };
        let (win, ack) = (random.of(&[501, 501, 501, 512, 0]), self.ends[1 - who].next);
        let own = &mut self.ends[who];
        let stray = if random.seldom() { random.of(&[100_000, u32::MAX - 5]) } else { 0 };
        let timestamps = Some(TcpTimestamps { value: clock, echo: clock.wrapping_sub(1) });
        let is_syn = flags & 2 != 0;
        let segment = Segment {
            seq: own.next.plus(stray),
            ack: if is_answer { ack } else { SeqNum(0) },
            len,
            win: if is_syn { 64_240 } else { win },
            flags: Flags(flags),
            header_len: 32,
            ttl: 64,
            ip_id: own.ip_id,
            options: Options {
                timestamps,
                mss: is_syn.then_some(1460),
                wscale: is_syn.then_some(7),
                sack_permitted: is_syn,
                ..Options::default()
            },
            ..Segment::default()
        };
        own.next = own.next.plus(segment.end().offset_from(segment.seq).cast_unsigned());
        own.ip_id = own.ip_id.wrapping_add(1);
        let orientation = if who == 0 { self.there } else { self.there.flip() };
        Packet { key: self.key, orientation, segment }
    }
}

/// Makes a capture of a few connections and queries, with pauses, and with times that step back.
fn capture(random: &mut Random) -> Vec<Item> {
    let mut talks: Vec<_> = (0..6).map(Talk::new).collect();
    let (mut ts, mut clock) = (Timestamp::from_parts(START, 0), Timestamp::from_parts(START, 0));
    let mut item = |number: u64| {
        let seconds = match (random.seldom(), random.below(12)) {
            (false, _) => 0,
            (true, 0) => 8000,
            (true, _) => random.of(&[1, 9, 31, 61, 130, 310]),
        };
        let leap = if random.seldom() { random.of(&[-40_000, -9000, -400]) } else { 0 };
        let millis = random.of(&[0, 1, 1, 40, 190]) + seconds * 1000 + leap;
        ts = ts.plus_nanos(millis * 1_000_000);
        clock = clock.max(ts);
        let stamp = Stamp { number, ts, clock, ..Stamp::default() };
        let (packet, kind) = if random.of(&[true, false, false, false]) {
            let (key, there) = FlowKey::of_v4(UDP, (1, random.of(&[1, 2, 3])), (2, 53));
            let orientation = random.of(&[there, there, there.flip()]);
            let datagram = Datagram::Flow(DatagramKind::Udp);
            (Packet { key, orientation, segment: Segment::default() }, Kind::Datagram(datagram))
        } else {
            let talk = random.below(6) as usize;
            let millis = u32::try_from(ts.0 / 1_000_000 % (1 << 31)).unwrap();
            (talks[talk].say(random, millis), Kind::Segment)
        };
        Item { stamp, hash: packet.key.hash_with(SEED), packet, kind }
    };
    (1..1500).map(&mut item).collect()
}

/// Audits a capture, and returns what was recorded beside it.
fn recorded(items: &[Item], method: &Method, wanted: Wanted) -> Watched {
    let table = TableView::Assessed;
    let plan = Plan { wanted, table, ..Plan::new(method.clone()) };
    let features: Vec<_> = method.policies.iter().map(Policy::features).collect();
    let datagrams = Datagrams::new(SEED, features[0], method.sysctls.datagram);
    let panel = Panel::new(features, method.sysctls.limits);
    let mut shard = Shard::new(panel, datagrams, SEED, &plan);
    items.chunks(100).for_each(|items| shard.take(items));
    let finished = shard.finish(items.last().unwrap().stamp.clock);
    assert_eq!(finished.totals.copies, 0);
    finished.watched.unwrap()
}

fn method(profile: Profile, settings: &[(&str, i64)]) -> Method {
    let mut sysctls = Sysctls::default();
    for (key, value) in settings {
        sysctls.set(key, &value.to_string()).unwrap();
    }
    Method::new(profile, sysctls)
}

#[test]
fn what_is_recorded_is_what_a_tracker_says_that_judges_every_packet_twice() {
    let settings: [&[(&str, i64)]; 5] = [
        &[],
        &[("nf_conntrack_tcp_timeout_established", 9), ("nf_conntrack_udp_timeout", 3)],
        &[("nf_conntrack_tcp_timeout_unacknowledged", 1)],
        &[("nf_conntrack_tcp_timeout_max_retrans", 20), ("nf_conntrack_tcp_loose", 0)],
        &[("nf_conntrack_tcp_timeout_fin_wait", 400), ("nf_conntrack_tcp_timeout_time_wait", 1)],
    ];
    let mut random = Random(11);
    let (mut parted, mut lives) = (0, 0);
    for profile in Profile::all() {
        for settings in settings {
            let method = method(profile, settings);
            let items = capture(&mut random);
            let end = items.last().unwrap().stamp.clock;
            let mut reference = Reference::new(&method);
            for item in &items {
                reference.take(item);
            }
            let is_apart =
                |slot: &Slot, twin: &Slot| twin.ending(slot.end()) != slot.ending(slot.end());
            let flows = reference.flows.values();
            parted += flows.filter(|(slot, twin, _)| is_apart(slot, twin)).count();
            let reference = told(reference.finish(end));
            lives += reference.0.len();
            for wanted in [Wanted::Findings, Wanted::Verdicts] {
                let recorded = told(recorded(&items, &method, wanted));
                assert_eq!(recorded, reference, "{settings:?}, {wanted:?}");
            }
        }
    }
    assert!(parted > 50 && lives > 4000, "{parted} twins parted in {lives} lives");
}

/// Returns a connection on which each end has said something, from which on it only goes on.
fn opening(times: &[i64; 5]) -> Vec<Item> {
    let lines = [
        (0, 2, 7, 0, 0),
        (1, 18, 50, 8, 0),
        (0, 16, 8, 51, 0),
        (0, 16, 8, 51, 10),
        (1, 16, 51, 18, 10),
    ];
    let items = lines.iter().zip(times).zip(1..);
    items.map(|((line, millis), number)| said(number, (*millis, *millis), *line)).collect()
}

/// Makes a segment of one end, at a time of its own and one of the tracker, in milliseconds.
fn said(
    number: u64,
    (ts, clock): (i64, i64),
    (who, flags, seq, ack, len): (u32, u8, u32, u32, u32),
) -> Item {
    let (key, there) = FlowKey::of_v4(TCP, (1, 1000), (2, 80));
    let [ts, clock] =
        [ts, clock].map(|at| Timestamp::from_parts(START, 0).plus_nanos(at * 1_000_000));
    let ip_id = u16::try_from(number).unwrap();
    let (seq, ack, flags, win) = (SeqNum(seq), SeqNum(ack), Flags(flags), 8000);
    let segment =
        Segment { seq, ack, len, win, flags, header_len: 20, ttl: 64, ip_id, ..Segment::default() };
    let orientation = if who == 0 { there } else { there.flip() };
    Item {
        stamp: Stamp { number, ts, clock, ..Stamp::default() },
        hash: key.hash_with(SEED),
        packet: Packet { key, orientation, segment },
        kind: Kind::Segment,
    }
}

/// Finds out that what is recorded of a capture is what the reference says, and returns how many entries
/// with shorter timeouts were made.
fn twins_made(items: &[Item], settings: &[(&str, i64)]) -> u64 {
    let method = method(Profile::DEFAULT, settings);
    let mut reference = Reference::new(&method);
    for item in items {
        reference.take(item);
    }
    let reference = reference.finish(items.last().unwrap().stamp.clock);
    let recorded = recorded(items, &method, Wanted::Findings);
    assert_eq!(recorded.shorter.made(), reference.shorter.made());
    let made = reference.shorter.made();
    assert_eq!(told(recorded), told(reference));
    made
}

/// Milliseconds after which an established connection is forgotten with shorter timeouts.
const FORGOTTEN: i64 = 7_440_000;

#[test]
fn a_twin_that_expires_after_a_segment_that_renews_nothing_is_seen_to() {
    let mut items = opening(&[0, 10, 20, 30, 40]);
    let late = FORGOTTEN + 30;
    items.extend([
        said(6, (50, 50), (0, 16, 18, 61, 0)),
        // Damaged, shortly before the twin expires, and one that goes on shortly after.
        said(7, (late, late), (1, 16, 61, 18, 10)),
        said(8, (late + 150, late + 150), (0, 16, 18, 61, 10)),
        said(9, (late + 151, late + 151), (0, 16, 28, 61, 10)),
    ]);
    assert_eq!(twins_made(&items, &[]), 1, "it was renewed in time");
    items[6].packet.segment.fault = Some(HeaderFault::BadChecksum);
    assert_eq!(twins_made(&items, &[]), 2);
}

#[test]
fn a_timeout_that_is_lowered_for_an_entry_may_not_be_for_its_twin() {
    let mut items = opening(&[0, 10, 20, 30, 40]);
    let late = FORGOTTEN - 40_000;
    items.extend([
        said(6, (50, 50), (0, 16, 18, 61, 0)),
        // Both ends say FIN beyond every window.
        said(7, (late, late), (0, 17, 9_000_000, 61, 0)),
        said(8, (late + 10, late + 10), (1, 17, 9_000_000, 18, 0)),
        said(9, (late + 100_000, late + 100_000), (0, 16, 18, 61, 10)),
    ]);
    assert_eq!(twins_made(&items, &[]), 2);
}

#[test]
fn a_twin_has_the_timeout_of_data_that_is_due_where_repetitions_do_not_shorten_that_of_its_state() {
    let settings = [
        ("nf_conntrack_tcp_timeout_close_wait", 400),
        ("nf_conntrack_tcp_timeout_unacknowledged", 1),
    ];
    let mut items = opening(&[0, 10, 20, 30, 40]);
    items.push(said(6, (50, 50), (0, 17, 18, 61, 0)));
    items.extend((7..12).map(|number| {
        let at = 50 + i64::try_from(number).unwrap();
        said(number, (at, at), (1, 16, 61, 18, 0))
    }));
    items.push(said(12, (5000, 5000), (1, 16, 61, 19, 0)));
    assert_eq!(twins_made(&items, &settings), 2);
}

#[test]
fn a_twin_that_expires_between_segments_that_came_at_once_is_seen_to() {
    let mut items = opening(&[0, 10, 20, 30, 40]);
    items.push(said(6, (50, 50), (0, 16, 18, 61, 0)));
    // The time of another packet has set the tracker's time ahead.
    items.push(said(7, (60, FORGOTTEN + 49), (0, 16, 18, 61, 10)));
    items.push(said(8, (70, FORGOTTEN + 59), (1, 16, 61, 28, 0)));
    assert_eq!(twins_made(&items, &[]), 1);
    items[6].stamp.clock = items[6].stamp.clock.plus_nanos(2_000_000);
    assert_eq!(twins_made(&items, &[]), 2);
}

/// Returns a connection whose twin outlives it: forgotten while nothing came, the twin begins anew with the
/// acknowledgement of a FIN that closes the entry.
fn parting() -> Vec<Item> {
    let mut items = opening(&[0, 10, 20, 30, 40]);
    let late = FORGOTTEN + 1000;
    items.extend([
        said(6, (50, 50), (0, 16, 18, 61, 0)),
        said(7, (late, late), (0, 17, 18, 61, 0)),
        said(8, (late + 10, late + 10), (1, 16, 61, 19, 0)),
    ]);
    items
}

/// Returns the first packets of so many other connections that flows which are over are removed.
fn crowd(first_number: u64, at: i64) -> impl Iterator<Item = Item> {
    (0..5000).map(move |n| {
        let item = said(first_number + u64::from(n), (at, at), (0, 2, 7, 0, 0));
        let (key, there) = FlowKey::of_v4(TCP, (3, 1000 + n), (2, 80));
        let packet = Packet { key, orientation: there, ..item.packet };
        Item { hash: key.hash_with(SEED), packet, ..item }
    })
}

#[test]
fn a_twin_whose_flow_is_removed_before_it_expires_is_seen_to() {
    let mut items = parting();
    let removed = FORGOTTEN + 200_000;
    items.extend(crowd(10, removed));
    // At the end of the capture the twin is there.
    assert_eq!(twins_made(&items, &[]), 5002);
    // It has expired, and nothing came of its flow.
    let mut expired = items.clone();
    expired.extend(crowd(6000, 3 * FORGOTTEN));
    assert_eq!(twins_made(&expired, &[]), 10_002);
    // Its flow goes on, and finds it.
    let late = removed + 1000;
    items.push(said(6000, (late, late), (1, 16, 61, 19, 10)));
    assert_eq!(twins_made(&items, &[]), 5002);
}
