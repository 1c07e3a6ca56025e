//! What other kernels and settings would call INVALID, as a small table.

use std::io::{self, Write};

use crate::audit::{Audit, Hits};
use crate::conntrack::{Policy, Profile, Setting};
use crate::report::grouped;

/// A column of the table: a change of settings, relative to the run's own.
#[derive(Clone, Copy)]
enum Column {
    AsJudged,
    Liberal,
    IgnoreInvalidRst,
    Loose,
}

const COLUMNS: [Column; 4] =
    [Column::AsJudged, Column::Liberal, Column::IgnoreInvalidRst, Column::Loose];

impl Column {
    const fn title(self, own: Policy) -> &'static str {
        match self {
            Self::AsJudged => "as judged",
            Self::Liberal => match own.be_liberal {
                Setting::Off => "be_liberal=1",
                Setting::On => "be_liberal=0",
            },
            Self::IgnoreInvalidRst => match own.ignore_invalid_rst {
                Setting::Off => "ignore_invalid_rst=1",
                Setting::On => "ignore_invalid_rst=0",
            },
            Self::Loose => match own.loose {
                Setting::Off => "loose=1",
                Setting::On => "loose=0",
            },
        }
    }

    /// Returns how wide the column is, so that its title stands apart and a line fits 100 columns.
    const fn width(self) -> usize {
        match self {
            Self::AsJudged | Self::Liberal | Self::Loose => 16,
            Self::IgnoreInvalidRst => 23,
        }
    }

    const fn change(self, own: Policy, profile: Profile) -> Policy {
        let policy = Policy { profile, ..own };
        match self {
            Self::AsJudged => policy,
            Self::Liberal => Policy { be_liberal: own.be_liberal.flip(), ..policy },
            Self::IgnoreInvalidRst => {
                Policy { ignore_invalid_rst: own.ignore_invalid_rst.flip(), ..policy }
            }
            Self::Loose => Policy { loose: own.loose.flip(), ..policy },
        }
    }
}

/// Kernels in a row that come to the same numbers.
struct Row {
    first: Profile,
    last: Profile,
    cells: [Option<Hits>; 4],
}

/// Writes the table: a row for neighbouring kernels with the same numbers.
pub(super) fn write(audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let Some(own) = audit.method.policies.first().copied() else { return Ok(()) };
    writeln!(out, "\nINVALID packets (connections) under other kernels and settings")?;
    write!(out, "  {:<24}", "Linux")?;
    for column in COLUMNS {
        write!(out, "{:>width$}", column.title(own), width = column.width())?;
    }
    writeln!(out)?;
    for row in rows(audit, own) {
        write!(out, "  {:<24}", row.name())?;
        for (column, cell) in COLUMNS.into_iter().zip(row.cells) {
            let text = cell.map_or_else(
                || "-".to_owned(),
                |hits| format!("{} ({})", grouped(hits.packets), grouped(hits.flows)),
            );
            write!(out, "{text:>width$}", width = column.width())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn rows(audit: &Audit, own: Policy) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for profile in Profile::all() {
        let cells = COLUMNS.map(|column| hits(audit, column.change(own, profile)));
        match rows.last_mut() {
            Some(row) if row.cells == cells => row.last = profile,
            _ => rows.push(Row { first: profile, last: profile, cells }),
        }
    }
    rows
}

/// Finds what a policy of the panel called INVALID; none when it is not in the panel.
fn hits(audit: &Audit, policy: Policy) -> Option<Hits> {
    let position = audit.method.policies.iter().position(|other| *other == policy)?;
    audit.totals.hits.get(position).copied()
}

impl Row {
    fn name(&self) -> String {
        if self.first == self.last {
            self.first.name().to_owned()
        } else {
            format!("{} to {}", self.first.name(), self.last.name())
        }
    }
}
