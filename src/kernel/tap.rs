//! The way into the kernel: a bridge between two tap devices.
//!
//! Does not: know rules, connections or time.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};

use super::sys::{self, Interfaces};
use super::{Error, Feature};

/// The largest datagram a tap device may carry, in bytes.
const MTU: i32 = 65_521;
const BRIDGE: &str = "br0";
const ENTRY: &str = "tap0";
const EXIT: &str = "tap1";
const HEADER_LEN: usize = 14;

/// The bridge, with the end that packets are written to.
#[derive(Debug)]
pub(super) struct Tap {
    entry: File,
    /// Held open: a bridge port is only forwarded to while its tap device has an end.
    _exit: File,
}

impl Tap {
    /// Makes bridge and devices in the calling thread's namespace.
    pub(super) fn new() -> Result<Self, Error> {
        let tap = |name| sys::make_tap(name).map_err(|e| Error::Missing(Feature::Tap, e));
        let (entry, exit) = (tap(ENTRY)?, tap(EXIT)?);
        sys::drop_all_output(&entry).map_err(|e| Error::Missing(Feature::Tap, e))?;
        sys::drop_all_output(&exit).map_err(|e| Error::Missing(Feature::Tap, e))?;
        join().map_err(|e| Error::Missing(Feature::Bridge, e))?;
        Ok(Self { entry, _exit: exit })
    }

    /// Writes an IP packet; all hooks have run when this returns.
    ///
    /// The packet's `number` is the lower part of the destination address, which no port has ever
    /// sent from: the bridge forwards to its other port.
    pub(super) fn feed(&self, number: u32, packet: &[u8], version: IpVersion) -> io::Result<()> {
        let mut header = [0x02, 0xc7, 0, 0, 0, 0, 0x02, 0xaa, 0, 0, 0, 0x01, 0, 0];
        let [_, _, a, b, c, d, .., high, low] = &mut header;
        [*a, *b, *c, *d] = number.to_be_bytes();
        [*high, *low] = match version {
            IpVersion::V4 => [0x08, 0x00],
            IpVersion::V6 => [0x86, 0xdd],
        };
        let written =
            (&self.entry).write_vectored(&[IoSlice::new(&header), IoSlice::new(packet)])?;
        if written == HEADER_LEN + packet.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

/// Which Internet Protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Reads the packet's number from the Ethernet header that came back.
pub(super) fn number_in(header: &[u8]) -> Option<u32> {
    let number = header.strip_prefix(&[0x02, 0xc7])?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*number))
}

fn join() -> io::Result<()> {
    let interfaces = Interfaces::open()?;
    interfaces.make_bridge(BRIDGE)?;
    for port in [ENTRY, EXIT] {
        interfaces.set_mtu(port, MTU)?;
        interfaces.add_to_bridge(BRIDGE, port)?;
    }
    for name in [ENTRY, EXIT, BRIDGE] {
        interfaces.switch_on(name)?;
    }
    Ok(())
}
