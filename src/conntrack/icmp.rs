//! ICMP errors about a connection.
//!
//! `nf_conntrack_inet_error()` in `nf_conntrack_proto_icmp.c`, Linux 6.18. The quoted packet names
//! the connection; its sequence numbers are not looked at. An error renews no timer and changes no
//! state. Does not: read the quote.

use crate::conntrack::entry::Entry;
use crate::conntrack::policy::{Choices, Feature};
use crate::conntrack::verdict::{CtState, Reason, Verdict};
use crate::segment::ErrorTraits;
use crate::time::Timestamp;
use crate::tuple::Orientation;

/// An ICMP error on its way through the tracker.
#[derive(Clone, Copy, Debug)]
pub struct ErrorArrival {
    /// Which way the quoted packet went between the endpoints of the flow's key.
    pub quoted: Orientation,
    /// What else decides.
    pub traits: ErrorTraits,
    /// The tracker's time.
    pub now: Timestamp,
}

/// Judges an ICMP error by the entry of the connection that it quotes.
pub fn judge_error(
    entry: Option<&Entry>,
    arrival: &ErrorArrival,
    choices: &mut Choices,
) -> Verdict {
    let entry = entry.filter(|entry| !entry.has_expired(arrival.now, choices));
    let Some(entry) = entry.filter(|_| names_flow(arrival.traits, choices)) else {
        return Verdict::invalid(Reason::IcmpUnknown);
    };
    let met = Verdict {
        // The error travels against what it quotes.
        direction: Some(entry.direction_of(arrival.quoted.flip())),
        state: Some(entry.state),
        ..Verdict::invalid(Reason::IcmpOuterMismatch)
    };
    if is_astray(arrival.traits, choices) {
        met
    } else {
        Verdict { ctstate: CtState::Related, reason: None, ..met }
    }
}

/// Returns whether the kernel looks for the flow that an error quotes.
pub fn names_flow(traits: ErrorTraits, choices: &mut Choices) -> bool {
    let is_error = !traits.is_redirect || choices.has(Feature::Icmpv6Redirect);
    is_error && (traits.quotes_eight_bytes || !choices.has(Feature::EightByteTuples))
}

/// Returns whether the kernel refuses an error because of whom it is addressed to.
pub fn is_astray(traits: ErrorTraits, choices: &mut Choices) -> bool {
    !traits.to_quoted_sender && choices.has(Feature::IcmpOuterCheck)
}
