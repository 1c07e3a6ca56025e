//! C13: a SYN reuses a connection that the other end or a tracker still holds.
//!
//! Does not: speak of ports that are used again with success.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C13",
    name: "port_reuse_time_wait",
    title: "a port is used again too soon",
    blames_a_device: true,
    mechanism: "A client opens a connection from a port whose last one the server still remembers \
                (TIME_WAIT, half-open, or lost at a restart). The server answers with an ACK of \
                the old numbers, a challenge; the client resets that and tries again. A firewall \
                that drops this ACK or RST makes the attempt time out.",
    signature: "A SYN is answered by an ACK that acknowledges something else than the SYN, then \
                RST, then the SYN again after a second; or the SYN is repeated without any answer \
                where the same pair of ports was in use before.",
    look_alikes: "A host that is down; a full accept queue; a lost SYN.",
    remedy: "Let the ACK and the RST pass; more ephemeral ports or fewer short connections on the \
             client; tcp_tw_reuse=1 with timestamps on the client.",
    references: "RFC 9293, section 3.6.1; RFC 6191; RFC 5961, section 4",
    diagnose: None,
    remedies: |_| Vec::new(),
});
