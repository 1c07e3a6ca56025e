//! libpcap, loaded when it is asked for: the program starts, and reads files, without it.
//!
//! The crate `pcap` links the library, so that a program with it does not even start, not for a file
//! either, where libpcap is not installed, and cannot be built where its link is missing. What is
//! needed of it are the functions below.
//!
//! Holds the functions that are used, as `pcap.h` of libpcap 1.10 declares them. Does not: know
//! what a filter or a capture is for.
#![expect(unsafe_code, reason = "a library that may be absent can only be loaded by hand")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem;
use std::ptr::NonNull;

mod again;
mod capture;
mod devices;
mod program;

pub(super) use capture::{ANY, Appetite, Handle, Refusal, Statistics, Wish};
pub use devices::Device;
pub(super) use program::Program;

/// What the library is called: Debian and Ubuntu; Fedora, Arch and Alpine; BSD; macOS.
const NAMES: [&CStr; 4] = [c"libpcap.so.0.8", c"libpcap.so.1", c"libpcap.so", c"libpcap.dylib"];

/// Why there is no library, and what to do.
pub(super) const WITHOUT_LIBPCAP: &str = if cfg!(target_feature = "crt-static") {
    "which a static build cannot load: take a package of this program, or capture and filter with \
     tcpdump"
} else {
    "which is not installed: install the package libpcap0.8 (Debian, Ubuntu) or libpcap (Fedora, \
     Arch, Alpine)"
};

/// `struct pcap_pkthdr`.
#[repr(C)]
struct PacketHeader {
    /// Microseconds in the second field, or nanoseconds where those were asked for.
    ts: libc::timeval,
    captured_len: c_uint,
    original_len: c_uint,
}

/// `struct bpf_program`.
#[repr(C)]
struct RawProgram {
    len: c_uint,
    instructions: *mut c_void,
}

/// `struct pcap_stat`, as far as every system has it.
#[repr(C)]
#[derive(Default)]
struct RawStatistics {
    received: c_uint,
    dropped: c_uint,
    dropped_by_interface: c_uint,
    /// Windows has more fields.
    spare: [c_uint; 4],
}

/// `pcap_handler`.
type Callback = unsafe extern "C" fn(*mut u8, *const PacketHeader, *const u8);
/// `pcap_t *`.
type Raw = *mut c_void;

/// Declares the functions of the library that are used, and how to load them all.
macro_rules! library {
    ($($field:ident = $symbol:literal: ($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of the library that are used.
        #[derive(Clone, Copy)]
        pub(super) struct Library {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            /// Finds all functions in a loaded library; none where one is missing.
            fn of(handle: NonNull<c_void>) -> Option<Self> {
                // SAFETY: these symbols are functions of the types that pcap.h gives them, the
                // same in all versions since 1.5, and the library stays loaded for ever.
                unsafe { Some(Self { $($field: function(handle, $symbol)?,)* }) }
            }
        }
    };
}

library! {
    activate = c"pcap_activate": (Raw) -> c_int;
    break_loop = c"pcap_breakloop": (Raw);
    close = c"pcap_close": (Raw);
    compile = c"pcap_compile":
        (Raw, *mut RawProgram, *const c_char, c_int, c_uint) -> c_int;
    create = c"pcap_create": (*const c_char, *mut c_char) -> Raw;
    data_link = c"pcap_datalink": (Raw) -> c_int;
    dispatch = c"pcap_dispatch": (Raw, c_int, Callback, *mut u8) -> c_int;
    find_all = c"pcap_findalldevs": (*mut *mut devices::RawDevice, *mut c_char) -> c_int;
    free_all = c"pcap_freealldevs": (*mut devices::RawDevice);
    free_code = c"pcap_freecode": (*mut RawProgram);
    get_error = c"pcap_geterr": (Raw) -> *mut c_char;
    offline_filter = c"pcap_offline_filter":
        (*const RawProgram, *const PacketHeader, *const u8) -> c_int;
    open_dead = c"pcap_open_dead": (c_int, c_int) -> Raw;
    selectable = c"pcap_get_selectable_fd": (Raw) -> c_int;
    set_buffer_size = c"pcap_set_buffer_size": (Raw, c_int) -> c_int;
    set_data_link = c"pcap_set_datalink": (Raw, c_int) -> c_int;
    set_filter = c"pcap_setfilter": (Raw, *mut RawProgram) -> c_int;
    set_immediate = c"pcap_set_immediate_mode": (Raw, c_int) -> c_int;
    set_nonblock = c"pcap_setnonblock": (Raw, c_int, *mut c_char) -> c_int;
    set_promiscuous = c"pcap_set_promisc": (Raw, c_int) -> c_int;
    set_snaplen = c"pcap_set_snaplen": (Raw, c_int) -> c_int;
    set_timeout = c"pcap_set_timeout": (Raw, c_int) -> c_int;
    set_precision = c"pcap_set_tstamp_precision": (Raw, c_int) -> c_int;
    statistics = c"pcap_stats": (Raw, *mut RawStatistics) -> c_int;
    status_text = c"pcap_statustostr": (c_int) -> *const c_char;
}

impl Library {
    /// Loads the library; none where it is not installed.
    pub(super) fn load() -> Option<Self> {
        // What a static program loads would bring a second C library.
        if cfg!(target_feature = "crt-static") {
            return None;
        }
        let handle = NAMES.iter().find_map(|name| {
            // SAFETY: the name ends in a null byte; libpcap does nothing when it is loaded.
            NonNull::new(unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) })
        })?;
        Self::of(handle)
    }

    /// Returns what a handle says of its last failure.
    ///
    /// # Safety
    ///
    /// The handle is open.
    unsafe fn error_of(self, handle: Raw) -> String {
        // SAFETY: the text belongs to the handle, ends in a null byte, and is copied here.
        unsafe { CStr::from_ptr((self.get_error)(handle)) }.to_string_lossy().into_owned()
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
