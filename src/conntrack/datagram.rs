//! Entries of UDP, ICMP queries, GRE and protocols without a tracker of their own.
//!
//! `nf_conntrack_proto_udp.c`, `nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_gre.c`,
//! `nf_conntrack_proto_generic.c`, Linux 6.18. None of them looks into the packet beyond its header: an entry is a pair of endpoints, a
//! timeout, and whether a reply was seen.
//!
//! SCTP, whose tracker follows a handshake of its own, is judged as other protocols; so is DCCP, which
//! has no tracker any more in Linux 6.18.
//!
//! Does not: read headers, or know TCP.

use crate::conntrack::policy::{Choices, Feature, Features};
use crate::conntrack::verdict::CtState;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::Orientation;

/// How long a UDP flow is young: replies within this time do not make it a stream.
const STREAM_AFTER_NS: i64 = 2 * NANOS_PER_SEC;

/// What kind of entry a datagram has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DatagramKind {
    /// UDP.
    Udp,
    /// A request that may be answered: echo, timestamp, information, address mask, node information.
    IcmpRequest,
    /// The answer to one.
    IcmpReply,
    /// The same of `ICMPv6`.
    Icmpv6Request,
    /// The answer to one.
    Icmpv6Reply,
    /// GRE, which is any other protocol to kernels before 5.0.
    Gre,
    /// Any other protocol.
    Generic,
}

/// A datagram on its way through the tracker.
#[derive(Clone, Copy, Debug)]
pub struct DatagramArrival {
    /// What kind of entry it has.
    pub kind: DatagramKind,
    /// Which way it goes between the endpoints of the flow's key.
    pub orientation: Orientation,
    /// The tracker's time.
    pub now: Timestamp,
}

/// Timeouts of other protocols than TCP, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramTimeouts {
    /// `nf_conntrack_udp_timeout`.
    pub udp: i64,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_stream: i64,
    /// `nf_conntrack_icmp_timeout`.
    pub icmp: i64,
    /// `nf_conntrack_icmpv6_timeout`.
    pub icmpv6: i64,
    /// `nf_conntrack_gre_timeout`.
    pub gre: i64,
    /// `nf_conntrack_gre_timeout_stream`.
    pub gre_stream: i64,
    /// `nf_conntrack_generic_timeout`.
    pub generic: i64,
}

impl DatagramTimeouts {
    /// Returns the defaults of a kernel.
    pub fn of(features: Features) -> Self {
        let mut timeouts = Self::default();
        if !features.contains(Feature::UdpStreamDelay) {
            timeouts.udp_stream = 180 * NANOS_PER_SEC;
        }
        timeouts
    }
}

impl Default for DatagramTimeouts {
    /// The defaults of Linux 5.0 to 6.18; up to 4.19 a UDP stream has 180 s.
    fn default() -> Self {
        Self {
            udp: 30 * NANOS_PER_SEC,
            udp_stream: 120 * NANOS_PER_SEC,
            icmp: 30 * NANOS_PER_SEC,
            icmpv6: 30 * NANOS_PER_SEC,
            gre: 30 * NANOS_PER_SEC,
            gre_stream: 180 * NANOS_PER_SEC,
            generic: 600 * NANOS_PER_SEC,
        }
    }
}

/// One tracked flow of datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramEntry {
    /// When the entry expires unless a packet renews it.
    pub expires: Timestamp,
    /// When the entry was made.
    created: Timestamp,
    /// Which way the original direction goes between the endpoints of the flow's key.
    pub original: Orientation,
    /// Whether a reply was accepted: `IPS_SEEN_REPLY`.
    pub seen_reply: bool,
    /// Whether the entry is spared when the table is full: `IPS_ASSURED`.
    pub assured: bool,
}

/// Judges a datagram by the entry in `slot`, and applies the judgement: makes or renews the entry.
pub fn judge_datagram(
    slot: &mut Option<DatagramEntry>,
    arrival: &DatagramArrival,
    timeouts: &DatagramTimeouts,
    choices: &mut Choices,
) -> CtState {
    let DatagramArrival { kind, orientation, now } = *arrival;
    if slot.is_some_and(|entry| entry.expires <= now) {
        *slot = None;
    }
    let is_answer = matches!(kind, DatagramKind::IcmpReply | DatagramKind::Icmpv6Reply);
    if slot.is_none() && is_answer {
        return CtState::Invalid;
    }
    let entry = slot.get_or_insert(DatagramEntry {
        expires: now,
        created: now,
        original: orientation,
        seen_reply: false,
        assured: false,
    });
    let is_reply = orientation != entry.original;
    let seen_reply = entry.seen_reply;
    entry.renew(kind, now, timeouts, choices);
    entry.seen_reply |= is_reply;
    if is_reply || seen_reply { CtState::Established } else { CtState::New }
}

impl DatagramEntry {
    fn renew(
        &mut self,
        kind: DatagramKind,
        now: Timestamp,
        timeouts: &DatagramTimeouts,
        choices: &mut Choices,
    ) {
        let timeout_ns = match kind {
            DatagramKind::Udp if self.seen_reply => self.answered(now, timeouts, choices),
            DatagramKind::Udp => timeouts.udp,
            DatagramKind::IcmpRequest | DatagramKind::IcmpReply => timeouts.icmp,
            DatagramKind::Icmpv6Request | DatagramKind::Icmpv6Reply => timeouts.icmpv6,
            DatagramKind::Gre if !choices.has(Feature::GreTracked) => timeouts.generic,
            DatagramKind::Gre if self.seen_reply => {
                self.assured = true;
                timeouts.gre_stream
            }
            DatagramKind::Gre => timeouts.gre,
            DatagramKind::Generic => timeouts.generic,
        };
        self.expires = now.plus_nanos(timeout_ns);
    }

    /// Chooses the timeout of a UDP flow that was answered, and assures it:
    /// `nf_conntrack_udp_packet()`.
    fn answered(
        &mut self,
        now: Timestamp,
        timeouts: &DatagramTimeouts,
        choices: &mut Choices,
    ) -> i64 {
        let is_young = now.nanos_since(self.created) <= STREAM_AFTER_NS;
        if is_young && choices.has(Feature::UdpStreamDelay) {
            self.assured |= !choices.has(Feature::UdpAssuredWithStream);
            return timeouts.udp;
        }
        self.assured = true;
        timeouts.udp_stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Profile;

    const THERE: Orientation = Orientation::LowToHigh;
    const BACK: Orientation = Orientation::HighToLow;

    /// Sends datagrams at these milliseconds, and tells verdict, seconds left and assurance of each.
    fn run(
        kernel: &str,
        kind: DatagramKind,
        packets: &[(i64, Orientation)],
    ) -> Vec<(&'static str, i64, bool)> {
        let features = Profile::named(kernel).unwrap().features();
        let (mut slot, timeouts) = (None, DatagramTimeouts::default());
        let mut judge = |&(at_ms, orientation): &(i64, Orientation)| {
            let now = Timestamp(at_ms * 1_000_000);
            let arrival = DatagramArrival { kind, orientation, now };
            let choices = &mut Choices::new(features);
            let ctstate = judge_datagram(&mut slot, &arrival, &timeouts, choices);
            let entry: DatagramEntry = slot.unwrap();
            let left_s = entry.expires.nanos_since(now) / NANOS_PER_SEC;
            (ctstate.name(), left_s, entry.assured)
        };
        packets.iter().map(&mut judge).collect()
    }

    const CONVERSATION: [(i64, Orientation); 5] =
        [(0, THERE), (10, BACK), (1000, THERE), (2000, THERE), (2001, THERE)];

    #[test]
    fn a_udp_flow_becomes_a_stream_after_two_seconds() {
        let said = run("6.18.44", DatagramKind::Udp, &CONVERSATION);
        let young = ("ESTABLISHED", 30, false);
        let stream = ("ESTABLISHED", 120, true);
        assert_eq!(said, [("NEW", 30, false), young, young, young, stream]);
    }

    #[test]
    fn an_older_kernel_assures_at_once() {
        let said = run("5.4", DatagramKind::Udp, &CONVERSATION);
        assert_eq!(said[2], ("ESTABLISHED", 30, true));
        assert_eq!(said[4], ("ESTABLISHED", 120, true));
        let said = run("4.19.0", DatagramKind::Udp, &CONVERSATION);
        assert_eq!(said[1], ("ESTABLISHED", 30, false), "the reply itself is not yet answered");
        assert_eq!(said[2], ("ESTABLISHED", 120, true));
    }

    #[test]
    fn a_flow_that_was_idle_for_its_timeout_is_new_again() {
        let said =
            run("6.18.44", DatagramKind::Udp, &[(0, THERE), (29_999, THERE), (59_999, BACK)]);
        assert_eq!(said[1].0, "NEW");
        assert_eq!(said[2], ("NEW", 30, false), "the reply opens a flow of its own");
    }

    #[test]
    fn an_echo_reply_needs_its_request() {
        let (mut slot, timeouts) = (None, DatagramTimeouts::default());
        let mut judge = |kind, orientation| {
            let arrival = DatagramArrival { kind, orientation, now: Timestamp(1) };
            let features = Profile::DEFAULT.features();
            judge_datagram(&mut slot, &arrival, &timeouts, &mut Choices::new(features))
        };
        assert_eq!(judge(DatagramKind::IcmpReply, BACK), CtState::Invalid);
        assert_eq!(judge(DatagramKind::IcmpRequest, THERE), CtState::New);
        assert_eq!(judge(DatagramKind::IcmpReply, BACK), CtState::Established);
        assert_eq!(judge(DatagramKind::IcmpRequest, THERE), CtState::Established);
    }

    #[test]
    fn gre_is_a_stream_once_it_was_answered_on_kernels_that_track_it() {
        let packets = [(0, THERE), (10, BACK), (20, THERE)];
        let said = run("6.18.44", DatagramKind::Gre, &packets);
        let (new, reply) = (("NEW", 30, false), ("ESTABLISHED", 30, false));
        assert_eq!(said, [new, reply, ("ESTABLISHED", 180, true)]);
        assert_eq!(run("4.19.0", DatagramKind::Gre, &packets)[2], ("ESTABLISHED", 600, false));
    }

    #[test]
    fn a_udp_stream_of_an_older_kernel_is_kept_for_three_minutes() {
        let stream = |kernel| {
            let features = Profile::named(kernel).unwrap().features();
            DatagramTimeouts::of(features).udp_stream / NANOS_PER_SEC
        };
        assert_eq!((stream("el8"), stream("5.4")), (180, 120));
    }

    #[test]
    fn other_protocols_are_kept_for_ten_minutes() {
        let said = run("6.18.44", DatagramKind::Generic, &[(0, THERE), (5, BACK), (6, THERE)]);
        assert_eq!(
            said,
            [("NEW", 600, false), ("ESTABLISHED", 600, false), ("ESTABLISHED", 600, false)]
        );
    }
}
