//! The interfaces that libpcap could capture on.
#![expect(unsafe_code, reason = "the functions of a library loaded by hand")]

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::ptr;

use super::Library;
use super::capture::ERROR_BYTES;

const UP: c_uint = 0x2;
const RUNNING: c_uint = 0x4;
const LOOPBACK: c_uint = 0x1;

/// `struct pcap_if`.
#[repr(C)]
pub(super) struct RawDevice {
    next: *mut Self,
    name: *const c_char,
    description: *const c_char,
    addresses: *mut c_void,
    flags: c_uint,
}

/// An interface that can be captured on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its name, as the capture is asked for it.
    pub name: String,
    /// What libpcap says of it, if anything.
    pub description: Option<String>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether its link is there.
    pub is_running: bool,
    /// Whether it is the loopback interface.
    pub is_loopback: bool,
}

impl Library {
    /// Lists the interfaces; the error is what libpcap says.
    pub(in crate::source) fn devices(self) -> Result<Vec<Device>, String> {
        let mut first = ptr::null_mut();
        let mut error: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: both places are valid for writes, the second for as many bytes as pcap.h says.
        let status = unsafe { (self.find_all)(&raw mut first, error.as_mut_ptr()) };
        if status != 0 {
            // SAFETY: libpcap ends its text in a null byte, and the buffer was zeroed.
            let text = unsafe { CStr::from_ptr(error.as_ptr()) };
            return Err(text.to_string_lossy().into_owned());
        }
        let mut devices = Vec::new();
        let mut next: *const RawDevice = first;
        // SAFETY: the list is libpcap's, ends in a null pointer, and is freed only below.
        while let Some(device) = unsafe { next.as_ref() } {
            devices.push(Device {
                name: text(device.name).unwrap_or_default(),
                description: text(device.description),
                is_up: device.flags & UP != 0,
                is_running: device.flags & RUNNING != 0,
                is_loopback: device.flags & LOOPBACK != 0,
            });
            next = device.next;
        }
        // SAFETY: the list is freed once, and nothing of it is used afterwards.
        unsafe { (self.free_all)(first) };
        Ok(devices)
    }
}

/// Copies a text of libpcap's; none where there is none.
fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and libpcap ends its texts in a null byte.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
