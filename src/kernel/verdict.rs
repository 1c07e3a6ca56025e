//! What the kernel said about one packet.

use crate::conntrack::TcpState;
use crate::segment::{Direction, PerDirection};

/// What a rule right after connection tracking sees (`--ctstate`, `ct state`), or why none sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CtState {
    /// NEW: belongs to an entry from whose other side nothing was accepted.
    New,
    /// ESTABLISHED: belongs to an entry, both sides of which were seen.
    Established,
    /// RELATED: an ICMP error about an entry.
    Related,
    /// INVALID: belongs to no entry.
    Invalid,
    /// UNTRACKED: exempt from tracking, as neighbour discovery is.
    Untracked,
    /// A fragment that waits for the rest; the verdict stands on the one that completes the datagram.
    FragmentHeld,
    /// Dropped before connection tracking, as datagrams with a bad IP header are.
    Unseen,
}

impl CtState {
    /// Returns the state in lower case: `new`, `fragment-held`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Related => "related",
            Self::Invalid => "invalid",
            Self::Untracked => "untracked",
            Self::FragmentHeld => "fragment-held",
            Self::Unseen => "unseen",
        }
    }
}

/// What the tracker keeps of a TCP connection, as far as `ctnetlink` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpEntry {
    /// The state.
    pub state: TcpState,
    /// `td_scale`: the shift count of each side's windows, 0–14.
    pub wscale: PerDirection<u8>,
    /// `flags`: `IP_CT_TCP_FLAG_*` (`nf_conntrack_tcp.h`, Linux 6.18).
    pub flags: PerDirection<u8>,
}

/// An entry of the connection table after the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryState {
    /// What is kept of a TCP connection; `None` for other protocols.
    pub tcp: Option<TcpEntry>,
    /// `IPS_*` bits (`nf_conntrack_common.h`, Linux 6.18).
    pub status: u32,
    /// The timeout in nominal seconds that this packet gave the entry; `None` when it gave none.
    ///
    /// In [`TimeMode::Fast`](super::TimeMode::Fast), the timeout that was given last.
    pub timeout_s: Option<u32>,
}

/// What the kernel said about one packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelVerdict {
    /// What a rule sees.
    pub state: CtState,
    /// The direction in the entry; `None` when the packet belongs to none.
    pub direction: Option<Direction>,
    /// The entry of the packet's tuple after the packet (of the quoted tuple for an ICMP error),
    /// also when the packet itself was found to be INVALID.
    pub entry: Option<EntryState>,
    /// The kernel's own texts (`nf_conntrack_log_invalid`), also for packets that are not INVALID.
    ///
    /// A number of jiffies in them follows the coded timeouts of [`TimeMode`](super::TimeMode).
    pub reasons: Vec<String>,
}
