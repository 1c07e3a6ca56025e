//! How full the connection table would be, for a terminal.

use std::io::{self, Write};

use crate::report::Detail;
use crate::report::text::cause::write_remedy;
use crate::report::text::look::{Palette, write_styled, write_wrapped};
use crate::report::text::write_heading;
use crate::report::view::{Grid, TableFacts};

/// Writes the section.
pub(super) fn write(
    table: &TableFacts,
    detail: Detail,
    palette: Palette,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_heading("Connection table", palette, out)?;
    write_styled("  ", &format!("{}.", table.answer), palette.strong, out)?;
    for line in table.refused.iter().chain(&table.notes) {
        write_wrapped("  ", line, out)?;
    }
    for grid in &table.grids {
        write_grid(grid, out)?;
    }
    if !table.remedies.is_empty() {
        write_heading("Relief for the table", palette, out)?;
    }
    for (index, remedy) in table.remedies.iter().enumerate() {
        write_remedy(index + 1, remedy, detail, palette, out)?;
        if detail != Detail::Verbose {
            write_wrapped("    risk: ", remedy.risk, out)?;
        }
    }
    Ok(())
}

/// Writes a table whose columns are as wide as they need.
fn write_grid(grid: &Grid, out: &mut dyn Write) -> io::Result<()> {
    let names = grid.rows.iter().map(|(name, _)| name.chars().count());
    let name_width = names.chain([grid.title.chars().count()]).max().unwrap_or(0);
    write!(out, "\n  {:<name_width$}", grid.title)?;
    for column in &grid.columns {
        write!(out, "{column:>width$}", width = column.len().max(7) + 2)?;
    }
    writeln!(out)?;
    for (name, cells) in &grid.rows {
        write!(out, "  {name:<name_width$}")?;
        for (column, cell) in grid.columns.iter().zip(cells) {
            write!(out, "{cell:>width$}", width = column.len().max(7) + 2)?;
        }
        writeln!(out)?;
    }
    Ok(())
}
