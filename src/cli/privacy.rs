//! What a report may give away.

use std::path::PathBuf;
use std::sync::Arc;

use tcp_window_audit::anonymize::{Mapping, ShortKey, relative_times};
use tcp_window_audit::audit::{Audit, Times};

/// What to keep from the readers of reports.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct PrivacyArgs {
    /// Replace every address in reports by another, keeping common prefixes; names of files and
    /// interfaces included
    #[arg(long)]
    anonymize: bool,

    /// Key of the replacement, at least 16 bytes of any kind: the same key replaces alike; without
    /// one a new key is made and forgotten. Implies --anonymize
    #[arg(long, value_name = "FILE")]
    anonymize_key: Option<PathBuf>,

    /// Count times in reports from the first frame
    #[arg(long, conflicts_with = "verdicts")]
    relative_times: bool,
}

/// What is kept from the readers of reports.
#[derive(Clone, Default, Debug)]
pub(crate) struct Privacy {
    mapping: Option<Arc<Mapping>>,
    times: Times,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: cannot read the key", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("{}", .0.display())]
    Short(PathBuf, #[source] ShortKey),
    #[error("the system gives no random numbers for a key: {0}")]
    NoRandom(getrandom::Error),
}

impl PrivacyArgs {
    /// Reads or makes the key.
    pub(super) fn check(&self) -> Result<Privacy, Error> {
        let times = if self.relative_times { Times::Relative } else { Times::Absolute };
        Ok(Privacy { mapping: self.mapping()?.map(Arc::new), times })
    }

    fn mapping(&self) -> Result<Option<Mapping>, Error> {
        if let Some(path) = &self.anonymize_key {
            let key = std::fs::read(path).map_err(|e| Error::Unreadable(path.clone(), e))?;
            return Mapping::new(&key).map(Some).map_err(|e| Error::Short(path.clone(), e));
        }
        if !self.anonymize {
            return Ok(None);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(Error::NoRandom)?;
        Ok(Mapping::new(&key).ok())
    }

    /// Writes these options, but no key and no name of one.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static str> {
        let key = if self.anonymize_key.is_some() { &["--anonymize-key", "KEY"][..] } else { &[] };
        let anonymize = self.anonymize && self.anonymize_key.is_none();
        let anonymize = anonymize.then_some("--anonymize").into_iter();
        let times = self.relative_times.then_some("--relative-times").into_iter();
        anonymize.chain(key.iter().copied()).chain(times)
    }
}

impl Privacy {
    /// Returns whether addresses are replaced.
    pub(crate) const fn maps(&self) -> bool {
        self.mapping.is_some()
    }

    /// Returns an option that was given, if any was.
    pub(super) fn asked(&self) -> Option<&'static str> {
        let times = (self.times == Times::Relative).then_some("--relative-times");
        self.maps().then_some("--anonymize").or(times)
    }

    /// Takes out of an audit what is to be kept from its readers.
    pub(crate) fn apply(&self, audit: &mut Audit) {
        if let Some(mapping) = &self.mapping {
            mapping.apply(audit);
        }
        if self.times == Times::Relative {
            relative_times(audit);
        }
    }
}
