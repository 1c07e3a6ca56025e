//! C16: timestamps from behind one address do not rise together, and a server drops SYNs by them.
//!
//! Does not: speak of timestamps alone, where the SYNs are answered.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C16",
    name: "timestamps_behind_nat",
    title: "timestamps and NAT",
    blames_a_device: true,
    mechanism: "Hosts behind one translated address have clocks of their own. A server with \
                tcp_tw_recycle (Linux before 4.12), or a balancer of that habit, drops SYNs whose \
                timestamp is older than the last one of that address. And segments without the \
                timestamp that was negotiated are discarded by their receiver (RFC 7323), which \
                is a silent stall.",
    signature: "From one address, SYNs with lower timestamps stay unanswered while those with \
                higher ones are answered, within a minute; or segments other than RST lack the \
                timestamps that both SYNs agreed upon.",
    look_alikes: "An overloaded server, which drops SYNs whatever their timestamps; options cut \
                  by the snap length.",
    remedy: "net.ipv4.tcp_tw_recycle=0 on the server, or Linux 4.12 and later; have the device \
             keep the option.",
    references: "RFC 7323, sections 3.2 and 5; Linux commit 4396e46187ca (tcp: remove \
                 tcp_tw_recycle)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
