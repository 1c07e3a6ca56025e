//! The Linux kernel itself as the judge: packets are replayed, one by one, through a real
//! `nf_conntrack` in a network namespace of its own, and every answer is read back.
//!
//! # How a packet is judged
//!
//! `tap0` and `tap1` hang on a bridge whose frames pass the IP hooks (`bridge-nf-call-iptables`),
//! so that defragmentation, connection tracking and confirmation run while no routing decision is
//! made: no reverse-path filter, no TTL, no answer of the namespace's own. One `write()` to `tap0`
//! runs all hooks before it returns. An `nf_tables` rule right after conntrack marks the packet with
//! its ct state and direction and hands it to `nfnetlink_log`; the texts of
//! `nf_conntrack_log_invalid` arrive the same way; the entry is read by `ctnetlink`.
//!
//! Three guards tie an answer to its packet: the writer's context runs all hooks, so that nothing
//! can arrive later; the number of the packet travels as destination address of its Ethernet header
//! and comes back; the first bytes of what the kernel judged are compared with what was fed. A guard
//! that fails is an [`Error`]: nothing of such a run is to be trusted.
//!
//! The namespace is entered by a thread that ends when everything is set up. Only open descriptors
//! keep it alive, so it vanishes with the [`Oracle`], or with the process however that dies. The
//! caller's own namespace, its tables, its modules and its traffic are never touched.
//!
//! # Time
//!
//! See [`TimeMode`]. In neither mode do timeouts depend on how fast packets are fed. Reassembly of
//! fragments never times out; a UDP entry is judged "older than 2 s" by the kernel's own clock.
//!
//! # Parts
//!
//! [`Oracle`] asks the kernel; [`compare`] sets the model beside it; [`host`] reads this machine's
//! release and settings, `own` what its tracker holds and counts. Only `compare` knows the model. Does not: know files or reports.

pub mod compare;
mod error;
pub mod host;
pub mod replay;
mod verdict;

#[cfg(target_os = "linux")]
mod ctnetlink;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod expiry;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod nflog;
#[cfg(target_os = "linux")]
mod oracle;
#[cfg(target_os = "linux")]
pub mod own;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(target_os = "linux")]
mod ruleset;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tap;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::Oracle;
pub use error::{Error, Feature, Guard};
#[cfg(target_os = "linux")]
pub use oracle::Oracle;
pub use verdict::{CtState, EntryState, KernelVerdict, TcpEntry};

/// By which clock the kernel's entries expire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeMode {
    /// No entry ever expires: every timeout is 1,000,000 s or more, in the order of the nominal
    /// values, so that the kernel's comparisons between timeouts still hold.
    Fast,
    /// Entries expire by the clock of the capture.
    ///
    /// The kernel's timeouts are replaced by codes. After every packet the entry's remaining time is
    /// read, decoded to the nominal timeout, and the entry is parked far in the future; when the
    /// capture's clock has passed its time, it is deleted before the next packet is fed.
    #[default]
    Virtual,
}

/// A timeout that differs from the kernel's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeout {
    /// The name under `net.netfilter`, such as `nf_conntrack_tcp_timeout_established`.
    pub sysctl: String,
    /// Seconds.
    pub seconds: u32,
}

/// How the kernel is to judge; the default is the kernel's own default with checksums judged.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the kernel's own")]
pub struct OracleSettings {
    /// `nf_conntrack_tcp_be_liberal`.
    pub be_liberal: bool,
    /// `nf_conntrack_tcp_loose`.
    pub loose: bool,
    /// `nf_conntrack_tcp_max_retrans`.
    pub max_retrans: u8,
    /// `nf_conntrack_tcp_ignore_invalid_rst`; kernels before 5.14 know only `false`.
    pub ignore_invalid_rst: bool,
    /// `nf_conntrack_checksum`.
    pub checksum: bool,
    /// Timeouts that differ from the kernel's defaults.
    pub timeouts: Vec<Timeout>,
    /// The clock of the timeouts.
    pub time: TimeMode,
}

impl Default for OracleSettings {
    fn default() -> Self {
        Self {
            be_liberal: false,
            loose: true,
            max_retrans: 3,
            ignore_invalid_rst: false,
            checksum: true,
            timeouts: Vec::new(),
            time: TimeMode::default(),
        }
    }
}
