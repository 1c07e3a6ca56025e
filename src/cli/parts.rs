//! One audit in several parts: which part a run is, and which parts are merged.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use tcp_window_audit::partial::{Asked, Header};
use tcp_window_audit::tuple::Share;

use super::privacy::PrivacyArgs;
use super::report::ReportArgs;
use super::{Args, Config, Error, When};

/// Which part of an audit a run is.
#[derive(clap::Args, Debug)]
pub(super) struct PartArgs {
    /// Audit only the flows of shard I of N, counted from 0 (N is 0 too, for those who count from 1);
    /// `merge` makes a report of all shards
    #[arg(long, value_name = "I/N", value_parser = share, requires = "partial")]
    shard: Option<Share>,

    /// Write what was found out to a file for `merge`, and no report; one that is there already, and
    /// was made alike, is kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interface", "follow"])]
    partial: Option<PathBuf>,

    /// Keep the verdict on every packet too, for `merge --verdicts`
    #[arg(long, requires = "partial")]
    keep_verdicts: bool,
}

/// A part that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PartWanted {
    pub(crate) path: PathBuf,
    pub(crate) share: Share,
    /// What decides what it tells.
    pub(crate) asked: Asked,
}

/// Parts that are put together, and what becomes of them.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct MergeArgs {
    /// The parts, each written with --shard and --partial, in any order
    #[arg(required = true, value_name = "PART")]
    pub(crate) parts: Vec<PathBuf>,

    #[command(flatten)]
    privacy: PrivacyArgs,

    #[command(flatten)]
    report: ReportArgs,
}

impl PartArgs {
    /// Says which part is wanted, given the options that decide what it tells.
    pub(super) fn check(
        &self,
        config: &Config,
        report: &ReportArgs,
        table: When,
    ) -> Result<Option<PartWanted>, Error> {
        let Some(path) = &self.partial else { return Ok(None) };
        if let Some(option) = report.asked().or_else(|| config.privacy.asked()) {
            return Err(Error::ReportOfPart(option));
        }
        let mut options = config.provenance.options.clone();
        options.extend(["--memory".to_owned(), config.memory.bytes().to_string()]);
        let table = match table {
            When::Auto => "auto",
            When::Always => "always",
            When::Never => "never",
        };
        options.push(format!("--table={table}"));
        let origins = &config.provenance.sysctls;
        Ok(Some(PartWanted {
            path: path.clone(),
            share: self.shard.unwrap_or(Share::ALL),
            asked: Asked {
                options,
                kernel: config.provenance.kernel,
                sysctls: origins.iter().map(|(key, origin)| ((*key).to_owned(), *origin)).collect(),
                has_verdicts: self.keep_verdicts,
            },
        }))
    }
}

impl MergeArgs {
    /// Says what is asked for, as if it had been asked of a single run over the inputs of the parts.
    pub(crate) fn config(&self, header: &Header) -> Result<Config, Error> {
        let Asked { options, kernel, sysctls, has_verdicts } = &header.asked;
        if self.report.verdicts.is_some() && !has_verdicts {
            return Err(Error::NoVerdicts);
        }
        let words = ["tcp-window-audit"].into_iter().map(OsString::from);
        let words = words.chain(options.iter().map(OsString::from)).chain(["--".into()]);
        let words = words.chain(header.inputs.iter().map(|input| input.path.clone()));
        let args = Args::try_parse_from(words).map_err(|_| Error::OptionsOfPart)?;
        let report = self.report.clone();
        let mut config = Args { privacy: self.privacy.clone(), report, ..args }.check_audit()?;
        // Notes on the kernel were told where the parts were made.
        config.notes.clear();
        config.provenance.kernel = *kernel;
        for (key, origin) in sysctls {
            if let Some(known) = config.provenance.sysctls.get_mut(key.as_str()) {
                *known = *origin;
            }
        }
        Ok(config)
    }
}

/// Reads which share of the flows is meant.
fn share(text: &str) -> Result<Share, String> {
    let numbers = text.split_once('/');
    let numbers =
        numbers.and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
    numbers.and_then(|(index, count)| Share::of(index, count)).ok_or_else(|| {
        format!("a shard is I/N, such as 3/8, with N from 1 to {} and I from 0 to N", Share::MOST)
    })
}
