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

/// A segment without options.
#[derive(Clone, Copy)]
pub struct Line {
    pub millis: u64,
    pub from: From,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub win: u16,
    pub len: u16,
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
    let line = |millis, from, flags, seq, ack| Line { millis, from, flags, seq, ack, win, len: 0 };
    vec![
        line(0, From::Client, SYN, 0, 0),
        line(10, From::Server, SYN | ACK, 0, 1),
        line(20, From::Client, ACK, 1, 1),
    ]
}

fn packet(port: u16, id: u16, line: &Line) -> Vec<u8> {
    let (client, server) = (([192, 0, 2, 1], port), ([198, 51, 100, 1], 443));
    let (src, dst) = if line.from == From::Client { (client, server) } else { (server, client) };
    let total = 40 + line.len;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0x40, 0, 64, 6, 0, 0]);
    packet.extend(src.0);
    packet.extend(dst.0);
    packet.extend(src.1.to_be_bytes());
    packet.extend(dst.1.to_be_bytes());
    packet.extend(line.seq.to_be_bytes());
    packet.extend(line.ack.to_be_bytes());
    packet.extend([0x50, line.flags]);
    packet.extend(line.win.to_be_bytes());
    packet.extend([0; 4]);
    packet.resize(usize::from(total), 0);
    packet
}
