//! C17: packets beyond a size do not arrive.
//!
//! Does not: blame window tracking.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C17",
    name: "pmtu_black_hole",
    title: "path MTU black hole or a size threshold",
    blames_a_device: true,
    mechanism: "A hop passes smaller packets only and its ICMP messages do not arrive, or packets \
                beyond a size are damaged on the way. Small segments pass, full ones are sent \
                again for ever. The tracker has no part in it.",
    signature: "All that is sent again is larger than some size and all that is smaller arrives; \
                no ICMP message of a smaller MTU comes, or the sender does not heed it. If pings \
                of that size fail too, it is the path and not TCP.",
    look_alikes: "Loss that hits large packets more because there are more of them; C03 with a \
                  window below the segment size.",
    remedy: "Clamp the MSS to the path's MTU, let ICMP pass, or net.ipv4.tcp_mtu_probing=1 on the \
             sender.",
    references: "RFC 2923, section 2.1; RFC 4821",
    diagnose: None,
    remedies: |_| Vec::new(),
});
