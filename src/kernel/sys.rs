//! The system calls that the standard library does not offer, each behind a safe face.
//!
//! Does not: know what is sent or why.
#![expect(
    unsafe_code,
    reason = "namespaces, tap devices and batched netlink have no face in the standard library"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::netlink;

/// Bytes of one datagram that are kept: more than any message that is asked for.
const DATAGRAM: usize = 1024;
/// Bytes of one datagram of a dump.
const DUMP_DATAGRAM: usize = 64 << 10;
/// Datagrams that are received at once.
const SLOTS: usize = 8;

/// Moves the calling thread into a new network namespace.
pub(super) fn unshare_network() -> io::Result<()> {
    // SAFETY: takes no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// A netfilter netlink socket to the kernel of the namespace it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = u16::try_from(libc::AF_NETLINK).unwrap_or_default();
        // SAFETY: the address is valid for reads of the length that goes with it.
        check(unsafe {
            libc::bind(fd, (&raw const address).cast(), length_of::<libc::sockaddr_nl>())
        })?;
        let on: libc::c_int = 1;
        let option = libc::NETLINK_CAP_ACK;
        // SAFETY: the option's value is valid for reads of the length that goes with it.
        check(unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                length_of::<libc::c_int>(),
            )
        })?;
        Ok(Self { socket })
    }

    /// Sends messages; the kernel has acted on them when this returns.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        // SAFETY: the buffer is valid for reads of its length.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends a question, a dump or one to be acknowledged, and hands over the datagrams of the
    /// answer until it is complete.
    pub(super) fn dump(
        &self,
        question: &[u8],
        patience_ms: i32,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.send(question)?;
        // The kernel fills as much as it is offered, up to 32 KiB.
        let mut buffer = vec![0; DUMP_DATAGRAM];
        loop {
            if !self.wait(patience_ms)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let fd = self.socket.as_raw_fd();
            // SAFETY: the buffer is valid for writes of its length.
            let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            let datagram = buffer.get(..count).unwrap_or_default();
            take(datagram);
            for message in netlink::messages(datagram) {
                match message.error_number() {
                    // The acknowledgement of a question that is no dump comes after the answer.
                    Some(0) => return Ok(()),
                    Some(number) => return Err(io::Error::from_raw_os_error(number)),
                    _ if message.kind == netlink::DONE => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    /// Waits until something has arrived, at most `milliseconds`.
    pub(super) fn wait(&self, milliseconds: i32) -> io::Result<bool> {
        let mut poll =
            libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        let ready = check(unsafe { libc::poll(&raw mut poll, 1, milliseconds) })?;
        Ok(ready > 0)
    }
}

/// Room for the datagrams that one call receives.
pub(super) struct Inbox {
    buffers: Box<[[u8; DATAGRAM]; SLOTS]>,
    lengths: [usize; SLOTS],
    count: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffers: Box::new([[0; DATAGRAM]; SLOTS]), lengths: [0; SLOTS], count: 0 }
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Inbox {
    /// Receives what has arrived, without waiting; returns whether there may be more.
    pub(super) fn receive(&mut self, netlink: &Netlink) -> io::Result<bool> {
        self.count = 0;
        // SAFETY: all-zero is a valid mmsghdr: no name, no buffers, no control data.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { mem::zeroed() };
        let mut vectors = self
            .buffers
            .each_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM });
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        let fd = netlink.socket.as_raw_fd();
        let slots = u32::try_from(SLOTS).unwrap_or_default();
        // SAFETY: each header points to one buffer of this inbox, valid for writes of its length;
        // headers, vectors and buffers outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) };
        };
        for (length, header) in self.lengths.iter_mut().zip(headers.iter().take(count)) {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            *length = header.msg_len as usize;
        }
        self.count = count;
        Ok(count == SLOTS)
    }

    /// Returns the datagrams of the last call.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let used = self.buffers.iter().zip(self.lengths).take(self.count);
        used.map(|(buffer, length)| buffer.get(..length).unwrap_or_default())
    }
}

/// Makes a tap device and returns its end.
pub(super) fn make_tap(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request_for(name);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = flags.try_into().unwrap_or_default();
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

/// Makes a tap device drop all that the kernel sends through it.
pub(super) fn drop_all_output(tap: &File) -> io::Result<()> {
    /// `struct tun_filter` with one address (`if_tun.h`): only frames to it pass.
    #[repr(C)]
    struct Filter {
        flags: u16,
        count: u16,
        address: [u8; 6],
    }
    let filter = Filter { flags: 0, count: 1, address: [0x02, 0xff, 0, 0, 0, 0] };
    // SAFETY: TUNSETTXFILTER reads the two numbers and as many addresses as they say: one.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETTXFILTER, &raw const filter) })
        .map(drop)
}

/// A socket for the ioctls on interfaces of the namespace it was opened in.
#[derive(Debug)]
pub(super) struct Interfaces {
    socket: OwnedFd,
}

impl Interfaces {
    /// Opens the socket in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Makes a bridge.
    pub(super) fn make_bridge(&self, name: &str) -> io::Result<()> {
        let name = request_for(name).ifr_name;
        // SAFETY: SIOCBRADDBR reads a name of IFNAMSIZ bytes.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCBRADDBR, name.as_ptr()) }).map(drop)
    }

    /// Makes an interface a port of a bridge.
    pub(super) fn add_to_bridge(&self, bridge: &str, port: &str) -> io::Result<()> {
        let mut request = request_for(port);
        self.interface_ioctl(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: SIOCGIFINDEX has set the index.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        let mut request = request_for(bridge);
        request.ifr_ifru.ifru_ifindex = index;
        self.interface_ioctl(SIOCBRADDIF, &mut request)
    }

    /// Sets the largest IP datagram of an interface, in bytes.
    pub(super) fn set_mtu(&self, name: &str, mtu: i32) -> io::Result<()> {
        let mut request = request_for(name);
        request.ifr_ifru.ifru_mtu = mtu;
        self.interface_ioctl(libc::SIOCSIFMTU, &mut request)
    }

    /// Switches an interface on.
    pub(super) fn switch_on(&self, name: &str) -> io::Result<()> {
        let mut request = request_for(name);
        request.ifr_ifru.ifru_flags = libc::IFF_UP.try_into().unwrap_or_default();
        self.interface_ioctl(libc::SIOCSIFFLAGS, &mut request)
    }

    fn interface_ioctl(&self, number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: all callers pass requests that read and write one ifreq.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), number, &raw mut *request) }).map(drop)
    }
}

/// `SIOCBRADDBR` (`sockios.h`).
const SIOCBRADDBR: libc::Ioctl = 0x89a0;
/// `SIOCBRADDIF` (`sockios.h`).
const SIOCBRADDIF: libc::Ioctl = 0x89a2;

/// Returns a request about the interface; a name of more than 15 bytes is cut.
fn request_for(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
