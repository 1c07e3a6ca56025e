//! What other kernels and settings would call INVALID, as a small table: kernels by settings.

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

/// What other kernels and settings would call INVALID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhatIf {
    /// The columns: `as judged`, then a setting changed in each.
    pub columns: [&'static str; 4],
    /// The rows, the oldest kernels first.
    pub rows: Vec<WhatIfRow>,
    /// What the star in a row's name means.
    pub legend: String,
}

/// Kernels in a row that come to the same numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhatIfRow {
    first: Profile,
    last: Profile,
    /// What they call INVALID, by column; none where a kernel lacks the setting.
    pub cells: [Option<Hits>; 4],
    /// Whether the kernel that judged is among them.
    pub is_own: bool,
}

impl WhatIf {
    /// Fills the table, a row for neighbouring kernels with the same numbers; none when nothing is
    /// INVALID.
    pub(super) fn of(audit: &Audit) -> Option<Self> {
        let own = audit.method.policies.first().copied()?;
        let columns = COLUMNS.map(|column| column.title(own));
        let legend = format!("* with Linux {}, which judged here", own.profile.name());
        (audit.strict().packets > 0).then(|| Self { columns, rows: rows(audit, own), legend })
    }

    /// Writes a cell: packets, and connections in brackets.
    pub fn cell(cell: Option<Hits>) -> String {
        cell.map_or_else(
            || "-".to_owned(),
            |hits| format!("{} ({})", grouped(hits.packets), grouped(hits.flows)),
        )
    }
}

fn rows(audit: &Audit, own: Policy) -> Vec<WhatIfRow> {
    let mut rows: Vec<WhatIfRow> = Vec::new();
    for profile in Profile::all() {
        let cells = COLUMNS.map(|column| audit.hits(column.change(own, profile)));
        let is_own = profile == own.profile;
        match rows.last_mut() {
            Some(row) if row.cells == cells => {
                row.last = profile;
                row.is_own |= is_own;
            }
            _ => rows.push(WhatIfRow { first: profile, last: profile, cells, is_own }),
        }
    }
    rows
}

impl WhatIfRow {
    /// Names the kernels, with a star where the one that judged is among them.
    pub fn name(&self) -> String {
        let star = if self.is_own { " *" } else { "" };
        if self.first == self.last {
            format!("{}{star}", self.first.name())
        } else {
            format!("{} to {}{star}", self.first.name(), self.last.name())
        }
    }
}
