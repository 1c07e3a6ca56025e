//! The report for a terminal: the answer first, then what it rests on.

mod behaviour;

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::audit::{Audit, Tally};
use crate::conntrack::{Policy, Reason, Setting};
use crate::flow::{FlowFinding, KeyPacket};
use crate::report::{Detail, counted, grouped, printable};
use crate::segment::Direction;
use crate::seq::SeqNum;
use crate::source::SourceSummary;
use crate::time::Timestamp;
use crate::tuple::Endpoint;
use crate::wire::Undecodable;

/// Writes the report.
pub(super) fn write(audit: &Audit, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", answer(audit))?;
    for problem in &audit.incomplete {
        writeln!(out, "INCOMPLETE: {}", printable(problem))?;
    }
    if detail == Detail::Quiet {
        return Ok(());
    }
    write_rules(audit, out)?;
    write_flows(audit, detail, out)?;
    behaviour::write(audit, detail, out)?;
    if let Some(told) = &audit.story {
        behaviour::write_full(told, out)?;
    }
    write_capture(audit, out)?;
    write_method(audit, out)
}

/// Says in one sentence what a strict tracker would have done, and what being liberal changes.
fn answer(audit: &Audit) -> String {
    let totals = &audit.totals;
    let judge = judge_name(audit);
    let (strict, liberal) = (audit.strict(), audit.liberal());
    let packets = counted(audit.tally.segments, "TCP packet");
    let flows = counted(totals.flows, "connection");
    if strict.packets == 0 {
        return format!("Nothing INVALID: {packets} of {flows}, judged by {judge}.");
    }
    let rules: Vec<_> = ranked(&totals.invalid_by_reason)
        .into_iter()
        .map(|(reason, count)| format!("{} {}", reason.code(), grouped(count)))
        .collect();
    let left = if liberal.packets == strict.packets {
        "be_liberal=1 would change nothing".to_owned()
    } else {
        format!("be_liberal=1 would leave {}", grouped(liberal.packets))
    };
    format!(
        "INVALID: {} of {packets} in {} of {flows}, judged by {judge}: {}; {left}.",
        grouped(strict.packets),
        grouped(strict.flows),
        rules.join(", "),
    )
}

fn judge_name(audit: &Audit) -> String {
    let Some(policy) = audit.method.policies.first() else { return String::new() };
    let mode = if policy.be_liberal == Setting::On { "liberal" } else { "strict" };
    format!("a {mode} Linux {}", policy.profile.name())
}

/// Sorts reasons by their counts, highest first; among equals in the order of the tests.
fn ranked(counts: &std::collections::BTreeMap<Reason, u64>) -> Vec<(Reason, u64)> {
    let mut ranked: Vec<_> = counts.iter().map(|(reason, count)| (*reason, *count)).collect();
    ranked.sort_by_key(|&(reason, count)| (u64::MAX - count, reason));
    ranked
}

fn write_rules(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let lists = [
        ("INVALID by rule", &audit.totals.invalid_by_reason),
        ("Passed, though a rule speaks of them", &audit.totals.passed_by_reason),
    ];
    for (title, counts) in lists.into_iter().filter(|(_, counts)| !counts.is_empty()) {
        writeln!(out, "\n{title}")?;
        for (reason, count) in ranked(counts) {
            let count = grouped(count);
            writeln!(out, "  {:<22} {count:>9}  {}", reason.code(), reason.words())?;
        }
    }
    Ok(())
}

fn write_flows(audit: &Audit, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    let (most, packets) = if detail == Detail::Verbose { (50, usize::MAX) } else { (5, 3) };
    let worst = audit.worst(most);
    if worst.is_empty() {
        return Ok(());
    }
    let all = audit.strict().flows;
    let title = if all > worst.len() as u64 {
        format!("Worst {} of {} connections", worst.len(), grouped(all))
    } else {
        "Connections with INVALID packets".to_owned()
    };
    writeln!(out, "\n{title}")?;
    for finding in worst {
        write_flow(finding, packets, out)?;
    }
    Ok(())
}

fn write_flow(finding: &FlowFinding, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let FlowFinding { key, audit, evidence, .. } = finding;
    let (original, reply) = key.endpoints(audit.original);
    let directions = audit.directions();
    let packets = directions.original.packets + directions.reply.packets;
    writeln!(
        out,
        "\n  flow {}  {original} > {reply}  {}\n    {} of {} INVALID, {} if liberal; {} original, \
         {} reply",
        audit.first_frame,
        span(audit.first_ts, audit.last_ts),
        grouped(evidence.invalid_packets()),
        counted(packets, "packet"),
        grouped(evidence.invalid_liberal),
        bytes(directions.original.bytes),
        bytes(directions.reply.bytes),
    )?;
    if audit.picked_up {
        writeln!(out, "    picked up mid-stream: the tracker does not hold its windows strictly")?;
    }
    let shown: Vec<_> = evidence.key_packets.iter().take(most).collect();
    for packet in &shown {
        write_packet(finding, packet, out)?;
    }
    writeln!(out, "    Wireshark: {}", display_filter((original, reply), &shown))
}

fn write_packet(finding: &FlowFinding, packet: &KeyPacket, out: &mut dyn Write) -> io::Result<()> {
    let audit = &finding.audit;
    let direction = audit.direction_of(packet.orientation);
    let directions = audit.directions();
    let seq = number(packet.seq, directions[direction].first_seq);
    let ack = number(packet.ack, directions[direction.flip()].first_seq);
    let sack = packet.sack.map_or_else(String::new, |edge| {
        format!(" sack {}", number(edge, directions[direction.flip()].first_seq))
    });
    writeln!(
        out,
        "    frame {}  {}  {} [{}] seq {seq} ack {ack}{sack} len {} win {}",
        packet.frame,
        offset(packet.ts, audit.first_ts),
        direction_arrow(direction),
        packet.flags.letters(),
        packet.len,
        packet.win,
    )?;
    let state = packet.state.map_or("no entry", |state| state.name());
    let liberal = if packet.liberal == packet.ctstate { "" } else { ", not if liberal" };
    writeln!(
        out,
        "      {} {}: {}{}; state {state}{liberal}",
        packet.ctstate.name(),
        packet.reason.code(),
        packet.reason.words(),
        excess(packet),
    )
}

/// Says by how many bytes which bound is violated.
fn excess(packet: &KeyPacket) -> String {
    let bound = match packet.reason {
        Reason::SeqOver | Reason::SeqOvershoot => "I (highest byte the receiver allowed)",
        Reason::SeqUnder => "II (one window below what was sent)",
        Reason::AckOver => "III (highest byte seen from the other side)",
        Reason::AckUnder => "IV (one window below what was acknowledged)",
        _ => return String::new(),
    };
    let margin = packet.margins.and_then(|margins| margins.of(packet.reason));
    margin.map_or_else(String::new, |margin| {
        let beyond = u64::from(margin.unsigned_abs());
        format!("\n        by {} beyond bound {bound}", counted(beyond, "byte"))
    })
}

const fn direction_arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Original => "original >",
        Direction::Reply => "reply    <",
    }
}

/// Writes a number relative to the first one of its side, and raw.
fn number(number: SeqNum, first: Option<SeqNum>) -> String {
    match first {
        Some(first) => format!("{}({number})", number.offset_from(first)),
        None => format!("?({number})"),
    }
}

/// Writes a Wireshark display filter that shows these packets.
fn display_filter((a, b): (Endpoint, Endpoint), packets: &[&KeyPacket]) -> String {
    let ip = if a.addr.is_ipv4() { "ip" } else { "ipv6" };
    let frames: Vec<_> = packets.iter().map(|packet| packet.frame.to_string()).collect();
    format!(
        "{ip}.addr=={} && {ip}.addr=={} && tcp.port=={} && tcp.port=={} && frame.number in {{{}}}",
        a.addr,
        b.addr,
        a.port,
        b.port,
        frames.join(",")
    )
}

fn write_capture(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nCapture")?;
    for input in &audit.inputs {
        write_input(input, out)?;
    }
    if let (Some(first), Some(last)) = (audit.first_ts, audit.last_ts) {
        writeln!(out, "  {first}, {}", span(first, last))?;
    }
    writeln!(out, "  {}", frames_line(&audit.tally))?;
    for (reason, count) in &audit.tally.undecodable {
        writeln!(out, "    {:>9}  {}", grouped(*count), undecodable(*reason))?;
    }
    let totals = &audit.totals;
    let notes = [
        (totals.flows_picked_up, "connection", "picked up mid-stream: windows not judged strictly"),
        (totals.flows_one_way, "connection", "with packets in one direction only"),
        (totals.flows_untracked, "connection", "that the tracker never took an entry for"),
        (totals.options_cut, "packet", "whose TCP options the snap length cut"),
        (audit.time_steps_back, "frame", "earlier than the frame before"),
        (audit.findings_not_kept, "connection", "with INVALID packets not shown: too many"),
    ];
    for (count, noun, what) in notes.into_iter().filter(|(count, ..)| *count > 0) {
        writeln!(out, "  {} {what}", counted(count, noun))?;
    }
    Ok(())
}

fn write_input(input: &SourceSummary, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {} ({})", printable(&input.name), printable(&input.format))?;
    for interface in &input.interfaces {
        let drops = [
            ("the interface", interface.dropped_by_interface),
            ("the capturing host", interface.dropped_by_host),
        ];
        for (who, count) in drops {
            if let Some(count) = count.filter(|&count| count > 0) {
                let name = interface.name.as_deref().unwrap_or("unnamed interface");
                let lost = counted(count, "packet");
                writeln!(
                    out,
                    "    {}: {lost} dropped by {who}: verdicts may be wrong",
                    printable(name)
                )?;
            }
        }
    }
    Ok(())
}

fn frames_line(tally: &Tally) -> String {
    let mut line = format!("{}: {} TCP", counted(tally.frames(), "frame"), grouped(tally.segments));
    let other: u64 = tally.other.values().sum();
    let undecodable: u64 = tally.undecodable.values().sum();
    for (count, what) in [
        (tally.tcp_errors, "ICMP errors about TCP"),
        (other, "of other protocols"),
        (tally.fragments, "incomplete fragments"),
        (undecodable, "not decoded:"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {} {what}", grouped(count));
        }
    }
    line
}

/// Says why a frame could not be judged.
fn undecodable(reason: Undecodable) -> String {
    match reason {
        Undecodable::LinkType(number) => format!("of link type {number}, which is not known"),
        Undecodable::LinkHeaderCut => "cut inside the link-layer header".to_owned(),
        Undecodable::NotIp => "not IP (ARP, LLDP, spanning tree …)".to_owned(),
        Undecodable::IpHeaderCut => "cut inside the IP header".to_owned(),
        Undecodable::BadIpHeader => "with an IP header that no kernel accepts".to_owned(),
        Undecodable::TcpHeaderCut => "cut inside the TCP header by the snap length".to_owned(),
        Undecodable::OtherHeaderCut => "cut inside the header of another protocol".to_owned(),
        Undecodable::FragmentDropped => "fragments that reassembly drops".to_owned(),
        Undecodable::IncompleteDatagram => "fragments whose datagram never came".to_owned(),
    }
}

fn write_method(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nMethod")?;
    if let Some(policy) = audit.method.policies.first() {
        writeln!(out, "  {}", policy_line(*policy))?;
    }
    let checksums = match audit.method.sysctls.checksum {
        Setting::On => "checksums judged, except those that cover the pseudo-header only",
        Setting::Off => "checksums not judged (--sysctl nf_conntrack_checksum=1 judges them)",
    };
    writeln!(out, "  {checksums}; the tracker is assumed at the capture point, seeing every packet")
}

fn policy_line(policy: Policy) -> String {
    let value = |setting| i32::from(setting == Setting::On);
    format!(
        "Linux {}: be_liberal={} loose={} ignore_invalid_rst={}",
        policy.profile.name(),
        value(policy.be_liberal),
        value(policy.loose),
        value(policy.ignore_invalid_rst),
    )
}

/// Writes how long a flow or capture lasted.
fn span(first: Timestamp, last: Timestamp) -> String {
    let micros = last.nanos_since(first) / 1000;
    format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

/// Writes a time relative to the start of the flow.
fn offset(ts: Timestamp, start: Timestamp) -> String {
    let micros = ts.nanos_since(start) / 1000;
    let sign = if micros < 0 { '-' } else { '+' };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
}

fn bytes(count: u64) -> String {
    counted(count, "byte")
}
