//! What the ends did, for a terminal: a few lines in all, a few lines a flow.

use std::io::{self, Write};

use crate::audit::{Audit, Histogram};
use crate::flow::{
    FlowStory, FlowTrouble, Happening, Kind, KindCounts, Offer, Proofs, Scaling, SideSummary,
    Summary,
};
use crate::report::text::look::{Palette, WIDTH, write_wrapped};
use crate::report::text::write_heading;
use crate::report::view::{View, community, ending, millis, offset};
use crate::report::{Detail, counted, grouped};
use crate::segment::{Direction, PerDirection};

/// Writes what the ends of all flows did, and the flows with the most trouble.
pub(super) fn write(
    view: &View<'_>,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let audit = view.audit;
    let behaviour = &audit.totals.behaviour;
    write_heading("Endpoints", palette, out)?;
    writeln!(out, "  {}", again_in_all(&behaviour.kinds))?;
    write_kinds(&behaviour.kinds, Kind::is_retransmission, out)?;
    if let Some(words) = proven(behaviour.proofs) {
        write_list("  proven needless afterwards: ", &words, out)?;
    }
    let is_other = |kind: Kind| !kind.is_retransmission();
    if behaviour.kinds.iter().any(|(kind, _)| is_other(kind)) {
        writeln!(out, "  beside these, below the highest number sent")?;
        write_kinds(&behaviour.kinds, is_other, out)?;
    }
    let flows = behaviour.flows.list().into_iter().filter(|(_, count)| *count > 0);
    let flows: Vec<_> = flows.map(|(code, n)| format!("{code} {}", grouped(n))).collect();
    if !flows.is_empty() {
        write_list("  connections with ", &flows, out)?;
    }
    write_times(audit, out)?;
    if behaviour.holes_forgotten > 0 {
        let holes = counted(behaviour.holes_forgotten, "gap");
        writeln!(out, "  {holes} not followed: too many in one connection")?;
    }
    write_effects(audit, out)?;
    let most = if detail == Detail::Verbose { usize::MAX } else { 3 };
    // A flow that has been shown as evidence is told of again only where everything is.
    let is_news = |flow: &&FlowTrouble| {
        let is_shown = view.evidence.iter().any(|shown| shown.id == flow.audit.first_frame);
        detail == Detail::Verbose || !is_shown
    };
    let troubled: Vec<_> = audit.troubled.iter().filter(is_news).collect();
    for flow in troubled.iter().take(most) {
        write_troubled(flow, out)?;
    }
    let hidden = troubled.len().saturating_sub(most) as u64 + audit.troubled_not_kept;
    if hidden > 0 {
        let hidden = counted(hidden, "connection");
        writeln!(out, "\n  {hidden} with less trouble not shown; --flow ID tells one in full")?;
    }
    Ok(())
}

/// Writes words with commas between them, on as many lines as they need.
fn write_list(lead: &str, words: &[String], out: &mut dyn Write) -> io::Result<()> {
    let indent = lead.len() - lead.trim_start().len() + 2;
    let mut line = lead.to_owned();
    for (index, word) in words.iter().enumerate() {
        let comma = if index + 1 < words.len() { "," } else { "" };
        let is_full = line.chars().count() + word.chars().count() + comma.len() > WIDTH;
        if is_full && index > 0 {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(indent);
        }
        line.push_str(word);
        line.push_str(comma);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

/// Says what was sent below the highest number, by kind.
fn again_words(kinds: &KindCounts) -> Vec<String> {
    let mut words = vec![again_in_all(kinds)];
    let by_kind = kinds.iter();
    words.extend(by_kind.map(|(kind, n)| format!("{} {}", kind.words(), grouped(n.packets))));
    words
}

/// Writes the kinds of packets that are such, a line each.
fn write_kinds(
    kinds: &KindCounts,
    is_such: impl Fn(Kind) -> bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (kind, count) in kinds.iter().filter(|(kind, _)| is_such(*kind)) {
        let packets = grouped(count.packets);
        writeln!(out, "    {:<20} {packets:>9}  {}", kind.code(), kind.words())?;
    }
    Ok(())
}

/// Says what proved that something had been sent again without need; one packet may have several
/// proofs.
fn proven(Proofs { dsack, eifel, too_early }: Proofs) -> Option<Vec<String>> {
    let proofs = [
        (dsack, "reported as received twice (DSACK)"),
        (eifel, "acknowledged with an older timestamp (Eifel)"),
        (too_early, "acknowledged sooner than the path allows"),
    ];
    let told = proofs.into_iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> =
        told.map(|(count, how)| format!("{} {how}", grouped(count.into()))).collect();
    (!words.is_empty()).then_some(words)
}

/// Says how much was sent again.
fn again_in_all(kinds: &KindCounts) -> String {
    let again = kinds.retransmitted();
    if again.packets == 0 {
        return "no data sent again".to_owned();
    }
    let packets = counted(again.packets, "packet");
    format!("{packets} sent again ({} bytes)", grouped(again.bytes))
}

/// Writes the medians and the extremes of what was timed.
fn write_times(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let behaviour = &audit.totals.behaviour;
    let times = [
        ("round trip to the originator", &behaviour.rtt_near),
        ("to the responder", &behaviour.rtt_far),
        ("handshake", &behaviour.rtt_handshake),
        ("sent again without progress for", &behaviour.retransmission_delay),
    ];
    let words = times.into_iter().filter_map(|(what, times)| times_of(what, times));
    let words: Vec<_> = words.collect();
    if words.is_empty() { Ok(()) } else { write_list("  ", &words, out) }
}

fn times_of(what: &str, times: &Histogram) -> Option<String> {
    let (least, most) = (times.quantile_us(0)?, times.quantile_us(1000)?);
    Some(if least == most {
        format!("{what} {}", length(most))
    } else {
        let median = times.quantile_us(500)?;
        format!("{what} {} (at most {})", length(median), length(most))
    })
}

/// Says how long a time is; between equal time stamps nobody can tell.
fn length(micros: u64) -> String {
    if micros == 0 { "too short to tell".to_owned() } else { millis(micros) }
}

fn write_effects(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let effects = audit.totals.behaviour.effects;
    if effects.dropped + effects.not_dropped == 0 {
        return Ok(());
    }
    let words = [
        format!("proven dropped behind the capture point {}", grouped(effects.dropped)),
        format!("not dropped {}", grouped(effects.not_dropped)),
        format!("unknown {}", grouped(effects.unknown)),
    ];
    write_list("  INVALID packets: ", &words, out)
}

fn write_troubled(flow: &FlowTrouble, out: &mut dyn Write) -> io::Result<()> {
    let (original, reply) = flow.key.endpoints(flow.audit.original);
    let summary = &flow.summary;
    writeln!(out)?;
    let flow = flow.audit.first_frame;
    write_wrapped("  ", &format!("flow {flow}  {original} > {reply}"), out)?;
    write_wrapped("    ", &ending(summary), out)?;
    write_sides(summary, out)?;
    write_stall(summary, out)
}

fn write_sides(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let PerDirection { original, reply } = &summary.sides;
    for (name, side) in [("    original > ", original), ("    reply    < ", reply)] {
        let facts = facts(side);
        if !facts.is_empty() {
            write_list(name, &facts, out)?;
        }
    }
    Ok(())
}

/// Lists what is worth telling of a side.
fn facts(side: &SideSummary) -> Vec<String> {
    let mut facts = Vec::new();
    if !side.kinds.is_empty() {
        facts.extend(again_words(&side.counts()));
    }
    let window = &side.window;
    if window.zero > 0 {
        let longest = millis(u64::from(window.longest_zero_us));
        facts.push(format!("window zero {} (longest {longest})", times(window.zero)));
    }
    let counts = [
        (window.full, "window", "filled"),
        (window.silly, "window", "below a segment"),
        (side.sack.beyond, "SACK block", "beyond what was sent"),
        (side.sack.below, "SACK block", "below the acknowledgement"),
        (side.acked_unseen, "acknowledgement", "of bytes not captured"),
    ];
    for (count, noun, what) in counts.into_iter().filter(|(count, ..)| *count > 0) {
        facts.push(format!("{} {what}", counted(u64::from(count), noun)));
    }
    let measured = [
        (window.shrunk, window.most_shrunk, "window", "shrunk"),
        (window.overrun, window.most_overrun, "segment", "of the other side beyond the window"),
    ];
    for (count, most, noun, what) in measured.into_iter().filter(|(count, ..)| *count > 0) {
        let most = counted(u64::from(most), "byte");
        facts.push(format!("{} {what} by at most {most}", counted(u64::from(count), noun)));
    }
    facts.extend(scaling_facts(side));
    facts
}

fn scaling_facts(side: &SideSummary) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(shift) = side.hidden_shift {
        facts.push(format!("windows scaled by at least {shift}, not as negotiated"));
    } else if let Some(shift) = side.suspected_shift {
        facts.push(format!("windows look scaled by {shift}, which was not negotiated"));
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
        let words = [
            format!("{} waiting for {}", millis(u64::from(stall.micros)), stall.waiting.code()),
            format!("ended by {} in frame {}", stall.end.words(), stall.frame),
        ];
        let lead = match summary.stalls {
            1 => "    stall: ".to_owned(),
            stalls => format!("    longest of {stalls} stalls: "),
        };
        write_list(&lead, &words, out)?;
    }
    let handshake = &summary.handshake;
    if !handshake.syn_retries_us.is_empty() {
        let times = handshake.syn_retries_us.iter().map(|us| millis(u64::from(*us)));
        write_list("    SYN sent again after ", &times.collect::<Vec<_>>(), out)?;
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
pub(super) fn write_full(
    audit: &Audit,
    told: &FlowStory,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    let FlowStory { key, audit: flow, summary, story } = told;
    let (original, reply) = key.endpoints(flow.original);
    write_heading(&format!("Flow {} in full", flow.first_frame), palette, out)?;
    let community = community(key, audit).map_or_else(String::new, |id| format!("{id}  "));
    writeln!(out, "  {original} > {reply}\n  {community}{}", ending(summary))?;
    for direction in Direction::BOTH {
        write_side(direction, &summary.sides[direction], out)?;
    }
    write_sides(summary, out)?;
    write_stall(summary, out)?;
    writeln!(out, "  what happened:")?;
    for event in &story.events {
        let direction = flow.direction_of(event.orientation);
        writeln!(
            out,
            "    frame {:<7} {} {:<8} {}",
            event.frame,
            offset(event.ts, flow.first_ts),
            direction.name(),
            words(&event.what)
        )?;
    }
    if story.events_not_kept > 0 {
        writeln!(out, "    and {}", counted(story.events_not_kept, "further event"))?;
    }
    Ok(())
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
    let mut words = vec![offer, scaling];
    words.extend(side.mss.map(|mss| format!("mss {mss}")));
    words.extend(side.sack_permitted.then(|| "SACK".to_owned()));
    words.extend(side.timestamps.then(|| "timestamps".to_owned()));
    words.push(format!("at most {} bytes in flight", grouped(side.max_flight.into())));
    if let Some(least) = side.rtt_min_us {
        let smoothed = side.rtt_smoothed_us.unwrap_or(least);
        words.push(match least {
            0 => "answered within a time too short to tell".to_owned(),
            least => format!("answered within {}", millis(least.into())),
        });
        if smoothed > 0 {
            words.push(format!("usually {}", millis(smoothed.into())));
        }
    }
    write_list(&format!("  {:<8} ", direction.name()), &words, out)
}

fn words(what: &Happening) -> String {
    match what {
        Happening::Again { kind, bytes, idle_us } => format!(
            "{}: {bytes} bytes, {} after the last progress",
            kind.words(),
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
            "stall of {} waiting for {}, ended by {}",
            millis(u64::from(stall.micros)),
            stall.waiting.code(),
            stall.end.words()
        ),
        Happening::Effect { frame, effect } => {
            format!("proves INVALID frame {frame} {}", effect.code())
        }
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", grouped(u64::from(count))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_between_equal_time_stamps_has_no_length() {
        let mut times = Histogram::default();
        times.record(0);
        assert_eq!(times_of("handshake", &times).unwrap(), "handshake too short to tell");
        times.record(0);
        times.record(16_000);
        let words = times_of("handshake", &times).unwrap();
        assert_eq!(words, "handshake too short to tell (at most 16.007 ms)");
    }

    #[test]
    fn proofs_that_nothing_was_lost_are_told() {
        let proofs = Proofs { dsack: 5, eifel: 0, too_early: 1 };
        assert_eq!(
            proven(proofs).unwrap().join(", "),
            "5 reported as received twice (DSACK), 1 acknowledged sooner than the path allows"
        );
        assert_eq!(proven(Proofs::default()), None);
    }
}
