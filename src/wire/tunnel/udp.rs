//! UDP tunnels, told by their ports.

use super::{Closed, Inside, Opened, Payload, TYPE_MPLS, capwap, geneve, gtp, l2tp, teredo, vxlan};

/// Length of a UDP header in bytes.
const HEADER_LEN: usize = 8;

const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const LISP: u16 = 4341;
const VXLAN: u16 = 4789;
const VXLAN_GPE: u16 = 4790;
const CAPWAP: u16 = 5247;
const GENEVE: u16 = 6081;
const MPLS: u16 = 6635;
/// What Linux used before VXLAN had a port of its own.
const VXLAN_OLD: u16 = 8472;

/// Returns the port by which a datagram is a tunnel, if one is.
///
/// Most tunnels choose their source port at will; those that answer from their own port are told
/// by either.
const fn tunnel_port(src: u16, dst: u16) -> Option<u16> {
    match (src, dst) {
        (
            _,
            CAPWAP | L2TP | GTP_U | TEREDO | LISP | VXLAN | VXLAN_GPE | GENEVE | MPLS | VXLAN_OLD,
        ) => Some(dst),
        (CAPWAP | L2TP | TEREDO, _) => Some(src),
        _ => None,
    }
}

/// Returns whether a datagram with these ports may be a tunnel.
pub(super) const fn is_tunnel_port(src: u16, dst: u16) -> bool {
    tunnel_port(src, dst).is_some()
}

/// Steps over the UDP header and that of the tunnel.
pub(super) fn open(datagram: Payload<'_>) -> Result<Opened, Closed> {
    let [s0, s1, d0, d1, l0, l1, _, _] = datagram.chunk(0)?;
    let port = tunnel_port(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let len = usize::from(u16::from_be_bytes([l0, l1])).saturating_sub(HEADER_LEN);
    let after = datagram.after(HEADER_LEN);
    let payload = Payload::new(after.captured, len.min(after.len));
    let opened = match port.ok_or(Closed::NoTunnel)? {
        CAPWAP => capwap::open(payload),
        L2TP => l2tp::open(payload),
        GTP_U => gtp::open(payload),
        TEREDO => teredo::open(payload),
        LISP => Ok(Opened::new(Inside::Ip, 8)),
        VXLAN_GPE => vxlan::open_generic(payload),
        GENEVE => geneve::open(payload),
        MPLS => Ok(Opened::new(Inside::Typed(TYPE_MPLS), 0)),
        _ => vxlan::open(payload),
    }?;
    Ok(Opened { at: opened.at + HEADER_LEN, ..opened })
}
