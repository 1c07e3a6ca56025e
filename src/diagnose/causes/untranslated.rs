//! C09: packets with private addresses appear outside a translating router.
//!
//! Does not: take a private network for the outside.

use crate::diagnose::cause::{Cause, Knowledge};

/// What there is to know of it.
pub(in crate::diagnose) const CAUSE: Cause = Cause::known(&Knowledge {
    id: "C09",
    name: "invalid_leaves_untranslated",
    title: "INVALID packets leave untranslated",
    blames_a_device: true,
    mechanism: "A packet that conntrack calls INVALID is not translated. Where the rules let it \
                pass, it leaves a masquerading router with its private source address, and nobody \
                answers it, or a provider complains.",
    signature: "Beside flows with the public address, packets with a private source and the same \
                ports and numbers: mostly RST, FIN and late acknowledgements.",
    look_alikes: "A capture before the translation, or on both sides of it; private networks \
                  routed on purpose.",
    remedy: "Drop INVALID in FORWARD on the translating router, and find out why the packets are \
             INVALID: this is a symptom.",
    references: "nf_nat_inet_fn() (nf_nat_core.c); netfilter bugzilla 693",
    diagnose: None,
    remedies: |_| Vec::new(),
});
