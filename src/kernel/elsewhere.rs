//! The oracle where there is no Linux: it says so.

use super::{Error, KernelVerdict, OracleSettings};

/// The Linux kernel as judge; cannot be made on this operating system.
#[derive(Debug)]
pub struct Oracle {
    never: std::convert::Infallible,
}

impl Oracle {
    /// Fails: connection tracking to ask is only in Linux.
    ///
    /// # Errors
    ///
    /// Always [`Error::NotLinux`].
    pub fn new(_settings: &OracleSettings) -> Result<Self, Error> {
        Err(Error::NotLinux)
    }

    /// Judges nothing, as there is no oracle here.
    ///
    /// # Errors
    ///
    /// None: the function cannot be called.
    pub fn judge(&mut self, _packet: &[u8], _time_ns: i64) -> Result<KernelVerdict, Error> {
        match self.never {}
    }
    /// Forgets nothing, as there is no oracle here.
    ///
    /// # Errors
    ///
    /// None: the function cannot be called.
    pub fn clear(&mut self) -> Result<(), Error> {
        match self.never {}
    }
}
