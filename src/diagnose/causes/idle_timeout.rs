//! C12: a box on the path forgets connections that pause, and what follows gets no answer or a RST.
//!
//! Does not: speak of a pause after which the connection goes on.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C12",
    name: "idle_timeout",
    title: "a stateful box forgets idle connections",
    blames_a_device: true,
    mechanism: "A load balancer, NAT gateway or firewall drops its entry after some idle time. \
                The next segment gets no answer or draws a RST, and the application learns of it \
                minutes later.",
    signature: "The first segment after a pause is sent again and again, with doubling gaps, or \
                is reset, while shorter pauses of other flows go well: the timeout lies between \
                the longest pause survived and the shortest that was not.",
    look_alikes: "The peer was restarted or shut down; the path failed for all flows at once; a \
                  capture that begins within the pause.",
    remedy: "Keepalives more often than the timeout (net.ipv4.tcp_keepalive_time and \
             SO_KEEPALIVE), or a longer timeout on the box; nf_conntrack_tcp_loose=1 where the \
             box is Linux.",
    references: "RFC 1122, section 4.2.3.6; RFC 5382, section 5 (REQ-5); AWS NLB idle timeout \
                 (350 s)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
