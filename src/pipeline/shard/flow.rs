//! What a shard remembers of a flow: the tracker's view of it, and what it showed.

use crate::conntrack::{Keyed, Table, Track};
use crate::flow::FlowAudit;
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// A flow while the tracker remembers it. The order of the fields is that in memory: a packet that
/// nothing is to be said of reads and writes these lines of the cache, and no other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    pub(super) track: Track,
    pub(super) key: FlowKey,
    pub(super) audit: FlowAudit,
    /// The bytes that the ledger has for it.
    pub(super) bytes: u32,
}

const _: () = assert!(size_of::<Option<Flow>>() == 384, "six lines of the cache");

impl Keyed for Flow {
    fn key(&self) -> &FlowKey {
        &self.key
    }

    #[inline]
    fn touch(&self) -> u64 {
        let [.., word] = self.key.words();
        word.wrapping_add(self.track.touch()).wrapping_add(self.audit.touch())
    }
}

impl Flow {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.over_at() <= now
    }

    pub(super) fn over_at(&self) -> Timestamp {
        self.audit.over_at(self.track.expires())
    }

    /// Returns the bytes that it takes, with all that hangs on it.
    pub(super) fn bytes_taken(&self) -> usize {
        FLOW_BYTES + self.track.heap_bytes() + self.audit.heap_bytes()
    }
}

/// How a segment relates to what its flow was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    /// It carries it on, and was taken.
    Taken,
    /// It carries it on; the tracker is still to be asked.
    Regular,
    /// It may change something.
    Irregular,
}

/// The bytes that a clean flow takes, with its places in the index.
pub(super) const FLOW_BYTES: usize = size_of::<Option<Flow>>() + Table::<Flow>::INDEX_BYTES;
