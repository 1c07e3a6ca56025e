//! The report as Markdown to paste into a ticket (GitHub, GitLab, Jira's new editor).
//!
//! At most 30,000 characters, since some trackers take no more than 32,767; tables of at most 12
//! rows; commands in fences; the first screen stands alone. What does not fit is in the JSON report.

mod escape;
mod evidence;
mod sections;

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::audit::Audit;
use crate::report::view::{Extent, View};
use escape::text;

/// Characters of a report at most.
const MOST_CHARACTERS: usize = 30_000;
/// Rows of a table, and items of a list, at most.
const MOST_ROWS: usize = 12;

/// Evidence and remedies from much to little: the first that fits is taken.
const FITS: [(Extent, Remedies); 5] = [
    (Extent::DOCUMENT, Remedies::InFull),
    (Extent { flows: 5, packets: 5 }, Remedies::InFull),
    (Extent { flows: 3, packets: 3 }, Remedies::InFull),
    (Extent { flows: 3, packets: 3 }, Remedies::StepsAlone),
    (Extent { flows: 0, packets: 0 }, Remedies::StepsAlone),
];

/// How much is told of what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Remedies {
    /// With how they survive a reboot, risk, check and roll-back.
    InFull,
    /// The steps that take effect at once.
    StepsAlone,
}

/// Writes the report.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let mut page = String::new();
    for (extent, remedies) in FITS {
        page = render(&View::of(audit, extent), remedies);
        if page.chars().count() <= MOST_CHARACTERS {
            break;
        }
    }
    out.write_all(page.as_bytes())
}

fn render(view: &View<'_>, remedies: Remedies) -> String {
    let mut parts = vec![head(view)];
    parts.extend(sections::affected(view));
    parts.extend(sections::causes(view));
    parts.extend(sections::what_if(view));
    parts.extend(sections::rules(view));
    parts.extend(evidence::section(view));
    parts.extend(sections::ends(view));
    parts.extend(sections::remedies(view, remedies));
    parts.extend(sections::connection_table(view));
    parts.extend(sections::seen_twice(view));
    parts.push(sections::quality(view));
    parts.push(sections::method(view));
    parts.push(sections::reproduce(view));
    parts.push(sections::privacy(view));
    parts.extend(sections::limits(view));
    parts.join("\n")
}

/// Writes the verdict, the answer, who judged, and what is missing.
fn head(view: &View<'_>) -> String {
    let verdict = text(&view.diagnoses.conclusion.sentence);
    let (answer, judge) = (text(&view.answer), text(&view.judge));
    let mut head = format!(
        "## TCP window audit\n\n**{verdict}**\n\n{answer}.\n\n\
         Judged as {judge} would judge at the capture point.\n"
    );
    if let Some(exempt) = &view.exempt {
        let _ = writeln!(head, "\n{}", escape::code(exempt));
    }
    if let Some(remedy) = view.remedies().first() {
        let _ = writeln!(head, "\nWhat to try first: {}.", text(remedy.title));
    }
    let problems = sections::list(&view.audit.incomplete, escape::code);
    if !problems.is_empty() {
        head.push_str("\n**Incomplete**: the capture was not read to its end.\n\n");
        head.push_str(&problems);
    }
    head
}
