//! C11: a RST comes from something else than the host whose address it carries.
//!
//! Does not: speak of a RST that agrees with its host in all.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C11",
    name: "rst_injection",
    title: "RST injected on the path",
    blames_a_device: true,
    mechanism: "An intrusion prevention system, a censor or a load balancer that ends idle \
                connections sends RSTs in the name of an end. The alleged sender knows nothing of \
                it and goes on.",
    signature: "The RST's TTL differs by two or more from the other packets of that host, its IP \
                id falls out of their series, or several RSTs come at guessed numbers; and \
                packets of the alleged sender arrive after it.",
    look_alikes: "A crash and a half-open connection (the RST then has the host's own TTL and \
                  nothing follows); data that was under way when a host reset.",
    remedy: "Find the device by the TTL of its RSTs, and have it let the connection be; if an \
             idle gap goes before, see C12.",
    references: "RFC 5961, section 3; RFC 9293, section 3.10.7",
    diagnose: None,
    remedies: |_| Vec::new(),
});
