//! Why the kernel could not be asked, or must not be believed.

use std::{fmt, io};

use thiserror::Error as ThisError;

/// Why the kernel could not be asked, or must not be believed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// There is no Linux kernel here.
    #[error("only a Linux kernel can be asked")]
    NotLinux,
    /// No network namespace may be made.
    #[error("cannot make a network namespace: run as root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")]
    NotPermitted(#[source] io::Error),
    /// The kernel lacks something, or does not let this process use it.
    #[error("cannot use {0}")]
    Missing(Feature, #[source] io::Error),
    /// A sysctl of the namespace could not be read or set.
    #[error("cannot set the sysctl {name} in the namespace")]
    Sysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The settings name a timeout that this kernel does not have.
    #[error("this kernel has no timeout {sysctl}")]
    UnknownTimeout {
        /// The name in the settings.
        sysctl: String,
    },
    /// A packet could not be fed.
    #[error("packet {packet}: cannot write to the tap device")]
    Feed {
        /// Its number, the first packet being 1.
        packet: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// An answer could not be asked for or read.
    #[error("packet {packet}: cannot read the kernel's answer")]
    Answer {
        /// Its number, the first packet being 1.
        packet: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// An answer does not belong to its packet: no verdict of this run is to be trusted.
    #[error("packet {packet}: {guard}; do not trust this run")]
    Guard {
        /// The packet that was being judged, the first being 1.
        packet: u32,
        /// What was found wrong.
        guard: Guard,
    },
    /// The connection table is nearly full, so that the kernel would soon drop what it should judge.
    #[error(
        "packet {packet}: {entries} connections of at most {limit}; raise net.netfilter.nf_conntrack_max"
    )]
    TableFull {
        /// The packet before which it was seen.
        packet: u32,
        /// Connections in the namespace.
        entries: u32,
        /// The machine's `nf_conntrack_max`.
        limit: u32,
    },
}

/// A part of the kernel that the oracle needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    /// `CONFIG_TUN`.
    Tap,
    /// `CONFIG_BRIDGE`.
    Bridge,
    /// `CONFIG_BRIDGE_NETFILTER`, per network namespace (Linux 5.3 and later).
    BridgeNetfilter,
    /// `CONFIG_NF_TABLES_INET`, `CONFIG_NFT_CT`, `CONFIG_NFT_LOG`.
    NfTables,
    /// `CONFIG_NF_CONNTRACK`.
    Conntrack,
    /// `CONFIG_NF_CT_NETLINK`.
    ConntrackNetlink,
    /// `CONFIG_NETFILTER_NETLINK_LOG`.
    PacketLog,
    /// Frames that pass from the tap device through the hooks.
    Path,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tap => "tap devices (CONFIG_TUN, /dev/net/tun)",
            Self::Bridge => "bridges (CONFIG_BRIDGE)",
            Self::BridgeNetfilter => {
                "bridge netfilter per namespace (Linux 5.3, CONFIG_BRIDGE_NETFILTER, \
                 module br_netfilter)"
            }
            Self::NfTables => "nf_tables (CONFIG_NF_TABLES_INET, CONFIG_NFT_CT, CONFIG_NFT_LOG)",
            Self::Conntrack => "connection tracking (CONFIG_NF_CONNTRACK)",
            Self::ConntrackNetlink => "the connection tracking interface (CONFIG_NF_CT_NETLINK)",
            Self::PacketLog => "packet logging (CONFIG_NETFILTER_NETLINK_LOG)",
            Self::Path => "a working path from a tap device through the bridge and IP hooks",
        })
    }
}

/// How an answer can be seen not to belong to the packet that was fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// The answer carries the number of another packet.
    OtherNumber {
        /// That number.
        got: u32,
    },
    /// The answer carries no number or no mark.
    Unmarked,
    /// The bytes that were judged are not those that were fed.
    OtherBytes,
    /// There is more than one verdict.
    TwoVerdicts,
    /// A message came that nothing asked for.
    Unasked,
    /// The kernel refused or ignored a question about the entry.
    Refused,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNumber { got } => write!(f, "the kernel's answer is about packet {got}"),
            Self::Unmarked => f.write_str("the kernel's answer carries no mark"),
            Self::OtherBytes => f.write_str("the kernel judged other bytes than were fed"),
            Self::TwoVerdicts => f.write_str("the kernel answered twice"),
            Self::Unasked => f.write_str("the kernel sent a message that nothing asked for"),
            Self::Refused => f.write_str("the kernel did not answer for the entry"),
        }
    }
}
