//! A host of its own: a thread in a fresh network namespace with a tun device.
//!
//! The packets that its kernel sends come out of the device's descriptor, and what is written there
//! arrives at its kernel.
#![expect(unsafe_code, reason = "namespaces and tun devices have no face in the standard library")]
#![cfg(target_os = "linux")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;

/// Moves the calling thread into a new network namespace and gives it a tun device with this
/// address; returns the other end of the device.
pub(crate) fn enter(address: &str) -> io::Result<File> {
    // SAFETY: takes no pointers; only the calling thread changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"tun0") {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    // SAFETY: the request is valid for reads and writes, and names a device by a terminated string.
    if unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for arguments in [
        &["addr", "add", address, "dev", "tun0"][..],
        &["link", "set", "tun0", "up", "mtu", "1500", "txqueuelen", "10000"],
        &["link", "set", "lo", "up"],
    ] {
        let status = Command::new("ip").args(arguments).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("ip {arguments:?}: {status}")));
        }
    }
    Ok(tun)
}

/// Reads a counter of the calling thread's namespace, as `nstat` names it.
pub(super) fn counter(name: &str) -> u64 {
    let files = ["/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"];
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2) {
            let (names, values) = (pair[0].split_whitespace(), pair[1].split_whitespace());
            let prefix = pair[0].split(':').next().unwrap();
            for (key, value) in names.zip(values) {
                if format!("{prefix}{key}") == name {
                    return value.parse().unwrap();
                }
            }
        }
    }
    panic!("the kernel has no counter {name}");
}
