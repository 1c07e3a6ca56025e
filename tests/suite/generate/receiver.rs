//! The receiving half of a TCP end: what has arrived, and when to say so.

/// When an acknowledgement is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Now,
    Later,
}

/// Positions are offsets: 0 is the peer's SYN, 1 its first byte.
#[derive(Debug)]
pub(super) struct Receiver {
    /// First offset that has not arrived.
    pub next: u64,
    /// Bytes that the application lets arrive at a time; it reads at once.
    pub buffer: u64,
    /// What arrived above a hole, the latest first, as RFC 2018 wants the blocks.
    islands: Vec<(u64, u64)>,
    /// What arrived a second time, to be reported once (RFC 2883).
    duplicate: Option<(u64, u64)>,
    /// In-order segments that are not acknowledged yet.
    pending: u32,
}

impl Receiver {
    pub(super) const fn new(buffer: u64) -> Self {
        Self { next: 0, buffer, islands: Vec::new(), duplicate: None, pending: 0 }
    }

    /// Takes bytes or a FIN.
    pub(super) fn arrived(&mut self, start: u64, end: u64) -> Due {
        if end <= self.next || self.islands.iter().any(|(l, r)| *l <= start && end <= *r) {
            self.duplicate = Some((start, end));
            return Due::Now;
        }
        if end > self.next + self.buffer {
            return Due::Now;
        }
        if start > self.next {
            self.keep(start, end);
            return Due::Now;
        }
        self.next = end;
        let before = self.islands.len();
        while let Some(at) = self.islands.iter().position(|(left, _)| *left <= self.next) {
            let (_, right) = self.islands.remove(at);
            self.next = self.next.max(right);
        }
        self.pending += 1;
        if before > 0 || self.pending >= 2 { Due::Now } else { Due::Later }
    }

    fn keep(&mut self, start: u64, end: u64) {
        let touches = |(left, right): &(u64, u64)| *left <= end && start <= *right;
        let (joined, apart): (Vec<_>, Vec<_>) = self.islands.iter().copied().partition(touches);
        let left = joined.iter().map(|island| island.0).min().unwrap_or(start).min(start);
        let right = joined.iter().map(|island| island.1).max().unwrap_or(end).max(end);
        self.islands = vec![(left, right)];
        self.islands.extend(apart);
    }

    /// Returns the SACK blocks of an acknowledgement that leaves now.
    pub(super) fn acknowledge(&mut self, most: usize) -> Vec<(u64, u64)> {
        self.pending = 0;
        let mut blocks: Vec<_> = self.duplicate.take().into_iter().collect();
        blocks.extend(&self.islands);
        blocks.truncate(most);
        blocks
    }
}
