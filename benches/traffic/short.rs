//! Well-behaved flows: handshake, exchanges of requests and answers, an end.

use std::io::{self, Write};

use super::packet::{ACK, Capture, FIN, Hosts, PSH, RST, SYN, Tcp, Way, syn_options, timestamps};
use super::{Random, Recipe};

/// Flows at a time where they come one after another.
const AT_A_TIME: usize = 64;
/// Time between two packets: a million packets a minute.
const STEP_NS: u64 = 57_000;
/// The time in which all flows have a packet each, at most: no flow seems to stall.
const ROUND_NS: u64 = 100_000_000;
/// Bytes that a short flow takes in a file, on average.
const BYTES_PER_FLOW: u64 = 2050;
/// Bytes that the end of a flow takes, on average, and a little less: the ends fill a file.
const BYTES_PER_END: u64 = 200;

/// Where a flow is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Syn,
    SynAck,
    Ack,
    /// Exchanges left, and the packet within the exchange.
    Exchange(u32, u8),
    Fin,
    FinAck,
    LastAck,
    Reset,
    Over,
}

/// One flow, TCP or UDP.
struct Flow {
    hosts: Hosts,
    is_udp: bool,
    /// Next sequence number of each side.
    client: u32,
    server: u32,
    /// Packets that each side has sent.
    ids: [u16; 2],
    /// Payload of requests and answers.
    request: u16,
    answer: u16,
    exchanges: u32,
    ends_by_reset: bool,
    stage: Stage,
}

impl Flow {
    fn new(number: u64, mean_exchanges: u64, random: &mut Random) -> Self {
        let hosts = Hosts {
            is_v6: random.happens(100),
            client: 0x0a00_0000 | (number as u32 & 0x00ff_ffff),
            server: 0xc000_0200 | random.below(250) as u32,
            ports: [32_768 + (number >> 24) as u16 + random.below(16_384) as u16, 443],
        };
        let is_udp = random.happens(20);
        let exchanges = 1 + random.below(2 * mean_exchanges - 1) as u32;
        Self {
            hosts,
            is_udp,
            client: random.next() as u32,
            server: random.next() as u32,
            ids: [random.next() as u16, random.next() as u16],
            request: 8 + random.below(40) as u16,
            answer: 8 + random.below(40) as u16,
            exchanges,
            ends_by_reset: random.happens(80),
            stage: if is_udp { Stage::Exchange(exchanges, 0) } else { Stage::Syn },
        }
    }

    /// Returns whether only the end is left.
    fn is_ending(&self) -> bool {
        !matches!(self.stage, Stage::Syn | Stage::SynAck | Stage::Ack | Stage::Exchange(..))
    }

    /// Makes a flow of which only the end is left have another exchange before.
    fn go_on(&mut self) {
        self.stage = Stage::Exchange(1, 0);
    }

    /// Writes the next packet and moves on.
    fn send<W: Write>(&mut self, capture: &mut Capture<W>) -> io::Result<()> {
        let next = self.next_stage();
        let (way, flags, len) = match self.stage {
            Stage::Syn => (Way::ToServer, SYN, 0),
            Stage::SynAck => (Way::ToClient, SYN | ACK, 0),
            Stage::Ack | Stage::LastAck | Stage::Exchange(_, 3) => (Way::ToServer, ACK, 0),
            Stage::Exchange(_, 0) => (Way::ToServer, PSH | ACK, self.request),
            Stage::Exchange(_, 1) => (Way::ToClient, ACK, 0),
            Stage::Exchange(..) => (Way::ToClient, PSH | ACK, self.answer),
            Stage::Fin => (Way::ToServer, FIN | ACK, 0),
            Stage::FinAck => (Way::ToClient, FIN | ACK, 0),
            Stage::Reset => (Way::ToServer, RST | ACK, 0),
            Stage::Over => return Ok(()),
        };
        self.stage = next;
        if self.is_udp {
            return capture.udp(&self.hosts, way, len.max(8));
        }
        let clock = capture.clock();
        let with_syn = syn_options(clock, 0);
        let without = timestamps(clock, clock);
        let is_syn = flags & SYN != 0;
        let [client_id, server_id] = &mut self.ids;
        let (sender, receiver, id) = match way {
            Way::ToServer => (&mut self.client, self.server, client_id),
            Way::ToClient => (&mut self.server, self.client, server_id),
        };
        *id = id.wrapping_add(1);
        let tcp = Tcp {
            seq: *sender,
            ack: if flags & ACK == 0 { 0 } else { receiver },
            flags,
            win: if is_syn { 64_240 } else { 502 },
            len,
            id: *id,
            options: if is_syn { &with_syn } else { &without },
        };
        *sender = sender.wrapping_add(u32::from(len) + u32::from(flags & (SYN | FIN) != 0));
        capture.tcp(&self.hosts, way, &tcp)
    }

    fn next_stage(&self) -> Stage {
        let end = match (self.is_udp, self.ends_by_reset) {
            (true, _) => Stage::Over,
            (false, true) => Stage::Reset,
            (false, false) => Stage::Fin,
        };
        match self.stage {
            Stage::Syn => Stage::SynAck,
            Stage::SynAck => Stage::Ack,
            Stage::Ack => Stage::Exchange(self.exchanges, 0),
            Stage::Exchange(1, 3) => end,
            Stage::Exchange(left, 3) => Stage::Exchange(left - 1, 0),
            Stage::Exchange(left, packet) => Stage::Exchange(left, packet + 1),
            Stage::Fin => Stage::FinAck,
            Stage::FinAck => Stage::LastAck,
            Stage::LastAck | Stage::Reset | Stage::Over => Stage::Over,
        }
    }
}

/// Short flows, a few at a time, each new one in the place of one that is over.
pub fn one_after_another<W: Write>(
    capture: &mut Capture<W>,
    random: &mut Random,
) -> io::Result<()> {
    let mut active: Vec<Flow> = Vec::new();
    let mut number = 0;
    while !capture.is_full() {
        if active.len() < AT_A_TIME {
            active.push(Flow::new(number, 4, random));
            number += 1;
        }
        let at = random.below(active.len() as u64) as usize;
        active[at].send(capture)?;
        capture.now_ns += STEP_NS;
        if active[at].stage == Stage::Over {
            active.swap_remove(at);
        }
    }
    Ok(())
}

/// The same flows all at once: each has a packet in turn, and no one ends before all are near it.
pub fn all_alive<W: Write>(
    capture: &mut Capture<W>,
    random: &mut Random,
    recipe: &Recipe,
) -> io::Result<()> {
    let count = recipe.flows.unwrap_or(recipe.bytes / BYTES_PER_FLOW).max(1);
    let exchanges = (recipe.bytes / count / 480).max(1);
    let mut flows: Vec<Flow> =
        (0..count).map(|number| Flow::new(number, exchanges, random)).collect();
    let step_ns = (ROUND_NS / count).clamp(1, STEP_NS);
    for is_ending in [false, true] {
        let mut turns: Vec<u32> = (0..count as u32).collect();
        while !turns.is_empty() && !capture.is_full() {
            for &turn in &turns {
                let flow = &mut flows[turn as usize];
                if flow.is_ending() == is_ending && !capture.is_full() {
                    flow.send(capture)?;
                    capture.now_ns += step_ns;
                }
            }
            turns.retain(|&turn| {
                let flow = &flows[turn as usize];
                flow.is_ending() == is_ending && flow.stage != Stage::Over
            });
            let has_room = capture.bytes_left() > count * BYTES_PER_END;
            if turns.is_empty() && !is_ending && has_room {
                flows.iter_mut().for_each(Flow::go_on);
                turns = (0..count as u32).collect();
            }
            shuffle(&mut turns, random);
        }
    }
    Ok(())
}

fn shuffle(turns: &mut [u32], random: &mut Random) {
    for last in (1..turns.len()).rev() {
        turns.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// Downloads: each full packet is acknowledged, and the flows take turns in runs of ten packets.
pub fn bulk<W: Write>(capture: &mut Capture<W>, random: &mut Random, flows: u64) -> io::Result<()> {
    let mut flows: Vec<Flow> = (0..flows)
        .map(|number| {
            let mut flow = Flow::new(number, 1, random);
            flow.is_udp = false;
            flow.stage = Stage::Syn;
            flow.answer = 1448;
            flow
        })
        .collect();
    for flow in &mut flows {
        for _ in 0..4 {
            flow.send(capture)?;
            capture.now_ns += STEP_NS;
        }
    }
    while !capture.is_full() {
        let at = random.below(flows.len() as u64) as usize;
        for packet in [2, 2, 3, 2, 3, 2, 3, 2, 3, 3] {
            let flow = &mut flows[at];
            flow.stage = Stage::Exchange(9, packet);
            flow.send(capture)?;
            capture.now_ns += 7000;
        }
    }
    Ok(())
}
