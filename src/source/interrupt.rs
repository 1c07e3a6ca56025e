//! Ctrl-C as a wish to end, not as an end; other signals as questions.
//!
//! The first Ctrl-C sets a flag; the next ends the program as usual.
#![cfg_attr(unix, expect(unsafe_code, reason = "the standard library has no face for signals"))]

use std::sync::atomic::AtomicBool;

static WANTED: AtomicBool = AtomicBool::new(false);
#[cfg(unix)]
static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes over the first SIGINT or SIGTERM, and returns the flag that it sets.
#[cfg(unix)]
pub fn flag() -> &'static AtomicBool {
    use std::sync::atomic::Ordering;

    extern "C" fn set(_: libc::c_int) {
        WANTED.store(true, Ordering::Relaxed);
    }

    for signal in [libc::SIGINT, libc::SIGTERM] {
        take_over(signal, set, libc::SA_RESETHAND | libc::SA_RESTART);
    }
    &WANTED
}

/// Takes over SIGUSR1, and SIGINFO (Ctrl-T) where there is one, and returns the flag that they set.
#[cfg(unix)]
pub fn question() -> &'static AtomicBool {
    use std::sync::atomic::Ordering;

    extern "C" fn ask(_: libc::c_int) {
        ASKED.store(true, Ordering::Relaxed);
    }

    take_over(libc::SIGUSR1, ask, libc::SA_RESTART);
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd"))]
    take_over(libc::SIGINFO, ask, libc::SA_RESTART);
    &ASKED
}

/// Has a signal handled by a function that does nothing but store to an atomic.
#[cfg(unix)]
fn take_over(signal: libc::c_int, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    use std::{mem, ptr};

    // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = flags;
    // SAFETY: storing to an atomic is safe in a signal; the action is valid for reads, and the old
    // one is not asked for.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// Returns a flag that is never set: here Ctrl-C ends the program.
#[cfg(not(unix))]
pub fn flag() -> &'static AtomicBool {
    &WANTED
}
