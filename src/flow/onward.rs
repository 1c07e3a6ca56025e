//! The shorter way for segments that merely go on in a flow where tracker and analysis are not in step, or
//! of which more is kept than its numbers: behind a loss, for one, a sender has much to send before the
//! receiver's word of it comes back, and the receiver says the same again of all that arrives.
//!
//! Does not: take anything that is missing, or sent again.

use crate::conntrack::{Arrival, Panel, Track};
use crate::flow::acks::Sent;
use crate::flow::detail::Detail;
use crate::flow::exchange::{
    carry_on, fits, goes_on_in_window, is_in_sequence, is_read_as_agreed, new_marks, pair,
};
use crate::flow::half::{Half, Tick};
use crate::flow::history::Letter;
use crate::flow::vantage::Copies;
use crate::flow::{FlowAudit, LEAST_STALL_NS};
use crate::segment::{Flags, Segment};
use crate::time::Timestamp;
use crate::tuple::Orientation;

impl FlowAudit {
    /// Takes a segment that is regular, or that begins where its sender stopped and acknowledges nothing
    /// new, be it data, another window or SACK blocks, if it leaves everything else that is known of the
    /// flow as it is, on tracker and analysis; returns whether it was such, and leaves both as they are when
    /// not.
    #[inline]
    pub fn take_onward(
        &mut self,
        (frame, ts): (u64, Timestamp),
        arrival: &Arrival<'_>,
        track: &mut Track,
        panel: &Panel,
    ) -> bool {
        if self.is_regular(ts, arrival) {
            let passes = track.pass(arrival, panel);
            if passes {
                self.carry_on(ts, arrival);
            }
            return passes;
        }
        let Arrival { segment, orientation, now } = *arrival;
        let is_pausing = self.is_pausing();
        let mut detail = self.exchange.detail.as_deref_mut();
        let (own, peer) = pair(&mut self.exchange.halves, orientation);
        let is_at_once = ts.nanos_since(self.last_ts) < LEAST_STALL_NS;
        let is_alone = matches!(self.copies, Copies::None) && self.evidence.is_none();
        if !(is_at_once && is_alone && !is_pausing && says_nothing_new(own, peer, segment)) {
            return false;
        }
        let is_indifferent = match &detail {
            Some(detail) => is_indifferent(detail, orientation, segment),
            None => segment.options.sack.is_empty(),
        };
        if !(is_indifferent && track.pass(arrival, panel)) {
            return false;
        }
        (self.last_ts, self.last_seen) = (ts, now);
        let now = Tick::of(ts);
        if segment.len > 0 {
            send(own, peer, segment, now);
        } else {
            say_again(own, peer, segment, now);
        }
        if let Some(detail) = &mut detail {
            note(detail, peer, arrival, frame);
        }
        self.count(segment, orientation);
        true
    }
}

/// Takes data that goes on while something else is under way.
fn send(own: &mut Half, peer: &mut Half, segment: &Segment, now: Tick) {
    let ip_id = if own.is(Half::RANDOM_ID) { own.ip_id } else { segment.ip_id };
    carry_on(own, peer, segment, now);
    own.ip_id = ip_id;
}

/// Takes an acknowledgement that is there again, with SACK blocks, another window, or neither.
fn say_again(own: &mut Half, peer: &mut Half, segment: &Segment, now: Tick) {
    let is_duplicate = segment.win == own.win || !segment.options.sack.is_empty();
    if is_duplicate && peer.flight(own) > 0 {
        own.dup_acks = own.dup_acks.saturating_add(1);
    }
    peer.answered(segment, now);
    own.win = segment.win;
    own.max_edge = own.max_edge.latest(own.edge());
    if let Some(timestamps) = segment.options.timestamps {
        own.take_clock(segment, timestamps.value, now);
    }
    own.take_ip_id(segment);
    own.last_at = now;
}

/// Notes what is to be kept of such a segment.
fn note(detail: &mut Detail, peer: &mut Half, arrival: &Arrival<'_>, frame: u64) {
    let Arrival { segment, orientation, .. } = *arrival;
    let (own_side, peer_side) = pair(&mut detail.sides, orientation);
    if let Some(side) = peer_side {
        side.joined.acknowledged(segment.ack, segment.options.sack.as_slice());
    }
    if segment.len > 0 {
        if let Some(side) = own_side {
            side.recent.push(segment);
        }
    } else if let (Some(own_side), Some(peer_side)) = (own_side, peer_side)
        && !segment.options.sack.is_empty()
    {
        let report = own_side.reports(frame, segment, Sent::by(peer));
        peer_side.is_reported(&report, true);
        peer.set_alert(peer_side.is_busy());
    }
}

/// Returns whether a segment begins where its sender stopped, acknowledges nothing new, and says nothing
/// else but a window, which may be larger, and either data that fits or SACK blocks.
fn says_nothing_new(own: &Half, peer: &Half, segment: &Segment) -> bool {
    // Where a SYN was not seen, windows can tell how they are scaled.
    const KNOWN: u8 = Half::SYN | Half::SEQ | Half::ACK;
    let is_next = segment.seq == own.max_end && segment.ack == own.ack;
    let is_plain = segment.flags.0 & Flags::DECIDING.0 == Flags::ACK.0 && segment.fault.is_none();
    let is_one_of_both = segment.len == 0 || segment.options.sack.is_empty();
    if !(is_next && is_plain && is_one_of_both) {
        return false;
    }
    let is_known = own.is(KNOWN) && peer.is(KNOWN) && peer.has_spoken();
    let is_told = new_marks(own, segment) == 0;
    let is_reset = (own.marks | peer.marks) & Letter::Rst.mark() != 0;
    let window_stays = goes_on_in_window(own, segment);
    let has_id = segment.ip_id != 0 || own.is(Half::RANDOM_ID);
    let in_order = has_id && is_in_sequence(own, segment) && !segment.ack.is_after(peer.max_end);
    let data_fits = segment.len == 0 || fits(own, peer, segment.end());
    let is_agreed = is_read_as_agreed(own, peer);
    is_known && is_told && !is_reset && window_stays && is_agreed && in_order && data_fits
}

/// Returns whether nothing that is kept of a flow waits for such a segment of this side, and there is room
/// for what its SACK blocks say.
fn is_indifferent(detail: &Detail, sender: Orientation, segment: &Segment) -> bool {
    let handshake = &detail.handshake;
    let is_settled = handshake.challenge.is_none() && handshake.other_end.is_none();
    let side = detail.sides[sender].as_deref();
    let is_waiting =
        side.is_some_and(|side| side.awaited.is_some() || side.window.zero_since.is_some());
    let has_room =
        segment.options.sack.is_empty() || side.is_some() && detail.sides[sender.flip()].is_some();
    detail.story.is_none() && !detail.effects.is_waiting() && is_settled && !is_waiting && has_room
}
