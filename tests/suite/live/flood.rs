//! Packets of made-up connections at the rate at which one processor sends them: more than real
//! hosts send each other on the same machine.
//!
//! They are addressed to nobody, so that the capturing host looks at them no further.
#![expect(unsafe_code, reason = "packet sockets have no face in the standard library")]

use std::ffi::CString;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tcp_window_audit::segment::{Direction, Flags, Options, Segment};
use tcp_window_audit::seq::SeqNum;
use tcp_window_audit::tuple::Endpoint;

use super::net::Net;
use crate::generate::frame::{Addresses, Encapsulation, frame};

/// Connections that are open at the same time, and the requests of each.
const FLOWS: u16 = 64;
const REQUESTS: u32 = 50;
/// Bytes of a request, and of its answer.
const BYTES: u32 = 100;
/// How far the numbers of a connection are behind those of the one before it.
const STRIDE: u32 = 1 << 20;
/// Packets that are handed to the kernel at a time.
const AT_ONCE: usize = 64;
/// Where the source is in a frame.
const SOURCE: usize = 14 + 12;
/// Where the numbers are in a frame: behind Ethernet and IPv4, and the ports.
const SEQ: usize = 14 + 20 + 4;
const ACK: usize = SEQ + 4;

/// Sends from right to left until the flag is set.
pub(super) fn flood(net: &Net, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    net.right(move || {
        let socket = Socket::open("v2");
        let mut frames = conversations();
        while !stop.load(Ordering::Relaxed) {
            for frames in frames.chunks_mut(AT_ONCE) {
                socket.send(frames);
                for frame in frames {
                    advance(frame);
                }
            }
        }
    })
}

/// Sends so many SYNs from right to left, each from another address.
pub(super) fn syns(net: &Net, count: u32) {
    let work = move || {
        let socket = Socket::open("v2");
        let mut frames = conversations();
        frames.truncate(AT_ONCE);
        for first in (0..count).step_by(AT_ONCE) {
            for (number, frame) in (first..).zip(&mut frames) {
                frame[SOURCE..SOURCE + 4].copy_from_slice(&(0x0b00_0000 + number).to_be_bytes());
            }
            socket.send(&mut frames);
        }
    };
    net.right(work).join().unwrap();
}

/// Makes the frame that of the next connection between the same ends; nobody sums its checksum.
fn advance(frame: &mut [u8]) {
    for at in [SEQ, ACK] {
        let number = u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        frame[at..at + 4].copy_from_slice(&number.wrapping_add(STRIDE).to_be_bytes());
    }
}

/// Returns all frames of as many connections, side by side.
fn conversations() -> Vec<Vec<u8>> {
    let steps = steps();
    let frames = steps.iter().flat_map(|(direction, segment)| {
        (0..FLOWS).map(|flow| {
            let end = |addr: [u8; 4], port| Endpoint { addr: Ipv4Addr::from(addr).into(), port };
            let (a, b) = (end([203, 0, 113, 10], 30_000 + flow), end([192, 0, 2, 80], 443));
            frame(Encapsulation::Ethernet, &Addresses { a, b }, *direction, segment)
        })
    });
    frames.collect()
}

/// Returns the segments of a connection: handshake, requests with answers, and the end.
fn steps() -> Vec<(Direction, Segment)> {
    use Direction::{Original, Reply};
    let (client, server) = (1000, 2000);
    let ack = Flags::ACK;
    let mut steps = vec![
        (Original, segment(Flags::SYN, client, 0, 0)),
        (Reply, segment(Flags(Flags::SYN.0 | ack.0), server, client + 1, 0)),
        (Original, segment(ack, client + 1, server + 1, 0)),
    ];
    let (mut ours, mut theirs) = (client + 1, server + 1);
    for _ in 0..REQUESTS {
        steps.push((Original, segment(ack, ours, theirs, BYTES)));
        ours += BYTES;
        steps.push((Reply, segment(ack, theirs, ours, BYTES)));
        theirs += BYTES;
    }
    let last = Flags(Flags::FIN.0 | ack.0);
    steps.push((Original, segment(last, ours, theirs, 0)));
    steps.push((Reply, segment(last, theirs, ours + 1, 0)));
    steps.push((Original, segment(ack, ours + 1, theirs + 1, 0)));
    steps
}

fn segment(flags: Flags, seq: u32, ack: u32, len: u32) -> Segment {
    Segment {
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        len,
        win: 60_000,
        flags,
        header_len: 20,
        options: Options::default(),
        fault: None,
        options_cut: false,
        ttl: 64,
        ip_id: 0,
    }
}

/// A packet socket.
struct Socket {
    descriptor: libc::c_int,
    address: libc::sockaddr_ll,
}

impl Socket {
    fn open(interface: &str) -> Self {
        let name = CString::new(interface).unwrap();
        // SAFETY: takes no pointers.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        assert!(descriptor >= 0);
        // SAFETY: all-zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        // SAFETY: the name ends in a null byte.
        address.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) }.cast_signed();
        Self { descriptor, address }
    }

    /// Sends frames; one that finds no room is lost.
    fn send(&self, frames: &mut [Vec<u8>]) {
        let mut parts: Vec<_> = frames
            .iter_mut()
            .map(|frame| libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = Vec::with_capacity(parts.len());
        for part in &mut parts {
            // SAFETY: all-zero is a valid header.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw const self.address).cast_mut().cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            messages.push(message);
        }
        let count = messages.len() as libc::c_uint;
        // SAFETY: the headers are valid, and so is what they point to, during the call.
        unsafe { libc::sendmmsg(self.descriptor, messages.as_mut_ptr(), count, 0) };
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open and closed once.
        unsafe { libc::close(self.descriptor) };
    }
}
