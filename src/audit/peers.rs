//! Servers and their clients over all flows: who answers, with what, and after which pause.
//!
//! A bounded sample. Each slot belongs to the peer with the smallest hash that ever fell into it, so
//! that what is kept does not depend on the order of the flows or their division into shards, and
//! what is kept of a peer is complete.
//!
//! Does not: keep flows.

use std::net::IpAddr;

use crate::audit::Early;
use crate::flow::{ConnState, FlowAudit, Gist, Offer};
use crate::segment::{Direction, PerDirection};
use crate::time::Timestamp;
use crate::tuple::{Endpoint, FlowKey};

/// The servers that are kept at most, and the pairs of a client's address and a server: enough for
/// the service behind one firewall; each takes about 200 bytes.
const SLOTS: usize = 1024;
/// The SYNs sent again that make an attempt count as unanswered: a Linux client has then waited for
/// 7 s.
pub const UNANSWERED_RETRIES: usize = 2;

/// Flows of one kind: how many, and when.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
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
    pub(super) fn add(&mut self, audit: &FlowAudit) {
        let ts = audit.first_ts;
        if self.flows == 0 || audit.first_frame < self.first_frame {
            self.first_frame = audit.first_frame;
        }
        self.flows += 1;
        self.first_ts = Some(self.first_ts.map_or(ts, |first| first.min(ts)));
        self.last_ts = self.last_ts.max(Some(ts));
    }

    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.first_ts.iter_mut().chain(&mut self.last_ts)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.flows == 0 || other.flows > 0 && other.first_frame < self.first_frame {
            self.first_frame = other.first_frame;
        }
        self.flows += other.flows;
        self.first_ts = self.first_ts.min(other.first_ts).or(self.first_ts).or(other.first_ts);
        self.last_ts = self.last_ts.max(other.last_ts);
    }
}

/// A server: an address and a port to which SYNs go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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
    /// Flows in which data was acknowledged far sooner than the SYN was answered.
    pub early: Early,
}

/// The clock in the timestamps of one client's address towards one server, relative to that of the
/// capture, in milliseconds on a circle of 2³².
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
struct Sample<T> {
    slots: Vec<Option<(u64, T)>>,
}

impl<T> Default for Sample<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> Sample<T> {
    /// Returns what is kept under a hash, made anew if need be, unless the slot belongs to another.
    fn entry(&mut self, hash: u64, make: impl FnOnce() -> T) -> Option<&mut T> {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let slot = self.slots.get_mut(usize::try_from(hash % SLOTS as u64).ok()?)?;
        match slot {
            Some((owner, _)) if *owner < hash => return None,
            Some((owner, _)) if *owner == hash => {}
            _ => *slot = Some((hash, make())),
        }
        slot.as_mut().map(|(_, kept)| kept)
    }

    fn merge(&mut self, part: &Self, make: fn(&T) -> T, join: fn(&mut T, &T)) {
        for (hash, value) in part.slots.iter().flatten() {
            if let Some(kept) = self.entry(*hash, || make(value)) {
                join(kept, value);
            }
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }
}

/// The peers of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Peers {
    servers: Sample<Server>,
    clocks: Sample<Clocks>,
}

impl Peers {
    /// Counts a finished flow whose SYN was seen, and sent again so often.
    pub fn count_flow(&mut self, key: &FlowKey, audit: &FlowAudit, gist: &Gist, retries: usize) {
        let sides = &gist.sides;
        if sides.original.offer == Offer::NotSeen {
            return;
        }
        let is_answered = sides.reply.offer != Offer::NotSeen;
        let is_unanswered = gist.conn_state == ConnState::S0 && retries >= UNANSWERED_RETRIES;
        if !is_answered && !is_unanswered {
            return;
        }
        let hash = key.hash_of_receiver(audit.original);
        let ends = || key.endpoints(audit.original);
        if let Some(server) = self.servers.entry(hash, || Server::new(ends().1)) {
            if is_answered {
                server.answer(audit, gist, retries);
            } else {
                server.unanswered.add(audit);
            }
        }
        let Some(clock) = audit.clock_ms(Direction::Original) else { return };
        let hash = key.hash_of_hosts(audit.original);
        let make = || Clocks::new(ends().0.addr, ends().1);
        if let Some(clocks) = self.clocks.entry(hash, make) {
            let range = if is_answered { &mut clocks.answered } else { &mut clocks.unanswered };
            widen(range, Some((clock, clock)));
            if is_unanswered {
                clocks.unanswered_flows.add(audit);
            }
        }
    }

    /// Adds the peers of another shard.
    pub fn merge(&mut self, part: &Self) {
        self.servers.merge(&part.servers, |server| Server::new(server.endpoint), Server::join);
        let make = |clocks: &Clocks| Clocks::new(clocks.client, clocks.server);
        self.clocks.merge(&part.clocks, make, Clocks::join);
    }

    /// Returns every address, so that all can be replaced alike.
    pub fn addresses(&mut self) -> impl Iterator<Item = &mut IpAddr> {
        let servers = self.servers.iter_mut().map(|server| &mut server.endpoint.addr);
        servers.chain(self.clocks.iter_mut().flat_map(Clocks::addresses))
    }

    /// Returns every capture time, so that all can be shifted alike.
    pub fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let servers = self.servers.iter_mut().flat_map(Server::times);
        servers.chain(self.clocks.iter_mut().flat_map(|clocks| clocks.unanswered_flows.times()))
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
    fn new(endpoint: Endpoint) -> Self {
        let none = Span::default();
        Self {
            endpoint,
            answered: none,
            unanswered: none,
            full: none,
            bare: none,
            longest: None,
            survived_s: 0,
            early: Early::default(),
        }
    }

    /// Counts a flow whose SYN was answered.
    fn answer(&mut self, audit: &FlowAudit, gist: &Gist, retries: usize) {
        self.answered.add(audit);
        let PerDirection { original, reply } = &gist.sides;
        if original.sack_permitted && original.offer != Offer::NotOffered {
            if reply.sack_permitted && reply.offer != Offer::NotOffered {
                self.full.add(audit);
            } else if !reply.sack_permitted && reply.offer == Offer::NotOffered {
                self.bare.add(audit);
            }
        }
        let ways = audit.directions();
        let survived = ways.original.survived_s.max(ways.reply.survived_s);
        self.survived_s = self.survived_s.max(survived);
        self.lasted((audit.first_ts, audit.last_ts));
        if retries == 0 {
            self.early.count(audit, gist);
        }
    }

    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let Self { answered, unanswered, full, bare, longest, early, .. } = self;
        let longest = longest.iter_mut().flat_map(|(first, last)| [first, last]);
        let early = &mut early.flows;
        [answered, unanswered, full, bare, early].into_iter().flat_map(Span::times).chain(longest)
    }

    /// Keeps the longest flow; among equals the earliest.
    fn lasted(&mut self, span: (Timestamp, Timestamp)) {
        let rank = |(first, last): (Timestamp, Timestamp)| (last.nanos_since(first), -first.0);
        if self.longest.is_none_or(|longest| rank(longest) < rank(span)) {
            self.longest = Some(span);
        }
    }

    fn join(&mut self, other: &Self) {
        self.answered.merge(&other.answered);
        self.unanswered.merge(&other.unanswered);
        self.full.merge(&other.full);
        self.bare.merge(&other.bare);
        self.early.merge(&other.early);
        if let Some(span) = other.longest {
            self.lasted(span);
        }
        self.survived_s = self.survived_s.max(other.survived_s);
    }
}

impl Clocks {
    fn new(client: IpAddr, server: Endpoint) -> Self {
        let (answered, unanswered) = (None, None);
        Self { client, server, answered, unanswered, unanswered_flows: Span::default() }
    }

    fn addresses(&mut self) -> [&mut IpAddr; 2] {
        [&mut self.client, &mut self.server.addr]
    }

    fn join(&mut self, other: &Self) {
        widen(&mut self.answered, other.answered);
        widen(&mut self.unanswered, other.unanswered);
        self.unanswered_flows.merge(&other.unanswered_flows);
    }
}

/// Widens a range of clocks by another.
fn widen(range: &mut Option<(u32, u32)>, by: Option<(u32, u32)>) {
    let Some((lower, higher)) = by else { return };
    let (low, high) = range.unwrap_or((lower, higher));
    let least = if is_before(lower, low) { lower } else { low };
    let most = if is_before(high, higher) { higher } else { high };
    *range = Some((least, most));
}

/// Returns whether one clock is behind another, on their circle.
const fn is_before(clock: u32, other: u32) -> bool {
    clock.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: fn(&mut u64, &u64) = |kept, more| *kept += more;

    /// Two keys share a slot and the smaller one wins, in whatever order and parts they come.
    #[test]
    fn a_sample_does_not_depend_on_order_or_division() {
        let slots = SLOTS as u64;
        let items = [(5 + slots, 1), (5, 2), (7, 4), (5 + slots, 8), (5, 16), (7 + slots, 32)];
        let sample = |items: &[(u64, u64)]| {
            let mut sample: Sample<u64> = Sample::default();
            for (hash, value) in items {
                if let Some(kept) = sample.entry(*hash, || 0) {
                    ADD(kept, value);
                }
            }
            sample
        };
        let whole = sample(&items);
        let mut reversed = items;
        reversed.reverse();
        assert_eq!(whole, sample(&reversed));
        let mut parts = sample(&items[..3]);
        parts.merge(&sample(&items[3..]), |_| 0, ADD);
        assert_eq!(whole, parts);
        assert_eq!(whole.iter().copied().collect::<Vec<_>>(), [18, 4]);
    }
}
