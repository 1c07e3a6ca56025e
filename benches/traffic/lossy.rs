//! Fat flows over a path that loses and reorders packets, with a sender that fills the holes.
//!
//! The tap stands between the sender and the loss for half of the lost packets, behind it for the
//! other half: the first are seen twice, the others leave a hole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

use super::Random;
use super::packet::{ACK, Capture, Hosts, SYN, Tcp, Way, syn_options, timestamps};

/// Payload of a full packet.
const MSS: u32 = 1448;
/// Packets on their way: the round-trip time in packets.
const IN_FLIGHT: u64 = 120;
/// Of 1000 packets, those lost before and those lost behind the tap; those that come late.
const LOST: u64 = 5;
const LATE: u64 = 1;
/// How many packets later a late one comes.
const LATENESS: u64 = 5;
/// Time between two packets of a flow.
const STEP_NS: u64 = 1200;

/// One flow; packets are counted in units of [`MSS`], time in packets sent.
struct Fat {
    hosts: Hosts,
    isn: [u32; 2],
    /// Packets that each side has sent.
    ids: [u16; 2],
    time: u64,
    next_new: u64,
    /// The sender's holes, with the time at which each was filled last.
    holes: BTreeMap<u64, u64>,
    /// The receiver: everything below, and what it has beyond.
    received: u64,
    beyond: BTreeSet<u64>,
    unanswered: u8,
    late: VecDeque<(u64, u64)>,
    /// Acknowledgements on their way to the sender: when they arrive, what they say is missing.
    acks: VecDeque<(u64, Vec<u64>, u64)>,
    acknowledged: u64,
}

impl Fat {
    fn new(number: u32, random: &mut Random) -> Self {
        // Some thousand flows a client.
        let ports = [40_000 + (number & 0x3fff) as u16, 443];
        let client = 0x0a00_0001 + (number >> 14);
        let hosts = Hosts { is_v6: number % 8 == 7, client, server: 0xc000_0201, ports };
        Self {
            hosts,
            isn: [random.next() as u32, random.next() as u32],
            ids: [0; 2],
            time: 0,
            next_new: 0,
            holes: BTreeMap::new(),
            received: 0,
            beyond: BTreeSet::new(),
            unanswered: 0,
            late: VecDeque::new(),
            acks: VecDeque::new(),
            acknowledged: 0,
        }
    }

    fn open<W: Write>(&self, capture: &mut Capture<W>) -> io::Result<()> {
        let [client, server] = self.isn;
        let options = syn_options(capture.clock(), 0);
        let syn = Tcp { seq: client, flags: SYN, win: 64_240, options: &options, ..Tcp::default() };
        capture.tcp(&self.hosts, Way::ToServer, &syn)?;
        let (seq, ack) = (server, client.wrapping_add(1));
        capture.tcp(&self.hosts, Way::ToClient, &Tcp { seq, ack, flags: SYN | ACK, ..syn })?;
        let (seq, ack) = (client.wrapping_add(1), server.wrapping_add(1));
        let options = timestamps(capture.clock(), capture.clock());
        let win = 16_384;
        let done = Tcp { seq, ack, flags: ACK, win, options: &options, ..Tcp::default() };
        capture.tcp(&self.hosts, Way::ToServer, &done)
    }

    /// Lets the sender send a packet, and the receiver answer what arrives.
    fn step<W: Write>(&mut self, capture: &mut Capture<W>, random: &mut Random) -> io::Result<()> {
        self.time += 1;
        self.take_acks();
        if self.late.front().is_some_and(|(due, _)| *due <= self.time)
            && let Some((_, packet)) = self.late.pop_front()
        {
            self.data(capture, packet)?;
            self.receive(capture, packet)?;
        }
        let Some(packet) = self.choose() else { return Ok(()) };
        if random.happens(LOST) {
            return Ok(());
        }
        if random.happens(LATE) {
            self.late.push_back((self.time + LATENESS, packet));
            return Ok(());
        }
        self.data(capture, packet)?;
        if random.happens(LOST) { Ok(()) } else { self.receive(capture, packet) }
    }

    /// Takes in what the receiver said half a round trip ago.
    fn take_acks(&mut self) {
        while self.acks.front().is_some_and(|(due, ..)| *due <= self.time)
            && let Some((_, missing, received)) = self.acks.pop_front()
        {
            self.acknowledged = received;
            self.holes.retain(|packet, _| *packet >= received);
            for packet in missing {
                self.holes.entry(packet).or_insert(0);
            }
        }
    }

    /// Chooses a hole that was not filled within the last two round trips, or new data.
    fn choose(&mut self) -> Option<u64> {
        let time = self.time;
        let due = |filled: u64| filled == 0 || filled + 2 * IN_FLIGHT < time;
        if let Some((packet, filled)) = self.holes.iter_mut().find(|(_, filled)| due(**filled)) {
            *filled = time;
            return Some(*packet);
        }
        if self.next_new >= self.acknowledged + 4 * IN_FLIGHT {
            return None;
        }
        self.next_new += 1;
        Some(self.next_new - 1)
    }

    fn data<W: Write>(&mut self, capture: &mut Capture<W>, packet: u64) -> io::Result<()> {
        let options = timestamps(capture.clock(), capture.clock());
        self.ids[0] = self.ids[0].wrapping_add(1);
        let tcp = Tcp {
            seq: self.edge(packet),
            ack: self.isn[1].wrapping_add(1),
            flags: ACK,
            win: 16_384,
            len: MSS as u16,
            id: self.ids[0],
            options: &options,
        };
        capture.now_ns += STEP_NS;
        capture.tcp(&self.hosts, Way::ToServer, &tcp)
    }

    fn receive<W: Write>(&mut self, capture: &mut Capture<W>, packet: u64) -> io::Result<()> {
        if packet >= self.received {
            self.beyond.insert(packet);
        }
        while self.beyond.remove(&self.received) {
            self.received += 1;
        }
        self.unanswered += 1;
        if self.beyond.is_empty() && self.unanswered < 2 {
            return Ok(());
        }
        self.unanswered = 0;
        self.answer(capture)
    }

    /// Acknowledges with up to three SACK blocks, the highest first.
    fn answer<W: Write>(&mut self, capture: &mut Capture<W>) -> io::Result<()> {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for &packet in self.beyond.iter().rev() {
            let known = blocks.len();
            match blocks.last_mut() {
                Some((left, _)) if *left == packet + 1 => *left = packet,
                _ if known == 3 => break,
                _ => blocks.push((packet, packet + 1)),
            }
        }
        let mut options = timestamps(capture.clock(), capture.clock()).to_vec();
        if !blocks.is_empty() {
            options.extend_from_slice(&[1, 1, 5, 2 + 8 * blocks.len() as u8]);
            for (left, right) in &blocks {
                options.extend_from_slice(&self.edge(*left).to_be_bytes());
                options.extend_from_slice(&self.edge(*right).to_be_bytes());
            }
        }
        self.ids[1] = self.ids[1].wrapping_add(1);
        let tcp = Tcp {
            seq: self.isn[1].wrapping_add(1),
            ack: self.edge(self.received),
            flags: ACK,
            win: 16_384,
            len: 0,
            id: self.ids[1],
            options: &options,
        };
        capture.tcp(&self.hosts, Way::ToClient, &tcp)?;
        // What is late by less than three packets is not missing yet.
        let highest = self.beyond.last().map_or(0, |last| last.saturating_sub(2));
        let missing = (self.received..highest).filter(|p| !self.beyond.contains(p)).take(8);
        self.acks.push_back((self.time + IN_FLIGHT, missing.collect(), self.received));
        Ok(())
    }

    fn edge(&self, packet: u64) -> u32 {
        self.isn[0].wrapping_add(1).wrapping_add((packet as u32).wrapping_mul(MSS))
    }
}

/// Flows that take turns in runs of 16 packets.
pub fn fat<W: Write>(capture: &mut Capture<W>, random: &mut Random, flows: u64) -> io::Result<()> {
    let mut flows: Vec<Fat> = (0..flows as u32).map(|number| Fat::new(number, random)).collect();
    for flow in &flows {
        flow.open(capture)?;
    }
    while !capture.is_full() {
        let at = random.below(flows.len() as u64) as usize;
        for _ in 0..16 {
            flows[at].step(capture, random)?;
        }
    }
    Ok(())
}
