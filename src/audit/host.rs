//! The capturing machine's own tracker, in a live capture.
//!
//! Does not: ask it.

/// What the tracker of the capturing machine told, which sees the same packets and more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostTracker {
    /// TCP connections that it had before the capture began, each by the keys under which its
    /// packets may be seen.
    pub connections_known: u64,
    /// Packets that it found INVALID meanwhile, of all protocols and interfaces of the network
    /// namespace: what `invalid=` of `conntrack -S` rose by.
    pub invalid_counted: u64,
    /// Entries that it had at last, of all protocols.
    pub entries: u64,
}

impl HostTracker {
    /// Returns whether it tracks at all: without a rule that asks for it, it does not.
    pub const fn is_in_use(&self) -> bool {
        self.connections_known > 0 || self.entries > 0 || self.invalid_counted > 0
    }
}
