//! Captures written by hand, a line a segment: for causes that no simulated case shows.

use crate::capture_writer::{MICROSECONDS, Order, PcapWriter};

/// The link type of bare IP packets: frames begin with the IP header.
const RAW: u32 = 101;
/// TCP flags.
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// Who sends a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// A segment, without options unless something else is said.
#[derive(Clone, Copy)]
pub struct Line {
    pub millis: u64,
    pub from: From,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub win: u16,
    pub len: u16,
    pub ttl: u8,
    /// The IP identification; without one, packets are counted.
    pub id: Option<u16>,
    /// Value and echo of the timestamp option.
    pub stamps: Option<(u32, u32)>,
    /// Whether MSS, SACK permission and window scaling by 0 are offered.
    pub offers_all: bool,
}

impl Line {
    /// An empty acknowledgement of the client.
    pub const PLAIN: Self = Self {
        millis: 0,
        from: From::Client,
        flags: ACK,
        seq: 0,
        ack: 0,
        win: 0,
        len: 0,
        ttl: 64,
        id: None,
        stamps: None,
        offers_all: false,
    };

    fn options(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if self.offers_all {
            options.extend([2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 0]);
        }
        if let Some((value, echo)) = self.stamps {
            options.extend([1, 1, 8, 10]);
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
        }
        options
    }
}

/// Writes several conversations into one capture, each with a client port of its own.
pub fn capture(conversations: &[Vec<Line>]) -> Vec<u8> {
    let mut lines: Vec<(u16, Line)> = Vec::new();
    for (port, conversation) in (40_000..).zip(conversations) {
        lines.extend(conversation.iter().map(|line| (port, *line)));
    }
    lines.sort_by_key(|(port, line)| (line.millis, *port));
    let mut writer = PcapWriter::new(Order::Little, MICROSECONDS, RAW);
    for (id, (port, line)) in (1..).zip(&lines) {
        let packet = packet(*port, id, line);
        let len = u32::try_from(packet.len()).unwrap();
        writer.frame(1_700_000_000_000_000_000 + line.millis * 1_000_000, len, &packet);
    }
    writer.bytes
}

/// A handshake without options, at the beginning of a capture: both sides count from 1 on.
pub fn handshake(win: u16) -> Vec<Line> {
    let line =
        |millis, from, flags, seq, ack| Line { millis, from, flags, seq, ack, win, ..Line::PLAIN };
    vec![
        line(0, From::Client, SYN, 0, 0),
        line(10, From::Server, SYN | ACK, 0, 1),
        line(20, From::Client, ACK, 1, 1),
    ]
}

fn packet(port: u16, id: u16, line: &Line) -> Vec<u8> {
    let (client, server) = (([192, 0, 2, 1], port), ([198, 51, 100, 1], 443));
    let (src, dst) = if line.from == From::Client { (client, server) } else { (server, client) };
    let options = line.options();
    let header = 20 + u16::try_from(options.len()).unwrap();
    let total = 20 + header + line.len;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend(line.id.unwrap_or(id).to_be_bytes());
    packet.extend([0x40, 0, line.ttl, 6, 0, 0]);
    packet.extend(src.0);
    packet.extend(dst.0);
    packet.extend(src.1.to_be_bytes());
    packet.extend(dst.1.to_be_bytes());
    packet.extend(line.seq.to_be_bytes());
    packet.extend(line.ack.to_be_bytes());
    packet.extend([u8::try_from(header / 4).unwrap() << 4, line.flags]);
    packet.extend(line.win.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(options);
    packet.resize(usize::from(total), 0);
    packet
}
