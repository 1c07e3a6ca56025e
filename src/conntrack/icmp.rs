//! ICMP errors about a connection.
//!
//! `nf_conntrack_inet_error()` in `nf_conntrack_proto_icmp.c`, Linux 6.18. The quoted packet names
//! the connection; its sequence numbers are not looked at. An error renews no timer and changes no
//! state. Does not: read the quote.

use crate::conntrack::entry::Entry;
use crate::conntrack::policy::{Choices, Feature};
use crate::conntrack::verdict::{CtState, Reason, Verdict};
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// An ICMP error on its way through the tracker.
#[derive(Clone, Copy, Debug)]
pub struct ErrorArrival {
    /// Which way the quoted packet went between the endpoints of the flow's key.
    pub quoted: Orientation,
    /// Whom the error is addressed to.
    pub addressee: Addressee,
    /// The tracker's time.
    pub now: Timestamp,
}

/// Whom an ICMP error is addressed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addressee {
    /// The sender of the quoted packet, as it should be.
    QuotedSender,
    /// Somebody else.
    Stranger,
}

/// Judges an ICMP error by the entry of the connection that it quotes.
pub fn judge_error(
    entry: Option<&Entry>,
    arrival: &ErrorArrival,
    choices: &mut Choices,
) -> Verdict {
    let Some(entry) = entry.filter(|entry| entry.expires > arrival.now) else {
        return Verdict::invalid(Reason::IcmpUnknown);
    };
    let met = Verdict {
        // The error travels against what it quotes.
        direction: Some(entry.direction_of(arrival.quoted.flip())),
        state: Some(entry.state),
        ..Verdict::invalid(Reason::IcmpOuterMismatch)
    };
    match arrival.addressee {
        Addressee::Stranger if choices.has(Feature::IcmpOuterCheck) => met,
        _ => Verdict { ctstate: CtState::Related, reason: None, ..met },
    }
}
