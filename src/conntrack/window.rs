//! The window check: four bounds that each segment of a connection must keep.
//!
//! `tcp_in_window()` in `nf_conntrack_proto_tcp.c`, after Guido van Rooij, "Real Stateful TCP
//! Packet Filtering in IP Filter" (2000), as Linux 6.18 has it. Measuring is apart from judging:
//! [`Margins`] are the signed distances to the bounds, `weigh()` says what a policy makes of them,
//! `update()` what an accepted segment changes.
//!
//! Does not: know the state table, timeouts or other packets than the one at hand.

use crate::conntrack::policy::{Choices, Feature};
use crate::conntrack::state::TcpState;
use crate::conntrack::verdict::Reason;
use crate::segment::{Direction, Flags, PerDirection, Segment};
use crate::seq::SeqNum;

/// The largest acknowledgement window that is taken as such even when the sender never announced
/// one so large: `MAXACKWINCONST`.
pub const MAX_ACK_WINDOW: u32 = 66_000;

/// The largest shift count that counts (RFC 7323, section 2.3): `TCP_MAX_WSCALE`.
const MAX_WSCALE: u8 = 14;

/// Flags of one side: `IP_CT_TCP_FLAG_*`, with the kernel's bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct SideFlags(pub u8);

impl SideFlags {
    /// The side offered window scaling.
    pub const WINDOW_SCALE: Self = Self(0x01);
    /// The side permitted SACK.
    pub const SACK_PERM: Self = Self(0x02);
    /// The side sent the first FIN.
    pub const CLOSE_INIT: Self = Self(0x04);
    /// Window violations of this side are accepted.
    pub const BE_LIBERAL: Self = Self(0x08);
    /// The side sent data that was not acknowledged when last looked at.
    pub const DATA_UNACKNOWLEDGED: Self = Self(0x10);
    /// The field `max_ack` is set.
    pub const MAXACK_SET: Self = Self(0x20);
    /// A challenge ACK is expected (only in the annotation of an ignored SYN).
    pub const EXP_CHALLENGE_ACK: Self = Self(0x40);
    /// Both sides opened (only in the annotation of an ignored SYN).
    pub const SIMULTANEOUS_OPEN: Self = Self(0x80);

    /// Returns whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other`.
    #[inline]
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    #[inline]
    pub const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Returns the same flags where a condition holds, else none.
    #[must_use]
    #[inline]
    pub(super) const fn only_if(self, holds: bool) -> Self {
        Self(self.0 * holds as u8)
    }

    /// Returns what is in either.
    #[must_use]
    #[inline]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What one side has sent and may send: `struct ip_ct_tcp_state`, field by field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Side {
    /// The highest `end` of a segment of this side: `td_end`.
    pub end: SeqNum,
    /// The highest `ack + window` that the other side announced: no segment of this side may start
    /// after it. Never shrinks: `td_maxend`.
    pub max_end: SeqNum,
    /// The highest acknowledgement that this side sent: `td_maxack`.
    pub max_ack: SeqNum,
    /// The largest window that this side announced, in bytes; 0 until it was seen: `td_maxwin`.
    pub max_win: u32,
    /// The shift count that applies to this side's windows, 0–14: `td_scale`.
    pub scale: u8,
    /// Flags: `flags`.
    pub flags: SideFlags,
}

impl Side {
    /// Takes over scale and SACK permission from a SYN: `tcp_options()`.
    ///
    /// A header without options changes nothing at all: what an earlier SYN offered stays.
    pub(super) fn parse_options(&mut self, segment: &Segment, choices: &mut Choices) {
        if segment.header_len <= 20 {
            return;
        }
        let was_liberal = self.flags.contains(SideFlags::BE_LIBERAL);
        let stays_liberal = was_liberal && choices.has(Feature::KeepLiberalOnOptions);
        self.scale = 0;
        self.flags = if stays_liberal { SideFlags::BE_LIBERAL } else { SideFlags::default() };
        if segment.options.sack_permitted {
            self.flags.insert(SideFlags::SACK_PERM);
        }
        if let Some(shift) = segment.options.wscale {
            self.scale = shift.min(MAX_WSCALE);
            self.flags.insert(SideFlags::WINDOW_SCALE);
        }
    }

    /// Starts the side from a segment: end and limit are the segment's end, the window is raw.
    fn restart(&mut self, segment: &Segment, choices: &mut Choices) {
        self.end = segment.end();
        self.max_end = segment.end();
        self.max_win = u32::from(segment.win).max(1);
        self.parse_options(segment, choices);
    }
}

/// The signed distance in bytes to each of the four bounds; negative means violated by that much.
///
/// Taken as 32-bit numbers, a distance is not negative exactly when the kernel's `before()` or
/// `after()` test holds, at the wrap and at a distance of 2³¹ too.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct Margins {
    /// Bound I, `sender.max_end − seq`: the segment starts inside the receiver's window.
    pub seq_upper: i32,
    /// Bound II, `end − (sender.end − receiver.max_win)`: the data is not older than one window.
    pub seq_lower: i32,
    /// Bound III, `receiver.end − sack`: only data that was seen is acknowledged.
    pub ack_upper: i32,
    /// Bound IV, `sack − (receiver.end − max(sender.max_win, 66000))`: the acknowledgement is not
    /// older than one window.
    pub ack_lower: i32,
}

impl Margins {
    /// Measures a segment with these numbers against both sides.
    #[inline]
    pub(super) fn measure(sender: &Side, receiver: &Side, numbers: &Numbers) -> Self {
        let ack_window = sender.max_win.max(MAX_ACK_WINDOW);
        Self {
            seq_upper: sender.max_end.offset_from(numbers.seq),
            seq_lower: numbers.end.offset_from(sender.end.minus(receiver.max_win)),
            ack_upper: receiver.end.offset_from(numbers.sack),
            ack_lower: numbers.sack.offset_from(receiver.end.minus(ack_window)),
        }
    }

    /// Returns whether all four bounds are kept.
    #[inline]
    pub const fn all_kept(&self) -> bool {
        self.seq_upper >= 0 && self.seq_lower >= 0 && self.ack_upper >= 0 && self.ack_lower >= 0
    }

    /// Returns the margin of the bound that a reason names, if it names one.
    pub const fn of(&self, reason: Reason) -> Option<i32> {
        match reason {
            Reason::SeqOver | Reason::SeqOvershoot => Some(self.seq_upper),
            Reason::SeqUnder => Some(self.seq_lower),
            Reason::AckOver => Some(self.ack_upper),
            Reason::AckUnder => Some(self.ack_lower),
            _ => None,
        }
    }

    /// Returns by how many bytes the bound that a reason names is violated, if it is.
    pub fn excess(&self, reason: Reason) -> Option<u32> {
        self.of(reason).filter(|margin| *margin < 0).map(i32::unsigned_abs)
    }
}

/// The numbers of a segment as the check uses them: some resets carry numbers that mean nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) seq: SeqNum,
    pub(super) end: SeqNum,
    pub(super) ack: SeqNum,
    /// The highest SACK edge after `ack`, or `ack`.
    pub(super) sack: SeqNum,
}

/// What became of a segment at the window check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passage {
    /// In the window; the sides were updated.
    InWindow,
    /// Accepted without looking (a SYN that starts its side, or a liberal policy).
    Waved,
    /// Accepted, but nothing else about the entry may change.
    Ignored(Reason),
    /// INVALID.
    Invalid(Reason),
}

/// The outcome of the window check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Checked {
    pub(super) passage: Passage,
    pub(super) margins: Option<Margins>,
    /// The window in bytes, after scaling; meaningful when the segment is in the window.
    pub(super) scaled_win: u32,
    /// The segment's numbers as used, for the retransmission memory.
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) end: SeqNum,
}

/// The two sides of a connection.
pub(super) type Sides = PerDirection<Side>;

/// Checks a segment against the window and updates the sides: `tcp_in_window()`.
///
/// `state` is the state of the entry before this segment.
pub(super) fn check(
    sides: &mut Sides,
    state: TcpState,
    direction: Direction,
    segment: &Segment,
    choices: &mut Choices,
) -> Checked {
    let sack_counts = sides[direction.flip()].flags.contains(SideFlags::SACK_PERM);
    let sack = if sack_counts { segment.sack() } else { segment.ack };
    let waved = |margins| Checked {
        passage: Passage::Waved,
        margins,
        scaled_win: 0,
        seq: segment.seq,
        ack: segment.ack,
        end: segment.end(),
    };
    if choices.has(Feature::NoWindowCheck) {
        return waved(None);
    }
    let started = if sides[direction].max_win == 0 {
        start_side(sides, direction, segment, sack, choices)
    } else {
        restart_side(sides, state, direction, segment, choices)
    };
    if started == Started::BySimultaneousSyn {
        return waved(None);
    }
    let numbers = effective_numbers(sides, state, direction, (segment, sack), choices);
    let margins = Margins::measure(&sides[direction], &sides[direction.flip()], &numbers);
    let in_window = margins.all_kept();
    let passage = if in_window {
        Passage::InWindow
    } else {
        weigh(sides, direction, &margins, numbers.end, choices)
    };
    let scaled_win = scale(segment, sides[direction].scale);
    if passage == Passage::InWindow {
        widen(sides, direction, numbers.end, choices);
        update(sides, direction, segment, &numbers, scaled_win);
    }
    let Numbers { seq, ack, end, .. } = numbers;
    Checked { passage, margins: Some(margins), scaled_win, seq, ack, end }
}

/// How the sender's side was before the bounds are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Started {
    /// Known, or known now.
    Known,
    /// Started by a SYN without ACK: a simultaneous open, accepted at once.
    BySimultaneousSyn,
}

/// Starts a side that has not been seen yet from its first segment.
fn start_side(
    sides: &mut Sides,
    direction: Direction,
    segment: &Segment,
    sack: SeqNum,
    choices: &mut Choices,
) -> Started {
    if segment.has(Flags::SYN) {
        start_by_syn(sides, direction, segment, choices);
        return if segment.has(Flags::ACK) { Started::Known } else { Started::BySimultaneousSyn };
    }
    let sender = &mut sides[direction];
    let raw = u32::from(segment.win);
    let scaled = raw << sender.scale;
    let win = if scaled == raw || choices.has(Feature::MidstreamScaled) { scaled } else { raw };
    sender.end = segment.end();
    sender.max_win = win.max(1);
    sender.max_end = segment.end().plus(sender.max_win);
    let receiver = &mut sides[direction.flip()];
    if receiver.max_win == 0 && choices.has(Feature::MidstreamReceiverInit) {
        receiver.end = sack;
        receiver.max_end = sack;
    } else if sack == receiver.end.plus(1) && choices.has(Feature::MidstreamKeepalive) {
        receiver.end = sack;
    }
    Started::Known
}

/// Starts a known side anew during the handshake, when a segment lies beyond all it has sent.
fn restart_side(
    sides: &mut Sides,
    state: TcpState,
    direction: Direction,
    segment: &Segment,
    choices: &mut Choices,
) -> Started {
    let handshake = matches!(state, TcpState::SynSent | TcpState::SynRecv);
    if !handshake || !segment.end().is_after(sides[direction].end) {
        return Started::Known;
    }
    let by_syn = segment.has(Flags::SYN);
    let by_state = (state == TcpState::SynSent) == (direction == Direction::Original);
    if !by_syn && !by_state {
        return Started::Known;
    }
    if choices.has(Feature::ReinitOnSyn) {
        if by_syn {
            start_by_syn(sides, direction, segment, choices);
            if direction == Direction::Reply && !segment.has(Flags::ACK) {
                return Started::BySimultaneousSyn;
            }
        }
    } else if by_state {
        sides[direction].restart(segment, choices);
    }
    Started::Known
}

/// Starts a side from its SYN: `tcp_init_sender()`.
///
/// Scaling is in force only when both sides offered it (RFC 7323, section 2.2).
fn start_by_syn(sides: &mut Sides, direction: Direction, segment: &Segment, choices: &mut Choices) {
    sides[direction].restart(segment, choices);
    let both = SideFlags(sides.original.flags.0 & sides.reply.flags.0);
    let scaling = both.contains(SideFlags::WINDOW_SCALE);
    let unscaled = sides.original.scale == 0 && sides.reply.scale == 0;
    if scaling || unscaled {
        return;
    }
    if direction == Direction::Reply || !choices.has(Feature::WscaleResetReplyOnly) {
        sides.original.scale = 0;
        sides.reply.scale = 0;
    }
}

/// Replaces numbers that mean nothing: an absent acknowledgement, and those of some resets.
fn effective_numbers(
    sides: &Sides,
    state: TcpState,
    direction: Direction,
    (segment, sack): (&Segment, SeqNum),
    choices: &mut Choices,
) -> Numbers {
    let (sender_end, receiver_end) = (sides[direction].end, sides[direction.flip()].end);
    let mut numbers = Numbers { seq: segment.seq, end: segment.end(), ack: segment.ack, sack };
    let is_reset = segment.has(Flags::RST);
    let acknowledges = segment.has(Flags::ACK) && !(is_reset && segment.ack == SeqNum(0));
    if !acknowledges {
        numbers.ack = receiver_end;
        numbers.sack = receiver_end;
    }
    let reset_of_syn = is_reset && segment.seq == SeqNum(0) && state == TcpState::SynSent;
    let zero_len = numbers.seq == numbers.end && (!is_reset || reset_of_syn);
    let moves = numbers.seq != sender_end || numbers.end != sender_end;
    let pinned = if zero_len == reset_of_syn || !moves {
        reset_of_syn
    } else if choices.has(Feature::ZeroLenShortcut) {
        zero_len
    } else {
        reset_of_syn
    };
    if pinned {
        numbers.seq = sender_end;
        numbers.end = sender_end;
    }
    numbers
}

/// Decides what a segment outside the window is, and moves the sender's end where the kernel does.
fn weigh(
    sides: &mut Sides,
    direction: Direction,
    margins: &Margins,
    end: SeqNum,
    choices: &mut Choices,
) -> Passage {
    let receiver_win = sides[direction.flip()].max_win;
    let start_ok = margins.seq_upper >= 0;
    let age_ok =
        margins.seq_lower >= 0 || (receiver_win == 0 && choices.has(Feature::RecvWinZeroOk));
    let ack_ok = margins.ack_upper >= 0;
    let ack_age_ok = margins.ack_lower >= 0;
    if start_ok && age_ok && ack_ok && ack_age_ok {
        return Passage::InWindow;
    }
    let over = end.offset_from(sides[direction].max_end).cast_unsigned().wrapping_add(1);
    let small = !start_ok
        && receiver_win != 0
        && margins.seq_lower >= 0
        && ack_ok
        && ack_age_ok
        && over <= receiver_win;
    let overshoot = small && choices.has(Feature::OvershootTracked);
    let flagged = sides[direction].flags.contains(SideFlags::BE_LIBERAL);
    let liberal = flagged || choices.has(Feature::BeLiberal);
    if overshoot && (!liberal || choices.has(Feature::OvershootIgnored)) {
        let sender = &mut sides[direction];
        sender.end = end;
        sender.flags.insert(SideFlags::DATA_UNACKNOWLEDGED);
    }
    if liberal {
        return Passage::Waved;
    }
    let upper_first = (!age_ok && !ack_ok) && choices.has(Feature::UpperBoundsFirst);
    let reason = if overshoot {
        Reason::SeqOvershoot
    } else if !start_ok {
        Reason::SeqOver
    } else if !ack_ok && (age_ok || upper_first) {
        Reason::AckOver
    } else if !age_ok {
        Reason::SeqUnder
    } else {
        Reason::AckUnder
    };
    let passes = match reason {
        Reason::SeqOvershoot => choices.has(Feature::OvershootIgnored),
        Reason::SeqUnder | Reason::AckUnder => choices.has(Feature::LowerBoundsIgnored),
        _ => false,
    };
    if passes { Passage::Ignored(reason) } else { Passage::Invalid(reason) }
}

/// Returns the window in bytes; windows of SYN segments are never scaled (RFC 7323, section 2.2).
fn scale(segment: &Segment, shift: u8) -> u32 {
    let raw = u32::from(segment.win);
    if segment.has(Flags::SYN) { raw } else { raw << shift }
}

/// Takes the receiver's window for as large as a segment that reaches beyond it shows it to be.
fn widen(sides: &mut Sides, direction: Direction, end: SeqNum, choices: &mut Choices) {
    let limit = sides[direction].max_end;
    let receiver = &mut sides[direction.flip()];
    if !end.is_after(limit) {
        return;
    }
    let known = receiver.max_win != 0;
    if known || !choices.has(Feature::ReceiverMaxwinGuard) {
        receiver.max_win = receiver.max_win.wrapping_add(end.0.wrapping_sub(limit.0));
    }
}

/// Takes over what a segment inside the window says, beside [`widen`].
#[inline]
pub(super) fn update(
    sides: &mut Sides,
    direction: Direction,
    segment: &Segment,
    numbers: &Numbers,
    win: u32,
) {
    let Numbers { end, ack, sack, .. } = *numbers;
    let sender = &mut sides[direction];
    let sacked_win = win.wrapping_add(sack.0.wrapping_sub(ack.0));
    sender.max_win = sender.max_win.max(sacked_win);
    if end.is_after(sender.end) {
        sender.end = end;
        sender.flags.insert(SideFlags::DATA_UNACKNOWLEDGED);
    }
    if segment.has(Flags::ACK) {
        let first = !sender.flags.contains(SideFlags::MAXACK_SET);
        if first || ack.is_after(sender.max_ack) {
            sender.max_ack = ack;
            sender.flags.insert(SideFlags::MAXACK_SET);
        }
    }
    let receiver = &mut sides[direction.flip()];
    let announced = sack.plus(win);
    if announced.is_after(receiver.max_end.minus(1)) {
        // One byte may always be sent into a closed window: the zero-window probe.
        receiver.max_end = if win == 0 { announced.plus(1) } else { announced };
    }
    if ack == receiver.end {
        receiver.flags.remove(SideFlags::DATA_UNACKNOWLEDGED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides() -> Sides {
        let side = |end, max_end| Side {
            end: SeqNum(end),
            max_end: SeqNum(max_end),
            max_win: 8000,
            ..Side::default()
        };
        PerDirection { original: side(1001, 13_001), reply: side(5001, 13_001) }
    }

    fn margins_of(seq: u32, len: u32, ack: u32) -> Margins {
        let numbers = Numbers {
            seq: SeqNum(seq),
            end: SeqNum(seq).plus(len),
            ack: SeqNum(ack),
            sack: SeqNum(ack),
        };
        let sides = sides();
        Margins::measure(&sides.reply, &sides.original, &numbers)
    }

    #[test]
    fn each_bound_is_kept_at_its_edge_and_violated_one_beyond() {
        assert_eq!(margins_of(13_001, 0, 1001).seq_upper, 0);
        assert_eq!(margins_of(13_002, 0, 1001).seq_upper, -1);
        assert_eq!(margins_of(5001u32.wrapping_sub(8000), 0, 1001).seq_lower, 0);
        assert_eq!(margins_of(5000u32.wrapping_sub(8000), 0, 1001).seq_lower, -1);
        assert_eq!(margins_of(5001, 0, 1001).ack_upper, 0);
        assert_eq!(margins_of(5001, 0, 1002).ack_upper, -1);
        let oldest = 1001u32.wrapping_sub(MAX_ACK_WINDOW);
        assert_eq!(margins_of(5001, 0, oldest).ack_lower, 0);
        assert_eq!(margins_of(5001, 0, oldest.wrapping_sub(1)).ack_lower, -1);
    }

    #[test]
    fn a_shift_above_fourteen_counts_as_fourteen() {
        let mut side = Side::default();
        let mut segment = Segment { header_len: 24, ..Segment::default() };
        segment.options.wscale = Some(255);
        side.parse_options(&segment, &mut Choices::new(crate::conntrack::Features::NONE));
        assert_eq!(side.scale, 14);
        assert!(side.flags.contains(SideFlags::WINDOW_SCALE));
    }

    #[test]
    fn the_first_announcement_at_the_limit_counts_and_one_below_does_not() {
        let segment = Segment { flags: Flags::ACK, ..Segment::default() };
        let numbers = |sack| Numbers {
            seq: SeqNum(5001),
            end: SeqNum(5001),
            ack: SeqNum(1001),
            sack: SeqNum(sack),
        };
        let mut closed = sides();
        update(&mut closed, Direction::Reply, &segment, &numbers(13_001), 0);
        assert_eq!(closed.original.max_end, SeqNum(13_002));
        let mut below = sides();
        update(&mut below, Direction::Reply, &segment, &numbers(13_000), 0);
        assert_eq!(below.original.max_end, SeqNum(13_001));
    }
}
