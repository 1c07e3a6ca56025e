//! C15: something answers SYNs in place of the server, and loses options by it.
//!
//! Does not: blame a server that never offers these options.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C15",
    name: "syn_proxy_or_cookies",
    title: "SYN proxy or SYN cookies",
    blames_a_device: false,
    mechanism: "A SYN proxy answers in the name of servers and opens the real connection \
                afterwards; what it offers need not be what the server offers. A server under a \
                flood of SYNs answers with cookies, which hold neither window scale nor SACK \
                where the client sends no timestamps. Nothing of that is INVALID, but 64 KiB a \
                round trip are the most.",
    signature: "SYN-ACKs with a window of zero followed by an update; or SYN-ACKs that lack \
                scaling and SACK while others of the same server have them, in bursts.",
    look_alikes: "Clients that do not offer the options themselves; a device that strips them \
                  (C03).",
    remedy: "A longer backlog (net.core.somaxconn, net.ipv4.tcp_max_syn_backlog) and \
             net.ipv4.tcp_timestamps=1; for SYNPROXY the server's own mss and wscale.",
    references: "RFC 4987, section 3.6; nft(8), synproxy statement",
    diagnose: None,
    remedies: |_| Vec::new(),
});
