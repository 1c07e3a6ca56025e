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
}
