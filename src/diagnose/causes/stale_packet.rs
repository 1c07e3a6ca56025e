//! C06: a packet arrives that is older than the whole window, and draws a RST.
//!
//! Does not: speak of late packets that nobody answers.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C06",
    name: "stale_packet_below_window",
    title: "stale packet far below the window",
    blames_a_device: true,
    mechanism: "A cloud fabric, a second path or a queue delivers a copy of a segment long after \
                it was acknowledged. Kernels before 6.1 call it INVALID (SEQ or ACK under the \
                lower bound). Where the connection is translated (DNAT, masquerading, IPVS), an \
                INVALID packet keeps its outer address, meets no socket, and the host answers \
                with a RST that kills the real connection.",
    signature: "A segment ends more than a window below the highest byte sent, with a timestamp \
                and an IP id older than its neighbours', and within a millisecond or so a RST \
                carries its acknowledgement number; then the far end falls silent.",
    look_alikes: "Ordinary retransmissions, which have a new timestamp and IP id; the same packet \
                  captured twice at one moment; a RST that belongs to the close.",
    remedy: "Linux 6.1 or later, which lets such packets pass; or drop INVALID packets before \
             they reach the host; or nf_conntrack_tcp_be_liberal=1.",
    references: "Linux commit 6e250dcbff1d (netfilter: conntrack: ignore overly delayed tcp \
                 packets); kubernetes issue 74839",
    diagnose: None,
    remedies: |_| Vec::new(),
});
