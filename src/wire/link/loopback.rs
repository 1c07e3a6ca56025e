//! BSD loopback, `LINKTYPE_NULL` and `LINKTYPE_LOOP`: an address family in front of the packet.

use super::Network;
use crate::wire::Undecodable;
use crate::wire::bytes::{be32, le32};

/// `AF_INET`, everywhere.
const INET: u32 = 2;
/// `AF_INET6` of Linux, of NetBSD and OpenBSD, of FreeBSD, and of macOS.
const INET6: [u32; 4] = [10, 24, 28, 30];

/// Finds the IP packet behind a family that the capturing host wrote in its own byte order.
pub(super) fn frame(bytes: &[u8]) -> Result<Network, Undecodable> {
    let little = le32(bytes, 0).ok_or(Undecodable::LinkHeaderCut)?;
    let big = be32(bytes, 0).ok_or(Undecodable::LinkHeaderCut)?;
    by_family(little.min(big), 4)
}

/// Finds the IP packet at `at` by its address family.
pub(super) fn by_family(family: u32, at: usize) -> Result<Network, Undecodable> {
    match family {
        INET => Ok(Network::v4(at)),
        family if INET6.contains(&family) => Ok(Network::v6(at)),
        _ => Err(Undecodable::NotIp),
    }
}
