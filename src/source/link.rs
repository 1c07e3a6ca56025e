//! Whether an interface is there and up, as the kernel tells any program.
#![expect(unsafe_code, reason = "the standard library does not know interfaces")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// What is known of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Up,
    Down,
    Gone,
}

/// Looks at one interface again and again.
pub(super) struct Watch {
    /// Any socket will do to ask the kernel with, and needs no permission.
    socket: UdpSocket,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Watch {
    /// Prepares to look at an interface; none where that makes no sense, as for `any`.
    pub(super) fn new(interface: &str) -> Option<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface == super::libpcap::ANY || interface.len() >= name.len() {
            return None;
        }
        for (place, byte) in name.iter_mut().zip(interface.bytes()) {
            *place = libc::c_char::from_ne_bytes([byte]);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"));
        Some(Self { socket: socket.ok()?, name })
    }

    /// Returns what the interface is like now.
    pub(super) fn look(&self) -> Link {
        // SAFETY: all-zero is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        let fd = self.socket.as_raw_fd();
        // SAFETY: the request is valid for reads and writes, and has the size that the call takes.
        let status = unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS, &raw mut request) };
        if status != 0 {
            let is_gone = io::Error::last_os_error().raw_os_error() == Some(libc::ENODEV);
            // What cannot be told is no reason to give up an interface that gives packets.
            return if is_gone { Link::Gone } else { Link::Up };
        }
        // SAFETY: the call that succeeded wrote this field.
        let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        if flags & libc::IFF_UP == 0 { Link::Down } else { Link::Up }
    }
}
