//! How it was judged, how to do it again, what the report gives away, and what was not judged.

use std::collections::BTreeMap;

use crate::audit::{Addresses, Audit, Origin, Times};
use crate::conntrack::Setting;
use crate::report::counted;
use crate::report::view::Fact;
use crate::wire::Tunnels;

/// Where the tracker is assumed to be.
pub(in crate::report) const ASSUMPTION: &str =
    "the tracker sits at the capture point and sees every packet captured";

/// Returns the settings that decide most verdicts, and those that were chosen, by their keys.
pub(in crate::report) fn switches(audit: &Audit) -> BTreeMap<&'static str, u32> {
    const ALWAYS: [&str; 6] = [
        "nf_conntrack_checksum",
        "nf_conntrack_tcp_be_liberal",
        "nf_conntrack_tcp_ignore_invalid_rst",
        "nf_conntrack_tcp_loose",
        "nf_conntrack_tcp_max_retrans",
        "nf_conntrack_tcp_no_window_check",
    ];
    let chosen = audit.provenance.sysctls.keys().copied();
    let value = |key| Some((key, audit.method.sysctls.value(key)?));
    ALWAYS.into_iter().chain(chosen).filter_map(value).collect()
}

/// Says by what was judged, and what was assumed.
pub(super) fn method(audit: &Audit) -> Vec<Fact> {
    let mut facts = Vec::new();
    let provenance = &audit.provenance;
    if let Some(policy) = audit.method.policies.first() {
        let origin = origin_words(provenance.kernel);
        facts.push(Fact::new("kernel", format!("Linux {} ({origin})", policy.profile.name())));
    }
    for origin in [Origin::Default, Origin::Option, Origin::Host] {
        let is_such = |key| provenance.sysctls.get(key).copied().unwrap_or_default() == origin;
        let settings = switches(audit).into_iter().filter(|(key, _)| is_such(*key));
        let settings: Vec<_> = settings.map(|(key, value)| format!("{key}={value}")).collect();
        if !settings.is_empty() {
            let (origin, settings) = (origin_words(origin), settings.join(" "));
            facts.push(Fact::new("settings", format!("{settings} ({origin})")));
        }
    }
    for rule in &audit.method.notrack {
        facts.push(Fact::new("exempt", format!("--notrack {rule}")));
    }
    let checksums = match audit.method.sysctls.checksum {
        Setting::On => "judged, except those that cover the pseudo-header only",
        Setting::Off => "not judged; --sysctl nf_conntrack_checksum=1 judges them",
    };
    facts.push(Fact::new("checksums", checksums));
    if audit.tunnels == Tunnels::Opened {
        facts.push(Fact::new("tunnels", "opened: the innermost packet of each frame is judged"));
    }
    facts.push(Fact::new("assumed", ASSUMPTION));
    facts
}

const fn origin_words(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "by default",
        Origin::Option => "asked for",
        Origin::Host => "read from this machine",
    }
}

/// Says what it takes to do it again.
pub(super) fn reproduce(audit: &Audit) -> Vec<Fact> {
    let tool = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut facts = vec![Fact::new("tool", tool), Fact::new("command", command(audit))];
    for (index, input) in audit.inputs.read.iter().enumerate() {
        let name = &input.summary.name;
        if let Some(Some(digest)) = audit.provenance.digests.get(index) {
            let (size, hex) = (counted(digest.size, "byte"), digest.hex());
            facts.push(Fact::new("input", format!("{name}, {size}, SHA-256 {hex}")));
        } else {
            let size = counted(input.summary.bytes_read, "byte");
            facts.push(Fact::new("input", format!("{name}, {size} read")));
        }
    }
    facts
}

/// Writes the command that gives this audit.
fn command(audit: &Audit) -> String {
    let mut words = vec![env!("CARGO_PKG_NAME").to_owned()];
    words.extend(audit.provenance.options.iter().cloned());
    words.extend(audit.inputs.read.iter().map(|input| input.summary.name.clone()));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a shell, where it needs to be.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Says what the report gives away of the capture.
pub(super) fn privacy(audit: &Audit) -> Vec<Fact> {
    let addresses = match audit.provenance.addresses {
        Addresses::Plain => "as captured",
        Addresses::Mapped => {
            "replaced, keeping common prefixes, under a key that is not in this report; no \
             community id and no hash of the capture, which would give them away; put the real \
             ones into commands and filters before use"
        }
    };
    let times = match audit.provenance.times {
        Times::Absolute => "as captured",
        Times::Relative => "counted from the first frame, which stands at 1970-01-01T00:00:00Z",
    };
    vec![
        Fact::new("payload", "none in this report, and no MAC addresses"),
        Fact::new("addresses", addresses),
        Fact::new("ports", "as captured"),
        Fact::new("times", times),
    ]
}

/// Says what was not judged, or not strictly.
pub(super) fn limits(audit: &Audit) -> Vec<String> {
    let totals = &audit.totals;
    let notes = [
        (totals.flows_picked_up, "connection", "picked up mid-stream: windows not judged strictly"),
        (totals.flows_one_way, "connection", "with packets in one direction only"),
        (totals.flows_untracked, "connection", "that the tracker never took an entry for"),
        (totals.options_cut, "packet", "whose TCP options the snap length cut"),
        (
            audit.tally.excused_checksums,
            "frame",
            "sent by the capturing host: checksums not judged",
        ),
        (audit.time_steps_back, "frame", "earlier than the frame before"),
        (audit.findings_not_kept, "connection", "with INVALID packets not shown: too many"),
    ];
    let counts = notes.into_iter().filter(|(count, ..)| *count > 0);
    let mut limits: Vec<_> =
        counts.map(|(count, noun, what)| format!("{} {what}", counted(count, noun))).collect();
    let undecodable: u64 = audit.tally.undecodable.values().sum();
    if undecodable > 0 {
        limits.push(format!("{} not decoded, and so not judged", counted(undecodable, "frame")));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_break_it() {
        assert_eq!(quoted("a.pcap"), "a.pcap");
        assert_eq!(quoted("tcp port 80"), "'tcp port 80'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
