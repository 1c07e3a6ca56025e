//! The shortest way, for the next segment of a connection that runs steadily: both ends known, and
//! nothing due but what comes.
//!
//! Whether a connection runs steadily is found out once, after a closer look; from then on each
//! segment that only goes on where the last one ended, up to the end of both sides, needs a few
//! comparisons, because what it would have to be compared with besides follows from that. Any other
//! segment takes the long way.
//!
//! While such a connection is established its entry may fall behind: only its timer is kept, and
//! [`Headway`] and [`Latest`] bring the rest up to date. While it closes, its sides may stay behind.
//!
//! Does not: say anything that [`judge`](crate::conntrack::entry::judge) does not say.

use std::hint::select_unpredictable;

use crate::conntrack::entry::{Arrival, Entry, low_half};
use crate::conntrack::expiry::seconds;
use crate::conntrack::policy::{Feature, Features, Limits, Timeouts};
use crate::conntrack::repeats::Repeats;
use crate::conntrack::state::{Class, TcpState, goes_on_to};
use crate::conntrack::window::{MAX_ACK_WINDOW, Side, SideFlags};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNum;
use crate::time::Timestamp;
use crate::tuple::{Orientation, PerOrientation};

/// The largest window that scaling gives: 65535 × 2¹⁴ bytes, and a little.
const MAX_WINDOW: u32 = 1 << 30;

/// The next segment of a steady connection: of the flags that count it has ACK, perhaps FIN, and no
/// other, there is no SACK block, it begins at the sender's end, and it acknowledges more than the
/// sender did before, or has a length and acknowledges as much.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Which way it goes between the endpoints of the flow's key.
    pub orientation: Orientation,
    /// Its sequence number: the sender's end.
    pub seq: SeqNum,
    /// Payload bytes, and one for FIN.
    pub len: u32,
    /// Whether it has FIN.
    pub is_fin: bool,
    /// Its acknowledgement number.
    pub ack: SeqNum,
    /// The raw window field.
    pub win: u16,
    /// The shift count that the window is read with.
    pub shift: u8,
    /// The tracker's time.
    pub now: Timestamp,
}

impl Next {
    /// Reads a segment that is one, whose window is read with this shift count.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub fn of(arrival: &Arrival<'_>, shift: u8) -> Self {
        let Arrival { segment, orientation, now } = *arrival;
        let Segment { seq, ack, win, .. } = *segment;
        let is_fin = segment.has(Flags::FIN);
        let len = segment.len.wrapping_add(u32::from(is_fin));
        Self { orientation, seq, len, is_fin, ack, win, shift, now }
    }

    /// Returns the number after its last byte, or its FIN.
    #[inline]
    pub const fn end(&self) -> SeqNum {
        self.seq.plus(self.len)
    }

    const fn class(&self) -> Class {
        if self.is_fin { Class::Fin } else { Class::Ack }
    }

    /// Returns whether the low 16 bits of the window are 0.
    #[inline]
    pub const fn is_cut(&self) -> bool {
        low_half(self.window()) == 0
    }

    /// Returns the window in bytes.
    #[inline]
    const fn window(&self) -> u32 {
        (self.win as u32) << self.shift
    }
}

/// How far both sides of a connection have come since its entry was last brought up to date: by
/// segments that only went on, within the bounds of [`Track::can_fall_behind`].
///
/// [`Track::can_fall_behind`]: crate::conntrack::Track::can_fall_behind
#[derive(Clone, Copy, Debug)]
pub struct Headway {
    /// How far each side has.
    pub sides: PerOrientation<SideHeadway>,
}

/// The last of the segments by which an established connection has come so far.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    /// Which way it went.
    pub way: Orientation,
    /// Its end.
    pub end: SeqNum,
    /// Its acknowledgement number.
    pub ack: SeqNum,
    /// Its payload bytes.
    pub len: u32,
    /// Its raw window field.
    pub win: u16,
}

/// How far one side has come.
#[derive(Clone, Copy, Debug)]
pub struct SideHeadway {
    /// The end of what it sent.
    pub end: SeqNum,
    /// The highest acknowledgement that it sent.
    pub ack: SeqNum,
    /// The rightmost edge of the windows that it announced.
    pub edge: SeqNum,
    /// The largest of them, in bytes, if that was larger than any before.
    pub window: u32,
}

impl SideHeadway {
    /// Returns whether a side of an entry goes on just where this one does, and whether all that can
    /// come from both, as long as segments begin at the end of their side and keep to the window that
    /// was announced last, keeps the bounds of the tracker too.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    fn runs_with(&self, peer: &Self, side: &Side, shift: Option<u8>) -> bool {
        let room = side.max_end.offset_from(side.end);
        let unacknowledged = side.end.offset_from(peer.ack);
        (side.end, side.max_ack) == (self.end, self.ack)
            && shift.is_none_or(|shift| side.scale == shift)
            && (0..=MAX_WINDOW.cast_signed()).contains(&room)
            && !peer.edge.is_after(side.max_end)
            && unacknowledged >= 0
            && side.flags.contains(SideFlags::DATA_UNACKNOWLEDGED) == (unacknowledged > 0)
            && self.window <= side.max_win
    }
}

/// How an established connection stands after a segment: what its timer depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whether data of one side is not acknowledged.
    pub is_due: bool,
    /// Whether the low 16 bits of the last window are 0.
    pub is_cut: bool,
}

/// The timeouts of a steady connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Renewals {
    /// When everything is acknowledged.
    idle: Renewal,
    /// While data is not.
    due: Renewal,
    /// Whether windows may be multiples of 2¹⁶, which kernels before 5.3 take for 0.
    may_be_cut: bool,
}

/// A timeout of an open window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Renewal {
    nanos: i64,
    /// How many seconds sooner kernels before 5.3 let the entry expire where the window is cut to 0.
    sooner_s: u32,
}

impl Renewals {
    /// Reads the timeouts for a policy with these features; none where acknowledgements count as
    /// repeated from the first on.
    pub(super) fn of(limits: &Limits, own: Features) -> Option<Self> {
        let Timeouts { by_state, max_retrans, unacknowledged } = &limits.timeouts;
        let nanos = by_state.get(TcpState::Established as usize).copied()?;
        let sooner_s = if nanos > *max_retrans { seconds(nanos - *max_retrans) } else { 0 };
        let idle = Renewal { nanos, sooner_s };
        let is_shorter = *unacknowledged < nanos;
        let due = if is_shorter { Renewal { nanos: *unacknowledged, sooner_s: 0 } } else { idle };
        let may_be_cut = own.contains(Feature::LastWinUnscaled);
        (limits.max_retrans > 0).then_some(Self { idle, due, may_be_cut })
    }

    /// Returns whether a window may be such a multiple.
    pub(super) const fn may_be_cut(&self) -> bool {
        self.may_be_cut
    }
}

impl Side {
    /// Returns whether the side has sent and acknowledged something within bounds that every
    /// [`Next`] keeps.
    fn is_steady(&self) -> bool {
        self.flags.contains(SideFlags::MAXACK_SET) && (1..=MAX_WINDOW).contains(&self.max_win)
    }
}

impl Entry {
    /// Returns whether the connection runs steadily.
    pub(super) fn is_steady(&self) -> bool {
        let sides = &self.sides;
        let awaits_challenge = self.last.flags.contains(SideFlags::EXP_CHALLENGE_ACK);
        self.state.is_between_handshake_and_end()
            && self.seen_reply
            && self.assured
            && !awaits_challenge
            && sides.original.is_steady()
            && sides.reply.is_steady()
    }

    /// Returns whether the tracker lets the next segment of a steady connection pass without a word.
    ///
    /// It begins at the sender's end: hence bound II holds, as windows are small. Windows whose low 16
    /// bits are 0 are left to the long way where the policy takes them for closed, and so are repetitions.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    #[expect(clippy::needless_bitwise_bool, reason = "one branch that nearly always goes one way")]
    pub(super) fn admits(&self, next: &Next, renewals: &Renewals) -> bool {
        let Next { seq, len, ack, .. } = *next;
        let direction = self.direction_of(next.orientation);
        let (sender, receiver) = (&self.sides[direction], &self.sides[direction.flip()]);
        let room = sender.max_end.offset_from(seq);
        let ends_within = (room >= 0) & (len <= room.cast_unsigned());
        let unacknowledged = receiver.end.0.wrapping_sub(ack.0);
        let acks_within = unacknowledged <= sender.max_win.max(MAX_ACK_WINDOW);
        let is_open = !next.is_cut() | renewals.may_be_cut;
        let is_read_alike = (sender.scale == next.shift) & is_open;
        let last = &self.last;
        let is_again = (last.direction == direction)
            & (last.seq == seq)
            & (last.ack == ack)
            & (last.end == next.end());
        ends_within & acks_within & is_read_alike & !is_again && self.lives_at(next.now)
    }

    /// Returns whether the entry of a steady connection may fall behind: see [`SideHeadway::runs_with`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is compared stays in registers")]
    pub(super) fn can_fall_behind(
        &self,
        headway: &Headway,
        shifts: PerOrientation<Option<u8>>,
    ) -> bool {
        let runs = |way: Orientation| {
            let (own, peer) = (&headway.sides[way], &headway.sides[way.flip()]);
            own.runs_with(peer, &self.sides[self.direction_of(way)], shifts[way])
        };
        // No segment that goes on is the last one again.
        let sender = &self.sides[self.last.direction];
        let is_past =
            !self.last.end.is_after(sender.end) && !self.last.ack.is_after(sender.max_ack);
        self.state == TcpState::Established
            && is_past
            && runs(Orientation::LowToHigh)
            && runs(Orientation::HighToLow)
    }

    /// Returns whether data of one side is not acknowledged.
    pub fn awaits_data(&self) -> bool {
        let flags = self.sides.original.flags.or(self.sides.reply.flags);
        flags.contains(SideFlags::DATA_UNACKNOWLEDGED)
    }

    /// Renews the entry of a connection that goes on; the rest may fall behind.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn renew(
        &mut self,
        now: Timestamp,
        Standing { is_due, is_cut }: Standing,
        renewals: &Renewals,
    ) {
        let Renewals { idle, due, .. } = renewals;
        let renewal = select_unpredictable(is_due, due, idle);
        self.expires = now.plus_nanos(renewal.nanos);
        self.sooner_s = renewal.sooner_s * u32::from(is_cut);
    }

    /// Brings the sides of an entry that fell behind up to date.
    pub(super) fn catch_up(&mut self, headway: &Headway) {
        for way in [Orientation::LowToHigh, Orientation::HighToLow] {
            let (own, peer) = (&headway.sides[way], &headway.sides[way.flip()]);
            let direction = self.direction_of(way);
            let side = &mut self.sides[direction];
            side.end = own.end;
            side.max_ack = own.ack;
            side.max_win = side.max_win.max(own.window);
            side.max_end = side.max_end.latest(peer.edge);
            side.flags.remove(SideFlags::DATA_UNACKNOWLEDGED);
            side.flags.insert(SideFlags::DATA_UNACKNOWLEDGED.only_if(own.end != peer.ack));
        }
    }

    /// Brings what an entry that fell behind remembers of the last segment up to date.
    pub(super) fn remember_latest(&mut self, latest: &Latest) {
        let Latest { way, end, ack, len, win } = *latest;
        let direction = self.direction_of(way);
        self.last.seq = end.minus(len);
        self.last.ack = ack;
        self.last.end = end;
        self.last.win = win;
        self.last.scaled_win = low_half(u32::from(win) << self.sides[direction].scale);
        self.last.direction = direction;
        self.last.class = Class::Ack;
        self.retrans = Repeats::default();
    }

    /// Goes on by a segment that was admitted, which neither ends a side nor follows upon one that did.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn go_on(&mut self, next: &Next, renewals: &Renewals) {
        self.remember_next(next);
        let is_due = self.move_on(next);
        self.renew(next.now, Standing { is_due, is_cut: next.is_cut() }, renewals);
    }

    /// Returns the state after a segment that was admitted, up to the end of the connection; none where
    /// a closer look is needed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn state_after(&self, next: &Next) -> Option<TcpState> {
        let new = goes_on_to(self.state, next.class())?;
        // A FIN leaves alone what is remembered of acknowledgements.
        let is_repeated = self.retrans != Repeats::default();
        let is_closed = self.last.win == 0 || self.last.scaled_win == 0;
        let is_plain = !(next.is_fin && (is_repeated || is_closed));
        is_plain.then_some(new)
    }

    /// Goes on by a segment that was admitted, up to the end of the connection; returns whether no closer
    /// look is needed, and leaves the entry as it is when one is.
    pub(super) fn end(&mut self, next: &Next, limits: &Limits) -> bool {
        let Some(new) = self.state_after(next) else { return false };
        let is_due = self.move_on(next);
        self.enter(new, next, is_due, limits);
        true
    }

    /// Does the same by a segment that keeps the bounds of [`SideHeadway::runs_with`], with an open window.
    /// The sides fall behind, of which `is_due` says whether data of one is not acknowledged.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn close(&mut self, next: &Next, is_due: bool, limits: &Limits) -> bool {
        let Some(new) = self.state_after(next) else { return false };
        self.enter(new, next, is_due, limits);
        true
    }

    /// Goes to the state after a segment.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn enter(&mut self, new: TcpState, next: &Next, is_due: bool, limits: &Limits) {
        let (direction, class) = (self.direction_of(next.orientation), next.class());
        if class == Class::Ack {
            self.remember_next(next);
        }
        if new != self.state && new == TcpState::FinWait {
            self.sides[direction].flags.insert(SideFlags::CLOSE_INIT);
        }
        self.last.direction = direction;
        self.last.class = class;
        self.state = new;
        let normal = limits.timeouts.by_state.get(new as usize).copied().unwrap_or(0);
        let due = limits.timeouts.unacknowledged;
        self.expires = next.now.plus_nanos(if is_due { normal.min(due) } else { normal });
        self.sooner_s = 0;
    }

    /// Remembers an acknowledgement that repeats none.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn remember_next(&mut self, next: &Next) {
        self.retrans = Repeats::default();
        self.last.seq = next.seq;
        self.last.ack = next.ack;
        self.last.end = next.end();
        self.last.win = next.win;
        self.last.scaled_win = low_half(next.window());
        self.last.direction = self.direction_of(next.orientation);
        self.last.class = Class::Ack;
    }

    /// Moves both sides on, as [`update`](crate::conntrack::window::update) does; returns whether data
    /// of one of them is not acknowledged.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    fn move_on(&mut self, next: &Next) -> bool {
        let (direction, window) = (self.direction_of(next.orientation), next.window());
        let sender = &mut self.sides[direction];
        sender.max_win = sender.max_win.max(window);
        sender.end = next.end();
        sender.max_ack = next.ack;
        // Without branches: nobody knows whether data or an acknowledgement comes next.
        let sends = SideFlags::DATA_UNACKNOWLEDGED.only_if(next.len > 0);
        sender.flags.insert(sends);
        let receiver = &mut self.sides[direction.flip()];
        let announced = next.ack.plus(window);
        let is_wider = announced.is_after(receiver.max_end.minus(1));
        receiver.max_end = select_unpredictable(is_wider, announced, receiver.max_end);
        let is_all = next.ack == receiver.end;
        receiver.flags.remove(SideFlags::DATA_UNACKNOWLEDGED.only_if(is_all));
        let flags = self.sides.original.flags.or(self.sides.reply.flags);
        flags.contains(SideFlags::DATA_UNACKNOWLEDGED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::track::Track;
    use crate::conntrack::window::Sides;
    use crate::segment::Direction;
    use Orientation::{HighToLow, LowToHigh};

    /// What [`SideHeadway::runs_with`] compares.
    #[derive(Clone, Copy, Debug)]
    struct Compared {
        own: SideHeadway,
        peer: SideHeadway,
        side: Side,
        shift: Option<u8>,
    }

    impl Compared {
        /// A side that has sent all up to `base`, of which its peer has acknowledged everything.
        fn at(base: u32) -> Self {
            let (end, max_end, max_ack) = (SeqNum(base), SeqNum(base).plus(4000), SeqNum(7000));
            let flags = SideFlags::MAXACK_SET;
            Self {
                own: SideHeadway { end, ack: max_ack, edge: SeqNum(9000), window: 2000 },
                peer: SideHeadway { end: max_ack, ack: end, edge: max_end, window: 4000 },
                side: Side { end, max_end, max_ack, max_win: 2000, scale: 7, flags },
                shift: Some(7),
            }
        }

        fn runs(&self) -> bool {
            self.own.runs_with(&self.peer, &self.side, self.shift)
        }

        /// Sets how far behind its end the side is acknowledged, and whether its flag says so.
        fn acknowledge(&mut self, behind: i32, is_due: bool) {
            self.peer.ack = self.side.end.minus(behind.cast_unsigned());
            self.side.flags.remove(SideFlags::DATA_UNACKNOWLEDGED);
            self.side.flags.insert(SideFlags::DATA_UNACKNOWLEDGED.only_if(is_due));
        }

        /// Moves the rightmost edge, which tracker and analysis agree on, so far beyond the end.
        fn make_room(&mut self, room: i32) {
            self.side.max_end = self.side.end.plus(room.cast_unsigned());
            self.peer.edge = self.side.max_end.minus(1);
        }
    }

    /// A change to what is compared.
    type Change = fn(&mut Compared);
    /// What is changed, and how.
    type Named = (&'static str, Change);

    /// Numbers around which everything is tried: some where it wraps.
    const BASES: [u32; 5] = [5000, 0, u32::MAX, u32::MAX - 2000, 1 << 31];
    const ROOM: i32 = MAX_WINDOW.cast_signed();

    #[test]
    fn a_side_runs_with_its_headway_up_to_every_bound() {
        let changes: [Named; 9] = [
            ("nothing", |_| {}),
            ("no room", |c| c.make_room(0)),
            ("all the room there can be", |c| c.make_room(ROOM)),
            ("an edge that was announced before", |c| c.peer.edge = c.peer.edge.minus(3000)),
            ("a byte on its way", |c| c.acknowledge(1, true)),
            ("much on its way", |c| c.acknowledge(1 << 30, true)),
            ("a smaller window", |c| c.own.window = 0),
            ("no window to come", |c| c.shift = None),
            ("no window to come, of whatever scale", |c| (c.shift, c.side.scale) = (None, 14)),
        ];
        for (base, (name, change)) in BASES.into_iter().flat_map(|b| changes.map(|c| (b, c))) {
            let mut compared = Compared::at(base);
            change(&mut compared);
            assert!(compared.runs(), "{name} at {base}: {compared:?}");
        }
    }

    #[test]
    fn a_side_does_not_run_where_one_bound_is_not_kept() {
        let changes: [Named; 14] = [
            ("it has sent more", |c| c.own.end = c.own.end.plus(1)),
            ("it has sent less", |c| c.own.end = c.own.end.minus(1)),
            ("it has acknowledged more", |c| c.own.ack = c.own.ack.plus(1)),
            ("it has acknowledged less", |c| c.own.ack = c.own.ack.minus(1)),
            ("another scale", |c| c.shift = Some(6)),
            ("no scale", |c| c.shift = Some(0)),
            ("beyond the edge", |c| c.make_room(-1)),
            ("far beyond the edge", |c| c.make_room(i32::MIN + 1)),
            ("more room than there can be", |c| c.make_room(ROOM + 1)),
            ("an edge beyond that of the tracker", |c| c.peer.edge = c.peer.edge.plus(1)),
            ("what was not sent is acknowledged", |c| c.acknowledge(-1, false)),
            ("a flag for nothing", |c| c.acknowledge(0, true)),
            ("no flag for what is on its way", |c| c.acknowledge(1, false)),
            ("a larger window", |c| c.own.window += 1),
        ];
        for (base, (name, change)) in BASES.into_iter().flat_map(|b| changes.map(|c| (b, c))) {
            let mut compared = Compared::at(base);
            change(&mut compared);
            assert!(!compared.runs(), "{name} at {base}: {compared:?}");
        }
    }

    /// An entry and the headway that it runs with.
    #[derive(Clone, Copy, Debug)]
    struct Run {
        entry: Entry,
        headway: Headway,
        shifts: PerOrientation<Option<u8>>,
    }

    impl Run {
        fn new(original: Orientation) -> Self {
            let headway = Headway {
                sides: PerOrientation {
                    low_to_high: Compared::at(5000).own,
                    high_to_low: Compared::at(5000).peer,
                },
            };
            let side = |own: SideHeadway, peer: SideHeadway| Side {
                end: own.end,
                max_end: peer.edge,
                max_ack: own.ack,
                max_win: own.window,
                scale: 7,
                flags: SideFlags::MAXACK_SET,
            };
            let (own, peer) = (headway.sides[original], headway.sides[original.flip()]);
            let sides = Sides { original: side(own, peer), reply: side(peer, own) };
            let mut entry =
                Entry { sides, state: TcpState::Established, original, ..Entry::default() };
            (entry.last.end, entry.last.ack) = (own.end, own.ack);
            let shifts = PerOrientation { low_to_high: Some(7), high_to_low: Some(7) };
            Self { entry, headway, shifts }
        }

        fn can_fall_behind(&self) -> bool {
            Track::from(self.entry).can_fall_behind(&self.headway, self.shifts)
        }

        /// Says that the last segment went this way, and where it ended and what it acknowledged,
        /// beyond what its sender has sent and acknowledged.
        fn set_last(&mut self, direction: Direction, end: i32, ack: i32) {
            let sender = self.entry.sides[direction];
            let last = &mut self.entry.last;
            last.direction = direction;
            last.end = sender.end.plus(end.cast_unsigned());
            last.ack = sender.max_ack.plus(ack.cast_unsigned());
        }
    }

    #[test]
    fn an_entry_falls_behind_only_where_both_sides_run() {
        for original in [LowToHigh, HighToLow] {
            let whole = Run::new(original);
            assert!(whole.can_fall_behind(), "{whole:?}");
            assert!(!Track::default().can_fall_behind(&whole.headway, whole.shifts));
            for way in [LowToHigh, HighToLow] {
                let mut other = whole;
                other.headway.sides[way].window += 1;
                assert!(!other.can_fall_behind(), "a larger window {way:?}: {other:?}");
                let mut other = whole;
                other.shifts[way] = Some(8);
                assert!(!other.can_fall_behind(), "another scale {way:?}: {other:?}");
                other.shifts[way] = None;
                assert!(other.can_fall_behind(), "no scale yet {way:?}: {other:?}");
            }
        }
    }

    #[test]
    fn an_entry_falls_behind_only_where_it_is_established() {
        for state in TcpState::ALL {
            let mut run = Run::new(LowToHigh);
            run.entry.state = state;
            assert_eq!(run.can_fall_behind(), state == TcpState::Established, "{state:?}");
        }
    }

    #[test]
    fn an_entry_falls_behind_only_where_its_last_segment_is_past() {
        for direction in [Direction::Original, Direction::Reply] {
            let cases = [(0, 0, true), (-9, 0, true), (0, -9, true), (1, 0, false), (0, 1, false)];
            for (end, ack, expected) in cases {
                let mut run = Run::new(HighToLow);
                run.set_last(direction, end, ack);
                assert_eq!(run.can_fall_behind(), expected, "{direction:?} {end} {ack}");
            }
        }
    }
}
