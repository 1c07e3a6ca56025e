//! C18: segments arrive damaged.
//!
//! Does not: take checksums that a card has yet to write for damage.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C18",
    name: "bad_checksum",
    title: "bad checksums",
    blames_a_device: true,
    mechanism: "A damaged packet is INVALID in PREROUTING while nf_conntrack_checksum=1, and \
                discarded by its receiver in any case. Packets that the capturing host sends \
                itself may not have their checksum yet, which means nothing.",
    signature: "The same bytes are sent again after a segment with a wrong checksum that nobody \
                acknowledged.",
    look_alikes: "Checksum offload: only packets sent by the capturing host, and the field holds \
                  the sum of the pseudo header.",
    remedy: "Look for the hop that damages packets; nf_conntrack_checksum=0 only moves where they \
             are dropped.",
    references: "RFC 9293, section 3.1; nf_conntrack_checksum (nf_conntrack-sysctl.rst)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
