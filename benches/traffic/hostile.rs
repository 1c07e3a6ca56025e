//! Traffic that is made to hurt.

use std::io::{self, Write};

use super::Random;
use super::packet::{ACK, Capture, Hosts, PSH, SYN, Tcp, Way, syn_options, timestamps};

/// Time between two packets: a hundred thousand packets a second.
const STEP_NS: u64 = 10_000;

/// A SYN flood: no address and port come twice.
pub fn syn_flood<W: Write>(capture: &mut Capture<W>, random: &mut Random) -> io::Result<()> {
    let mut number = 0u32;
    while !capture.is_full() {
        let hosts = Hosts {
            is_v6: random.happens(100),
            client: number.wrapping_mul(0x9E37_79B1),
            server: 0xc000_0201,
            ports: [random.next() as u16, 443],
        };
        let seq = random.next() as u32;
        let options = syn_options(number, 0);
        let tcp = Tcp { seq, flags: SYN, win: 64_240, options: &options, ..Tcp::default() };
        capture.tcp(&hosts, Way::ToServer, &tcp)?;
        number = number.wrapping_add(1);
        capture.now_ns += STEP_NS;
    }
    Ok(())
}

/// One flow whose data lie far beyond the window, after a handshake without fault.
pub fn all_invalid<W: Write>(capture: &mut Capture<W>, random: &mut Random) -> io::Result<()> {
    let hosts =
        Hosts { is_v6: false, client: 0x0a00_0001, server: 0xc000_0201, ports: [40_000, 443] };
    let (client, server) = (1_000_000, 5_000_000);
    let options = syn_options(1, 0);
    let win = 64_240;
    let syn = Tcp { seq: client, flags: SYN, win, options: &options, ..Tcp::default() };
    let answer = Tcp { seq: server, ack: client + 1, flags: SYN | ACK, ..syn };
    capture.tcp(&hosts, Way::ToServer, &syn)?;
    capture.tcp(&hosts, Way::ToClient, &answer)?;
    let mut id = 1u16;
    while !capture.is_full() {
        let options = timestamps(capture.clock(), 1);
        let beyond = (1 << 29) + random.below(1 << 20) as u32;
        let (seq, ack) = (client + 1 + beyond, server + 1);
        let options = &options;
        id = id.wrapping_add(1);
        let tcp = Tcp { seq, ack, flags: PSH | ACK, win: 502, len: 100, id, options };
        capture.tcp(&hosts, Way::ToServer, &tcp)?;
        capture.now_ns += STEP_NS;
    }
    Ok(())
}
