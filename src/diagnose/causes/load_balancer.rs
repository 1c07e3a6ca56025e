//! C04: some hosts are reached through a load balancer or proxy, which spares them.
//!
//! Does not: blame the load balancer.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C04",
    name: "behind_a_load_balancer",
    title: "connections through a load balancer: a control group",
    blames_a_device: false,
    mechanism: "A proxy in front of some hosts ends the connections of clients and opens its own: \
                its sequence numbers, SACK blocks and windows are made locally, so that faults of \
                the path beyond it cannot reach them. One that only strips options makes \
                connections that need neither SACK nor scaling.",
    signature: "The flows of some hosts share one fingerprint of options, segment size and TTL \
                from few addresses, or lack options or have runs of NOPs where others have them, \
                and they show none of the trouble.",
    look_alikes: "Hosts of one kind and one image, which share a fingerprint without any proxy.",
    remedy: "None: compare the connections through it with the others, for that tells on which \
             leg the fault is.",
    references: "RFC 9293, section 3.2",
    diagnose: None,
    remedies: |_| Vec::new(),
});
