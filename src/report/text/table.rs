//! How full the connection table would be, for a terminal.

use std::io::{self, Write};

use crate::report::Detail;
use crate::report::table::{Grid, TableView};
use crate::report::text::cause::{write_remedy, write_wrapped};

/// Writes the section.
pub(super) fn write(view: &TableView, detail: Detail, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nConnection table")?;
    write_wrapped("  ", &format!("{}.", view.answer), out)?;
    for line in view.refused.iter().chain(&view.notes) {
        write_wrapped("  ", line, out)?;
    }
    for grid in &view.grids {
        write_grid(grid, out)?;
    }
    if !view.remedies.is_empty() {
        writeln!(out, "\nRelief for the table")?;
    }
    for (index, remedy) in view.remedies.iter().enumerate() {
        write_remedy(index + 1, remedy, detail, out)?;
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
