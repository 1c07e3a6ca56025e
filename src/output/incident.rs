//! Everything to attach to a ticket, in one folder that appears only when it is complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Error;
use tcp_window_audit::audit::Audit;
use tcp_window_audit::report::{self, Format, Look};

/// A folder that is being filled beside its place.
pub(super) struct Incident {
    path: PathBuf,
    /// Where it is filled; none once it has its name.
    temporary: Option<PathBuf>,
}

impl Incident {
    /// Makes the folder to fill; there must be nothing under its name.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        refuse_existing(path)?;
        let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        fs::create_dir(&temporary).map_err(Error::at(path))?;
        Ok(Self { path: path.to_owned(), temporary: Some(temporary) })
    }

    /// Writes a report of each format, and gives the folder its name.
    pub(super) fn complete(mut self, audit: &Audit) -> Result<(), Error> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        for format in Format::ALL {
            let name = file_name(format);
            write_file(audit, format, &temporary.join(&name))
                .map_err(Error::at(&self.path.join(name)))?;
        }
        refuse_existing(&self.path)?;
        // An empty folder made in the meantime is replaced, one that holds anything is not.
        fs::rename(temporary, &self.path).map_err(Error::at(&self.path))?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Incident {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_dir_all(temporary);
        }
    }
}

/// Returns the name of the file of a format.
fn file_name(format: Format) -> String {
    let name = if format == Format::Pcapng { "evidence" } else { "report" };
    format!("{name}.{}", format.extension())
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::at(path)(io::ErrorKind::AlreadyExists.into()));
    }
    Ok(())
}

fn write_file(audit: &Audit, format: Format, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    report::write(audit, format, Look::FILE, &mut file)?;
    file.flush()?;
    // Some file systems tell only now that the disk is full.
    file.get_ref().sync_all()
}
