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
