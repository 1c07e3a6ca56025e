//! This machine's kernel: its release and its settings, read from `/proc`.

use std::io;
use std::path::Path;

use crate::conntrack::sysctl::KEYS;

/// Why this machine's kernel or settings could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}; is the module nf_conntrack loaded?")]
pub struct Error {
    path: String,
    source: io::Error,
}

/// Returns the release of the running kernel, as `uname -r` prints it.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn release() -> Result<String, Error> {
    read("/proc/sys/kernel/osrelease")
}

/// Returns the modelled settings that this kernel has in this network namespace, as key and value.
///
/// # Errors
///
/// When connection tracking is not loaded, so that there are none.
pub fn sysctls() -> Result<Vec<(&'static str, String)>, Error> {
    let path = |key: &str| format!("/proc/sys/net/netfilter/{key}");
    // One that every kernel has: without it nothing is loaded.
    read(&path("nf_conntrack_tcp_be_liberal"))?;
    let present = KEYS.iter().filter(|key| Path::new(&path(key)).exists());
    present.map(|key| Ok((*key, read(&path(key))?))).collect()
}

fn read(path: &str) -> Result<String, Error> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| Error { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}
