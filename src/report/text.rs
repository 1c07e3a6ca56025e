//! The report for a terminal: the answer first, then what it rests on.

mod behaviour;
mod cause;

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::audit::{Audit, Inputs, Place, Tally};
use crate::conntrack::{CtState, Policy, Reason, Setting, TcpState};
use crate::diagnose::diagnose;
use crate::flow::{FlowFinding, KeyPacket};
use crate::report::{Detail, counted, grouped, printable, what_if};
use crate::segment::Flags;
use crate::seq::SeqNum;
use crate::source::{FilterSummary, SourceSummary};
use crate::time::Timestamp;
use crate::tuple::Endpoint;
use crate::wire::{Tunnels, Undecodable};

/// Writes the report.
pub(super) fn write(audit: &Audit, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    let diagnoses = diagnose(audit);
    writeln!(out, "{}", answer(audit))?;
    cause::write_verdict(&diagnoses, out)?;
    writeln!(out, "Judged as {} would judge at the capture point.", judge_name(audit))?;
    if !audit.method.notrack.is_empty() {
        writeln!(out, "{}", exempt_line(audit))?;
    }
    for problem in &audit.incomplete {
        writeln!(out, "INCOMPLETE: {}", printable(problem))?;
    }
    if detail == Detail::Quiet {
        return Ok(());
    }
    cause::write(audit, &diagnoses, detail, out)?;
    write_rules(audit, out)?;
    write_flows(audit, detail, out)?;
    if audit.strict().packets > 0 {
        what_if::write(audit, out)?;
    }
    behaviour::write(audit, detail, out)?;
    if let Some(told) = &audit.story {
        behaviour::write_full(told, out)?;
    }
    write_capture(audit, out)?;
    write_method(audit, out)
}

/// Says in one line what the tracker would have done, and what being liberal changes.
fn answer(audit: &Audit) -> String {
    let (strict, liberal) = (audit.strict(), audit.liberal());
    let packets = counted(audit.tally.segments, "packet");
    let flows = counted(audit.totals.flows, "connection");
    if strict.packets == 0 {
        let errors = audit.totals.errors_invalid;
        if errors > 0 {
            let errors = counted(errors, "ICMP error");
            return format!("INVALID: {errors} about TCP; all of {packets}, {flows} pass");
        }
        return format!("Nothing INVALID: {packets}, {flows}");
    }
    format!(
        "INVALID: {} of {packets}, {} of {flows}: {}; be_liberal=1 leaves {}",
        grouped(strict.packets),
        grouped(strict.flows),
        rules(audit),
        grouped(liberal.packets),
    )
}

/// Says what the rules of `--notrack` did.
fn exempt_line(audit: &Audit) -> String {
    let totals = &audit.totals;
    let others = totals.datagrams.iter().filter(|((_, state), _)| *state == CtState::Untracked);
    let others = totals.errors_untracked + others.map(|(_, count)| count).sum::<u64>();
    format!(
        "UNTRACKED: {} of TCP, {} others (--notrack {})",
        counted(totals.untracked, "packet"),
        grouped(others),
        printable(&audit.method.notrack.join(", ")),
    )
}

/// Names the rules that made packets INVALID: the two that did most, and how many more there are.
fn rules(audit: &Audit) -> String {
    const NAMED: usize = 2;
    let ranked = ranked(&audit.totals.invalid_by_reason);
    let mut names: Vec<_> = ranked
        .iter()
        .take(NAMED)
        .map(|(reason, count)| format!("{} {}", reason.code(), grouped(*count)))
        .collect();
    if ranked.len() > NAMED {
        names.push(format!("others {}", grouped(ranked.iter().skip(NAMED).map(|(_, n)| n).sum())));
    }
    names.join(", ")
}

/// Names the kernel that judged, and how strictly.
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
        write_flow(finding, &audit.inputs, packets, out)?;
    }
    Ok(())
}

fn write_flow(
    finding: &FlowFinding,
    inputs: &Inputs,
    most: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let FlowFinding { key, audit, evidence, .. } = finding;
    let (original, reply) = key.endpoints(audit.original);
    let directions = audit.directions();
    let packets = directions.original.packets + directions.reply.packets;
    writeln!(out, "\n  flow {}  {original} > {reply}", audit.first_frame)?;
    writeln!(
        out,
        "    {} of {} INVALID, {} with be_liberal=1; {}, {} > {}",
        grouped(evidence.invalid_packets()),
        counted(packets, "packet"),
        grouped(evidence.invalid_liberal),
        span(audit.first_ts, audit.last_ts),
        grouped(directions.original.bytes),
        counted(directions.reply.bytes, "byte"),
    )?;
    if audit.picked_up {
        writeln!(out, "    picked up mid-stream: its windows are not judged strictly")?;
    }
    let shown: Vec<_> = evidence.key_packets.iter().take(most).collect();
    for packet in &shown {
        write_packet(finding, packet, inputs.place(packet.frame), out)?;
    }
    let numbers = shown.iter().map(|packet| inputs.place(packet.frame).frame.to_string());
    let frames: Vec<_> = numbers.collect();
    writeln!(out, "    Wireshark: frame.number in {{{}}}", frames.join(","))?;
    writeln!(out, "    {}", flow_filter(original, reply))
}

/// Writes a key packet: where it stands and what it says, then what the tracker says of it.
fn write_packet(
    finding: &FlowFinding,
    packet: &KeyPacket,
    place: Place,
    out: &mut dyn Write,
) -> io::Result<()> {
    let audit = &finding.audit;
    let direction = audit.direction_of(packet.orientation);
    let directions = audit.directions();
    let peer_first = directions[direction.flip()].first_seq;
    let state = packet.state.map_or("no entry", TcpState::name);
    let liberal = if packet.liberal == packet.ctstate { "" } else { ", passes if liberal" };
    writeln!(
        out,
        "    {}  {}  {}  [{}]  len {}  win {}  {state}{liberal}",
        place_name(place),
        offset(packet.ts, audit.first_ts),
        direction.name(),
        packet.flags.letters(),
        packet.len,
        packet.win,
    )?;
    let mut numbers = format!("seq {}", number(packet.seq, directions[direction].first_seq));
    if packet.flags.contains(Flags::ACK) {
        let _ = write!(numbers, "  ack {}", number(packet.ack, peer_first));
    }
    if let Some(edge) = packet.sack {
        let _ = write!(numbers, "  sack {}", number(edge, peer_first));
    }
    writeln!(out, "      {numbers}")?;
    let (ctstate, reason) = (packet.ctstate.name(), packet.reason);
    writeln!(out, "      {ctstate} {}: {}{}", reason.code(), reason.words(), excess(packet))
}

/// Names a frame, and its file when there are several.
fn place_name(place: Place) -> String {
    match place.file {
        Some(file) => format!("file {file} frame {}", place.frame),
        None => format!("frame {}", place.frame),
    }
}

/// Says by how many bytes which bound is violated.
fn excess(packet: &KeyPacket) -> String {
    let bound = match packet.reason {
        Reason::SeqOver | Reason::SeqOvershoot => "I, the highest byte that the receiver allowed",
        Reason::SeqUnder => "II, one window below the highest byte sent",
        Reason::AckOver => "III, the highest byte seen from the other side",
        Reason::AckUnder => "IV, one window below the highest byte seen from the other side",
        _ => return String::new(),
    };
    let margin = packet.margins.and_then(|margins| margins.of(packet.reason));
    margin.map_or_else(String::new, |margin| {
        let beyond = counted(u64::from(margin.unsigned_abs()), "byte");
        format!("\n        {beyond} beyond bound {bound}")
    })
}

/// Writes a number relative to the first one of its side, and raw in brackets.
fn number(number: SeqNum, first: Option<SeqNum>) -> String {
    match first {
        Some(first) => format!("{} ({number})", number.offset_from(first)),
        None => format!("({number})"),
    }
}

/// Writes a Wireshark display filter that shows the whole flow.
fn flow_filter(a: Endpoint, b: Endpoint) -> String {
    let ip = if a.addr.is_ipv4() { "ip" } else { "ipv6" };
    format!(
        "{ip}.addr=={} && {ip}.addr=={} && tcp.port=={} && tcp.port=={}",
        a.addr, b.addr, a.port, b.port,
    )
}

fn write_capture(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nCapture")?;
    for input in &audit.inputs.read {
        write_input(&input.summary, out)?;
    }
    if let (Some(first), Some(last)) = (audit.first_ts, audit.last_ts) {
        writeln!(out, "  {first}, {}", span(first, last))?;
    }
    writeln!(out, "  {}", frames_line(&audit.tally))?;
    if let Some(FilterSummary { expression, left_out }) = &audit.inputs.filter {
        let left_out = counted(*left_out, "frame");
        writeln!(
            out,
            "    {left_out} beside these left out by --filter {}",
            printable(expression)
        )?;
    }
    for line in datagram_lines(audit) {
        writeln!(out, "    {line}")?;
    }
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

/// Says of each other protocol what rules would see of its datagrams.
fn datagram_lines(audit: &Audit) -> Vec<String> {
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

fn write_method(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nMethod")?;
    if let Some(policy) = audit.method.policies.first() {
        writeln!(out, "  {}", policy_line(*policy))?;
    }
    let checksums = match audit.method.sysctls.checksum {
        Setting::On => "checksums judged, except those that cover the pseudo-header only",
        Setting::Off => "checksums not judged; --sysctl nf_conntrack_checksum=1 judges them",
    };
    writeln!(out, "  {checksums}")?;
    if audit.tunnels == Tunnels::Opened {
        writeln!(out, "  tunnels opened: the innermost packet of each frame is judged")?;
    }
    writeln!(out, "  assumed: the tracker sits at the capture point and sees every packet captured")
}

fn policy_line(policy: Policy) -> String {
    let value = |setting| i32::from(setting == Setting::On);
    let no_window_check =
        if policy.no_window_check == Setting::On { " no_window_check=1" } else { "" };
    format!(
        "Linux {}: be_liberal={} loose={} ignore_invalid_rst={}{no_window_check}",
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
