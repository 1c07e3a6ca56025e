//! The filter compiler of libpcap, loaded when it is asked for: the program starts without it.
//!
//! Does not: open interfaces or files, or know what a filter is for.
#![expect(unsafe_code, reason = "a library that may be absent can only be loaded by hand")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::mem;
use std::ptr::{self, NonNull};

use crate::frame::Frame;

/// What the library is called: Debian and Ubuntu; Fedora, Arch and Alpine; BSD; macOS.
const NAMES: [&CStr; 4] = [c"libpcap.so.0.8", c"libpcap.so.1", c"libpcap.so", c"libpcap.dylib"];

/// `PCAP_NETMASK_UNKNOWN`: only "ip broadcast" would need to know it.
const UNKNOWN_NETMASK: c_uint = 0xffff_ffff;
/// More than any frame has; a filter returns how much of a frame is wanted.
const SNAPLEN: c_int = 262_144;
const OPTIMIZE: c_int = 1;

/// `struct bpf_program`.
#[repr(C)]
struct RawProgram {
    len: c_uint,
    instructions: *mut c_void,
}

/// `struct pcap_pkthdr`.
#[repr(C)]
struct PacketHeader {
    ts: libc::timeval,
    captured_len: c_uint,
    original_len: c_uint,
}

/// The functions of the library that are used, as `pcap.h` of libpcap 1.10 declares them.
#[derive(Clone, Copy)]
pub(super) struct Library {
    open_dead: unsafe extern "C" fn(c_int, c_int) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    compile:
        unsafe extern "C" fn(*mut c_void, *mut RawProgram, *const c_char, c_int, c_uint) -> c_int,
    get_error: unsafe extern "C" fn(*mut c_void) -> *mut c_char,
    offline_filter:
        unsafe extern "C" fn(*const RawProgram, *const PacketHeader, *const u8) -> c_int,
    free_code: unsafe extern "C" fn(*mut RawProgram),
}

impl Library {
    /// Loads the library; none where it is not installed.
    pub(super) fn load() -> Option<Self> {
        let handle = NAMES.iter().find_map(|name| {
            // SAFETY: the name ends in a null byte; libpcap does nothing when it is loaded.
            NonNull::new(unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) })
        })?;
        // SAFETY: these symbols are functions of the types that pcap.h gives them, the same in all
        // versions since 1.0, and the library stays loaded for ever.
        unsafe {
            Some(Self {
                open_dead: function(handle, c"pcap_open_dead")?,
                close: function(handle, c"pcap_close")?,
                compile: function(handle, c"pcap_compile")?,
                get_error: function(handle, c"pcap_geterr")?,
                offline_filter: function(handle, c"pcap_offline_filter")?,
                free_code: function(handle, c"pcap_freecode")?,
            })
        }
    }

    /// Compiles an expression for frames of a link type, a DLT_ value.
    ///
    /// The error is what libpcap says of the expression.
    pub(super) fn compile(self, expression: &CString, dlt: c_int) -> Result<Program, String> {
        // SAFETY: takes no pointers.
        let handle = unsafe { (self.open_dead)(dlt, SNAPLEN) };
        if handle.is_null() {
            return Err("out of memory".to_owned());
        }
        let mut raw = RawProgram { len: 0, instructions: ptr::null_mut() };
        // SAFETY: the handle is open, `raw` is valid for writes, the expression ends in a null byte.
        let status = unsafe {
            (self.compile)(handle, &raw mut raw, expression.as_ptr(), OPTIMIZE, UNKNOWN_NETMASK)
        };
        let compiled = if status == 0 {
            Ok(Program { raw, library: self })
        } else {
            // SAFETY: the text belongs to the handle, ends in a null byte, and is copied here.
            let text = unsafe { CStr::from_ptr((self.get_error)(handle)) };
            Err(text.to_string_lossy().into_owned())
        };
        // SAFETY: the handle is open, and nothing uses it afterwards; a program does not need it.
        unsafe { (self.close)(handle) };
        compiled
    }
}

/// Finds a function of a loaded library; none where it has no such symbol.
///
/// # Safety
///
/// `F` is the type of a function pointer, that of the symbol.
unsafe fn function<F: Copy>(library: NonNull<c_void>, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<NonNull<c_void>>(), "a function pointer") };
    // SAFETY: the handle is open, and the name ends in a null byte.
    let symbol = NonNull::new(unsafe { libc::dlsym(library.as_ptr(), name.as_ptr()) })?;
    // SAFETY: the caller vouches for the type.
    Some(unsafe { mem::transmute_copy::<NonNull<c_void>, F>(&symbol) })
}

/// A compiled filter.
pub(super) struct Program {
    raw: RawProgram,
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
    pub(super) fn matches(&self, frame: &Frame<'_>) -> bool {
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
