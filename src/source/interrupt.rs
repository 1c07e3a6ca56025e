//! Ctrl-C as a wish to end, not as an end.
//!
//! The first one sets a flag; the next ends the program as usual.
#![cfg_attr(unix, expect(unsafe_code, reason = "the standard library has no face for signals"))]

use std::sync::atomic::AtomicBool;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Takes over the first SIGINT or SIGTERM, and returns the flag that it sets.
#[cfg(unix)]
pub fn flag() -> &'static AtomicBool {
    use std::sync::atomic::Ordering;
    use std::{mem, ptr};

    extern "C" fn set(_: libc::c_int) {
        WANTED.store(true, Ordering::Relaxed);
    }

    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = set as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
        // SAFETY: the handler does nothing but store to an atomic, which is safe in a signal; the
        // action is valid for reads, and the old one is not asked for.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
    &WANTED
}

/// Returns a flag that is never set: here Ctrl-C ends the program.
#[cfg(not(unix))]
pub fn flag() -> &'static AtomicBool {
    &WANTED
}
