//! C14: two backends answer one SYN.
//!
//! Does not: speak of a SYN-ACK that is sent again as it was.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C14",
    name: "second_syn_ack_other_isn",
    title: "a second SYN-ACK with another initial number",
    blames_a_device: true,
    mechanism: "A SYN that is sent again reaches another backend (ECMP rehash, a balancer without \
                state, a SYN proxy that hands over), which answers with its own initial number. \
                If that is higher than the first, the tracker judges by the first and calls what \
                follows INVALID; if lower, it is ignored and the connection works. About half of \
                such connections fail.",
    signature: "Two SYN-ACKs acknowledge the same SYN with different sequence numbers, mostly \
                with another TTL or timestamp base.",
    look_alikes: "A port used again for a new connection, whose SYN has another number; a spoofed \
                  SYN-ACK.",
    remedy: "Make the balancer consistent: hash by the connection and keep state for SYNs that \
             are sent again; be_liberal=1 lets the data of the second pass.",
    references: "tcp_in_window() and the SYN-ACK case of nf_conntrack_tcp_packet() \
                 (nf_conntrack_proto_tcp.c)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
