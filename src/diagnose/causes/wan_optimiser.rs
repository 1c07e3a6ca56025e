//! C25: a box in the path speaks TCP for the ends.
//!
//! Does not: blame it where the tracker has no fault to show.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C25",
    name: "wan_optimiser_or_proxy",
    title: "a WAN optimiser or proxy in the path",
    blames_a_device: true,
    mechanism: "WAN optimisers find one another by options of their own in the SYN, acknowledge \
                locally and send on as they see fit. Traffic that passes one of them and not the \
                other, or goes beyond the window that the far end offered, meets a tracker that \
                knows only one of the legs.",
    signature: "SYNs with TCP option 76 or 78, or one pair of hosts with two fingerprints or two \
                TTLs, or acknowledgements sooner than the far end could send them.",
    look_alikes: "Load balancers (C04); several hosts behind one translated address.",
    remedy: "Route both legs through it (C08), or have it keep to the window (C05).",
    references: "IANA TCP option kinds 76 and 78 (Riverbed)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
