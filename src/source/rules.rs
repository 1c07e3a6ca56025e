//! Rules that exempt packets from tracking, in the language of libpcap.
//!
//! A rule of the raw table meets IP packets, whole ones and without link header. So an expression is
//! held against the IP packet: `tcp port 80` matches behind VLAN tags too, and `ether` or `vlan` are
//! errors. Of a datagram in fragments the caller asks for the first fragment, which has the ports.
//!
//! Does not: know what an exempt packet is to the tracker.

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use super::filter::{FilterError, dlt};
use super::libpcap::{Library, Program};
use crate::frame::{Frame, LinkType};

/// The option that takes the expressions.
const OPTION: &str = "--notrack";

/// Expressions, of which a packet must match one to be exempt; copies share the programs.
#[derive(Clone, Default)]
pub struct Exemptions {
    programs: Arc<[Program]>,
}

impl Exemptions {
    /// Compiles expressions; without any, no packet is exempt, and libpcap is not needed.
    ///
    /// # Errors
    ///
    /// [`FilterError`] where libpcap is not installed, or does not understand an expression.
    pub fn new(expressions: &[String]) -> Result<Self, FilterError> {
        if expressions.is_empty() {
            return Ok(Self::default());
        }
        let library = Library::load().ok_or(FilterError::NoLibrary(OPTION))?;
        let compile = |expression: &String| {
            let text =
                CString::new(expression.as_str()).map_err(|_| FilterError::NullByte(OPTION))?;
            library.compile(&text, dlt(LinkType::RAW)).map_err(|reason| {
                let expression = expression.clone();
                FilterError::Expression { option: OPTION, expression, reason }
            })
        };
        Ok(Self { programs: expressions.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Returns whether there is no rule.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Returns whether a rule exempts the IP packet of a frame: `packet` holds the bytes captured of
    /// it, `original_len` counts those on the wire.
    pub fn cover(&self, frame: &Frame<'_>, packet: &[u8], original_len: usize) -> bool {
        let original_len = u32::try_from(original_len).unwrap_or(u32::MAX);
        let packet = Frame { link: LinkType::RAW, bytes: packet, original_len, ..*frame };
        self.programs.iter().any(|program| program.matches(&packet))
    }
}

impl fmt::Debug for Exemptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exemptions({})", self.programs.len())
    }
}
