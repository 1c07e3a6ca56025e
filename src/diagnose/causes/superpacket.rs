//! C23: segments larger than the path allows: merged by the host's card or kernel.
//!
//! Does not: take merged packets for an overrun window.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C23",
    name: "superpackets",
    title: "packets merged beyond the MTU",
    blames_a_device: false,
    mechanism: "Receive offload merges segments and send offload hands over large ones; conntrack \
                and the capture see the merged packet alike, so that judging it as captured is \
                right. A router whose card merges what it must forward (LRO) cannot split it \
                again and drops it.",
    signature: "Segments longer than the MSS that both SYNs agreed upon.",
    look_alikes: "Jumbo frames on a path that has them.",
    remedy: "None where they only appear; on a router that drops them: ethtool -K DEV lro off.",
    references: "Linux Documentation/networking/segmentation-offloads.rst; ethtool(8)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
