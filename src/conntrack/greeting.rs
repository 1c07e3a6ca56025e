//! The shortest way through a handshake by the book: a SYN that meets no entry, the SYN-ACK that
//! answers it or the RST that refuses it, and the ACK that answers the SYN-ACK.
//!
//! While nothing but these has come, little is known that one of them could be at odds with: each
//! needs a few comparisons, because what it would have to be compared with besides follows from them.
//! Any other segment takes the long way.
//!
//! Does not: say anything that [`judge`](crate::conntrack::entry::judge) does not say.

use crate::conntrack::entry::{Arrival, Entry, Last, low_half};
use crate::conntrack::policy::{Choices, Features, Limits};
use crate::conntrack::repeats::Repeats;
use crate::conntrack::state::{Class, TcpState};
use crate::conntrack::window::{Side, SideFlags, Sides};
use crate::segment::{Direction, Segment};
use crate::seq::SeqNum;

/// The timeouts after each segment of a handshake by the book, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timers {
    syn_sent: i64,
    syn_recv: i64,
    established: i64,
}

impl Timers {
    /// Reads the timeouts; none where something else than the state would choose them.
    pub(super) fn of(limits: &Limits) -> Option<Self> {
        let of = |state: TcpState| limits.timeouts.by_state.get(state as usize).copied();
        let (syn_sent, syn_recv) = (of(TcpState::SynSent)?, of(TcpState::SynRecv)?);
        let established = of(TcpState::Established)?;
        let longest = syn_sent.max(syn_recv).max(of(TcpState::Close)?);
        // Until an acknowledgement is remembered, its window counts as closed.
        let by_state = longest <= limits.timeouts.max_retrans;
        (by_state && limits.max_retrans > 0).then_some(Self { syn_sent, syn_recv, established })
    }
}

impl Side {
    /// Starts a side that has shown nothing with its SYN.
    #[inline]
    fn started_by(segment: &Segment) -> Self {
        let end = segment.end();
        let max_win = u32::from(segment.win);
        let mut side = Self { end, max_end: end, max_win, ..Self::default() };
        // No feature matters to a side that was not picked up mid-stream.
        side.parse_options(segment, &mut Choices::new(Features::NONE));
        side
    }

    /// Returns whether the side has announced no window that takes scaling.
    fn has_plain_window(&self) -> bool {
        u16::try_from(self.max_win).is_ok()
    }

    /// Returns whether nothing of the side was seen.
    fn is_unseen(&self) -> bool {
        (self.max_win, self.scale, self.flags) == (0, 0, SideFlags::default())
    }
}

impl Entry {
    /// Makes the entry of a SYN without data, with an open window, that meets none.
    #[inline]
    pub(super) fn greeted_by(arrival: &Arrival<'_>, timers: &Timers) -> Self {
        let original = Side::started_by(arrival.segment);
        let reply = Side { max_end: SeqNum(original.max_win), ..Side::default() };
        Self {
            sides: Sides { original, reply },
            last: Last { class: Class::Syn, ..Last::default() },
            expires: arrival.now.plus_nanos(timers.syn_sent),
            state: TcpState::SynSent,
            original: arrival.orientation,
            ..Self::default()
        }
    }

    /// Takes a SYN-ACK without data, with an open window, if it is the first answer to the SYN; returns
    /// whether it is, and leaves the entry as it is when not.
    #[inline]
    pub(super) fn take_syn_ack(&mut self, arrival: &Arrival<'_>, timers: &Timers) -> bool {
        let segment = arrival.segment;
        if !self.awaits_answer(arrival) {
            return false;
        }
        let Sides { original, reply } = &mut self.sides;
        *reply = Side::started_by(segment);
        reply.max_ack = segment.ack;
        let scale = SideFlags::WINDOW_SCALE;
        if !(original.flags.contains(scale) && reply.flags.contains(scale)) {
            (original.scale, reply.scale) = (0, 0);
        }
        reply.flags.insert(SideFlags::MAXACK_SET);
        original.max_end = segment.ack.plus(u32::from(segment.win));
        (self.last.class, self.last.direction) = (Class::Synack, Direction::Reply);
        self.state = TcpState::SynRecv;
        self.seen_reply = true;
        self.expires = arrival.now.plus_nanos(timers.syn_recv);
        true
    }

    /// Returns whether an ACK without data and SACK blocks, with SYN or RST, is the first answer to the SYN.
    #[inline]
    fn awaits_answer(&self, arrival: &Arrival<'_>) -> bool {
        let Sides { original, reply } = &self.sides;
        let is_awaited = self.state == TcpState::SynSent
            && !self.seen_reply
            && self.original != arrival.orientation
            && self.retrans == Repeats::default()
            && arrival.now < self.expires
            && self.sooner_s == 0;
        let is_opened = original.max_end == original.end
            && original.has_plain_window()
            && !original.flags.contains(SideFlags::DATA_UNACKNOWLEDGED);
        is_awaited && is_opened && arrival.segment.ack == original.end && reply.is_unseen()
    }

    /// Returns whether a RST with ACK, without data, is the first answer to the SYN: the entry then goes.
    #[inline]
    pub(super) fn is_refused_by(&self, arrival: &Arrival<'_>) -> bool {
        let is_alone = self.last.class == Class::Syn
            && self.last.direction == Direction::Original
            && !self.sides.original.flags.contains(SideFlags::MAXACK_SET);
        is_alone && self.awaits_answer(arrival)
    }

    /// Takes an ACK without data, if it answers the SYN-ACK; returns whether it does, and leaves the entry
    /// as it is when not.
    #[inline]
    pub(super) fn take_first_ack(&mut self, arrival: &Arrival<'_>, timers: &Timers) -> bool {
        let &Segment { seq, ack, win, .. } = arrival.segment;
        let Sides { original, reply } = &mut self.sides;
        let is_awaited = self.state == TcpState::SynRecv
            && self.seen_reply
            && self.original == arrival.orientation
            && self.last.direction == Direction::Reply
            && arrival.now < self.expires
            && self.sooner_s == 0;
        let flags = original.flags.or(reply.flags);
        let is_opened = !flags.contains(SideFlags::DATA_UNACKNOWLEDGED)
            && !original.flags.contains(SideFlags::MAXACK_SET)
            && !original.max_end.is_before(seq)
            && original.has_plain_window()
            && reply.has_plain_window();
        let window = u32::from(win) << original.scale;
        // Kernels before 5.3 think otherwise of a window whose low 16 bits are 0.
        let is_open = low_half(window) != 0;
        let is_answer = seq == original.end && ack == reply.end && is_open;
        if !(is_awaited && is_opened && is_answer) {
            return false;
        }
        original.max_win = original.max_win.max(window);
        original.max_ack = ack;
        original.flags.insert(SideFlags::MAXACK_SET);
        let announced = ack.plus(window);
        if announced.is_after(reply.max_end.minus(1)) {
            reply.max_end = announced;
        }
        let (scaled_win, direction, class) = (low_half(window), Direction::Original, Class::Ack);
        self.last = Last { seq, ack, end: seq, win, scaled_win, direction, class, ..self.last };
        self.retrans = Repeats::default();
        self.state = TcpState::Established;
        self.assured = true;
        self.expires = arrival.now.plus_nanos(timers.established);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::Profile;
    use crate::conntrack::entry::judge;
    use crate::conntrack::policy::{Feature, Setting};
    use crate::conntrack::track::{Panel, Track};
    use crate::conntrack::verdict::{CtState, Verdict};
    use crate::segment::Flags;
    use crate::time::{NANOS_PER_SEC, Timestamp};
    use crate::tuple::Orientation;

    const CALLED_AT: Timestamp = Timestamp(1_700_000_000_000_000_000);
    const THERE: Orientation = Orientation::LowToHigh;
    const SYN: u8 = Flags::SYN.0;
    const ACK: u8 = Flags::ACK.0;
    const RST: u8 = Flags::RST.0;

    /// A way of a [`Track`] that takes one kind of segment.
    type ShortWay = fn(&mut Track, &Arrival<'_>, &Panel) -> bool;

    /// How long an entry lives after a SYN, and after a SYN-ACK.
    const SYN_SENT_NS: i64 = NANOS_PER_SEC;
    const SYN_RECV_NS: i64 = 2 * NANOS_PER_SEC;

    fn hasty() -> Limits {
        let mut limits = Limits::default();
        limits.timeouts.by_state[TcpState::SynSent as usize] = SYN_SENT_NS;
        limits.timeouts.by_state[TcpState::SynRecv as usize] = SYN_RECV_NS;
        limits
    }

    fn segment(flags: u8, seq: u32, ack: u32) -> Segment {
        let (seq, ack) = (SeqNum(seq), SeqNum(ack));
        Segment { seq, ack, win: 8000, flags: Flags(flags), header_len: 20, ..Segment::default() }
    }

    /// Returns the entry after segments that come one nanosecond after another.
    fn entry_after(segments: &[(Orientation, Segment)], features: Features) -> Entry {
        let mut slot = None;
        for (nanos, (orientation, segment)) in (0..).zip(segments) {
            let now = CALLED_AT.plus_nanos(nanos);
            let arrival = Arrival { segment, orientation: *orientation, now };
            let verdict = judge(&mut slot, &arrival, &hasty(), &mut Choices::new(features));
            assert!(verdict.is_silent() || verdict.opened, "{verdict:?}");
        }
        slot.unwrap()
    }

    /// Lets a segment come so long after an entry has expired, by the short way and by the long one;
    /// returns whether the short way took it, and what the long one said.
    fn compare(
        entry: Entry,
        (orientation, segment): (Orientation, &Segment),
        after_expiry: i64,
        features: Features,
        take: ShortWay,
    ) -> (bool, Verdict) {
        let arrival = Arrival { segment, orientation, now: entry.expires.plus_nanos(after_expiry) };
        let (mut track, mut slot) = (Track::from(entry), Some(entry));
        let verdict = judge(&mut slot, &arrival, &hasty(), &mut Choices::new(features));
        let is_taken = take(&mut track, &arrival, &Panel::new(vec![features], hasty()));
        let expected = if is_taken { slot } else { Some(entry) };
        assert_eq!(track.entry(), expected.as_ref(), "{after_expiry} ns after {entry:?}");
        (is_taken, verdict)
    }

    #[test]
    fn no_short_way_takes_an_answer_that_comes_when_the_entry_has_expired() {
        let (there, back) = (THERE, THERE.flip());
        let syn = (there, segment(SYN, 1000, 0));
        let syn_ack = (back, segment(SYN | ACK, 5000, 1001));
        let refusal = (back, segment(RST | ACK, 0, 1001));
        let ack = (there, segment(ACK, 1001, 5001));
        let answers: [(&[_], _, ShortWay); 3] = [
            (&[syn], syn_ack, Track::take_syn_ack),
            (&[syn], refusal, Track::take_refusal),
            (&[syn, syn_ack], ack, Track::take_first_ack),
        ];
        for profile in Profile::all() {
            for loose in [Setting::On, Setting::Off] {
                let features = profile.features().set(Feature::Loose, loose);
                for (before, (way, answer), take) in answers {
                    let entry = entry_after(before, features);
                    let last = CALLED_AT.plus_nanos(i64::try_from(before.len()).unwrap() - 1);
                    let timeout = if before.len() == 1 { SYN_SENT_NS } else { SYN_RECV_NS };
                    assert_eq!(entry.expires.nanos_since(last), timeout);
                    for after_expiry in [-timeout, -1, 0, 1, timeout] {
                        let (is_taken, verdict) =
                            compare(entry, (way, &answer), after_expiry, features, take);
                        let place = format!("{answer:?} {after_expiry} ns after expiry");
                        assert_eq!(is_taken, after_expiry < 0, "{place}");
                        let is_known = verdict.ctstate == CtState::Established;
                        assert_eq!(is_known, is_taken, "{place}: {verdict:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_entry_of_a_greeting_expires_when_that_of_the_long_way_does() {
        let features = Profile::DEFAULT.features();
        let (orientation, segment) = (THERE, segment(SYN, 1000, 0));
        let arrival = Arrival { segment: &segment, orientation, now: CALLED_AT };
        let greeted = Track::greeted_by(&arrival, &Panel::new(vec![features], hasty())).unwrap();
        let entry = entry_after(&[(orientation, segment)], features);
        assert_eq!(greeted.entry(), Some(&entry));
        assert_eq!(entry.expires, CALLED_AT.plus_nanos(SYN_SENT_NS));
    }
}
