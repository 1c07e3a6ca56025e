//! The live kernel as oracle: skipped where it cannot be asked.

mod agreement;
mod behaviour;
mod datagrams;
mod hostility;
mod kept;
#[cfg(target_os = "linux")]
mod program;
mod recorded;
mod repeat;

use tcp_window_audit::kernel::{Oracle, OracleSettings};

/// Makes an oracle, or says why the test is skipped.
pub fn oracle(settings: &OracleSettings) -> Option<Oracle> {
    match Oracle::new(settings) {
        Ok(oracle) => Some(oracle),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Returns whether the kernel that runs here is of one of these versions.
pub fn release_is(prefixes: &[&str]) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    prefixes.iter().any(|prefix| release.starts_with(prefix))
}
