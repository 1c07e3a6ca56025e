//! Stands in for libpcap's compiler on systems where it is not loaded: there is never one.

use std::convert::Infallible;
use std::ffi::CString;

use crate::frame::Frame;

/// Why there is no library.
pub(super) const WITHOUT_LIBPCAP: &str = "which is not loaded on this system";

/// A library that cannot be.
#[derive(Clone, Copy)]
pub(super) struct Library(Infallible);

impl Library {
    /// Finds none.
    pub(super) const fn load() -> Option<Self> {
        None
    }

    /// Is never called.
    pub(super) fn compile(self, _: &CString, _: i32) -> Result<Program, String> {
        match self.0 {}
    }
}

/// A program that cannot be.
pub(super) struct Program(Infallible);

impl Program {
    /// Is never called.
    pub(super) fn matches(&self, _: &Frame<'_>) -> bool {
        match self.0 {}
    }
}
