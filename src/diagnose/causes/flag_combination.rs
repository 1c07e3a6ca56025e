//! C19: packets carry flags that no TCP sends, and are INVALID for that.
//!
//! Does not: judge single packets that another rule refuses.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C19",
    name: "invalid_flag_combination",
    title: "flags that no TCP sends",
    blames_a_device: false,
    mechanism: "FIN without ACK, no flag at all, SYN with FIN or RST, FIN with RST, URG or PSH \
                alone: the tracker calls them INVALID whatever the window, and with be_liberal=1 \
                as well.",
    signature: "bad_flags, mostly from few hosts to many ports (a scan), or from one device to \
                its peer (a broken stack).",
    look_alikes: "A capture damaged or cut within the TCP header.",
    remedy: "None for scans: they are refused, as they should be. For a broken device an accept \
             rule before the drop, or notrack; no sysctl helps.",
    references: "tcp_valid_flags (nf_conntrack_proto_tcp.c); RFC 9293, section 3.1",
    diagnose: None,
    remedies: |_| Vec::new(),
});
