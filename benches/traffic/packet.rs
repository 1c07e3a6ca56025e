//! Ethernet frames with IP and TCP or UDP, and the pcap file around them.

use std::io::{self, Write};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

const ETHERNET_LEN: usize = 14;

/// Client and server of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Hosts {
    pub is_v6: bool,
    /// Makes the address of the client.
    pub client: u32,
    pub server: u32,
    pub ports: [u16; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    ToServer,
    ToClient,
}

/// The TCP header, payload and options of a packet.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tcp<'a> {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub win: u16,
    pub len: u16,
    /// IPv4 identification: the sender's counter.
    pub id: u16,
    /// Option bytes, padded to words.
    pub options: &'a [u8],
}

/// Returns the options of a SYN: MSS 1460, SACK permitted, timestamps, scaling by 2⁷.
pub fn syn_options(value: u32, echo: u32) -> [u8; 20] {
    let mut options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7];
    options[8..12].copy_from_slice(&value.to_be_bytes());
    options[12..16].copy_from_slice(&echo.to_be_bytes());
    options
}

/// Returns the timestamps option with its usual padding.
pub fn timestamps(value: u32, echo: u32) -> [u8; 12] {
    let mut options = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    options[4..8].copy_from_slice(&value.to_be_bytes());
    options[8..12].copy_from_slice(&echo.to_be_bytes());
    options
}

/// A pcap file being written.
pub struct Capture<W: Write> {
    out: W,
    bytes_left: u64,
    packets: u64,
    frame: Vec<u8>,
    /// Time of the next packet, in nanoseconds since 1970.
    pub now_ns: u64,
}

impl<W: Write> Capture<W> {
    pub fn new(mut out: W, bytes: u64) -> io::Result<Self> {
        let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 262_144, 1];
        for word in header {
            out.write_all(&word.to_le_bytes())?;
        }
        let (frame, now_ns) = (Vec::with_capacity(2048), 1_700_000_000_000_000_000);
        Ok(Self { out, bytes_left: bytes.saturating_sub(24), packets: 0, frame, now_ns })
    }

    /// Returns how many bytes are left until the file has its size.
    pub fn bytes_left(&self) -> u64 {
        self.bytes_left
    }

    /// Returns whether the file has reached its size.
    pub fn is_full(&self) -> bool {
        self.bytes_left == 0
    }

    pub fn tcp(&mut self, hosts: &Hosts, way: Way, tcp: &Tcp<'_>) -> io::Result<()> {
        let header_len = 20 + tcp.options.len();
        let at = self.begin(hosts, way, (6, tcp.id), header_len + usize::from(tcp.len));
        let [src, dst] = ports(hosts, way);
        self.frame.extend_from_slice(&src.to_be_bytes());
        self.frame.extend_from_slice(&dst.to_be_bytes());
        self.frame.extend_from_slice(&tcp.seq.to_be_bytes());
        self.frame.extend_from_slice(&tcp.ack.to_be_bytes());
        self.frame.push((header_len / 4) as u8 * 16);
        self.frame.push(tcp.flags);
        self.frame.extend_from_slice(&tcp.win.to_be_bytes());
        self.frame.extend_from_slice(&[0; 4]);
        self.frame.extend_from_slice(tcp.options);
        let sum = self.layer_4_sum(at, 6, header_len + usize::from(tcp.len));
        self.frame[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
        self.finish_frame(usize::from(tcp.len))
    }

    pub fn udp(&mut self, hosts: &Hosts, way: Way, len: u16) -> io::Result<()> {
        let at = self.begin(hosts, way, (17, 0), 8 + usize::from(len));
        let [src, dst] = ports(hosts, way);
        for word in [src, dst, 8 + len, 0] {
            self.frame.extend_from_slice(&word.to_be_bytes());
        }
        let sum = self.layer_4_sum(at, 17, 8 + usize::from(len));
        self.frame[at + 6..at + 8].copy_from_slice(&sum.to_be_bytes());
        self.finish_frame(usize::from(len))
    }

    /// Returns the clock of TCP timestamps, in milliseconds.
    pub fn clock(&self) -> u32 {
        (self.now_ns / 1_000_000) as u32
    }

    /// Flushes the file and returns the number of packets.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.packets)
    }

    /// Starts a frame up to layer 4, of which it returns the offset.
    fn begin(
        &mut self,
        hosts: &Hosts,
        way: Way,
        (protocol, id): (u8, u16),
        payload: usize,
    ) -> usize {
        self.frame.clear();
        let ethertype = if hosts.is_v6 { [0x86, 0xdd] } else { [8, 0] };
        self.frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        self.frame.extend_from_slice(&ethertype);
        let mut addresses = [hosts.client, hosts.server];
        if way == Way::ToClient {
            addresses.swap(0, 1);
        }
        if hosts.is_v6 {
            let len = (payload as u16).to_be_bytes();
            self.frame.extend_from_slice(&[0x60, 0, 0, 0, len[0], len[1], protocol, 64]);
            for address in addresses {
                self.frame.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
                self.frame.extend_from_slice(&address.to_be_bytes());
            }
        } else {
            let len = ((payload + 20) as u16).to_be_bytes();
            let id = id.to_be_bytes();
            let words = [0x45, 0, len[0], len[1], id[0], id[1], 0x40, 0, 64, protocol, 0, 0];
            self.frame.extend_from_slice(&words);
            for address in addresses {
                self.frame.extend_from_slice(&address.to_be_bytes());
            }
            let sum = fold(sum(&self.frame[ETHERNET_LEN..]));
            self.frame[ETHERNET_LEN + 10..ETHERNET_LEN + 12].copy_from_slice(&sum.to_be_bytes());
        }
        self.frame.len()
    }

    /// Returns the checksum of layer 4; the payload is zeros.
    fn layer_4_sum(&self, at: usize, protocol: u8, len: usize) -> u16 {
        let addresses = if self.frame[12] == 8 { at - 8 } else { at - 32 };
        fold(sum(&self.frame[addresses..]) + u64::from(protocol) + len as u64)
    }

    fn finish_frame(&mut self, payload: usize) -> io::Result<()> {
        let len = self.frame.len() + payload;
        self.frame.resize(len, 0);
        let (seconds, nanos) = (self.now_ns / 1_000_000_000, self.now_ns % 1_000_000_000);
        let header = [seconds, nanos / 1000, len as u64, len as u64];
        for word in header {
            self.out.write_all(&(word as u32).to_le_bytes())?;
        }
        self.out.write_all(&self.frame)?;
        self.bytes_left = self.bytes_left.saturating_sub(16 + len as u64);
        self.packets += 1;
        Ok(())
    }
}

fn ports(hosts: &Hosts, way: Way) -> [u16; 2] {
    let [client, server] = hosts.ports;
    match way {
        Way::ToServer => [client, server],
        Way::ToClient => [server, client],
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
