//! One TCP conversation that mostly behaves, and at times does not.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::packet::{self, ACK, FIN, PSH, Packet, RST, SYN, URG};
use super::random::Random;
use super::side::{self, Side};

/// Which of the two sides.
pub type Who = usize;

/// How a conversation begins.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Handshake,
    Simultaneous,
    Midstream,
    SynAckFirst,
}

/// What a side does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Data,
    Acknowledge,
    Repeat,
    SackHole,
    CloseWindow,
    KeepAlive,
    Fin,
    Reset,
    Syn,
    SynAck,
    Bounds,
    HostileSack,
    AnyFlags,
    BadHeader,
    BadOptions,
    IcmpError,
    Fragments,
}

/// What well-behaved sides do, and how often.
const HONEST: [(u32, Step); 7] = [
    (40, Step::Data),
    (30, Step::Acknowledge),
    (6, Step::Repeat),
    (5, Step::SackHole),
    (2, Step::CloseWindow),
    (2, Step::KeepAlive),
    (4, Step::Fin),
];

/// What the others do, and how often.
const HOSTILE: [(u32, Step); 10] = [
    (36, Step::Bounds),
    (12, Step::HostileSack),
    (12, Step::Reset),
    (8, Step::Syn),
    (7, Step::SynAck),
    (5, Step::AnyFlags),
    (4, Step::BadHeader),
    (5, Step::BadOptions),
    (6, Step::IcmpError),
    (5, Step::Fragments),
];

/// A conversation between two endpoints.
#[derive(Clone, Debug)]
pub struct Conversation {
    ends: [(IpAddr, u16); 2],
    sides: [Side; 2],
    opening: Opening,
    /// Packets sent so far.
    sent: u32,
    /// Packets after which it ends.
    length: u32,
    /// How many steps in a hundred are hostile.
    hostility: u32,
    last: Option<Packet>,
    /// Packets that come next, whatever else happens.
    planned: VecDeque<Packet>,
}

impl Conversation {
    pub fn new(random: &mut Random, ends: [(IpAddr, u16); 2]) -> Self {
        let opening = random.weighted(&[
            (80, Opening::Handshake),
            (5, Opening::Simultaneous),
            (10, Opening::Midstream),
            (5, Opening::SynAckFirst),
        ]);
        Self {
            ends,
            sides: [Side::new(random), Side::new(random)],
            opening,
            sent: 0,
            length: random.pick(&[2, 4, 8, 16, 40, 100]),
            hostility: random.pick(&[0, 2, 5, 10, 25, 60]),
            last: None,
            planned: VecDeque::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.sent >= self.length
    }

    /// Returns the next packets: one, or the fragments of one.
    pub fn advance(&mut self, random: &mut Random, id: u32) -> Vec<Vec<u8>> {
        self.sent += 1;
        if let Some(packet) = self.planned.pop_front().or_else(|| self.open(random)) {
            return vec![self.send(packet)];
        }
        let who = random.below(2) as Who;
        let is_hostile = random.percent(self.hostility);
        let step = random.weighted(if is_hostile { &HOSTILE[..] } else { &HONEST[..] });
        match step {
            Step::IcmpError => self.icmp_error(random).into_iter().collect(),
            Step::Fragments => {
                let mut packet = self.data(who, random);
                packet.payload_len = packet.payload_len.max(64);
                let bytes = self.send(packet);
                split(&bytes, random, id)
            }
            _ => {
                let mut packet = self.take(step, who, random);
                packet.id = id as u16;
                packet.has_ip_options = random.percent(1);
                vec![self.send(packet)]
            }
        }
    }

    /// Returns the packet that belongs to the opening, while there is one.
    fn open(&mut self, random: &mut Random) -> Option<Packet> {
        let (who, flags) = match (self.opening, self.sent) {
            (Opening::Handshake | Opening::Simultaneous, 2) if random.percent(3) => return None,
            (Opening::Handshake | Opening::Simultaneous, 1) => (0, SYN),
            (Opening::Simultaneous, 2) => (1, SYN),
            (Opening::Handshake, 2) | (Opening::SynAckFirst, 1) | (Opening::Simultaneous, 4) => {
                (1, SYN | ACK)
            }
            (Opening::Simultaneous, 3) => (0, SYN | ACK),
            (Opening::Handshake, 3) => (0, ACK),
            _ => return None,
        };
        Some(self.plain(who, flags, random))
    }

    /// Makes a packet that behaves, of no length.
    fn plain(&self, who: Who, flags: u8, random: &mut Random) -> Packet {
        let (side, other) = (&self.sides[who], &self.sides[1 - who]);
        let mut packet = Packet::new(self.ends[who], self.ends[1 - who], flags);
        packet.seq = if flags & SYN == 0 { side.next } else { side.isn };
        packet.ack = if flags & ACK == 0 { 0 } else { other.next };
        packet.win = side.win;
        if flags & SYN != 0 {
            packet.options = side.syn_options(random);
        } else if side.has_timestamps {
            packet.options = side::timestamps(random).to_vec();
        }
        packet
    }

    fn data(&self, who: Who, random: &mut Random) -> Packet {
        let mut packet = self.plain(who, ACK | PSH, random);
        packet.payload_len = random.pick(&[1, 100, 536, 1448, 1460, 1460]);
        if random.percent(1) {
            packet.payload_len = random.pick(&[9000, 30_000, 65_000]);
        }
        packet
    }

    fn take(&mut self, step: Step, who: Who, random: &mut Random) -> Packet {
        match step {
            Step::Data | Step::Fragments | Step::IcmpError => self.data(who, random),
            Step::Acknowledge => self.acknowledge(who, random),
            Step::Repeat => self.last.clone().unwrap_or_else(|| self.plain(who, ACK, random)),
            Step::SackHole => self.sack_hole(who, random),
            Step::CloseWindow => {
                self.sides[who].win = 0;
                self.plain(who, ACK, random)
            }
            Step::KeepAlive => {
                let mut packet = self.plain(who, ACK, random);
                packet.seq = packet.seq.wrapping_sub(1);
                packet.payload_len = random.below(2) as usize;
                packet
            }
            Step::Fin => self.finish(who, random),
            Step::Reset => self.reset(who, random),
            Step::Syn => self.syn(who, random),
            Step::SynAck => self.syn_ack(who, random),
            Step::Bounds => self.bounds(who, random),
            Step::HostileSack => self.hostile_sack(who, random),
            Step::AnyFlags => self.any_flags(who, random),
            Step::BadHeader => self.bad_header(who, random),
            Step::BadOptions => self.bad_options(who, random),
        }
    }

    fn acknowledge(&mut self, who: Who, random: &mut Random) -> Packet {
        if random.percent(10) {
            self.sides[who].win = random.pick(&[1, 512, 5840, 64_240, 65_535]);
        }
        self.plain(who, ACK, random)
    }

    fn sack_hole(&self, who: Who, random: &mut Random) -> Packet {
        let other = &self.sides[1 - who];
        let mut packet = self.plain(who, ACK, random);
        packet.ack = other.next.wrapping_sub(4344);
        let block = (other.next.wrapping_sub(1448), other.next);
        packet.options = side::sack(&[block]);
        packet
    }

    fn hostile_sack(&self, who: Who, random: &mut Random) -> Packet {
        let (side, other) = (&self.sides[who], &self.sides[1 - who]);
        let mut packet = self.plain(who, ACK, random);
        let blocks: Vec<(u32, u32)> = (0..=random.below(4))
            .map(|_| {
                let right = side.hostile_ack(other, random);
                (right.wrapping_sub(1448), right)
            })
            .collect();
        packet.options = side::sack(&blocks);
        if random.percent(30) {
            packet.ack = side.hostile_ack(other, random);
        }
        packet
    }

    fn bounds(&self, who: Who, random: &mut Random) -> Packet {
        let (side, other) = (&self.sides[who], &self.sides[1 - who]);
        let mut packet = self.data(who, random);
        if random.percent(40) {
            packet.payload_len = 0;
        }
        packet.flags = random.pick(&[ACK, ACK | PSH, ACK | PSH, FIN | ACK, ACK | URG]);
        let which = random.below(3);
        if which != 1 {
            packet.seq = side.hostile_seq(other, random, packet.payload_len as u32);
        }
        if which != 0 {
            packet.ack = side.hostile_ack(other, random);
        }
        if random.percent(20) {
            packet.win = random.pick(&[0, 1, 0xffff]);
        }
        packet
    }

    fn reset(&self, who: Who, random: &mut Random) -> Packet {
        let (side, other) = (&self.sides[who], &self.sides[1 - who]);
        let flags = random.pick(&[RST, RST | ACK, RST | ACK, RST | PSH | ACK]);
        let mut packet = self.plain(who, flags, random);
        packet.win = random.pick(&[0, 0, side.win]);
        packet.seq = match random.below(8) {
            0 => side.next,
            1 => 0,
            2..=4 => other.acked.wrapping_add(random.pick(&[0, 1, u32::MAX, 1000])),
            _ => side.hostile_seq(other, random, 0),
        };
        packet.ack = match random.below(4) {
            0 => 0,
            1 => side.hostile_ack(other, random),
            _ => packet.ack,
        };
        packet
    }

    fn syn(&mut self, who: Who, random: &mut Random) -> Packet {
        if random.percent(40) {
            self.plan_challenge(who, random);
        }
        if random.percent(50) {
            let fresh = Side::new(random);
            let isn = match random.below(3) {
                0 => self.sides[who].next.wrapping_add(random.below(100_000)),
                1 => self.sides[who].hostile_seq(&self.sides[1 - who], random, 0),
                _ => fresh.isn,
            };
            self.sides[who] = Side { isn, next: isn, ..fresh };
        }
        let flags = random.pick(&[SYN, SYN, SYN, SYN | PSH, SYN | URG, SYN | 0xc0]);
        let mut packet = self.plain(who, flags, random);
        if random.percent(10) {
            packet.payload_len = 100;
        }
        packet
    }

    /// Sends a FIN; at times it is answered by another and a SYN follows before the last
    /// acknowledgement, which then may be a challenge ACK.
    fn finish(&mut self, who: Who, random: &mut Random) -> Packet {
        let fin = self.plain(who, FIN | ACK, random);
        if random.percent(10) {
            let mut answer = self.plain(1 - who, FIN | ACK, random);
            answer.ack = fin.seq.wrapping_add(1);
            let mut last = self.plain(1 - who, ACK, random);
            (last.seq, last.ack) = (answer.seq.wrapping_add(1), answer.ack);
            let syn = self.plain(who, SYN, random);
            self.planned.extend([answer, syn, last]);
        }
        fin
    }

    /// Plans what follows a SYN in an open connection: the other side's challenge ACK, which says
    /// what it has, and a reset at that place (RFC 5961, section 4).
    fn plan_challenge(&mut self, who: Who, random: &mut Random) {
        let challenge = self.plain(1 - who, ACK, random);
        let mut reset = self.plain(who, RST, random);
        reset.seq = challenge.ack.wrapping_add(random.pick(&[0, 0, 0, 1, u32::MAX]));
        self.planned.push_back(challenge);
        if random.percent(70) {
            self.planned.push_back(reset);
        }
    }

    fn syn_ack(&self, who: Who, random: &mut Random) -> Packet {
        let (side, other) = (&self.sides[who], &self.sides[1 - who]);
        let mut packet = self.plain(who, SYN | ACK, random);
        match random.below(3) {
            0 => packet.ack = side.hostile_ack(other, random),
            1 => packet.seq = side.hostile_seq(other, random, 0),
            _ => {}
        }
        packet
    }

    fn any_flags(&self, who: Who, random: &mut Random) -> Packet {
        let mut packet = self.plain(who, random.word() as u8, random);
        packet.payload_len = random.pick(&[0, 0, 10]);
        packet
    }

    fn bad_header(&self, who: Who, random: &mut Random) -> Packet {
        let mut packet = self.data(who, random);
        match random.below(5) {
            0 | 1 => packet.is_checksum_wrong = true,
            2 => packet.wrong_offset = Some(random.below(5) as u8),
            3 => {
                packet.payload_len = random.below(20) as usize;
                packet.wrong_offset = Some(random.below(16) as u8);
            }
            _ => packet.cut_at = Some(random.pick(&[0, 3, 4, 8, 13, 19, 20])),
        }
        packet
    }

    fn bad_options(&self, who: Who, random: &mut Random) -> Packet {
        let flags = random.pick(&[SYN, SYN | ACK, ACK, ACK]);
        let mut packet = self.plain(who, flags, random);
        let bytes = 4 * (1 + random.below(10)) as usize;
        packet.options = (0..bytes)
            .map(|_| {
                let any = random.word() as u8;
                random.pick(&[0, 1, 1, 2, 3, 3, 4, 5, 8, 10, 14, 18, any])
            })
            .collect();
        packet
    }

    fn icmp_error(&self, random: &mut Random) -> Option<Vec<u8>> {
        let last = self.last.as_ref()?;
        let mut quoted = last.bytes();
        if random.percent(15) {
            // A quoted packet of no known flow: another source port.
            let mut other = last.clone();
            other.src.1 ^= 0x4000;
            quoted = other.bytes();
        }
        let header_len = if last.src.0.is_ipv4() { 20 } else { 40 };
        quoted.truncate(header_len + random.pick(&[8usize, 8, 20, 20, 64, 3]));
        let kind = match last.src.0 {
            IpAddr::V4(_) => {
                random.pick(&[(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 1)])
            }
            IpAddr::V6(_) => random.pick(&[(1, 0), (1, 4), (2, 0), (3, 0), (4, 1)]),
        };
        let to = if random.percent(85) { last.src.0 } else { last.dst.0 };
        Some(packet::icmp_error(last.dst.0, to, kind, &quoted))
    }

    /// Notes what a tracker may learn from the packet, and makes it bytes.
    fn send(&mut self, packet: Packet) -> Vec<u8> {
        let who = usize::from(packet.src != self.ends[0]);
        let is_sound = packet.wrong_offset.is_none()
            && !packet.is_checksum_wrong
            && packet.cut_at.is_none()
            && packet.flags & RST == 0;
        if is_sound {
            self.learn(who, &packet);
        }
        let bytes = packet.bytes();
        self.last = Some(packet);
        bytes
    }

    fn learn(&mut self, who: Who, packet: &Packet) {
        let [first, second] = self.sides;
        let (mut side, mut other) = if who == 0 { (first, second) } else { (second, first) };
        let controls = u32::from(packet.flags & SYN != 0) + u32::from(packet.flags & FIN != 0);
        let end = packet.seq.wrapping_add(packet.payload_len as u32).wrapping_add(controls);
        let is_near = |number: u32, base: u32| {
            number.wrapping_sub(base).cast_signed().unsigned_abs() < 200_000
        };
        if is_near(end, side.next) && end.wrapping_sub(side.next).cast_signed() > 0 {
            side.next = end;
        }
        let shift = if packet.flags & SYN == 0 { side.shift(&other) } else { 0 };
        let window = u32::from(packet.win) << shift;
        side.max_win = side.max_win.max(window);
        if packet.flags & ACK == 0 {
            other.edge = other.next.wrapping_add(window);
        } else if is_near(packet.ack, other.next) {
            side.acked = packet.ack;
            let edge = packet.ack.wrapping_add(window);
            if edge.wrapping_sub(other.edge).cast_signed() > 0 || other.edge == 0 {
                other.edge = edge;
            }
        }
        self.sides = if who == 0 { [side, other] } else { [other, side] };
    }
}

/// Cuts a packet into fragments, at times out of order, and rarely with one missing.
fn split(bytes: &[u8], random: &mut Random, id: u32) -> Vec<Vec<u8>> {
    let most = random.pick(&[2usize, 3, 4, 12]);
    let size = (bytes.len() / most).next_multiple_of(8);
    let mut pieces = packet::fragments(bytes, size, id);
    match random.below(10) {
        0 => pieces.reverse(),
        1 => pieces.rotate_left(1),
        2 => {
            pieces.pop();
        }
        _ => {}
    }
    pieces
}
