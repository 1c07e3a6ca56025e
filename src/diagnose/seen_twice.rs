//! Connections that were captured at several places: what changed between them.
//!
//! Does not: find them; copies within a flow are told in `flow`, translated ones in
//! [`pairs`](mod@super::pairs).

use std::collections::BTreeSet;

use crate::audit::Audit;
use crate::diagnose::counted;
use crate::diagnose::pairs::{Pair, changes};
use crate::flow::{FlowSightings, Mark, Way};
use crate::tuple::Vantage;

/// The connections that reports name.
pub const MAX_NAMED: usize = 50;

/// A connection that was captured at several places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenTwice {
    /// The flow that is judged.
    pub flow: u64,
    /// The flow of the other sight, where addresses were translated between them.
    pub other_flow: Option<u64>,
    /// Packets of it that were left out as copies.
    pub copies: u64,
    /// What differs elsewhere, in words: first what it is, then from what to what.
    pub changes: Vec<String>,
    /// Where it was captured, and where else, as far as names tell.
    pub places: Option<(String, String)>,
}

impl SeenTwice {
    /// Names the connection, as a heading of a row.
    pub fn name(&self) -> String {
        let other = self.other_flow.map_or_else(String::new, |other| format!(", and flow {other}"));
        format!("flow {}{other}", self.flow)
    }

    /// Says where it is judged and where else it was seen, and what differs there.
    pub fn cells(&self) -> [String; 2] {
        let places = self.places.as_ref().map_or_else(
            || "two hops on one interface".to_owned(),
            |(here, there)| format!("judged at {here}, also at {there}"),
        );
        let mut differs = self.changes.clone();
        if differs.is_empty() {
            differs.push("nothing differs".to_owned());
        }
        if self.copies > 0 {
            differs.push(format!("{} left out", counted(self.copies, "packet")));
        }
        [places, differs.join("; ")]
    }

    /// Says in one sentence, without a full stop, where it was seen and what differs there.
    pub fn sentence(&self) -> String {
        let other = self.other_flow.map_or_else(String::new, |other| format!(" as flow {other}"));
        let places = self
            .places
            .as_ref()
            .map_or_else(String::new, |(here, there)| format!(" ({here} here, {there} there)"));
        format!("flow {}{other}{places}: {}", self.flow, self.changes.join("; "))
    }
}

/// Lists the connections, by the flow that is judged.
pub(super) fn seen_twice(audit: &Audit, pairs: &[Pair<'_>]) -> Vec<SeenTwice> {
    let copies = audit.sightings.iter().map(|flow| within(audit, flow));
    let translated = pairs.iter().map(|pair| across(audit, pair));
    let mut all: Vec<_> = copies.chain(translated).collect();
    all.sort_by_key(|seen| seen.flow);
    all.truncate(MAX_NAMED);
    all
}

fn within(audit: &Audit, flow: &FlowSightings) -> SeenTwice {
    let sightings = &flow.sightings;
    let mut found = BTreeSet::new();
    for (name, orientation) in [("SYN", flow.original), ("SYN-ACK", flow.original.flip())] {
        let way = sightings.way(orientation);
        if let (Some(here), Some(there)) = (way.here, way.elsewhere) {
            let changes = changes(&here.segment, &there.segment);
            found.extend(changes.into_iter().map(|change| format!("{name}: {change}")));
        } else if way.offset() != 0 {
            let sender = if name == "SYN" { "originator" } else { "responder" };
            let shift = way.offset().cast_signed();
            found.insert(format!("sequence numbers of the {sender} {shift:+}"));
        }
    }
    let places = other_place(sightings.way(flow.original))
        .or_else(|| other_place(sightings.way(flow.original.flip())));
    SeenTwice {
        flow: flow.first_frame,
        other_flow: None,
        copies: sightings.copies(),
        changes: found.into_iter().collect(),
        places: places.map(|(here, there)| (place(audit, here), place(audit, there))),
    }
}

fn other_place(way: &Way) -> Option<(Vantage, Vantage)> {
    let (here, others) = way.marks();
    let here = here?.vantage;
    let there = others.iter().map(|mark: &Mark| mark.vantage).find(|there| *there != here)?;
    Some((here, there))
}

fn across(audit: &Audit, pair: &Pair<'_>) -> SeenTwice {
    let ((from, to), (new_from, new_to)) = (pair.before.endpoints(), pair.after.endpoints());
    let mut changes = Vec::new();
    if pair.changes_source() {
        changes.push(format!("source {new_from}, elsewhere {from}"));
    }
    if pair.changes_destination() {
        changes.push(format!("destination {new_to}, elsewhere {to}"));
    }
    changes.extend(pair.changes().into_iter().map(|change| format!("SYN: {change}")));
    let flow = pair.after.flow;
    let (here, there) = (pair.after.vantage, pair.before.vantage);
    let places = (here != there).then(|| (place(audit, here), place(audit, there)));
    SeenTwice { flow, other_flow: Some(pair.before.flow), copies: 0, changes, places }
}

/// Names a place: the file where there are several, and the interface as far as it has a name.
pub(super) fn place(audit: &Audit, vantage: Vantage) -> String {
    let input = audit.inputs.read.get(usize::from(vantage.file));
    let interfaces = input.map_or(&[][..], |input| &input.summary.interfaces);
    let name = interfaces.get(usize::from(vantage.interface)).and_then(|it| it.name.as_deref());
    let interface = name.map_or_else(|| format!("interface {}", vantage.interface), str::to_owned);
    match input {
        Some(input) if audit.inputs.asked_for > 1 => {
            format!("{interface} of {}", input.summary.name)
        }
        _ => interface,
    }
}
