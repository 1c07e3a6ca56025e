//! Filter expressions, compiled and run by libpcap.
#![expect(unsafe_code, reason = "the functions of a library loaded by hand")]

use std::ffi::{CString, c_int, c_uint};
use std::ptr;

use super::{Library, PacketHeader, Raw, RawProgram};
use crate::frame::Frame;

/// `PCAP_NETMASK_UNKNOWN`: only "ip broadcast" would need to know it.
const UNKNOWN_NETMASK: c_uint = 0xffff_ffff;
/// More than any frame has; a filter returns how much of a frame is wanted.
const SNAPLEN: c_int = 262_144;
const OPTIMIZE: c_int = 1;

impl Library {
    /// Compiles an expression for frames of a link type, a DLT_ value.
    ///
    /// The error is what libpcap says of the expression.
    pub(in crate::source) fn compile(
        self,
        expression: &CString,
        dlt: c_int,
    ) -> Result<Program, String> {
        // SAFETY: takes no pointers.
        let handle = unsafe { (self.open_dead)(dlt, SNAPLEN) };
        if handle.is_null() {
            return Err("out of memory".to_owned());
        }
        // SAFETY: the handle is open.
        let compiled = unsafe { self.compile_for(handle, expression) };
        // SAFETY: the handle is open, and nothing uses it afterwards; a program does not need it.
        unsafe { (self.close)(handle) };
        compiled
    }

    /// Compiles an expression for the frames of a handle.
    ///
    /// # Safety
    ///
    /// The handle is open.
    pub(super) unsafe fn compile_for(
        self,
        handle: Raw,
        expression: &CString,
    ) -> Result<Program, String> {
        let mut raw = RawProgram { len: 0, instructions: ptr::null_mut() };
        // SAFETY: the handle is open, `raw` is valid for writes, the expression ends in a null byte.
        let status = unsafe {
            (self.compile)(handle, &raw mut raw, expression.as_ptr(), OPTIMIZE, UNKNOWN_NETMASK)
        };
        if status == 0 {
            Ok(Program { raw, library: self })
        } else {
            // SAFETY: the handle is open.
            Err(unsafe { self.error_of(handle) })
        }
    }
}

/// A compiled filter.
pub(in crate::source) struct Program {
    pub(super) raw: RawProgram,
    library: Library,
}

// SAFETY: a program is memory of its own that only `&self` reads and `drop` frees, and libpcap keeps
// nothing about it in the thread that made it.
unsafe impl Send for Program {}

// SAFETY: matching only reads the program; the interpreter's registers and memory are its own
// local variables (`pcapint_filter_with_aux_data()`, libpcap 1.10).
unsafe impl Sync for Program {}

impl Program {
    /// Returns whether a frame passes the filter.
    pub(in crate::source) fn matches(&self, frame: &Frame<'_>) -> bool {
        let header = PacketHeader {
            ts: libc::timeval { tv_sec: 0, tv_usec: 0 },
            captured_len: c_uint::try_from(frame.bytes.len()).unwrap_or(c_uint::MAX),
            original_len: frame.original_len,
        };
        // SAFETY: program and header are valid for reads, and so are the bytes for as many as the
        // header says; the interpreter stays within them.
        let wanted = unsafe {
            (self.library.offline_filter)(
                &raw const self.raw,
                &raw const header,
                frame.bytes.as_ptr(),
            )
        };
        wanted != 0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program came from the compiler and is freed once.
        unsafe { (self.library.free_code)(&raw mut self.raw) };
    }
}
