//! C22: the same packets pass the tracker or the capture more than once.
//!
//! Does not: take what is sent again for a copy.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C22",
    name: "tracked_or_captured_twice",
    title: "packets are tracked or captured twice",
    blames_a_device: false,
    mechanism: "Bridges with bridge-nf-call-iptables, VRFs and chains of veth pass one packet \
                through conntrack several times, and a capture on any interface records it as \
                often. What is there twice looks sent again.",
    signature: "Identical packets less than 200 us apart, with the same TTL or one less, on \
                another interface or with other link addresses.",
    look_alikes: "Retransmissions, which have an IP id of their own; C06, where the copy comes \
                  much later.",
    remedy: "Capture on one interface; net.bridge.bridge-nf-call-iptables=0, or conntrack zones, \
             where the tracker itself meets them twice.",
    references: "bridge-nf-call-iptables (ip-sysctl.rst); nft(8), ct zone",
    diagnose: None,
    remedies: |_| Vec::new(),
});
