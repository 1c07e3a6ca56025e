//! What to do about a cause: exact commands, how they survive a reboot, the risk, how to see whether
//! they helped, and how to take them back.
//!
//! Commands for Linux are loaded in a network namespace by the tests; those for devices of other
//! vendors come from the vendors' documents and are marked as not executed.
//!
//! Remedies of one cause stand in its file; those of several stand here.
//!
//! Does not: run anything.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::diagnose::Cause;

/// Who runs a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runner {
    /// `nft -f` reads it.
    Nft,
    /// `iptables-restore --noflush` reads it.
    Iptables,
    /// `ip6tables-restore --noflush` reads it.
    Ip6tables,
    /// `sysctl -w` sets it.
    Sysctl,
    /// `sysctl -w` sets it for the whole machine; not executed by the tests.
    MachineSysctl,
    /// A shell on Linux, as root.
    Shell,
    /// The command line of a device; not executed by the tests.
    Vendor,
}

impl Runner {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::Sysctl => "sysctl",
            Self::MachineSysctl => "machine_sysctl",
            Self::Shell => "shell",
            Self::Vendor => "vendor",
        }
    }

    /// Says how the lines are run.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nft => "a file for nft -f",
            Self::Iptables => "or a file for iptables-restore --noflush",
            Self::Ip6tables => "and one for ip6tables-restore --noflush",
            Self::Sysctl | Self::MachineSysctl => "with sysctl -w",
            Self::Shell => "in a root shell",
            Self::Vendor => "on the device (from its vendor's documents, not executed here)",
        }
    }
}

/// Lines to run in one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Who runs them.
    pub runner: Runner,
    /// The lines.
    pub lines: Vec<String>,
}

impl Step {
    pub(super) fn new(runner: Runner, text: &str) -> Self {
        Self { runner, lines: text.lines().map(str::to_owned).collect() }
    }
}

/// Something to do about a cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remedy {
    /// A stable id.
    pub id: &'static str,
    /// What it does, in a few words.
    pub title: &'static str,
    /// The steps that take effect at once.
    pub steps: Vec<Step>,
    /// The steps that make it survive a reboot.
    pub persist: Vec<Step>,
    /// What it may break.
    pub risk: &'static str,
    /// How to see whether it helped.
    pub check: &'static str,
    /// How to take it back.
    pub undo: &'static str,
}

impl Remedy {
    /// Returns every remedy for some hosts, so that its commands can be tried.
    pub fn all_for(hosts: &[IpAddr]) -> Vec<Self> {
        let of_causes = Cause::all().flat_map(|cause| (cause.knowledge().remedies)(hosts));
        [be_liberal(), log_invalid(), no_tracking(hosts)].into_iter().chain(of_causes).collect()
    }
}

/// How the effect on the tracker shows.
pub(super) const COUNT_INVALID: &str = "conntrack -S | grep -o 'invalid=[0-9]*' before and after, under the \
                             same load: the counters stop rising";

/// Addresses named in a rule: a line must stay readable; networks serve for more.
pub(super) const MAX_PEERS: usize = 2;

pub(super) const fn family(peer: IpAddr) -> &'static str {
    if peer.is_ipv4() { "ip" } else { "ip6" }
}

/// Says in the script that it does not name all.
pub(super) fn note_others(peers: &[IpAddr], rules: &mut String) {
    let others = peers.len().saturating_sub(MAX_PEERS);
    if others > 0 {
        let _ = writeln!(rules, "    # likewise for {others} further hosts, or for their network");
    }
}

/// Sets `be_liberal` in the namespaces that have names.
const IN_EACH_NAMESPACE: &str = "for ns in $(ip netns list | cut -d' ' -f1); do\n  \
                                 ip netns exec $ns sysctl -w \
                                 net.netfilter.nf_conntrack_tcp_be_liberal=1\ndone";

/// Has the tracker accept what is out of the window.
pub(super) fn be_liberal() -> Remedy {
    let persist = "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
                   echo net.netfilter.nf_conntrack_tcp_be_liberal = 1 > \
                   /etc/sysctl.d/90-conntrack-liberal.conf";
    Remedy {
        id: "R1",
        title: "stop-gap: be_liberal=1, in every network namespace that tracks",
        steps: vec![
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_be_liberal=1"),
            Step::new(Runner::Shell, IN_EACH_NAMESPACE),
        ],
        persist: vec![Step::new(Runner::Shell, persist)],
        risk: "out-of-window segments and high RSTs count as ESTABLISHED, so that blind injection \
               passes the firewall; sysctl.d is for the first namespace, a new one starts at 0 \
               whatever the others have",
        check: COUNT_INVALID,
        undo: "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=0; connections that lived by it \
               die",
    }
}

/// Has the kernel say why, before anything is changed.
pub(super) fn log_invalid() -> Remedy {
    Remedy {
        id: "R2",
        title: "see the kernel's own reason before changing anything",
        steps: vec![
            Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_log_invalid=6"),
            Step::new(
                Runner::Nft,
                "table inet twa_why {\n  chain seen {\n    \
                 type filter hook input priority filter; policy accept;\n    \
                 ct state invalid limit rate 5/second log prefix \"ct-invalid \" counter\n  }\n}",
            ),
        ],
        persist: Vec::new(),
        risk: "lines in the kernel log; in a namespace only with net.netfilter.nf_log_all_netns=1",
        check: "dmesg | grep -e 'ACK is over' -e 'SEQ is over' -e 'invalid rst' -e ct-invalid",
        undo: "sysctl -w net.netfilter.nf_conntrack_log_invalid=0; nft delete table inet twa_why",
    }
}

/// Leaves a service untracked where only one direction passes.
pub(super) fn no_tracking(peers: &[IpAddr]) -> Remedy {
    let mut rules = String::new();
    for peer in peers.iter().take(MAX_PEERS) {
        let family = family(*peer);
        let _ = writeln!(rules, "    {family} saddr {peer} notrack");
        let _ = writeln!(rules, "    {family} daddr {peer} notrack");
    }
    note_others(peers, &mut rules);
    let script = format!(
        "table inet twa_raw {{\n  chain pre {{\n    \
         type filter hook prerouting priority raw; policy accept;\n{rules}  }}\n  chain out {{\n    \
         type filter hook output priority raw; policy accept;\n{rules}  }}\n}}"
    );
    Remedy {
        id: "R3",
        title: "or leave these hosts untracked, and accept ct state untracked for them",
        steps: vec![Step::new(Runner::Nft, &script)],
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_raw >> /etc/nftables.conf",
        )],
        risk: "no NAT, no helpers and no state for that traffic: replies need rules of their own",
        check: "conntrack -L shows no entry of these hosts, and the connections work",
        undo: "nft delete table inet twa_raw",
    }
}
