//! Hostile TCP traffic, the same in every run: everything that may go wrong near every bound.
//!
//! Many conversations at once, IPv4 and IPv6, with their rough notion of what a tracker knows, so
//! that numbers land on a bound or one beside it: sequence numbers, acknowledgements and SACK edges,
//! wrapping or not, all shift counts, closed windows; all flags; openings in one or both directions,
//! in mid-stream or the wrong way round; ports used again; retransmissions; resets; fragments; bad
//! options, headers and checksums; ICMP errors; and pauses of just a timeout.

mod conversation;
pub mod packet;
pub mod random;
mod side;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conversation::Conversation;
use random::Random;

/// Conversations at one time.
const AT_ONCE: usize = 48;
const NANOS_PER_SEC: i64 = 1_000_000_000;

/// An endless stream of packets with their times in nanoseconds since 1970.
pub struct Hostile {
    random: Random,
    now_ns: i64,
    conversations: Vec<(Conversation, [(IpAddr, u16); 2])>,
    /// Endpoints of conversations that are over, for those that use them again.
    used: VecDeque<[(IpAddr, u16); 2]>,
    /// Packets that are to come before any other.
    queue: VecDeque<Vec<u8>>,
    opened: u32,
    made: u32,
}

impl Hostile {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now_ns: 1_500_000_000 * NANOS_PER_SEC,
            conversations: Vec::new(),
            used: VecDeque::new(),
            queue: VecDeque::new(),
            opened: 0,
            made: 0,
        }
    }

    /// Lets time pass: mostly little, at times just a timeout, or a nanosecond more or less.
    fn pass_time(&mut self) {
        let random = &mut self.random;
        let pause_ns = match random.below(2000) {
            0 => {
                let timeout = random.pick(&[10, 10, 30, 60, 60, 120, 120, 300, 432_000]);
                timeout * NANOS_PER_SEC + random.pick(&[-1, 0, 1])
            }
            1..=4 => i64::from(random.below(3000)) * 1_000_000,
            5..=40 => i64::from(random.below(100)) * 1_000_000,
            _ => i64::from(random.below(2_000_000)),
        };
        self.now_ns += pause_ns;
    }

    /// Opens a conversation between new endpoints, or between those of an earlier one.
    fn open(&mut self) -> (Conversation, [(IpAddr, u16); 2]) {
        self.opened += 1;
        let used = if self.random.percent(25) { self.used.pop_front() } else { None };
        let ends = match used {
            Some([first, second]) if self.random.percent(15) => [second, first],
            Some(ends) => ends,
            None => self.endpoints(),
        };
        (Conversation::new(&mut self.random, ends), ends)
    }

    fn endpoints(&mut self) -> [(IpAddr, u16); 2] {
        let number = self.opened;
        let [_, high, middle, low] = number.to_be_bytes();
        let client_port = 1024 + (number % 60_000) as u16;
        let server_port = self.random.pick(&[80, 443, 22, 5432, 9]);
        if self.random.percent(30) {
            let client =
                Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, (number >> 16) as u16, number as u16);
            let server = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, u16::from(low));
            [(client.into(), client_port), (server.into(), server_port)]
        } else {
            let client = Ipv4Addr::new(10, high, middle, low);
            let server = Ipv4Addr::new(198, 51, 100, low);
            [(client.into(), client_port), (server.into(), server_port)]
        }
    }
}

impl Iterator for Hostile {
    type Item = (i64, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.queue.is_empty() {
            if self.conversations.len() < AT_ONCE {
                let opened = self.open();
                self.conversations.push(opened);
            }
            let index = self.random.below(self.conversations.len() as u32) as usize;
            self.made += 1;
            let (conversation, ends) = &mut self.conversations[index];
            self.queue.extend(conversation.advance(&mut self.random, self.made));
            if conversation.is_over() {
                self.used.push_back(*ends);
                self.conversations.swap_remove(index);
            }
        }
        if self.used.len() > 64 {
            self.used.pop_front();
        }
        self.pass_time();
        self.queue.pop_front().map(|packet| (self.now_ns, packet))
    }
}

#[test]
fn the_same_seed_gives_the_same_traffic() {
    let first: Vec<_> = Hostile::new(7).take(2000).collect();
    assert!(Hostile::new(7).take(2000).eq(first.iter().cloned()));
    assert!(!Hostile::new(8).take(2000).eq(first));
}
