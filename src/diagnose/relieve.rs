//! What to do about a full connection table: the commands for what was found to relieve it.
//!
//! Does not: decide what relieves it; `crate::occupancy` has counted that.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::diagnose::remedy::{Remedy, Runner, Step};
use crate::occupancy::{Assessment, Change, Served, Timeout};

/// A service is worth a rule when it has at least one entry in so many.
const LEAST_SHARE: u64 = 10;

/// Returns what to do, the most effective first.
pub fn relieve(table: &Assessment) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let all = table.peak.reading.total();
    let weighs = |served: &&Served| {
        let mut shares = table.peak.services.iter();
        shares.any(|share| share.of == served.service && share.entries * LEAST_SHARE >= all)
    };
    let served: Vec<_> = table.served.iter().filter(weighs).cloned().collect();
    if !served.is_empty() {
        remedies.push(untracked(&served));
    }
    if !table.shorter.is_empty() {
        remedies.push(shorter_timeouts(&table.shorter));
    }
    let larger = table.reliefs.iter().find_map(|relief| match relief.change {
        Change::LargerTable(max) => Some(max),
        _ => None,
    });
    remedies.extend(larger.map(larger_table));
    remedies
}

/// Leaves services untracked in both directions, and accepts what is untracked of them.
fn untracked(served: &[Served]) -> Remedy {
    let matches: Vec<_> = served.iter().flat_map(nft_matches).collect();
    let rules = |indent: &str, verdict: &str| {
        matches.iter().fold(String::new(), |mut text, rule| {
            let _ = writeln!(text, "{indent}{rule} {verdict}");
            text
        })
    };
    let raw = |chain: &str, hook: &str| {
        let rules = rules("    ", "notrack");
        format!(
            "  chain {chain} {{\n    type filter hook {hook} priority raw; policy accept;\n{rules}  }}\n"
        )
    };
    let notes = served.iter().filter(|served| served.others > 0).fold(String::new(), note_others);
    let notrack = format!(
        "{notes}table inet twa_raw {{\n{}{}}}",
        raw("pre", "prerouting"),
        raw("out", "output")
    );
    let accept = ["input", "forward", "output"].map(|chain| {
        let hook = format!("type filter hook {chain} priority filter;");
        let head = format!("add chain inet filter {chain} {{ {hook} }}\n");
        head + &rules(&format!("insert rule inet filter {chain} "), "ct state untracked accept")
    });
    let accept = format!("add table inet filter\n{}", accept.concat());
    let mut steps = vec![Step::new(Runner::Nft, &notrack), Step::new(Runner::Nft, &accept)];
    steps.extend([Family::V4, Family::V6].into_iter().filter_map(|family| {
        let text = iptables(served, family)?;
        Some(Step::new(family.runner(), &text))
    }));
    Remedy {
        id: "R3-services",
        title: "leave these services untracked both ways, and accept what is untracked (nft or \
                iptables)",
        steps,
        persist: vec![Step::new(
            Runner::Shell,
            "nft list table inet twa_raw >> /etc/nftables.conf; netfilter-persistent save for iptables",
        )],
        risk: "no NAT and no helpers for this traffic, and no state: replies pass by their port \
               alone, so that whoever sends from that port of those servers reaches every port \
               behind the firewall; rules by ct state no longer see it; entries that exist stay \
               until they expire",
        check: "sysctl net.netfilter.nf_conntrack_count falls within a minute or two; conntrack -L \
                shows no entry of these services; the services answer",
        undo: "nft delete table inet twa_raw, and delete the accepting rules by their handles \
               (nft -a list table inet filter)",
    }
}

/// Says in a comment that not all servers are named.
fn note_others(mut text: String, served: &Served) -> String {
    let Served { service, others, .. } = served;
    let _ = writeln!(text, "# {service} is offered by {others} more: no address is named");
    text
}

/// Returns the two matches of a service, to the servers and from them, for each family of addresses;
/// without addresses when there are too many.
fn nft_matches(served: &Served) -> Vec<String> {
    let Some(protocol) = served.service.rule_protocol() else { return Vec::new() };
    let port = served.service.port.unwrap_or(0);
    let families = [("ip", Family::V4), ("ip6", Family::V6)];
    let mut matches = Vec::new();
    for (name, family) in families {
        let servers: Vec<_> = family.of(served).iter().map(ToString::to_string).collect();
        let set = servers.join(", ");
        if served.others == 0 && !servers.is_empty() {
            matches.push(format!("{name} daddr {{ {set} }} {protocol} dport {port}"));
            matches.push(format!("{name} saddr {{ {set} }} {protocol} sport {port}"));
        }
    }
    if served.others > 0 {
        matches.push(format!("{protocol} dport {port}"));
        matches.push(format!("{protocol} sport {port}"));
    }
    matches
}

/// A family of addresses, which `iptables` has a program each for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const fn runner(self) -> Runner {
        match self {
            Self::V4 => Runner::Iptables,
            Self::V6 => Runner::Ip6tables,
        }
    }

    /// Returns the servers of this family.
    fn of(self, served: &Served) -> Vec<IpAddr> {
        let is_its = |addr: &&IpAddr| addr.is_ipv4() == (self == Self::V4);
        served.servers.iter().filter(is_its).copied().collect()
    }
}

/// Returns the same rules as a file for `iptables-restore`; none when the family has no server.
fn iptables(served: &[Served], family: Family) -> Option<String> {
    let matches: Vec<_> =
        served.iter().flat_map(|served| iptables_matches(served, family)).collect();
    let rules = |chains: &[&str], verb: &str, target: &str| {
        let mut text = String::new();
        for chain in chains {
            for rule in &matches {
                let _ = writeln!(text, "-{verb} {chain} {rule} {target}");
            }
        }
        text
    };
    let raw = rules(&["PREROUTING", "OUTPUT"], "A", "-j CT --notrack");
    let accept = "-m conntrack --ctstate UNTRACKED -j ACCEPT";
    let filter = rules(&["INPUT", "FORWARD", "OUTPUT"], "I", accept);
    (!matches.is_empty()).then(|| format!("*raw\n{raw}COMMIT\n*filter\n{filter}COMMIT"))
}

fn iptables_matches(served: &Served, family: Family) -> Vec<String> {
    let Some(protocol) = served.service.rule_protocol() else { return Vec::new() };
    let port = served.service.port.unwrap_or(0);
    let servers = family.of(served);
    if servers.is_empty() {
        return Vec::new();
    }
    let list: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let list = list.join(",");
    let (to, from) = if served.others > 0 {
        (String::new(), String::new())
    } else {
        (format!("-d {list} "), format!("-s {list} "))
    };
    vec![format!("{to}-p {protocol} --dport {port}"), format!("{from}-p {protocol} --sport {port}")]
}

/// Shortens timeouts.
fn shorter_timeouts(timeouts: &[Timeout]) -> Remedy {
    let lines =
        timeouts.iter().map(|timeout| format!("net.netfilter.{}={}", timeout.key, timeout.to));
    let lines: Vec<_> = lines.collect();
    let persist = lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "echo {line} >> /etc/sysctl.d/90-conntrack-table.conf");
        text
    });
    Remedy {
        id: "table-timeouts",
        title: "or shorten the timeouts; entries that exist keep theirs until their next packet",
        steps: vec![Step::new(Runner::Sysctl, &lines.join("\n"))],
        persist: vec![Step::new(Runner::Shell, &persist)],
        risk: "what pauses longer than its timeout is NEW to the rules, or INVALID; a NAT then takes \
               another port (RFC 4787 asks for 2 minutes of UDP, RFC 5382 for 2 hours 4 minutes of \
               established TCP)",
        check: "sysctl net.netfilter.nf_conntrack_count before, and after the longest of the old \
                timeouts",
        undo: "the values of before, which this report shows",
    }
}

/// Enlarges the table.
fn larger_table(max: u64) -> Remedy {
    let lines =
        format!("net.netfilter.nf_conntrack_max={max}\nnet.netfilter.nf_conntrack_buckets={max}");
    let persist = format!(
        "echo options nf_conntrack hashsize={max} > /etc/modprobe.d/nf_conntrack.conf\n\
         echo net.netfilter.nf_conntrack_max={max} >> /etc/sysctl.d/90-conntrack-table.conf"
    );
    Remedy {
        id: "table-size",
        title: "or a larger table, in the first network namespace: the limit is the machine's",
        steps: vec![Step::new(Runner::MachineSysctl, &lines)],
        persist: vec![Step::new(Runner::Shell, &persist)],
        risk: "memory, which is not given back: 256 bytes for each entry (384 with NAT or \
               accounting) and 8 for each bucket; a flood fills a larger table too",
        check: "dmesg has no more 'table full, dropping packet'; conntrack -S counts no more drop \
                and early_drop",
        undo: "the values of before, which this report shows",
    }
}
