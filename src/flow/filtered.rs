//! What a filter on what segments carry leaves of a connection: only segments with payload.
//!
//! TCP sends more than that. A connection is opened by SYNs, closed by FINs or a RST, and what has no
//! payload to travel with is acknowledged by a bare segment, within half a second (RFC 9293, section
//! 3.8.6.3).
//!
//! Does not: know other flows, which tell a filter from a packet that the capture lost.

use crate::flow::FlowAudit;
use crate::flow::detail::{StallEnd, Waiting};
use crate::flow::half::Half;
use crate::flow::history::Letter;
use crate::time::Timestamp;

/// The longest that a host may hold an acknowledgement back, in microseconds: 0.5 s.
const LATEST_ACK_US: u32 = 500_000;

/// What a flow without any segment that TCP sends for itself shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Messages {
    /// Nothing but segments with payload.
    Alone,
    /// The same, although a bare acknowledgement was due.
    LackingAck,
}

impl FlowAudit {
    /// Says whether the flow, which ended by `end`, holds nothing but segments with payload.
    pub fn messages(&self, end: Timestamp) -> Option<Messages> {
        const TCPS_OWN: [Letter; 5] =
            [Letter::Syn, Letter::SynAck, Letter::Ack, Letter::Fin, Letter::Rst];
        let (low, high) = (&self.exchange.halves.low_to_high, &self.exchange.halves.high_to_low);
        let own = TCPS_OWN.iter().fold(0, |marks, letter| marks | letter.mark());
        let data = Letter::Data.mark();
        if (low.marks | high.marks) & own != 0 || (low.marks | high.marks) & data == 0 {
            return None;
        }
        let quiet_us = end.nanos_since(self.last_seen) / 1000;
        let waits = |own: &Half, peer: &Half| own.flight(peer) > 0;
        let is_unanswered =
            quiet_us >= i64::from(LATEST_ACK_US) && (waits(low, high) || waits(high, low));
        let lacks_ack = is_unanswered || self.was_acknowledged_late();
        Some(if lacks_ack { Messages::LackingAck } else { Messages::Alone })
    }

    /// Returns whether data was outstanding for longer than an acknowledgement may take, and then
    /// acknowledged by the way.
    fn was_acknowledged_late(&self) -> bool {
        let stall = self.exchange.detail.as_ref().and_then(|detail| detail.stall);
        stall.is_some_and(|stall| {
            let goes_on = matches!(stall.end, StallEnd::Data | StallEnd::Acknowledged);
            let is_due = stall.waiting == Waiting::Acknowledgement;
            goes_on && is_due && stall.micros >= LATEST_ACK_US
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{Arrival, CtState, Members, Reason, Verdict};
    use crate::flow::Observation;
    use crate::segment::{Flags, Segment};
    use crate::seq::SeqNum;
    use crate::tuple::Orientation;

    const MILLI: i64 = 1_000_000;

    /// A segment with ACK: when, in milliseconds, which way, its numbers and its length.
    type Line = (i64, Orientation, u32, u32, u32);

    fn flow(lines: &[Line], flags: Flags) -> FlowAudit {
        let mut audit: Option<FlowAudit> = None;
        for (frame, (millis, orientation, seq, ack, len)) in (1..).zip(lines.iter().copied()) {
            let segment = Segment {
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                len,
                flags,
                win: 1000,
                header_len: 20,
                ..Segment::default()
            };
            let ts = Timestamp(millis * MILLI);
            let arrival = Arrival { segment: &segment, orientation, now: ts };
            let (ctstate, invalid_for) = (CtState::Established, Members::default());
            let verdict = Verdict { ctstate, reason: None, ..Verdict::invalid(Reason::AckOver) };
            let seen = Observation { frame, ts, arrival, verdict, liberal: ctstate, invalid_for };
            audit.get_or_insert_with(|| FlowAudit::new(frame, ts, &arrival)).observe(&seen);
        }
        audit.unwrap()
    }

    const UP: Orientation = Orientation::LowToHigh;
    const DOWN: Orientation = Orientation::HighToLow;
    /// A question and its answer.
    const PAIR: [Line; 2] = [(0, UP, 1, 1, 100), (10, DOWN, 1, 101, 200)];

    #[test]
    fn an_answer_that_is_never_acknowledged_lacks_its_acknowledgement() {
        let audit = flow(&PAIR, Flags::ACK);
        let at = |millis| audit.messages(Timestamp(millis * MILLI));
        assert_eq!(at(509), Some(Messages::Alone), "it may still come");
        assert_eq!(at(510), Some(Messages::LackingAck));
    }

    #[test]
    fn an_acknowledgement_that_comes_with_the_next_question_came_late() {
        let lines = |again| [PAIR[0], PAIR[1], (again, UP, 101, 201, 100)];
        for (again, found) in [(509, Messages::Alone), (510, Messages::LackingAck)] {
            let audit = flow(&lines(again), Flags::ACK);
            assert_eq!(audit.messages(Timestamp(again * MILLI)), Some(found), "{again}");
        }
    }

    #[test]
    fn whatever_tcp_sends_for_itself_shows_that_nothing_was_left_out() {
        let end = Timestamp(10_000 * MILLI);
        let bare = [PAIR[0], PAIR[1], (20, UP, 101, 201, 0)];
        assert_eq!(flow(&bare, Flags::ACK).messages(end), None);
        assert_eq!(flow(&PAIR, Flags::ACK.with(Flags::FIN)).messages(end), None);
    }

    #[test]
    fn one_way_alone_shows_nothing_of_what_was_acknowledged() {
        let end = Timestamp(10_000 * MILLI);
        assert_eq!(flow(&PAIR[..1], Flags::ACK).messages(end), Some(Messages::Alone));
    }
}
