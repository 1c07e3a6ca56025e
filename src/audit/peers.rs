//! Servers and their clients over all flows: who answers, with what, and after which pause.
//!
//! A bounded sample. Each slot belongs to the peer with the smallest hash that ever fell into it, so
//! that what is kept does not depend on the order of the flows or their division into shards, and
//! what is kept of a peer is complete.
//!
//! Does not: keep flows.

use std::net::IpAddr;

use crate::flow::{ConnState, FlowAudit, Offer, SideSummary, Summary};
use crate::segment::Direction;
use crate::time::Timestamp;
use crate::tuple::{Endpoint, FlowKey};

/// The servers that are kept at most, and the pairs of a client's address and a server: enough for
/// the service behind one firewall; each takes about 200 bytes.
const SLOTS: usize = 1024;
/// The SYNs sent again that make an attempt count as unanswered: a Linux client has then waited for
/// 7 s.
pub const UNANSWERED_RETRIES: usize = 2;

/// Flows of one kind: how many, and when.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Span {
    /// How many.
    pub flows: u64,
    /// The first frame of the first of them.
    pub first_frame: u64,
    /// Capture time of the first packet of the first.
    pub first_ts: Option<Timestamp>,
    /// Capture time of the first packet of the last.
    pub last_ts: Option<Timestamp>,
}

impl Span {
    const fn of(audit: &FlowAudit) -> Self {
        let (first_frame, ts) = (audit.first_frame, Some(audit.first_ts));
        Self { flows: 1, first_frame, first_ts: ts, last_ts: ts }
    }

    fn merge(&mut self, other: &Self) {
        if self.flows == 0 || other.flows > 0 && other.first_frame < self.first_frame {
            self.first_frame = other.first_frame;
        }
        self.flows += other.flows;
        self.first_ts = self.first_ts.min(other.first_ts).or(self.first_ts).or(other.first_ts);
        self.last_ts = self.last_ts.max(other.last_ts);
    }
}

/// A server: an address and a port to which SYNs go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Server {
    /// The address and port.
    pub endpoint: Endpoint,
    /// Flows whose SYN was answered by a SYN-ACK.
    pub answered: Span,
    /// Flows whose SYN had no answer, after [`UNANSWERED_RETRIES`] retries.
    pub unanswered: Span,
    /// Flows with window scaling and SACK offered by both SYNs.
    pub full: Span,
    /// Flows with both offered by the SYN, and neither by the SYN-ACK.
    pub bare: Span,
    /// The longest flow that was established: when it began, and when it was last heard of.
    pub longest: Option<(Timestamp, Timestamp)>,
    /// The longest pause after which a flow went on, in seconds.
    pub survived_s: u16,
}

/// The clock in the timestamps of one client's address towards one server, relative to that of the
/// capture, in milliseconds on a circle of 2³².
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// The client's address.
    pub client: IpAddr,
    /// The server.
    pub server: Endpoint,
    /// Lowest and highest of the flows whose SYN was answered.
    pub answered: Option<(u32, u32)>,
    /// The same of those whose SYN was not.
    pub unanswered: Option<(u32, u32)>,
    /// The latter flows.
    pub unanswered_flows: Span,
}

/// A bounded sample of values by the hashes of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sample<T> {
    slots: Vec<Option<(u64, T)>>,
}

impl<T> Default for Sample<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T: Clone> Sample<T> {
    /// Adds a value to what is kept under its hash, unless the slot belongs to another.
    fn add(&mut self, hash: u64, value: T, join: fn(&mut T, &T)) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let index = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(index) else { return };
        match slot {
            Some((owner, kept)) if *owner == hash => join(kept, &value),
            Some((owner, _)) if *owner < hash => {}
            _ => *slot = Some((hash, value)),
        }
    }

    fn merge(&mut self, part: &Self, join: fn(&mut T, &T)) {
        for (hash, value) in part.slots.iter().flatten() {
            self.add(*hash, value.clone(), join);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }
}

/// The peers of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Peers {
    servers: Sample<Server>,
    clocks: Sample<Clocks>,
}

impl Peers {
    /// Counts a finished flow whose SYN was seen.
    pub fn count_flow(&mut self, key: &FlowKey, audit: &FlowAudit, summary: &Summary) {
        let sides = &summary.sides;
        if sides.original.offer == Offer::NotSeen {
            return;
        }
        let is_answered = sides.reply.offer != Offer::NotSeen;
        let retries = summary.handshake.syn_retries_us.len();
        let is_unanswered = summary.conn_state == ConnState::S0 && retries >= UNANSWERED_RETRIES;
        if !is_answered && !is_unanswered {
            return;
        }
        let (client, endpoint) = key.endpoints(audit.original);
        let span = |holds: bool| if holds { Span::of(audit) } else { Span::default() };
        let has_all = |side: &SideSummary| side.sack_permitted && side.offer != Offer::NotOffered;
        let has_none = |side: &SideSummary| !side.sack_permitted && side.offer == Offer::NotOffered;
        let asks_for_all = is_answered && has_all(&sides.original);
        let directions = audit.directions();
        let server = Server {
            endpoint,
            answered: span(is_answered),
            unanswered: span(is_unanswered),
            full: span(asks_for_all && has_all(&sides.reply)),
            bare: span(asks_for_all && has_none(&sides.reply)),
            longest: is_answered.then_some((audit.first_ts, audit.last_ts)),
            survived_s: directions.original.survived_s.max(directions.reply.survived_s),
        };
        self.servers.add(key.hash_of_receiver(audit.original), server, Server::join);
        let Some(clock) = audit.clock_ms(Direction::Original) else { return };
        let range = Some((clock, clock));
        let clocks = Clocks {
            client: client.addr,
            server: endpoint,
            answered: range.filter(|_| is_answered),
            unanswered: range.filter(|_| is_unanswered),
            unanswered_flows: span(is_unanswered),
        };
        self.clocks.add(key.hash_of_hosts(audit.original), clocks, Clocks::join);
    }

    /// Adds the peers of another shard.
    pub fn merge(&mut self, part: &Self) {
        self.servers.merge(&part.servers, Server::join);
        self.clocks.merge(&part.clocks, Clocks::join);
    }

    /// Returns the servers that are kept, in a fixed order.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter()
    }

    /// Returns the clocks of the pairs of hosts that are kept, in a fixed order.
    pub fn clocks(&self) -> impl Iterator<Item = &Clocks> {
        self.clocks.iter()
    }
}

impl Server {
    fn join(&mut self, other: &Self) {
        self.answered.merge(&other.answered);
        self.unanswered.merge(&other.unanswered);
        self.full.merge(&other.full);
        self.bare.merge(&other.bare);
        let lasted = |(first, last): (Timestamp, Timestamp)| (last.nanos_since(first), -first.0);
        self.longest =
            self.longest.into_iter().chain(other.longest).max_by_key(|span| lasted(*span));
        self.survived_s = self.survived_s.max(other.survived_s);
    }
}

impl Clocks {
    fn join(&mut self, other: &Self) {
        for (mine, theirs) in
            [(&mut self.answered, other.answered), (&mut self.unanswered, other.unanswered)]
        {
            *mine = match (*mine, theirs) {
                (Some((low, high)), Some((lower, higher))) => {
                    let least = if is_before(lower, low) { lower } else { low };
                    let most = if is_before(high, higher) { higher } else { high };
                    Some((least, most))
                }
                (mine, theirs) => mine.or(theirs),
            };
        }
        self.unanswered_flows.merge(&other.unanswered_flows);
    }
}

/// Returns whether one clock is behind another, on their circle.
const fn is_before(clock: u32, other: u32) -> bool {
    clock.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(kept: &mut u64, more: &u64) {
        *kept += more;
    }

    /// Two keys share a slot and the smaller one wins, in whatever order and parts they come.
    #[test]
    fn a_sample_does_not_depend_on_order_or_division() {
        let slots = SLOTS as u64;
        let items = [(5 + slots, 1), (5, 2), (7, 4), (5 + slots, 8), (5, 16), (7 + slots, 32)];
        let sample = |items: &[(u64, u64)]| {
            let mut sample = Sample::default();
            for (hash, value) in items {
                sample.add(*hash, *value, add);
            }
            sample
        };
        let whole = sample(&items);
        let mut reversed = items;
        reversed.reverse();
        assert_eq!(whole, sample(&reversed));
        let mut parts = sample(&items[..3]);
        parts.merge(&sample(&items[3..]), add);
        assert_eq!(whole, parts);
        assert_eq!(whole.iter().copied().collect::<Vec<_>>(), [18, 4]);
    }
}
