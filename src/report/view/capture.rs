//! What was captured, and what of it could not be judged.

use std::fmt::Write as _;

use crate::audit::{Audit, HostTracker, Tally};
use crate::report::view::{Fact, span};
use crate::report::{counted, grouped};
use crate::source::{FilterSummary, SourceSummary};
use crate::wire::Undecodable;

/// Lists what was captured, a fact a line.
pub(super) fn facts(audit: &Audit) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (index, input) in audit.inputs.read.iter().enumerate() {
        input_facts(audit, index, &input.summary, &mut facts);
    }
    if let (Some(first), Some(last)) = (audit.first_ts, audit.last_ts) {
        facts.push(Fact::new("time", format!("{first}, {}", span(first, last))));
    }
    facts.push(Fact::new("frames", frames(&audit.tally)));
    if let Some(FilterSummary { expression, left_out }) = &audit.inputs.filter {
        let words = match left_out {
            Some(count) => {
                let left_out = counted(*count, "frame");
                format!("{left_out} beside these left out by --filter {expression}")
            }
            None => format!("captured with the filter {expression}"),
        };
        facts.push(Fact::new("filter", words));
    }
    if let Some(host) = &audit.host {
        facts.push(Fact::new("this host", beside(audit, host)));
    }
    facts.extend(datagrams(audit).into_iter().map(|words| Fact::new("others", words)));
    for (reason, count) in &audit.tally.undecodable {
        let count = grouped(*count);
        facts.push(Fact::new("not decoded", format!("{count} {}", undecodable(*reason))));
    }
    facts
}

/// Sets what the machine's own tracker counted beside what was predicted of it.
fn beside(audit: &Audit, host: &HostTracker) -> String {
    let predicted = counted(audit.invalid_of_all_protocols(), "INVALID packet");
    if !host.is_in_use() {
        return format!(
            "{predicted} predicted here; its own tracker has no entry, as where no rule has it track"
        );
    }
    format!(
        "{predicted} predicted here, {} counted by its own tracker (conntrack -S, all interfaces); \
         {} known to it before",
        grouped(host.invalid_counted),
        counted(host.connections_known, "connection")
    )
}

fn input_facts(audit: &Audit, index: usize, input: &SourceSummary, facts: &mut Vec<Fact>) {
    let number = if audit.inputs.asked_for > 1 { format!("{index}: ") } else { String::new() };
    facts.push(Fact::new("file", format!("{number}{} ({})", input.name, input.format)));
    for interface in &input.interfaces {
        let drops = [
            ("the interface", interface.dropped_by_interface),
            ("the capturing host", interface.dropped_by_host),
        ];
        for (who, count) in drops {
            if let Some(count) = count.filter(|&count| count > 0) {
                let name = interface.name.as_deref().unwrap_or("unnamed interface");
                let lost = counted(count, "packet");
                let words = format!("{name}: {lost} dropped by {who}: verdicts may be wrong");
                facts.push(Fact::new("drops", words));
            }
        }
    }
}

fn frames(tally: &Tally) -> String {
    let mut line = grouped(tally.frames());
    if tally.further_packets > 0 {
        let packets = tally.frames() + tally.further_packets;
        let _ = write!(line, ", which hold {} packets", grouped(packets));
    }
    let _ = write!(line, ", of these {} TCP", grouped(tally.segments));
    let other: u64 = tally.other.values().sum();
    let undecodable: u64 = tally.undecodable.values().sum();
    for (count, what) in [
        (tally.tcp_errors, "ICMP errors about TCP"),
        (other, "of other protocols"),
        (tally.fragments, "in fragments put together"),
        (undecodable, "not decoded"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {} {what}", grouped(count));
        }
    }
    line
}

/// Says of each other protocol what rules would see of its datagrams.
fn datagrams(audit: &Audit) -> Vec<String> {
    let mut lines: Vec<(u8, String)> = Vec::new();
    for ((protocol, ctstate), count) in &audit.totals.datagrams {
        let state = format!("{} {}", grouped(*count), ctstate.name());
        match lines.last_mut() {
            Some((last, line)) if last == protocol => {
                let _ = write!(line, ", {state}");
            }
            _ => lines.push((*protocol, format!("{}: {state}", protocol_name(*protocol)))),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Names an IP protocol.
fn protocol_name(number: u8) -> String {
    let name = match number {
        1 => "ICMP",
        17 => "UDP",
        58 => "ICMPv6",
        132 => "SCTP",
        _ => return format!("protocol {number}"),
    };
    name.to_owned()
}

/// Says why a frame could not be judged.
fn undecodable(reason: Undecodable) -> String {
    match reason {
        Undecodable::LinkType(number) => format!("of link type {number}, which is not known"),
        Undecodable::LinkHeaderCut => "cut inside the link-layer header".to_owned(),
        Undecodable::NotIp => "not IP (ARP, LLDP, spanning tree …)".to_owned(),
        Undecodable::Macsec => {
            "encrypted by MACsec: capture on the macsec interface instead".to_owned()
        }
        Undecodable::IpHeaderCut => "cut inside the IP header".to_owned(),
        Undecodable::BadIpHeader => "with an IP header that no kernel accepts".to_owned(),
        Undecodable::TcpHeaderCut => "cut inside the TCP header by the snap length".to_owned(),
        Undecodable::OtherHeaderCut => "cut inside the header of another protocol".to_owned(),
        Undecodable::FragmentDropped => "fragments that reassembly drops".to_owned(),
        Undecodable::IncompleteDatagram => "fragments whose datagram never came".to_owned(),
        Undecodable::TunnelHeaderCut => "cut inside the header of a tunnel".to_owned(),
        Undecodable::TunnelFragmented => "tunnels in fragments, which are not opened".to_owned(),
        Undecodable::TunnelTooDeep => "tunnels around more tunnels than are opened".to_owned(),
    }
}
