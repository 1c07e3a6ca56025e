//! An entry that another tracker, such as the host's own, tells of.
//!
//! Does not: ask for it; `kernel::own` does.

use crate::conntrack::entry::Entry;
use crate::conntrack::state::TcpState;
use crate::conntrack::window::{Side, SideFlags, Sides};
use crate::segment::PerDirection;
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// What another tracker tells of an entry of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The state.
    pub state: TcpState,
    /// The shift of each side's window.
    pub wscale: PerDirection<u8>,
    /// `IP_CT_TCP_FLAG_*` of each side.
    pub flags: PerDirection<u8>,
    /// `IPS_SEEN_REPLY`.
    pub seen_reply: bool,
    /// `IPS_ASSURED`.
    pub assured: bool,
    /// When the entry expires.
    pub expires: Timestamp,
    /// Which way the original direction goes.
    pub original: Orientation,
}

impl Entry {
    /// Makes an entry from what another tracker tells, which does not tell sequence numbers: as
    /// the kernel does, each side takes those of the first segment that it sends
    /// (`tcp_in_window()`, a side without `td_maxwin`).
    pub fn known(known: &Known) -> Self {
        let side = |scale: u8, flags: u8| {
            let mut flags = SideFlags(flags);
            flags.remove(SideFlags::MAXACK_SET);
            Side { scale, flags, ..Side::default() }
        };
        let Known { wscale, flags, .. } = *known;
        Self {
            sides: Sides {
                original: side(wscale.original, flags.original),
                reply: side(wscale.reply, flags.reply),
            },
            expires: known.expires,
            state: known.state,
            seen_reply: known.seen_reply,
            assured: known.assured,
            original: known.original,
            ..Self::default()
        }
    }
}
