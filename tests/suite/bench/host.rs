//! A host of its own: a thread in a fresh network namespace, which runs what it is given there.
#![expect(unsafe_code, reason = "sockets bound before they connect have no face in std")]

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::emulated::host::{device, ip, unshare};

type Job = Box<dyn FnOnce() + Send>;

/// A host; it is gone when this is dropped and its sockets are closed.
pub(super) struct Host {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    has_rules: Cell<bool>,
}

impl Host {
    /// Makes a host with so many devices, named `tun0` and on; returns their other ends.
    pub(super) fn new(devices: usize) -> io::Result<(Self, Vec<File>)> {
        let (jobs, todo) = channel::<Job>();
        let thread = thread::spawn(move || todo.into_iter().for_each(|job| job()));
        let has_rules = Cell::default();
        let host = Self { jobs: Some(jobs), thread: Some(thread), has_rules };
        let made = host.run(move || {
            unshare()?;
            ip(&["link", "set", "lo", "up"])?;
            let mut ends = Vec::new();
            for number in 0..devices {
                let name = format!("tun{number}");
                ends.push(device(&name)?);
                ip(&["link", "set", &name, "up", "mtu", "1500", "txqueuelen", "10000"])?;
            }
            Ok::<_, io::Error>(ends)
        })?;
        Ok((host, made))
    }

    /// Runs something in the namespace and waits for its result.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || done.send(job()).unwrap_or_default());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the job has not panicked")
    }

    /// Gives a device an address and, where it is the way out, the default route.
    pub(super) fn address(&self, name: &'static str, address: Ipv4Addr) -> io::Result<()> {
        self.run(move || ip(&["addr", "add", &format!("{address}/32"), "dev", name]))
    }

    pub(super) fn route(&self, to: &'static str, name: &'static str) -> io::Result<()> {
        self.run(move || ip(&["route", "add", to, "dev", name]))
    }

    /// Sets a sysctl of the namespace, named by its path below `/proc/sys`.
    pub(super) fn set(&self, sysctl: &'static str, value: &'static str) -> io::Result<()> {
        self.run(move || std::fs::write(format!("/proc/sys/{sysctl}"), value))
    }

    /// Loads an nft script.
    pub(super) fn nft(&self, script: &'static str) -> io::Result<()> {
        self.has_rules.set(true);
        self.run(move || {
            let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
            child.stdin.take().unwrap().write_all(script.as_bytes())?;
            let status = child.wait()?;
            if status.success() { Ok(()) } else { Err(io::Error::other(format!("nft: {status}"))) }
        })
    }

    /// Returns how many packets the tracker of the namespace has called INVALID, if one runs.
    pub(super) fn invalid(&self) -> Option<u64> {
        self.has_rules.get().then(|| self.run(count_invalid))
    }
}

fn count_invalid() -> u64 {
    let file = "/proc/thread-self/net/stat/nf_conntrack";
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().map(str::split_whitespace);
    let column = lines.next().and_then(|mut names| names.position(|name| name == "invalid"));
    // One line a processor, in hexadecimal.
    let counts = lines.filter_map(|mut line| line.nth(column?));
    counts.filter_map(|count| u64::from_str_radix(count, 16).ok()).sum()
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Returns which of the devices have something to read, after waiting for one at most so long.
pub(super) fn readable(files: &[File], most: Duration) -> Vec<usize> {
    let mut polls: Vec<libc::pollfd> = files
        .iter()
        .map(|file| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(most.subsec_nanos()) };
    let count = polls.len() as libc::nfds_t;
    // SAFETY: the entries and the time are valid for the call; no signal mask is given.
    unsafe { libc::ppoll(polls.as_mut_ptr(), count, &raw const time, std::ptr::null()) };
    let ready = polls.iter().enumerate().filter(|(_, poll)| poll.revents & libc::POLLIN != 0);
    ready.map(|(index, _)| index).collect()
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket_address(of: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: u16::try_from(libc::AF_INET).unwrap(),
        sin_port: of.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*of.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

/// Connects from this address and port, in the calling thread's namespace.
///
/// Gives up after so long.
pub(super) fn connect(
    from: SocketAddrV4,
    to: SocketAddrV4,
    most: Duration,
) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // On Linux this bounds connecting as well.
    stream.set_write_timeout(Some(most))?;
    let on: libc::c_int = 1;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
    // SAFETY: the value is valid for reads of its length.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), 4) })?;
    let (from, to) = (socket_address(from), socket_address(to));
    // SAFETY: the address is valid for reads of its length.
    check(unsafe { libc::bind(fd, (&raw const from).cast(), ADDRESS_LEN) })?;
    // SAFETY: as before.
    check(unsafe { libc::connect(fd, (&raw const to).cast(), ADDRESS_LEN) })?;
    Ok(stream)
}

/// Sends an ICMP echo request of so many bytes, IP header counted; the answer is not waited for.
pub(super) fn ping(to: Ipv4Addr, bytes: usize, number: u16) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34];
    message.extend(number.to_be_bytes());
    message.resize(bytes - 20, 0x5a);
    let sum = super::packet::checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let to = socket_address(SocketAddrV4::new(to, 0));
    let (fd, data) = (socket.as_raw_fd(), message.as_ptr().cast());
    // SAFETY: message and address are valid for reads of their lengths.
    let sent =
        unsafe { libc::sendto(fd, data, message.len(), 0, (&raw const to).cast(), ADDRESS_LEN) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has closing send a RST, so that nothing of the connection lingers.
pub(super) fn abort_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (fd, len) = (stream.as_raw_fd(), size_of::<libc::linger>() as libc::socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: the value is valid for reads of its length.
    unsafe { libc::setsockopt(fd, level, option, (&raw const linger).cast(), len) };
}
