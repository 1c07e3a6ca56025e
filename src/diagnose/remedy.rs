//! What to do about a cause: exact commands, how they survive a reboot, the risk, how to see whether
//! they helped, and how to take them back.
//!
//! Commands for Linux are loaded in a network namespace by the tests; those for devices of other
//! vendors come from the vendors' documents and are marked as not executed.
//!
//! Does not: run anything.

use std::fmt::Write as _;
use std::net::IpAddr;

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
        let first = hosts.first().copied();
        vec![
            fix_randomiser(first),
            clear_sack_at_device(),
            strip_sack(hosts),
            be_liberal(),
            ignore_invalid_rst(),
            log_invalid(),
            allow_window_scale(),
            no_scaling_here(),
            mend_routing(first),
            no_tracking(hosts),
        ]
    }
}

/// How the effect on the tracker shows.
const COUNT_INVALID: &str = "conntrack -S | grep -o 'invalid=[0-9]*' before and after, under the \
                             same load: the counters stop rising";

/// Switches SACK rewriting or randomisation at the device: the cure of a sequence randomiser.
pub(super) fn fix_randomiser(host: Option<IpAddr>) -> Remedy {
    let host = host.map_or_else(|| "192.0.2.10".to_owned(), |host| host.to_string());
    let lines = &format!(
        "access-list NO-RAND extended permit tcp any host {host}\n\
         class-map NO-RAND-CM\n match access-list NO-RAND\n\
         policy-map global_policy\n class NO-RAND-CM\n  \
         set connection random-sequence-number disable\n\
         service-policy global_policy global\n\
         clear conn address {host}"
    );
    Remedy {
        id: "C01-device",
        title: "switch sequence randomisation off at the device (Cisco ASA, FTD, PIX)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "initial numbers of old hosts become predictable; current systems choose them well",
        check: "capture again: SACK edges lie between the acknowledgement and the data sent",
        undo: "no set connection random-sequence-number disable",
    }
}

/// Has the device clear SACK from the handshake.
pub(super) fn clear_sack_at_device() -> Remedy {
    let lines = "tcp-map NO-SACK\n tcp-options selective-ack clear\n\
                 policy-map global_policy\n class NO-RAND-CM\n  \
                 set connection advanced-options NO-SACK";
    Remedy {
        id: "C01-clear-sack",
        title: "or keep randomising, and clear SACK from the handshake at the device",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "without SACK, recovery from several losses in one round trip is slower",
        check: "capture again: no SYN of these connections permits SACK",
        undo: "no set connection advanced-options NO-SACK",
    }
}

/// Strips the permission of SACK from what this host sends to these addresses.
pub(super) fn strip_sack(peers: &[IpAddr]) -> Remedy {
    let mut rules = String::new();
    for peer in peers.iter().take(MAX_PEERS) {
        let family = family(*peer);
        let _ = writeln!(rules, "    {family} daddr {peer} tcp flags & syn == syn \\");
        let _ = writeln!(rules, "      reset tcp option sack-perm");
    }
    note_others(peers, &mut rules);
    let script = format!(
        "table inet twa {{\n  chain sack {{\n    \
         type filter hook postrouting priority mangle; policy accept;\n{rules}  }}\n}}"
    );
    Remedy {
        id: "C01-strip-sack",
        title: "or strip the SACK permission on Linux, towards the bad path only",
        steps: vec![Step::new(Runner::Nft, &script)],
        persist: vec![Step::new(Runner::Shell, "nft list table inet twa >> /etc/nftables.conf")],
        risk: "recovery without SACK (0.60 s against 0.34 s measured on a lossy path); new \
               connections only; needs Linux 5.18 and nft 1.0.2 or later",
        check: COUNT_INVALID,
        undo: "nft delete table inet twa",
    }
}

/// Addresses named in a rule: a line must stay readable; networks serve for more.
const MAX_PEERS: usize = 2;

const fn family(peer: IpAddr) -> &'static str {
    if peer.is_ipv4() { "ip" } else { "ip6" }
}

/// Says in the script that it does not name all.
fn note_others(peers: &[IpAddr], rules: &mut String) {
    let others = peers.len().saturating_sub(MAX_PEERS);
    if others > 0 {
        let _ = writeln!(rules, "    # likewise for {others} further hosts, or for their network");
    }
}

/// Has the tracker accept what is out of the window.
pub(super) fn be_liberal() -> Remedy {
    let persist = "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
                   echo net.netfilter.nf_conntrack_tcp_be_liberal = 1 > \
                   /etc/sysctl.d/90-conntrack-liberal.conf";
    Remedy {
        id: "R1",
        title: "stop-gap: be_liberal=1, in every network namespace that tracks",
        steps: vec![Step::new(Runner::Sysctl, "net.netfilter.nf_conntrack_tcp_be_liberal=1")],
        persist: vec![Step::new(Runner::Shell, persist)],
        risk: "out-of-window segments and high RSTs count as ESTABLISHED, so that blind injection \
               passes the firewall; a new namespace starts at 0",
        check: COUNT_INVALID,
        undo: "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=0; connections that lived by it \
               die",
    }
}

/// Has the tracker accept resets below what was acknowledged.
pub(super) fn ignore_invalid_rst() -> Remedy {
    let key = "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst";
    let persist = format!(
        "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf\n\
         echo {key} = 1 > /etc/sysctl.d/90-conntrack-rst.conf"
    );
    Remedy {
        id: "C10-ignore",
        title: "let such resets through (Linux 5.14 and later); be_liberal does not",
        steps: vec![Step::new(Runner::Sysctl, &format!("{key}=1"))],
        persist: vec![Step::new(Runner::Shell, &persist)],
        risk: "a forged RST moves the tracker's state; the ends still check it (RFC 5961)",
        check: COUNT_INVALID,
        undo: "sysctl -w net.netfilter.nf_conntrack_tcp_ignore_invalid_rst=0",
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

/// Lets the device keep window scaling.
pub(super) fn allow_window_scale() -> Remedy {
    let lines = "tcp-map WSCALE\n tcp-options window-scale allow\n\
                 policy-map global_policy\n class TCP-CM\n  \
                 set connection advanced-options WSCALE";
    Remedy {
        id: "C03-device",
        title: "have the device keep the window scale option of SYN and SYN-ACK (Cisco ASA)",
        steps: vec![Step::new(Runner::Vendor, lines)],
        persist: vec![Step::new(Runner::Vendor, "write memory")],
        risk: "none known; SYN cookies and SYN proxies must answer with the server's own shift",
        check: "capture again: SYN and SYN-ACK both carry wscale on every hop",
        undo: "no set connection advanced-options WSCALE",
    }
}

/// Keeps the windows of this host below what needs scaling.
pub(super) fn no_scaling_here() -> Remedy {
    Remedy {
        id: "C03-host",
        title: "stop-gap on an end host: do not scale at all",
        steps: vec![Step::new(Runner::Sysctl, "net.ipv4.tcp_window_scaling=0")],
        persist: vec![Step::new(
            Runner::Shell,
            "echo net.ipv4.tcp_window_scaling = 0 > /etc/sysctl.d/90-no-wscale.conf",
        )],
        risk: "64 KiB a round trip at most, for every connection of the host",
        check: COUNT_INVALID,
        undo: "sysctl -w net.ipv4.tcp_window_scaling=1",
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

/// Mends the way that the packets take.
pub(super) fn mend_routing(peer: Option<IpAddr>) -> Remedy {
    let peer = peer.map_or_else(|| "192.0.2.1".to_owned(), |peer| peer.to_string());
    Remedy {
        id: "C08-routing",
        title: "route both directions through the same tracker",
        steps: vec![Step::new(Runner::Shell, &format!("ip route get {peer}"))],
        persist: Vec::new(),
        risk: "routes of others may follow; clusters need conntrackd to share their state",
        check: "capture again at this point: both directions are there",
        undo: "the route as it was",
    }
}
