//! How full the connection table would be: a plot, numbers, and what to do.
//!
//! Does not: compute anything.

use maud::{Markup, html};

use crate::report::html::{Section, causes, picture};
use crate::report::printable;
use crate::report::view::{Grid, TableFacts, View};

/// Shows the section; none when the table is of no interest.
pub(super) fn section(view: &View<'_>) -> Option<Section> {
    let table = view.table.as_ref()?;
    let content = html! {
        p.finding { (printable(&table.answer)) "." }
        (picture::occupancy(table, view.audit))
        @if !table.refused.is_empty() {
            h3 { "What a full table refuses" }
            (lines(&table.refused))
        }
        (lines(&table.notes))
        @for grid in &table.grids { (self::grid(grid)) }
        (relief(table))
    };
    Some(Section::new("table", "The connection table", content))
}

fn lines(lines: &[String]) -> Markup {
    html! { ul { @for line in lines { li { (printable(line)) } } } }
}

fn grid(grid: &Grid) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { (grid.title) }
                @for column in &grid.columns { th.number scope="col" { (column) } }
            } }
            tbody { @for (name, cells) in &grid.rows {
                tr {
                    th scope="row" { (printable(name)) }
                    @for cell in cells { td.number { (cell) } }
                }
            } }
        } }
    }
}

fn relief(table: &TableFacts) -> Markup {
    html! {
        @if !table.remedies.is_empty() {
            h3 { "Relief" }
            ol.remedies { @for remedy in &table.remedies { li { (causes::remedy(remedy)) } } }
        }
    }
}
