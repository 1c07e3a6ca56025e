//! C21: new connections find no answer while those that exist go on.
//!
//! Does not: claim to see in a capture what only counters show.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C21",
    name: "conntrack_table_full",
    title: "the connection table is full",
    blames_a_device: true,
    mechanism: "With nf_conntrack_max entries the kernel drops what would make a new one: no \
                INVALID, but nothing. Connections that exist go on.",
    signature: "Not visible in a capture but for SYNs without any answer while established \
                connections of the same server run. The kernel log says: nf_conntrack: table \
                full, dropping packet; conntrack -S counts drop, early_drop and insert_failed.",
    look_alikes: "A server that is down or drops SYNs for a full accept queue; a rule of the \
                  firewall.",
    remedy: "Ask conntrack -S and dmesg; raise nf_conntrack_max, shorten timeouts, and leave DNS \
             untracked.",
    references: "nf_conntrack_max (nf_conntrack-sysctl.rst); nf_conntrack_alloc() \
                 (nf_conntrack_core.c)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
