//! The live kernel as oracle: skipped where it cannot be asked.

mod hostility;
mod recorded;

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
