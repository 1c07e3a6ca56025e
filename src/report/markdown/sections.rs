//! The parts of the Markdown report but for the evidence.

use std::fmt::Write as _;

use crate::diagnose::{Diagnosis, Level, Remedy, Runner, Step};
use crate::flow::{FlowTrouble, Kind, KindCount};
use crate::report::grouped;
use crate::report::markdown::escape::{code, fenced, text};
use crate::report::markdown::{MOST_ROWS, Remedies};
use crate::report::view::{Fact, RuleCount, View, WhatIf, millis};

/// Connections shown because their ends had trouble.
const MOST_TROUBLED: usize = 5;
/// Measured numbers shown of a cause.
const MOST_PARAMETERS: usize = 4;

/// Writes a table; rows beyond what a table may have are counted below it.
pub(super) fn table(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    let hidden = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut words = line(&head.iter().map(|name| text(name)).collect::<Vec<_>>());
    let _ = writeln!(words, "|{}", " --- |".repeat(head.len()));
    words.extend(rows.iter().map(|row| line(row)));
    if hidden > 0 {
        let _ = writeln!(words, "\n{hidden} more rows: see the JSON report.");
    }
    words
}

/// Writes a list; items beyond what a list may have are counted.
pub(super) fn list(items: &[String], escape: impl Fn(&str) -> String) -> String {
    let shown = items.iter().take(MOST_ROWS).map(|item| format!("- {}\n", escape(item)));
    let mut words: String = shown.collect();
    let hidden = items.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        let _ = writeln!(words, "- {hidden} more: see the JSON report");
    }
    words
}

/// Writes facts as a list.
fn facts(facts: &[Fact], escape: impl Fn(&str) -> String) -> String {
    let items: Vec<_> =
        facts.iter().map(|Fact { name, words }| format!("{name}: {}", escape(words))).collect();
    list(&items, str::to_owned)
}

pub(super) fn affected(view: &View<'_>) -> Option<String> {
    let affected = view.affected.as_ref()?;
    Some(format!("### Who is affected\n\n{}", facts(&affected.facts(), text)))
}

pub(super) fn causes(view: &View<'_>) -> Option<String> {
    let causes = &view.diagnoses.causes;
    if causes.is_empty() {
        return None;
    }
    let row = |found: &Diagnosis| {
        let level = found.score.level().map_or("", Level::code);
        let flows = grouped(found.flow_count);
        let (id, title) = (found.cause.id(), text(found.cause.title()));
        vec![text(id), title, level.to_owned(), format!("{}/100", found.score.total()), flows]
    };
    let head = ["id", "cause", "how sure", "score", "connections"];
    let mut words = format!("### Causes\n\n{}", table(&head, causes.iter().map(row).collect()));
    for found in causes {
        let _ = writeln!(words, "\n#### {}\n", text(found.cause.id()));
        words.push_str(&cause(view, found));
    }
    Some(words)
}

fn cause(view: &View<'_>, found: &Diagnosis) -> String {
    let mut items = found.notes.clone();
    items.push(format!("score: {}", found.score));
    items.extend(found.against.iter().map(|against| format!("against it: {against}")));
    let parameters = found.parameters.iter().take(MOST_PARAMETERS);
    items.extend(parameters.map(|(name, value)| format!("{name}: {value}")));
    let places = view.places(found);
    if !places.is_empty() {
        items.push(format!("see {}", places.join(", ")));
    }
    format!("{}.\n\n{}", text(&capitalised(&found.finding)), list(&items, text))
}

/// Begins a sentence.
fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn what_if(view: &View<'_>) -> Option<String> {
    let WhatIf { columns, rows, legend } = view.what_if.as_ref()?;
    let head: Vec<_> = ["Linux"].into_iter().chain(columns.iter().copied()).collect();
    let row = |row: &crate::report::view::WhatIfRow| {
        let mut cells = vec![text(&row.name())];
        cells.extend(row.cells.map(WhatIf::cell));
        cells
    };
    let upgrade = view
        .diagnoses
        .upgrade
        .as_deref()
        .map_or_else(String::new, |sentence| format!("\n\n{}", text(sentence)));
    Some(format!(
        "### What another kernel or setting would change\n\n\
         INVALID packets, and connections in brackets; {}.\n\n{}{upgrade}",
        text(legend),
        table(&head, rows.iter().map(row).collect())
    ))
}

pub(super) fn rules(view: &View<'_>) -> Option<String> {
    let row = |verdict: &'static str| {
        move |rule: &RuleCount| {
            let (code, words) = (text(rule.reason.code()), text(rule.reason.words()));
            vec![code, words, grouped(rule.packets), verdict.to_owned()]
        }
    };
    let invalid = view.invalid_by_rule.iter().map(row("INVALID"));
    let rows: Vec<_> = invalid.chain(view.passed_by_rule.iter().map(row("passes"))).collect();
    let head = ["rule", "what it says", "packets", "verdict"];
    (!rows.is_empty()).then(|| format!("### Rules that spoke\n\n{}", table(&head, rows)))
}

/// Writes what was sent again by kind, and the connections with the most trouble, whatever the
/// tracker said of them.
pub(super) fn ends(view: &View<'_>) -> Option<String> {
    let kind = |(kind, count): &(Kind, KindCount)| {
        let (packets, bytes) = (grouped(count.packets), grouped(count.bytes));
        vec![text(kind.code()), text(kind.words()), packets, bytes]
    };
    let kinds: Vec<_> = view.sent_again.iter().map(kind).collect();
    let troubled: Vec<_> = view.audit.troubled.iter().take(MOST_TROUBLED).map(trouble).collect();
    if kinds.is_empty() && troubled.is_empty() {
        return None;
    }
    let mut words = "### What the ends did\n".to_owned();
    if !kinds.is_empty() {
        let head = ["kind", "what", "packets", "bytes"];
        let _ = write!(words, "\n{}", table(&head, kinds));
    }
    if !troubled.is_empty() {
        let head =
            ["flow", "connection", "Zeek's state", "sent again", "stalls", "longest", "ended by"];
        let table = table(&head, troubled);
        let _ = write!(words, "\nThe connections with the most trouble:\n\n{table}");
    }
    Some(words)
}

fn trouble(flow: &FlowTrouble) -> Vec<String> {
    let (original, reply) = flow.key.endpoints(flow.audit.original);
    let summary = &flow.summary;
    let again = [&summary.sides.original, &summary.sides.reply];
    let again: u64 = again.iter().map(|side| side.retransmitted.packets).sum();
    let (longest, end) = match summary.stall {
        Some(stall) => (millis(u64::from(stall.micros)), text(stall.end.words())),
        None => ("–".to_owned(), "–".to_owned()),
    };
    vec![
        flow.audit.first_frame.to_string(),
        text(&format!("{original} > {reply}")),
        format!("{} {}", summary.conn_state.name(), text(&summary.history())),
        grouped(again),
        summary.stalls.to_string(),
        longest,
        end,
    ]
}

pub(super) fn remedies(view: &View<'_>, extent: Remedies) -> Option<String> {
    let cause = view.cause_to_mend()?;
    let mut words = format!("### Remedy for {}\n\nThe best first.\n", text(cause.cause.id()));
    for (index, found) in view.remedies().iter().enumerate() {
        words.push_str(&remedy(index + 1, found, extent));
    }
    Some(words)
}

fn remedy(number: usize, remedy: &Remedy, extent: Remedies) -> String {
    let mut words = format!("\n#### {number}. {}\n\n{}", text(remedy.title), steps(&remedy.steps));
    if extent == Remedies::StepsAlone {
        return words;
    }
    if !remedy.persist.is_empty() {
        let _ = write!(words, "To survive a reboot, {}", steps(&remedy.persist));
    }
    let _ = writeln!(words, "- Risk: {}", text(remedy.risk));
    // These hold commands to copy: nothing in them is escaped.
    for (name, told) in [("Check", remedy.check), ("Undo", remedy.undo)] {
        let _ = writeln!(words, "- {name}: {}", code(told));
    }
    words
}

fn steps(steps: &[Step]) -> String {
    let step = |step: &Step| {
        let lines = match step.runner {
            // So that the line can be pasted as it stands.
            Runner::Sysctl | Runner::MachineSysctl => {
                step.lines.iter().map(|line| format!("sysctl -w {line}")).collect()
            }
            Runner::Nft | Runner::Iptables | Runner::Ip6tables | Runner::Shell | Runner::Vendor => {
                step.lines.clone()
            }
        };
        let (language, lead) = match step.runner {
            Runner::Sysctl | Runner::MachineSysctl | Runner::Shell => ("sh", Runner::Shell.words()),
            Runner::Nft | Runner::Iptables | Runner::Ip6tables | Runner::Vendor => {
                ("", step.runner.words())
            }
        };
        format!("{lead}:\n\n{}\n", fenced(language, &lines))
    };
    steps.iter().map(step).collect()
}

/// How full the connection table would be; the numbers by service and the rules are in the other
/// formats.
pub(super) fn connection_table(view: &View<'_>) -> Option<String> {
    let table = view.table.as_ref()?;
    let lines: Vec<_> = table.refused.iter().chain(&table.notes).cloned().collect();
    Some(format!("### Connection table\n\n{}.\n\n{}", text(&table.answer), list(&lines, text)))
}

/// Which connections were captured at several places, and what differs there.
pub(super) fn seen_twice(view: &View<'_>) -> Option<String> {
    let all = &view.diagnoses.seen_twice;
    if all.is_empty() {
        return None;
    }
    let row = |seen: &crate::diagnose::SeenTwice| {
        let mut cells = vec![seen.name()];
        cells.extend(seen.cells().map(|cell| text(&cell)));
        cells
    };
    let rows = all.iter().take(MOST_ROWS).map(row).collect();
    let mut words = "### Captured at several places\n\n".to_owned();
    words.push_str(&table(&["connection", "places", "what differs elsewhere"], rows));
    let more = all.len().saturating_sub(MOST_ROWS);
    if more > 0 {
        let _ = write!(words, "\n{more} more: see the JSON report.\n");
    }
    Some(words)
}

pub(super) fn quality(view: &View<'_>) -> String {
    let quality = &view.diagnoses.quality;
    let row = |found: &crate::diagnose::Shortcoming| {
        vec![text(found.code), text(&found.what), format!("{} %", found.percent)]
    };
    let mut words = format!(
        "### Capture quality: {} %\n\nEvery score is multiplied by it, but those that say that it does not matter.\n\n",
        quality.percent
    );
    if quality.shortcomings.is_empty() {
        words.push_str("No shortcoming was found.\n\n");
    } else {
        let rows = quality.shortcomings.iter().map(row).collect();
        words.push_str(&table(&["code", "shortcoming", "leaves"], rows));
        words.push('\n');
    }
    words.push_str(&facts(&view.capture, code));
    words
}

pub(super) fn method(view: &View<'_>) -> String {
    format!("### Method\n\n{}", facts(&view.method, text))
}

pub(super) fn reproduce(view: &View<'_>) -> String {
    let mut words = "### Reproduce\n\n".to_owned();
    let is_command = |fact: &&Fact| fact.name == "command";
    let command: Vec<_> = view.reproduce.iter().filter(is_command).collect();
    let others: Vec<_> = view.reproduce.iter().filter(|fact| !is_command(fact)).cloned().collect();
    words.push_str(&facts(&others, code));
    for Fact { words: line, .. } in command {
        let _ = write!(words, "\n{}", fenced("sh", std::slice::from_ref(line)));
    }
    words
}

pub(super) fn privacy(view: &View<'_>) -> String {
    format!("### Privacy\n\n{}", facts(&view.privacy, text))
}

pub(super) fn limits(view: &View<'_>) -> Option<String> {
    let limits = &view.limits;
    (!limits.is_empty()).then(|| format!("### Limits\n\n{}", list(limits, text)))
}
