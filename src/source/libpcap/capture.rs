//! An interface that is being captured on.
#![expect(unsafe_code, reason = "the functions of a library loaded by hand")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::{Library, PacketHeader, Raw, RawStatistics};
use crate::time::Timestamp;

/// `PCAP_ERRBUF_SIZE`.
pub(super) const ERROR_BYTES: usize = 256;

/// The name that stands for all interfaces.
pub(in crate::source) const ANY: &str = "any";
/// `DLT_LINUX_SLL2`: each frame says from which interface it is.
const LINUX_SLL2: c_int = 276;

const NANOSECONDS: c_int = 1;
const INTERRUPTED: c_int = -2;
const NO_SUCH_DEVICE: c_int = -5;
const PERMISSION_DENIED: c_int = -8;
const NOT_UP: c_int = -9;
const PROMISCUOUS_DENIED: c_int = -11;

/// How an interface is to be captured on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) struct Wish {
    pub(in crate::source) interface: String,
    /// Bytes captured of a frame at most.
    pub(in crate::source) snaplen: u32,
    pub(in crate::source) is_promiscuous: bool,
    /// Bytes of the kernel's buffer.
    pub(in crate::source) buffer_bytes: u32,
    /// How long the kernel may gather packets before it hands them over; none: not at all.
    pub(in crate::source) gather: Option<Duration>,
    /// What is to be captured, in libpcap's words.
    pub(in crate::source) filter: Option<CString>,
}

/// Why an interface cannot be captured on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::source) enum Refusal {
    NotPermitted(String),
    NoSuchInterface(String),
    NotUp,
    /// The filter is not one.
    Filter(String),
    Other(String),
}

/// The kernel's counts of a capture, from its beginning; they wrap at 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::source) struct Statistics {
    pub(in crate::source) dropped_by_host: u32,
    pub(in crate::source) dropped_by_interface: u32,
}

/// A capture that goes on.
pub(in crate::source) struct Handle {
    raw: Raw,
    library: Library,
}

// SAFETY: a handle may be used by any thread, one at a time, which `&mut self` sees to.
unsafe impl Send for Handle {}

impl Library {
    /// Begins a capture.
    pub(in crate::source) fn capture(self, wish: &Wish) -> Result<Handle, Refusal> {
        let mut error: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        let name = CString::new(wish.interface.as_str());
        let name = name.map_err(|_| Refusal::NoSuchInterface("a null byte".to_owned()))?;
        // SAFETY: the name ends in a null byte, the buffer has the size that pcap.h says.
        let raw = unsafe { (self.create)(name.as_ptr(), error.as_mut_ptr()) };
        if raw.is_null() {
            return Err(Refusal::Other(text(&error)));
        }
        let handle = Handle { raw, library: self };
        let size = |bytes: u32| c_int::try_from(bytes).unwrap_or(c_int::MAX);
        let millis = wish.gather.unwrap_or_default().as_millis();
        // SAFETY: the handle is created and not yet active; the settings take no pointers.
        let status = unsafe {
            (self.set_snaplen)(raw, size(wish.snaplen));
            (self.set_promiscuous)(raw, c_int::from(wish.is_promiscuous));
            (self.set_buffer_size)(raw, size(wish.buffer_bytes));
            (self.set_timeout)(raw, c_int::try_from(millis).unwrap_or(c_int::MAX).max(1));
            (self.set_immediate)(raw, c_int::from(wish.gather.is_none()));
            (self.set_precision)(raw, NANOSECONDS);
            (self.activate)(raw)
        };
        if status < 0 {
            return Err(handle.refusal(status));
        }
        if wish.interface == ANY {
            // SAFETY: the handle is active. Where the library does not know this kind of frames,
            // they stay as they are, and the interfaces of their packets are not told apart.
            unsafe { (self.set_data_link)(raw, LINUX_SLL2) };
        }
        if let Some(expression) = &wish.filter {
            handle.set_filter(expression).map_err(Refusal::Filter)?;
        }
        // SAFETY: the handle is active, the buffer has the size that pcap.h says.
        let status = unsafe { (self.set_nonblock)(raw, 1, error.as_mut_ptr()) };
        if status < 0 { Err(Refusal::Other(text(&error))) } else { Ok(handle) }
    }
}

#[cfg(test)]
impl Library {
    /// Returns a capture of nothing, for which no permission is needed.
    pub(in crate::source) fn capture_nothing(self, dlt: c_int) -> Handle {
        // SAFETY: takes no pointers.
        let raw = unsafe { (self.open_dead)(dlt, 256) };
        assert!(!raw.is_null(), "out of memory");
        Handle { raw, library: self }
    }
}

impl Handle {
    /// Says why the capture did not become active.
    fn refusal(&self, status: c_int) -> Refusal {
        // SAFETY: the handle is open; the text of a status is a constant that ends in a null byte.
        let (detail, general) = unsafe {
            let general = CStr::from_ptr((self.library.status_text)(status));
            (self.library.error_of(self.raw), general.to_string_lossy().into_owned())
        };
        let reason = if detail.is_empty() { general } else { detail };
        match status {
            PERMISSION_DENIED | PROMISCUOUS_DENIED => Refusal::NotPermitted(reason),
            NO_SUCH_DEVICE => Refusal::NoSuchInterface(reason),
            NOT_UP => Refusal::NotUp,
            _ => Refusal::Other(reason),
        }
    }

    fn set_filter(&self, expression: &CString) -> Result<(), String> {
        // SAFETY: the handle is active.
        let mut program = unsafe { self.library.compile_for(self.raw, expression) }?;
        // SAFETY: handle and program are valid; the handle makes a copy of the program.
        let status = unsafe { (self.library.set_filter)(self.raw, &raw mut program.raw) };
        // SAFETY: the handle is open.
        if status == 0 { Ok(()) } else { Err(unsafe { self.library.error_of(self.raw) }) }
    }

    /// Returns the DLT_ value of the frames.
    pub(in crate::source) fn dlt(&self) -> c_int {
        // SAFETY: the handle is active.
        unsafe { (self.library.data_link)(self.raw) }
    }

    /// Returns what can be waited on; none where the system has no such thing.
    pub(in crate::source) fn descriptor(&self) -> Option<RawFd> {
        // SAFETY: the handle is active.
        let descriptor = unsafe { (self.library.selectable)(self.raw) };
        (descriptor >= 0).then_some(descriptor)
    }

    /// Waits until there may be packets, so long at most.
    pub(in crate::source) fn wait(&self, most: Duration) {
        let Some(fd) = self.descriptor() else { return std::thread::park_timeout(most) };
        let mut place = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let millis = c_int::try_from(most.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: one place, valid for reads and writes. Whatever comes of it, the caller looks.
        unsafe { libc::poll(&raw mut place, 1, millis) };
    }

    /// Hands over the packets that are there, until `take` has enough.
    ///
    /// The error is what libpcap says, such as "The interface disappeared".
    pub(in crate::source) fn dispatch(
        &mut self,
        mut take: impl FnMut(Timestamp, u32, &[u8]) -> Appetite,
    ) -> Result<(), String> {
        let mut desk = Desk { take: &mut take, raw: self.raw, library: self.library };
        let user = (&raw mut desk).cast();
        // SAFETY: the handle is active, and `desk` outlives the call that it is handed to.
        let count = unsafe { (self.library.dispatch)(self.raw, -1, hand_over, user) };
        match count {
            INTERRUPTED | 0.. => Ok(()),
            // SAFETY: the handle is open.
            _ => Err(unsafe { self.library.error_of(self.raw) }),
        }
    }

    /// Reads the kernel's counts; none where they cannot be had.
    pub(in crate::source) fn statistics(&self) -> Option<Statistics> {
        let mut counts = RawStatistics::default();
        // SAFETY: the handle is active, the place is valid for writes.
        let status = unsafe { (self.library.statistics)(self.raw, &raw mut counts) };
        (status == 0).then_some(Statistics {
            dropped_by_host: counts.dropped,
            dropped_by_interface: counts.dropped_by_interface,
        })
    }

    /// Shares the packets of the interface with the other captures of this group, by flow
    /// (`PACKET_FANOUT_HASH`, packet(7): the hash is the same for both directions).
    ///
    /// The kernel's name of the group depends on the interface too: captures of one that is gone
    /// are still in their group when those of its successor form theirs, and the two cannot be one.
    #[cfg(target_os = "linux")]
    pub(in crate::source) fn share(&self, group: u16) -> io::Result<()> {
        let descriptor = self.descriptor().unwrap_or(-1);
        let index = self.address().map_or(0, |address| address.sll_ifindex.cast_unsigned());
        let name = u32::from(group) ^ (index & 0xffff);
        let argument = name | libc::PACKET_FANOUT_HASH << 16;
        // SAFETY: the option takes a word, which is valid for reads.
        let status = unsafe {
            libc::setsockopt(
                descriptor,
                libc::SOL_PACKET,
                libc::PACKET_FANOUT,
                (&raw const argument).cast(),
                libc::socklen_t::try_from(size_of_val(&argument)).unwrap_or_default(),
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Only Linux shares packets among captures.
    #[cfg(not(target_os = "linux"))]
    pub(in crate::source) fn share(&self, _: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open and closed once.
        unsafe { (self.library.close)(self.raw) };
    }
}

/// Whether more packets are wanted in this go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::source) enum Appetite {
    More,
    Enough,
}

/// Who takes the packets of one [`Handle::dispatch`].
struct Desk<'a> {
    take: &'a mut dyn FnMut(Timestamp, u32, &[u8]) -> Appetite,
    raw: Raw,
    library: Library,
}

/// Takes a packet from libpcap.
#[expect(clippy::cast_ptr_alignment, reason = "the pointer was one to a desk")]
unsafe extern "C" fn hand_over(user: *mut u8, header: *const PacketHeader, bytes: *const u8) {
    // SAFETY: libpcap hands back the pointer given to it, which is to a desk in use by nobody else,
    // and a header and its bytes that are valid during this call.
    let (desk, header, bytes) = unsafe {
        let header = &*header;
        let captured = usize::try_from(header.captured_len).unwrap_or_default();
        (&mut *user.cast::<Desk<'_>>(), header, std::slice::from_raw_parts(bytes, captured))
    };
    let ts = Timestamp::from_parts(header.ts.tv_sec, header.ts.tv_usec);
    if (desk.take)(ts, header.original_len, bytes) == Appetite::Enough {
        // SAFETY: the handle is active; the call sets a flag in it.
        unsafe { (desk.library.break_loop)(desk.raw) };
    }
}

fn text(buffer: &[c_char; ERROR_BYTES]) -> String {
    // SAFETY: libpcap ends its text in a null byte, and the buffer was zeroed.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}
