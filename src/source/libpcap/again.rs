//! A capture that goes on when its interface was removed and made anew.
#![expect(unsafe_code, reason = "packet sockets have no face in the standard library")]

use std::io;

use super::capture::{Handle, Wish};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;
    use std::mem;
    use std::os::fd::RawFd;

    use super::{Handle, Wish, io};

    impl Handle {
        /// Binds the capture to the interface that has the name now; its filter and its buffer stay.
        ///
        /// Takes no privilege: `CAP_NET_RAW` is asked for when a packet socket is made, not when it
        /// is bound, and not for promiscuous mode (`packet_create()`, `packet_do_bind()` and
        /// `packet_mc_add()`, `af_packet.c`, Linux 6.18). One that shares its packets with others
        /// cannot be bound again.
        pub(in crate::source) fn bind_again(&self, wish: &Wish) -> io::Result<()> {
            let descriptor = self.descriptor().unwrap_or(-1);
            let name = CString::new(wish.interface.as_str())?;
            // SAFETY: the name ends in a null byte.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            let index = libc::c_int::try_from(index).unwrap_or_default();
            if index == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENODEV));
            }
            bind(descriptor, index)?;
            if wish.is_promiscuous {
                be_promiscuous(descriptor, index)?;
            }
            Ok(())
        }

        /// Returns the kind of the interface, as `ARPHRD_` numbers it; none where it is gone.
        pub(in crate::source) fn hardware(&self) -> Option<u16> {
            let address = self.address().filter(|address| address.sll_ifindex > 0);
            address.map(|address| address.sll_hatype)
        }

        /// Returns what the capture is bound to.
        pub(in crate::source) fn address(&self) -> Option<libc::sockaddr_ll> {
            // SAFETY: all-zero is a valid address.
            let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
            let mut len = size_of_address();
            // SAFETY: both places are valid for writes, the first of the length that the second says.
            let status = unsafe {
                let address = (&raw mut address).cast();
                libc::getsockname(self.descriptor()?, address, &raw mut len)
            };
            (status == 0).then_some(address)
        }
    }

    fn bind(descriptor: RawFd, index: libc::c_int) -> io::Result<()> {
        // SAFETY: all-zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
        address.sll_ifindex = index;
        // SAFETY: the address is valid for reads, and of the length that goes with it.
        let status =
            unsafe { libc::bind(descriptor, (&raw const address).cast(), size_of_address()) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn be_promiscuous(descriptor: RawFd, index: libc::c_int) -> io::Result<()> {
        // SAFETY: all-zero is a valid request.
        let mut request: libc::packet_mreq = unsafe { mem::zeroed() };
        request.mr_ifindex = index;
        request.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default();
        // SAFETY: the request is valid for reads, and of the length that goes with it.
        let status = unsafe {
            libc::setsockopt(
                descriptor,
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                libc::socklen_t::try_from(size_of_val(&request)).unwrap_or_default(),
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn size_of_address() -> libc::socklen_t {
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default()
    }
}

/// Only Linux can bind a capture again.
#[cfg(not(target_os = "linux"))]
impl Handle {
    pub(in crate::source) fn bind_again(&self, _: &Wish) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::source) fn hardware(&self) -> Option<u16> {
        None
    }
}
