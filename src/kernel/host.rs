//! This machine's kernel: its release and its settings, read from `/proc`.

use std::io;
use std::path::Path;

use crate::conntrack::sysctl::KEYS;

/// Why this machine's kernel or settings could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}; is /proc there, and the module nf_conntrack loaded?")]
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

/// Returns the running kernel's version with its patch level, where the distribution tells it beside
/// a release that does not: `6.1.76` of Debian's `6.1.0-18-amd64`.
pub fn full_version() -> Option<String> {
    let ubuntu = read("/proc/version_signature").ok();
    let debian = read("/proc/version").ok();
    ubuntu.as_deref().and_then(in_signature).or_else(|| debian.as_deref().and_then(in_banner))
}

/// Finds the version in Ubuntu's `Ubuntu 5.15.0-91.101-generic 5.15.131`.
fn in_signature(signature: &str) -> Option<String> {
    signature.starts_with("Ubuntu ").then(|| signature.split_whitespace().last())?.map(Into::into)
}

/// Finds the version in Debian's `Linux version 6.1.0-18-amd64 (…) #1 SMP Debian 6.1.76-1 (…)`.
fn in_banner(banner: &str) -> Option<String> {
    let (_, after) = banner.split_once(" Debian ")?;
    let version = after.split([' ', '-']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_tell_the_patch_level_in_their_own_ways() {
        let banner = "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12 \
                      (Debian 12.2.0-14) 12.2.0) #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)";
        assert_eq!(in_banner(banner).as_deref(), Some("6.1.76"));
        assert_eq!(in_banner("Linux version 6.18.44 (gcc 12) #1 SMP"), None);
        let signature = "Ubuntu 5.15.0-91.101-generic 5.15.131";
        assert_eq!(in_signature(signature).as_deref(), Some("5.15.131"));
        assert_eq!(in_signature("5.15.0"), None);
    }
}
