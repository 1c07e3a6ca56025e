//! The sending half of a TCP end: what is in flight, what counts as lost, when to try again.
//!
//! Loss recovery follows RFC 6675 (SACK) and RFC 6582 (`NewReno`), the timer RFC 6298, with the
//! minimum of 200 ms that Linux has. Positions are offsets: 0 is the SYN, 1 the first byte.

use std::collections::VecDeque;

use super::MILLISECOND;

/// Duplicate ACKs, or segments acknowledged above a hole, that make the hole a loss.
const DUPLICATES: usize = 3;
const MIN_RTO: i64 = 200 * MILLISECOND;
const MAX_RTO: i64 = 120_000 * MILLISECOND;

/// A stretch of bytes to send: offsets, and whether it was sent before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub start: u64,
    pub end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    start: u64,
    end: u64,
    at: i64,
    again: bool,
    /// Taken for lost and not sent again yet.
    lost: bool,
    sacked: bool,
}

impl Sent {
    const fn len(&self) -> u64 {
        self.end - self.start
    }
}

#[derive(Clone, Copy, Debug)]
struct Recovery {
    end: u64,
    after_timeout: bool,
}

#[derive(Debug)]
pub(super) struct Sender {
    /// First offset that is not acknowledged.
    pub una: u64,
    /// Next offset to send.
    pub next: u64,
    /// Offset after the last byte that the application has written.
    pub written: u64,
    /// Whether a FIN follows what is written.
    pub closing: bool,
    /// The peer's window in bytes.
    pub window: u64,
    pub mss: u64,
    /// Whether SACK was negotiated; plain duplicate ACKs then do not count, as in Linux.
    pub sack: bool,
    cwnd: u64,
    ssthresh: u64,
    flight: VecDeque<Sent>,
    recovery: Option<Recovery>,
    duplicates: usize,
    rto: i64,
    srtt: Option<(i64, i64)>,
    /// What may be in flight in any case, as an application limits it rather than losses.
    pub least_cwnd: u64,
    /// When the oldest segment in flight is given up.
    pub deadline: Option<i64>,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            una: 0,
            next: 0,
            written: 1,
            closing: false,
            window: 65_535,
            mss: 536,
            sack: false,
            cwnd: 0,
            ssthresh: u64::MAX,
            flight: VecDeque::new(),
            recovery: None,
            duplicates: 0,
            rto: 1000 * MILLISECOND,
            srtt: None,
            least_cwnd: 0,
            deadline: None,
        }
    }

    /// Returns the offset after the FIN, or after the data when there is none.
    pub(super) const fn end(&self) -> u64 {
        self.written + self.closing as u64
    }

    pub(super) fn open(&mut self, mss: u64) {
        self.mss = mss;
        self.cwnd = 10 * mss;
    }

    /// Takes an acknowledgement; `blocks` are the valid SACK blocks.
    pub(super) fn acknowledged(&mut self, now: i64, ack: u64, blocks: &[(u64, u64)]) {
        let bytes = ack.saturating_sub(self.una);
        if bytes > 0 {
            self.advance(now, ack);
        }
        let newly_sacked = self.mark_sacked(blocks);
        if bytes == 0 && !self.flight.is_empty() && (newly_sacked || !self.sack) {
            self.duplicates += 1;
        }
        self.find_losses();
        if bytes > 0 {
            self.grow(bytes);
        }
    }

    fn advance(&mut self, now: i64, ack: u64) {
        while let Some(first) = self.flight.front_mut() {
            if first.end > ack {
                first.start = first.start.max(ack);
                break;
            }
            let sent = *first;
            self.flight.pop_front();
            if !sent.again {
                self.sample(now - sent.at);
            }
        }
        self.una = ack;
        self.next = self.next.max(ack);
        self.duplicates = 0;
        self.rto = self.computed_rto();
        self.deadline = (!self.flight.is_empty()).then_some(now + self.rto);
        if self.recovery.is_some_and(|recovery| ack >= recovery.end) {
            self.recovery = None;
            self.cwnd = self.ssthresh.min(self.cwnd.max(2 * self.mss));
        } else if self.recovery.is_some() && !self.sack {
            self.lose_first();
        }
    }

    fn sample(&mut self, rtt: i64) {
        self.srtt = Some(match self.srtt {
            None => (rtt, rtt / 2),
            Some((srtt, var)) => ((7 * srtt + rtt) / 8, (3 * var + (srtt - rtt).abs()) / 4),
        });
    }

    fn computed_rto(&self) -> i64 {
        self.srtt.map_or(1000 * MILLISECOND, |(srtt, var)| srtt + (4 * var).max(MIN_RTO))
    }

    fn mark_sacked(&mut self, blocks: &[(u64, u64)]) -> bool {
        let mut newly = false;
        for sent in &mut self.flight {
            let covered = blocks.iter().any(|(l, r)| *l <= sent.start && sent.end <= *r);
            newly |= covered && !sent.sacked;
            sent.sacked |= covered;
            sent.lost &= !covered;
        }
        newly
    }

    fn find_losses(&mut self) {
        let mut above = 0;
        for sent in self.flight.iter_mut().rev() {
            if sent.sacked {
                above += 1;
            } else if above >= DUPLICATES && !sent.again {
                sent.lost = true;
            }
        }
        if self.recovery.is_none() && !self.sack && self.duplicates >= DUPLICATES {
            self.lose_first();
        }
        if self.recovery.is_none() && self.flight.iter().any(|sent| sent.lost) {
            self.ssthresh = (self.in_flight() / 2).max(2 * self.mss);
            self.cwnd = self.ssthresh;
            self.recovery = Some(Recovery { end: self.next, after_timeout: false });
        }
    }

    fn lose_first(&mut self) {
        if let Some(first) = self.flight.front_mut() {
            first.lost = true;
        }
    }

    fn grow(&mut self, bytes: u64) {
        let slow_start = self.cwnd < self.ssthresh;
        match self.recovery {
            Some(Recovery { after_timeout: false, .. }) => {}
            _ if slow_start => self.cwnd += bytes.min(2 * self.mss),
            _ => self.cwnd += (self.mss * bytes / self.cwnd).max(1),
        }
    }

    fn in_flight(&self) -> u64 {
        self.flight.iter().filter(|sent| !sent.sacked && !sent.lost).map(Sent::len).sum()
    }

    /// Returns what may be sent at this time, retransmissions first.
    pub(super) fn transmit(&mut self, now: i64) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        while self.in_flight() == 0 || self.in_flight() + self.mss <= self.cwnd.max(self.least_cwnd)
        {
            let Some(stretch) = self.again(now).or_else(|| self.fresh(now)) else { break };
            stretches.push(stretch);
            self.deadline = self.deadline.or(Some(now + self.rto));
        }
        stretches
    }

    fn again(&mut self, now: i64) -> Option<Stretch> {
        let sent = self.flight.iter_mut().find(|sent| sent.lost)?;
        (sent.lost, sent.again, sent.at) = (false, true, now);
        Some(Stretch { start: sent.start, end: sent.end })
    }

    fn fresh(&mut self, now: i64) -> Option<Stretch> {
        let room = (self.una + self.window).saturating_sub(self.next);
        let start = self.next;
        let end = match start {
            0 => 1,
            _ if start < self.written => start + self.mss.min(room).min(self.written - start),
            _ if start < self.end() => self.end(),
            _ => return None,
        };
        if end == start {
            return None;
        }
        self.next = end;
        let sent = Sent { start, end, at: now, again: false, lost: false, sacked: false };
        self.flight.push_back(sent);
        Some(Stretch { start, end })
    }

    /// Gives up what is in flight and starts again with one segment, later each time.
    pub(super) fn timed_out(&mut self) {
        self.ssthresh = (self.in_flight() / 2).max(2 * self.mss);
        self.cwnd = self.mss;
        for sent in &mut self.flight {
            sent.lost = !sent.sacked;
        }
        self.recovery = Some(Recovery { end: self.next, after_timeout: true });
        self.rto = (self.rto * 2).min(MAX_RTO);
        self.deadline = None;
    }
}
