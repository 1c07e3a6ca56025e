//! How captures are split.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use tcp_window_audit::tuple::Share;
use tcp_window_audit::wire::Tunnels;

use super::{Args, Config, Error};

/// What is split, and into what.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SplitArgs {
    /// Capture files; those that overlap in time are to be split in one run
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Pieces to make, one for each shard
    #[arg(short = 'n', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(Share::MOST)))]
    pub(crate) pieces: u16,

    /// Bytes of each frame to keep at least; more are kept where headers are longer
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) snap: u32,

    /// Folder for the pieces: FILE.I-of-N.pcapng, named after the first file
    #[arg(short, long = "output", value_name = "DIR")]
    pub(crate) output: PathBuf,

    /// Keep only the packets that a BPF filter lets pass; needs libpcap
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,

    /// A rule that the audit will be told, so that pieces hold what it looks at; repeatable
    #[arg(long, value_name = "EXPR")]
    notrack: Vec<String>,

    /// Divide by the flows inside tunnels
    #[arg(long)]
    inner: bool,
}

impl SplitArgs {
    /// Says what is asked for as an audit would be told it.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let mut words: Vec<OsString> = vec!["tcp-window-audit".into()];
        if let Some(filter) = &self.filter {
            words.extend(["--filter".into(), filter.into()]);
        }
        for rule in &self.notrack {
            words.extend(["--notrack".into(), rule.into()]);
        }
        words.extend(self.inner.then(|| "--inner".into()));
        words.push("--".into());
        words.extend(self.files.iter().map(|file| file.clone().into_os_string()));
        Args::try_parse_from(words).map_err(|_| Error::OptionsOfPart)?.check_audit()
    }

    /// Returns where a piece goes.
    pub(crate) fn path(&self, share: Share) -> PathBuf {
        let first = self.files.first().and_then(|file| file.file_name());
        let mut name = first.unwrap_or_default().to_owned();
        name.push(format!(".{}-of-{}.pcapng", share.index(), share.count()));
        self.output.join(name)
    }
}

impl Config {
    /// Writes the options that decide how frames are decoded.
    pub(crate) fn decoding(&self) -> Vec<String> {
        let mut options = Vec::new();
        if let Some(filter) = &self.filter {
            options.extend(["--filter".to_owned(), filter.clone()]);
        }
        for rule in &self.method.notrack {
            options.extend(["--notrack".to_owned(), rule.clone()]);
        }
        options.extend((self.tunnels == Tunnels::Opened).then(|| "--inner".to_owned()));
        options
    }
}
