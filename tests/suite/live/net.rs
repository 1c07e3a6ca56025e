//! Two hosts joined by a cable: network namespaces that are gone when the test is over.
#![expect(unsafe_code, reason = "namespaces and raw sockets have no face in the standard library")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

/// The host that captures, and the other.
pub(super) const LEFT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(super) const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// The cable's ends.
pub(super) const INTERFACE: &str = "v1";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The hosts.
pub(crate) struct Net {
    pub(super) left: String,
    right: String,
}

impl Net {
    /// Makes two hosts; none, and says why, where that cannot be.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: takes no pointers.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: live captures need root");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("twa-{}-{number}-{side}", std::process::id());
        let net = Self { left: name("l"), right: name("r") };
        if !run(&["netns", "add", &net.left]) || !run(&["netns", "add", &net.right]) {
            eprintln!("skipped: no network namespaces here");
            return None;
        }
        net.plug();
        for name in [&net.left, &net.right] {
            assert!(run(&["-n", name, "link", "set", "lo", "up"]));
        }
        Some(net)
    }

    /// Plugs the cable in.
    pub(super) fn plug(&self) {
        let (left, right) = (&self.left, &self.right);
        let cable = ["link", "add", "v1", "netns", left, "type", "veth"];
        assert!(run(&[&cable[..], &["peer", "name", "v2", "netns", right]].concat()));
        for (name, device, address) in [(left, "v1", LEFT), (right, "v2", RIGHT)] {
            let address = format!("{address}/24");
            assert!(run(&["-n", name, "addr", "add", &address, "dev", device]));
            assert!(run(&["-n", name, "link", "set", device, "up"]));
        }
    }

    /// Has both hosts send every segment as a packet of its own.
    pub(super) fn send_small_packets(&self) {
        for (name, device) in [(&self.left, "v1"), (&self.right, "v2")] {
            assert!(run(&["-n", name, "link", "set", device, "gso_max_segs", "1"]));
        }
    }

    /// Pulls the cable out, so that both devices are gone.
    pub(super) fn unplug(&self) {
        assert!(run(&["-n", &self.left, "link", "del", "v1"]));
    }

    /// Switches the capturing host's end on or off.
    pub(super) fn switch(&self, state: &str) {
        assert!(run(&["-n", &self.left, "link", "set", "v1", state]));
    }

    /// Has the capturing host track connections, and drop what is INVALID.
    pub(super) fn track(&self) -> bool {
        let rules = "table inet t {\n chain i {\n type filter hook input priority 0;\n \
                     ct state invalid counter drop;\n }\n}\n";
        let nft = ["netns", "exec", &self.left, "nft", "-f", "-"];
        let child = Command::new("ip").args(nft).stdin(Stdio::piped()).spawn();
        let loaded = child.is_ok_and(|mut child| {
            let written = child.stdin.take().unwrap().write_all(rules.as_bytes());
            child.wait().is_ok_and(|status| status.success() && written.is_ok())
        });
        if !loaded {
            eprintln!("skipped: no nftables with connection tracking here");
        }
        loaded
    }

    /// Does something on the other host.
    pub(super) fn right<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        inside(self.right.clone(), work)
    }

    /// Does something on the capturing host.
    pub(super) fn left<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        inside(self.left.clone(), work)
    }

    /// Opens connections from left to right, one after the other, each with so many bytes there and
    /// a few back.
    pub(super) fn talk(&self, connections: usize, bytes: usize) {
        let listener = self.right(|| TcpListener::bind((RIGHT, 5001)).unwrap()).join().unwrap();
        let server = self.right(move || {
            for _ in 0..connections {
                let (mut client, _) = listener.accept().unwrap();
                let mut all = Vec::new();
                client.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), bytes);
                client.write_all(b"thanks").unwrap();
            }
        });
        let client = self.left(move || {
            for _ in 0..connections {
                let mut server = TcpStream::connect((RIGHT, 5001)).unwrap();
                server.write_all(&vec![7; bytes]).unwrap();
                server.shutdown(std::net::Shutdown::Write).unwrap();
                server.read_to_end(&mut Vec::new()).unwrap();
            }
        });
        client.join().unwrap();
        server.join().unwrap();
    }

    /// Opens a connection from left to right and returns both ends.
    pub(super) fn connect(&self) -> (TcpStream, TcpStream) {
        let listener = self.right(|| TcpListener::bind((RIGHT, 5002)).unwrap()).join().unwrap();
        let client = self.left(|| TcpStream::connect((RIGHT, 5002)).unwrap()).join().unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Sends segments from right to left as a broken or hostile host would: of this connection with
    /// numbers all over the place, and with flags that mean nothing.
    pub(super) fn disturb(&self, from: u16, to: u16, count: u32) {
        let work = move || {
            // SAFETY: takes no pointers.
            let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP) };
            assert!(socket >= 0);
            for number in 0..count {
                let (flags, seq) = if number % 4 == 0 { (0x03, 1) } else { (0x10, number << 26) };
                let segment = segment(from, to, seq, number.wrapping_mul(0x1357_9bdf), flags);
                // SAFETY: all-zero is a valid sockaddr_in.
                let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                address.sin_family = libc::AF_INET as libc::sa_family_t;
                address.sin_addr.s_addr = u32::from_ne_bytes(LEFT.octets());
                // SAFETY: segment and address are valid for reads of the lengths that go with them.
                let sent = unsafe {
                    libc::sendto(
                        socket,
                        segment.as_ptr().cast(),
                        segment.len(),
                        0,
                        (&raw const address).cast(),
                        size_of::<libc::sockaddr_in>() as libc::socklen_t,
                    )
                };
                assert_eq!(usize::try_from(sent).unwrap(), segment.len());
            }
            // SAFETY: the descriptor is open and closed once.
            unsafe { libc::close(socket) };
        };
        self.right(work).join().unwrap();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        run(&["netns", "del", &self.left]);
        run(&["netns", "del", &self.right]);
    }
}

fn run(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Works in a namespace, on a thread that ends with the work.
fn inside<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        // SAFETY: the descriptor is open; only this thread changes.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        work()
    })
}

/// A segment from right to left without payload.
fn segment(from: u16, to: u16, seq: u32, ack: u32, flags: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([5 << 4, flags, 0, 100, 0, 0, 0, 0]);
    let pseudo = [&RIGHT.octets()[..], &LEFT.octets(), &[0, 6, 0, 20], &bytes].concat();
    let words = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>();
    let folded = (sum >> 16) + (sum & 0xffff);
    let checksum = !((folded >> 16) + folded) as u16;
    bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
