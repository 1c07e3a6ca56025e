//! What the ends did, for a terminal: a few lines in all, a few lines a flow.

use std::io::{self, Write};

use crate::audit::{Audit, Histogram};
use crate::flow::community_id::community_id;
use crate::flow::{
    FlowStory, FlowTrouble, Happening, KindCounts, Offer, Scaling, SideSummary, Summary,
};
use crate::report::text::offset;
use crate::report::{Detail, counted, grouped};
use crate::segment::{Direction, PerDirection};
use crate::tuple::FlowKey;

/// Writes what the ends of all flows did, and the flows with the most trouble.
pub(super) fn write(audit: &Audit, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    let behaviour = &audit.totals.behaviour;
    writeln!(out, "\nEndpoints")?;
    writeln!(out, "  {}", again_line(&behaviour.kinds))?;
    let flows: Vec<_> = behaviour.flows.list().into_iter().filter(|(_, n)| *n > 0).collect();
    if !flows.is_empty() {
        let words = flows.iter().map(|(code, n)| format!("{code} {}", grouped(*n)));
        writeln!(out, "  connections with {}", words.collect::<Vec<_>>().join(", "))?;
    }
    let times = [
        ("round trip, originator's side", &behaviour.rtt_near),
        ("round trip, responder's side", &behaviour.rtt_far),
        ("handshake", &behaviour.rtt_handshake),
        ("no progress before sending again", &behaviour.retransmission_delay),
    ];
    for (what, histogram) in times {
        write_times(what, histogram, out)?;
    }
    if behaviour.holes_forgotten > 0 {
        let holes = counted(behaviour.holes_forgotten, "gap");
        writeln!(out, "  {holes} not followed: too many in one connection")?;
    }
    write_effects(audit, out)?;
    let most = if detail == Detail::Verbose { usize::MAX } else { 3 };
    for flow in audit.troubled.iter().take(most) {
        write_troubled(flow, out)?;
    }
    Ok(())
}

fn again_line(kinds: &KindCounts) -> String {
    let again = kinds.retransmitted();
    if again.packets == 0 && kinds.iter().next().is_none() {
        return "nothing sent again".to_owned();
    }
    let list: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{} {}", kind.code(), grouped(count.packets)))
        .collect();
    let packets = counted(again.packets, "packet");
    format!("{packets} sent again ({} bytes): {}", grouped(again.bytes), list.join(", "))
}

fn write_times(what: &str, times: &Histogram, out: &mut dyn Write) -> io::Result<()> {
    let quantiles = [500, 900, 1000].map(|permille| times.quantile_us(permille));
    let [Some(median), Some(high), Some(most)] = quantiles else { return Ok(()) };
    writeln!(
        out,
        "  {what}: half within {}, 90 % within {}, all within {}",
        millis(median),
        millis(high),
        millis(most)
    )
}

fn write_effects(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let effects = audit.totals.behaviour.effects;
    if effects.dropped + effects.not_dropped == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "  INVALID packets proven dropped behind the capture point {}, not dropped {}, unknown {}",
        grouped(effects.dropped),
        grouped(effects.not_dropped),
        grouped(effects.unknown)
    )
}

fn write_troubled(flow: &FlowTrouble, out: &mut dyn Write) -> io::Result<()> {
    let (original, reply) = flow.key.endpoints(flow.audit.original);
    let summary = &flow.summary;
    writeln!(
        out,
        "\n  flow {}  {original} > {reply}  {} {}",
        flow.audit.first_frame,
        summary.conn_state.name(),
        summary.history
    )?;
    write_sides(summary, out)?;
    write_stall(summary, out)
}

fn write_sides(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let PerDirection { original, reply } = &summary.sides;
    for (name, side) in [("original >", original), ("reply    <", reply)] {
        let facts = facts(side);
        if !facts.is_empty() {
            writeln!(out, "    {name} {}", facts.join(", "))?;
        }
    }
    Ok(())
}

/// Lists what is worth telling of a side.
fn facts(side: &SideSummary) -> Vec<String> {
    let mut facts = Vec::new();
    if !side.kinds.is_empty() {
        facts.push(again_line(&side.counts()));
    }
    let window = &side.window;
    if window.zero > 0 {
        let longest = millis(u64::from(window.longest_zero_us));
        facts.push(format!("window zero {} times, at most {longest}", window.zero));
    }
    let counts = [
        (window.full, "windows filled"),
        (window.silly, "windows below a segment"),
        (side.sack.beyond, "SACK blocks beyond what was sent"),
        (side.sack.below, "SACK blocks below the acknowledgement"),
        (side.acked_unseen, "acknowledgements of bytes not captured"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        facts.push(format!("{} {what}", grouped(u64::from(count))));
    }
    let measured = [
        (window.shrunk, window.most_shrunk, "windows shrunk"),
        (window.overrun, window.most_overrun, "segments of the other side beyond the window"),
    ];
    for (count, most, what) in measured.into_iter().filter(|(count, ..)| *count > 0) {
        let most = counted(u64::from(most), "byte");
        facts.push(format!("{} {what} by at most {most}", grouped(u64::from(count))));
    }
    facts.extend(scaling_facts(side));
    facts
}

fn scaling_facts(side: &SideSummary) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(shift) = side.hidden_shift {
        facts.push(format!("windows are scaled by at least {shift}, unlike the handshake says"));
    } else if let Some(shift) = side.suspected_shift {
        facts.push(format!("windows look scaled by {shift}, though that was not negotiated"));
    }
    if side.peer_is_blind {
        facts.push("the other side takes these windows for unscaled".to_owned());
    }
    if let Some((low, high)) = side.sack.shift().filter(|(low, high)| *low > 0 || *high < 0) {
        facts.push(format!("all SACK blocks moved by {low} to {high}"));
    }
    facts
}

fn write_stall(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    if let Some(stall) = summary.stall {
        writeln!(
            out,
            "    longest of {}: {} waiting for {}, ended by {} in frame {}",
            counted(u64::from(summary.stalls), "stall"),
            millis(u64::from(stall.micros)),
            stall.waiting.code(),
            stall.end.code(),
            stall.frame
        )?;
    }
    let handshake = &summary.handshake;
    if !handshake.syn_retries_us.is_empty() {
        let times = handshake.syn_retries_us.iter().map(|us| millis(u64::from(*us)));
        let times = times.collect::<Vec<_>>().join(", ");
        writeln!(out, "    SYN sent again after {times}")?;
    }
    let counts = [
        (handshake.syn_acks_reset, "SYN-ACK answered by RST"),
        (handshake.challenge_acks, "challenge ACK"),
        (handshake.other_syn_acks, "SYN-ACK with another initial number"),
        (handshake.options_changed, "SYN with other options than the first"),
        (handshake.options_rewritten, "SYN rewritten between two sightings"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "    {what}: {count}")?;
    }
    Ok(())
}

/// Writes one flow in full.
pub(super) fn write_full(told: &FlowStory, out: &mut dyn Write) -> io::Result<()> {
    let FlowStory { key, audit, summary, story } = told;
    let (original, reply) = key.endpoints(audit.original);
    writeln!(out, "\nFlow {} in full", audit.first_frame)?;
    writeln!(out, "  {original} > {reply}  {}", id_line(key, summary))?;
    for direction in Direction::BOTH {
        write_side(direction, &summary.sides[direction], out)?;
    }
    write_sides(summary, out)?;
    write_stall(summary, out)?;
    writeln!(out, "  what happened:")?;
    for event in &story.events {
        let direction = audit.direction_of(event.orientation);
        writeln!(
            out,
            "    frame {:<7} {} {:<8} {}",
            event.frame,
            offset(event.ts, audit.first_ts),
            direction.name(),
            words(&event.what)
        )?;
    }
    if story.events_not_kept > 0 {
        writeln!(out, "    and {}", counted(story.events_not_kept, "further event"))?;
    }
    Ok(())
}

fn id_line(key: &FlowKey, summary: &Summary) -> String {
    let missed = summary.missed_bytes();
    let missed = if missed == 0 { String::new() } else { format!("  missed {missed} bytes") };
    let (state, history) = (summary.conn_state.name(), &summary.history);
    format!("{}  {state} {history}{missed}", community_id(key))
}

fn write_side(direction: Direction, side: &SideSummary, out: &mut dyn Write) -> io::Result<()> {
    let offer = match side.offer {
        Offer::NotSeen => "SYN not seen".to_owned(),
        Offer::NotOffered => "no wscale offered".to_owned(),
        Offer::Shift(shift) => format!("wscale {shift} offered"),
    };
    let scaling = match side.scaling {
        Scaling::Unknown => "scaling unknown".to_owned(),
        Scaling::Off => "not scaled".to_owned(),
        Scaling::By(shift) => format!("scaled by {shift}"),
    };
    let mss = side.mss.map_or_else(String::new, |mss| format!(", mss {mss}"));
    let sack = if side.sack_permitted { ", SACK" } else { "" };
    let timestamps = if side.timestamps { ", timestamps" } else { "" };
    let rtt = side.rtt_min_us.map_or_else(String::new, |least| {
        let smoothed = side.rtt_smoothed_us.unwrap_or(least);
        format!(", answered within {}, usually {}", millis(least.into()), millis(smoothed.into()))
    });
    writeln!(
        out,
        "  {:<8} {offer}, {scaling}{mss}{sack}{timestamps}; at most {} bytes in flight{rtt}",
        direction.name(),
        grouped(side.max_flight.into()),
    )
}

fn words(what: &Happening) -> String {
    match what {
        Happening::Again { kind, bytes, idle_us } => format!(
            "{}: {}, {} bytes, {} after the last progress",
            kind.code(),
            kind.words(),
            bytes,
            millis(u64::from(*idle_us))
        ),
        Happening::Gap { bytes } => format!("gap: {bytes} bytes missing before this"),
        Happening::WindowShut => "window zero".to_owned(),
        Happening::WindowOpened { micros } => {
            format!("window open after {}", millis(u64::from(*micros)))
        }
        Happening::WindowFull => "fills the window".to_owned(),
        Happening::Overrun { bytes } => format!("{bytes} bytes beyond every window offered"),
        Happening::Shrunk { bytes } => format!("window moved left by {bytes} bytes"),
        Happening::AckedUnseen { bytes } => format!("acknowledges {bytes} bytes not captured"),
        Happening::SackOutside => "SACK block outside of what was sent".to_owned(),
        Happening::DuplicateReported => "reports a duplicate (DSACK)".to_owned(),
        Happening::Stalled(stall) => format!(
            "stall of {} waiting for {}",
            millis(u64::from(stall.micros)),
            stall.waiting.code()
        ),
        Happening::Effect { frame, effect } => {
            format!("proves INVALID frame {frame} {}", effect.code())
        }
    }
}

/// Writes a time in milliseconds with microseconds behind the point.
fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
