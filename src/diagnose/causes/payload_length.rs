//! C02: a device changes the length of payload, and with it all sequence numbers that follow.
//!
//! Does not: say more than probable: a few bytes have many explanations.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C02",
    name: "alg_changes_payload_length",
    title: "an inspection engine changes the length of payload",
    blames_a_device: true,
    mechanism: "An application gateway (SMTP, FTP, SIP inspection, a fixup) rewrites payload to \
                another length and moves the sequence numbers that follow by the difference. \
                Where it forgets SACK blocks, or what is sent again, the two sides disagree by \
                some bytes.",
    signature: "SACK edges or repeated data are off by a small constant, below 4096 bytes, which \
                changes in steps after certain payloads within one flow.",
    look_alikes: "C01 (one large constant per flow); frames lost while capturing. Linux's own NAT \
                  helpers do adjust SACK.",
    remedy: "Switch the inspection off: no inspect esmtp, no inspect sip; on Linux \
             nf_conntrack_helper=0.",
    references: "RFC 2018, section 3; tcp_sack() (nf_conntrack_proto_tcp.c); nf_ct_seq_adjust() \
                 (nf_conntrack_seqadj.c)",
    diagnose: None,
    remedies: |_| Vec::new(),
});
