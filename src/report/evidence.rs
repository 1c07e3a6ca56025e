//! The evidence as a capture file: only the packets that prove something, and on each what it proves.
//!
//! A packet is its headers from the IP header to the end of the TCP options: no payload, and no link
//! layer, so that nothing of MAC addresses is left. Comments begin with `twa`, so that
//! `tshark -Y 'frame.comment contains "twa"'` finds them wherever the packets are merged into.
//!
//! Does not: choose the packets, or read them.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::audit::{Audit, Exhibits, ShownFlow, ShownPacket};
use crate::diagnose::{Diagnoses, Diagnosis};
use crate::flow::{Effect, Point};
use crate::frame::{LinkType, Place};
use crate::report::pcapng::{
    Described, Drops, Packet, write_interface, write_packet, write_section, write_statistics,
};
use crate::report::view::{EvidenceFlow, EvidencePacket, Extent, View, holding, place_name};
use crate::report::{counted, printable};
use crate::segment::Flags;
use crate::source::{Interface, SourceSummary};
use crate::time::Timestamp;

/// What every comment begins with.
const MARK: &str = "twa";

/// Writes the capture.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let view = View::of(audit, Extent::DOCUMENT);
    write_section(&section_comment(&view), out)?;
    let inputs = &audit.inputs.read;
    for input in inputs {
        write_interface(&described(&input.summary), out)?;
    }
    let comments = Comments::new(&view);
    for packet in &audit.exhibits.packets {
        let interface = u32::try_from(Place::of(packet.frame).file).unwrap_or(u32::MAX);
        let ShownPacket { ts, original_len, headers: bytes, .. } = packet;
        let (ts, original_len) = (*ts, *original_len);
        let comments = &comments.of(packet.frame);
        write_packet(&Packet { interface, ts, original_len, bytes, comments }, out)?;
    }
    let until = audit.last_ts.unwrap_or(Timestamp(0));
    for (index, input) in (0..).zip(inputs) {
        let drops = drops(&input.summary.interfaces);
        if drops != Drops::default() {
            write_statistics(index, until, drops, out)?;
        }
    }
    Ok(())
}

/// Says in a few lines what the packets are evidence of, and of which capture.
fn section_comment(view: &View<'_>) -> String {
    let mut text = format!("{MARK} verdict: {}\n", view.diagnoses.conclusion.sentence);
    let _ = writeln!(text, "{}", view.answer);
    let _ = writeln!(text, "Judged as {} would judge at the capture point.", view.judge);
    for fact in view.reproduce.iter().filter(|fact| fact.name == "input") {
        let _ = writeln!(text, "Original: {}", printable(&fact.words));
    }
    if let Some(missing) = &view.audit.exhibits.missing {
        let _ = writeln!(text, "Missing: {}", printable(missing));
    }
    text.push_str("Headers only, from the IP header to the end of the TCP options.");
    text
}

/// Describes the frames of an input; a name stands for all of them only where there is one.
fn described(input: &SourceSummary) -> Described {
    let name = match &input.interfaces[..] {
        [only] => only.name.as_deref().map(printable),
        _ => None,
    };
    let description = format!("headers of {}", printable(&input.name));
    Described { link_type: LinkType::RAW.0, name, description }
}

/// Adds up what the interfaces of an input lost, as far as it says.
fn drops(interfaces: &[Interface]) -> Drops {
    let sum = |of: fn(&Interface) -> Option<u64>| {
        interfaces.iter().filter_map(of).reduce(u64::saturating_add)
    };
    Drops {
        by_interface: sum(|interface| interface.dropped_by_interface),
        by_host: sum(|interface| interface.dropped_by_host),
    }
}

/// What there is to say of each packet.
struct Comments<'a> {
    flows: Vec<EvidenceFlow<'a>>,
    view: &'a View<'a>,
    diagnoses: &'a Diagnoses,
    exhibits: &'a Exhibits,
}

impl<'a> Comments<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let shown = view.audit.exhibits.packets.iter().map(|packet| packet.frame).collect();
        let flows = holding(view.audit, &shown);
        Self { flows, view, diagnoses: &view.diagnoses, exhibits: &view.audit.exhibits }
    }

    /// Says of a packet what a rule said of it, else why it is shown.
    fn of(&self, frame: u64) -> Vec<String> {
        let place = place_name(self.view.audit.inputs.place(frame));
        let mut said = Vec::new();
        for flow in &self.flows {
            let packets = flow.packets.iter().filter(|shown| shown.packet.frame == frame);
            said.extend(packets.map(|shown| self.of_key_packet(flow, shown)));
        }
        if said.is_empty() {
            let points = self.exhibits.flows.iter().flat_map(|shown| {
                let its_own = shown.trace.points.iter().chain(&shown.trace.close);
                its_own
                    .filter(|point| point.frame == frame)
                    .take(1)
                    .map(move |point| (shown, point))
            });
            said.extend(points.map(|(shown, point)| of_context(shown, point)));
        }
        if said.is_empty() {
            let shows = self.diagnoses.causes.iter().find(|found| found.evidence.contains(&frame));
            said.extend(shows.map(|found| format!("{MARK} {} evidence", found.cause.id())));
        }
        for comment in &mut said {
            let _ = write!(comment, "; {place} of the original");
        }
        said
    }

    fn of_key_packet(&self, flow: &EvidenceFlow<'_>, shown: &EvidencePacket<'_>) -> String {
        let packet = shown.packet;
        let mut text = MARK.to_owned();
        if let Some(found) = self.cause(flow.id, packet.frame) {
            let _ = write!(text, " {}", found.cause.id());
        }
        let _ = write!(text, " {}", packet.ctstate.name());
        if let Some(excess) = shown.excess {
            let _ = write!(text, " {}", excess.bound);
        }
        let _ = write!(text, ": {}, {}", packet.reason.code(), packet.reason.words());
        if let Some(excess) = shown.excess {
            let bytes = counted(u64::from(excess.bytes), "byte");
            let _ = write!(text, ": {bytes} beyond {}", excess.words);
        }
        let effect = match packet.effect {
            Effect::Dropped => "; effect: dropped, as later packets prove",
            Effect::NotDropped => "; effect: not dropped, as later packets prove",
            Effect::Unknown => "; effect: not known",
        };
        text.push_str(effect);
        if shown.passes_if_liberal {
            text.push_str("; passes with be_liberal=1");
        }
        let _ = write!(text, "; flow {} {}", flow.id, shown.direction);
        text
    }

    /// Finds the cause that a packet shows: one that names it, else the surest that names its flow.
    fn cause(&self, flow: u64, frame: u64) -> Option<&Diagnosis> {
        let mut causes = self.diagnoses.causes.iter();
        let names_frame = causes.clone().find(|found| found.evidence.contains(&frame));
        names_frame.or_else(|| causes.find(|found| found.flows.contains(&flow)))
    }
}

/// Says of a packet that no rule spoke of what it tells of its flow.
fn of_context(shown: &ShownFlow, point: &Point) -> String {
    let audit = &shown.told.audit;
    let direction = audit.direction_of(point.orientation).name();
    let id = audit.first_frame;
    let mut text = format!("{MARK} flow {id} {direction}");
    let segment = &point.segment;
    if !segment.has(Flags::SYN) {
        let _ = write!(text, ": {}", point.ctstate.name());
        return text;
    }
    let name = if segment.has(Flags::ACK) { "SYN-ACK" } else { "SYN" };
    let _ = write!(text, ": {name} with");
    let options = &segment.options;
    let offers = [
        options.mss.map(|mss| format!("MSS {mss}")),
        options.wscale.map(|shift| format!("window scale {shift}")),
        options.sack_permitted.then(|| "SACK permitted".to_owned()),
        options.timestamps.map(|_| "timestamps".to_owned()),
    ];
    let offers: Vec<_> = offers.into_iter().flatten().collect();
    let offers = if offers.is_empty() { "no options".to_owned() } else { offers.join(", ") };
    let _ = write!(text, " {offers}");
    text
}
