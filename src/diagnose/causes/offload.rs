//! C07: data passes in hardware or firmware, and the tracker sees only the packets around it.
//!
//! Does not: speak where a capture may have lost some frames.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C07",
    name: "hardware_offload_hides_data",
    title: "offload hides data from the tracker",
    blames_a_device: true,
    mechanism: "Flow offload in a switch, a network card or a vendor's firmware forwards the data \
                of established connections past the kernel and hands it only SYN, FIN and RST. \
                The tracker's bounds stay behind, and the first packet that it meets again \
                acknowledges megabytes which it never saw: INVALID (ACK over), and a FIN or RST \
                is lost.",
    signature: "In every longer flow, handshake and first packets, then nothing in either \
                direction, then a FIN or RST whose sequence and acknowledgement numbers are far \
                ahead.",
    look_alikes: "Capture loss, which leaves some packets between the gaps and hits some flows \
                  only; a capture that was filtered to flags.",
    remedy: "Switch the offload off to see whether that is it; be_liberal=1 on that box; a \
             firmware that tells conntrack.",
    references: "flow_offload_fixup_tcp() (nf_flow_table_core.c); OpenWrt: NSS acceleration and \
                 rule Prevent NAT leakage",
    diagnose: None,
    remedies: |_| Vec::new(),
});
