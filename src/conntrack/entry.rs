//! One tracked connection: what a segment does to it, and what the tracker says of the segment.
//!
//! `nf_conntrack_tcp_packet()` and `tcp_new()` in `nf_conntrack_proto_tcp.c`, and the part of
//! `nf_conntrack_in()` around them, Linux 6.18. [`judge`] holds the order of the tests; the window
//! check is in [`window`], resets are in `reset.rs`, segments out of place in `out_of_sync.rs`.
//!
//! Does not: find entries, or know of more than one.

use std::mem::offset_of;

use crate::conntrack::policy::{Choices, Feature, Limits};
use crate::conntrack::repeats::{Repeated, Repeats};
use crate::conntrack::reset::{self, ResetPath};
use crate::conntrack::state::{Class, TcpState, Transition, transition};
use crate::conntrack::verdict::{CtState, Reason, Verdict};
use crate::conntrack::window::{self, Checked, Margins, Passage, SideFlags, Sides};
use crate::segment::{Direction, Flags, HeaderFault, Segment};
use crate::seq::SeqNum;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::tuple::Orientation;

/// What an entry remembers of the last segment: the `last_*` fields of `struct ip_ct_tcp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Last {
    /// Its sequence number.
    pub seq: SeqNum,
    /// Its acknowledgement number.
    pub ack: SeqNum,
    /// Its end.
    pub end: SeqNum,
    /// Its raw window field.
    pub win: u16,
    /// Its scaled window, cut to 16 bits: what kernels before 5.3 remember instead.
    pub scaled_win: u16,
    /// The shift count that an ignored SYN offered.
    pub wscale: u8,
    /// What an ignored SYN offered, and what it may provoke.
    pub flags: SideFlags,
    /// Its direction.
    pub direction: Direction,
    /// Its class.
    pub class: Class,
}

impl Default for Last {
    fn default() -> Self {
        Self {
            seq: SeqNum(0),
            ack: SeqNum(0),
            end: SeqNum(0),
            win: 0,
            scaled_win: 0,
            wscale: 0,
            flags: SideFlags::default(),
            direction: Direction::Original,
            class: Class::Syn,
        }
    }
}

/// One tracked connection: `struct ip_ct_tcp` with the timer and status of its `struct nf_conn`. The
/// order of the fields is that in memory: the timer is in the second line of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(C)]
pub struct Entry {
    /// What each side has sent and may send.
    pub sides: Sides,
    /// The last segment.
    pub last: Last,
    /// The state.
    pub state: TcpState,
    /// How often the last acknowledgement was repeated.
    pub retrans: Repeats,
    /// Whether a reply was accepted: `IPS_SEEN_REPLY`.
    pub seen_reply: bool,
    /// When the entry expires unless a packet renews it.
    pub expires: Timestamp,
    /// How many seconds sooner it does for kernels before 5.3, which see a closed window where the
    /// low 16 bits of the scaled one are 0. Policies of both generations share the entry until then.
    pub sooner_s: u32,
    /// Whether the connection counts as established for good: `IPS_ASSURED`.
    pub assured: bool,
    /// Which way the original direction goes between the endpoints of the flow's key.
    pub original: Orientation,
}

const _: () = assert!(size_of::<Entry>() <= 80, "an entry is hot: it must stay small");
const _: () = assert!(offset_of!(Entry, expires) == 64, "the timer begins the second line");
const _: () = assert!(size_of::<Option<Entry>>() == size_of::<Entry>(), "no entry costs nothing");

/// A segment on its way through the tracker.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// Which way it goes between the endpoints of the flow's key.
    pub orientation: Orientation,
    /// The tracker's time.
    pub now: Timestamp,
}

/// A segment as one entry sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    pub(super) segment: &'a Segment,
    pub(super) class: Class,
    pub(super) direction: Direction,
    pub(super) now: Timestamp,
    pub(super) limits: &'a Limits,
}

impl<'a> Visit<'a> {
    fn new(arrival: &Arrival<'a>, direction: Direction, limits: &'a Limits) -> Self {
        let segment = arrival.segment;
        Self { segment, class: Class::of(segment.flags), direction, now: arrival.now, limits }
    }
}

/// What became of a segment within an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Accepted; the entry lives on in its new state.
    Accepted,
    /// Accepted, but the entry is gone: a RST before any reply.
    Deleted,
    /// Accepted without any effect on state and timer.
    Ignored(Reason),
    /// INVALID.
    Invalid(Reason),
    /// INVALID, and the entry's timeout was shortened.
    InvalidTimeoutLowered(Reason),
    /// The SYN opens the connection anew: the entry goes, and the segment is judged without it.
    Reopened,
    /// The entry goes and the packet is dropped (2.6.32).
    Killed,
}

/// What the state machine says before the window is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing more is to be checked.
    Done(Outcome),
    /// The entry goes from `old` to `new`, if the window check agrees where there is one.
    Proceed { old: TcpState, new: TcpState, check_window: bool },
}

/// Judges a segment by the entry in `slot`, and applies the judgement: creates, changes or removes
/// the entry.
#[inline]
pub fn judge(
    slot: &mut Option<Entry>,
    arrival: &Arrival<'_>,
    limits: &Limits,
    choices: &mut Choices,
) -> Verdict {
    if slot.as_ref().is_some_and(|entry| entry.has_expired(arrival.now, choices)) {
        *slot = None;
    }
    if let Some(fault) = arrival.segment.fault {
        return faulty(slot.as_ref(), arrival, fault);
    }
    if let Some(entry) = slot {
        let direction = entry.direction_of(arrival.orientation);
        let seen_reply = entry.seen_reply;
        let visit = Visit::new(arrival, direction, limits);
        let (outcome, margins) = entry.track(&visit, choices);
        if outcome != Outcome::Reopened {
            return conclude(slot, direction, seen_reply, (outcome, margins));
        }
    }
    open(slot, arrival, limits, choices)
}

/// Returns the verdict of a segment with a faulty header: `tcp_error()`. The entry stays as it is.
fn faulty(entry: Option<&Entry>, arrival: &Arrival<'_>, fault: HeaderFault) -> Verdict {
    let met = entry.filter(|_| fault != HeaderFault::NotTrackable);
    Verdict {
        direction: met.map(|entry| entry.direction_of(arrival.orientation)),
        state: met.map(|entry| entry.state),
        ..Verdict::invalid(fault.into())
    }
}

/// Tracks a segment that meets no entry: `tcp_new()`, then the state machine from NONE.
fn open(
    slot: &mut Option<Entry>,
    arrival: &Arrival<'_>,
    limits: &Limits,
    choices: &mut Choices,
) -> Verdict {
    *slot = None;
    let mut entry = match new_entry(arrival, choices) {
        Ok(entry) => entry,
        Err(reason) => return Verdict::invalid(reason),
    };
    let visit = Visit::new(arrival, Direction::Original, limits);
    let (outcome, margins) = entry.track(&visit, choices);
    if let Outcome::Invalid(reason) = outcome {
        return Verdict { margins, ..Verdict::invalid(reason) };
    }
    *slot = Some(entry);
    let verdict = conclude(slot, Direction::Original, false, (outcome, margins));
    Verdict { opened: true, ..verdict }
}

/// Makes an entry for a SYN, or picks a connection up mid-stream: `tcp_new()`.
fn new_entry(arrival: &Arrival<'_>, choices: &mut Choices) -> Result<Entry, Reason> {
    let segment = arrival.segment;
    let class = Class::of(segment.flags);
    let mut entry = Entry { original: arrival.orientation, ..Entry::default() };
    let sender = &mut entry.sides.original;
    sender.end = segment.end();
    sender.max_win = u32::from(segment.win).max(1);
    match transition(Direction::Original, class, TcpState::None, choices) {
        Transition::To(TcpState::SynSent) => {
            sender.max_end = segment.end();
            sender.parse_options(segment, choices);
        }
        Transition::To(_) => {
            if !choices.has(Feature::Loose) {
                return Err(Reason::PickupDisabled);
            }
            sender.max_end = segment.end().plus(sender.max_win);
            let liberal = SideFlags::SACK_PERM.or(SideFlags::BE_LIBERAL);
            sender.flags = liberal;
            entry.sides.reply.flags = liberal;
        }
        Transition::Ignore | Transition::Invalid => return Err(Reason::InvalidNew),
    }
    entry.last.class = Class::None;
    Ok(entry)
}

/// Turns an outcome into the verdict, and removes the entry or marks it as replied to.
fn conclude(
    slot: &mut Option<Entry>,
    direction: Direction,
    seen_reply: bool,
    (outcome, margins): (Outcome, Option<Margins>),
) -> Verdict {
    let of_rules = if direction == Direction::Reply || seen_reply {
        CtState::Established
    } else {
        CtState::New
    };
    let (ctstate, reason) = match outcome {
        Outcome::Accepted | Outcome::Deleted => (of_rules, None),
        Outcome::Ignored(reason) => (of_rules, Some(reason)),
        Outcome::Invalid(reason) | Outcome::InvalidTimeoutLowered(reason) => {
            (CtState::Invalid, Some(reason))
        }
        Outcome::Reopened | Outcome::Killed => (CtState::Dropped, Some(Reason::OutOfSyncKilled)),
    };
    if matches!(outcome, Outcome::Deleted | Outcome::Killed) {
        *slot = None;
    }
    if let Some(entry) = slot
        && direction == Direction::Reply
        && ctstate != CtState::Invalid
    {
        entry.seen_reply = true;
    }
    Verdict {
        ctstate,
        reason,
        direction: Some(direction),
        state: slot.as_ref().map(|entry| entry.state),
        margins,
        timeout_lowered: matches!(outcome, Outcome::InvalidTimeoutLowered(_)),
        opened: false,
    }
}

impl Entry {
    /// Returns the direction of a packet that travels this way.
    #[inline]
    pub fn direction_of(&self, orientation: Orientation) -> Direction {
        if orientation == self.original { Direction::Original } else { Direction::Reply }
    }

    /// Runs the state machine and the window check for a segment.
    fn track(&mut self, visit: &Visit<'_>, choices: &mut Choices) -> (Outcome, Option<Margins>) {
        let (old, new) = match self.step(visit, choices) {
            Step::Done(outcome) => return (outcome, None),
            Step::Proceed { old, new, check_window: false } => {
                return (self.accept(visit, (old, new), choices), None);
            }
            Step::Proceed { old, new, check_window: true } => (old, new),
        };
        let Visit { segment, class, direction, .. } = *visit;
        let checked = window::check(&mut self.sides, self.state, direction, segment, choices);
        let outcome = match checked.passage {
            Passage::Invalid(reason) => self.refuse(visit, reason, choices),
            Passage::Ignored(reason) => Outcome::Ignored(reason),
            Passage::InWindow | Passage::Waved => {
                if checked.passage == Passage::InWindow && class == Class::Ack {
                    self.remember(visit, &checked, choices);
                }
                self.accept(visit, (old, new), choices)
            }
        };
        (outcome, checked.margins)
    }

    /// Looks the segment up in the state table, and settles what needs no window check.
    fn step(&mut self, visit: &Visit<'_>, choices: &mut Choices) -> Step {
        let Visit { class, direction, .. } = *visit;
        let old = self.state;
        let to = |new| Step::Proceed { old, new, check_window: true };
        match transition(direction, class, old, choices) {
            Transition::Invalid => Step::Done(Outcome::Invalid(Reason::StateInvalid)),
            Transition::Ignore if self.answers_ignored_syn(visit) => {
                if !choices.has(Feature::IgnoredSynResync) {
                    return Step::Done(Outcome::Killed);
                }
                self.resynchronise(direction, choices);
                let old = TcpState::SynSent;
                Step::Proceed { old, new: TcpState::SynRecv, check_window: true }
            }
            Transition::Ignore => {
                self.ignore(visit, choices);
                Step::Done(Outcome::Ignored(Reason::StateIgnored))
            }
            Transition::To(TcpState::SynSent) if self.is_over() => {
                if self.may_reopen(direction) {
                    return Step::Done(Outcome::Reopened);
                }
                self.ignore(visit, choices);
                Step::Done(Outcome::Ignored(Reason::StateIgnored))
            }
            Transition::To(TcpState::TimeWait) if self.is_challenge_ack(visit, choices) => {
                self.last.flags.remove(SideFlags::EXP_CHALLENGE_ACK);
                Step::Done(Outcome::Ignored(Reason::ChallengeAckIgnored))
            }
            Transition::To(TcpState::SynSent2) => {
                if choices.has(Feature::SimultaneousOpenAck) {
                    self.last.flags.insert(SideFlags::SIMULTANEOUS_OPEN);
                }
                to(TcpState::SynSent2)
            }
            Transition::To(TcpState::SynRecv) if self.completes_simultaneous_open(visit) => {
                to(TcpState::Established)
            }
            Transition::To(TcpState::Close) if class == Class::Rst => {
                match reset::path(self, visit, choices) {
                    ResetPath::Invalid => Step::Done(Outcome::Invalid(Reason::RstInvalid)),
                    ResetPath::Unchecked(new) => Step::Proceed { old, new, check_window: false },
                    ResetPath::Checked(new) => to(new),
                }
            }
            Transition::To(new) => to(new),
        }
    }

    /// Remembers an acknowledgement, and counts it when it repeats the last one.
    fn remember(&mut self, visit: &Visit<'_>, checked: &Checked, choices: &mut Choices) {
        let Checked { seq, ack, end, scaled_win, .. } = *checked;
        let (direction, win) = (visit.direction, visit.segment.win);
        let repeated = Repeated::of(&self.last, direction, (seq, ack, end), (win, scaled_win));
        self.retrans = self.retrans.after(repeated);
        if repeated.parts() && !choices.has(Feature::LastWinUnscaled) {
            return;
        }
        let scaled_win = low_half(scaled_win);
        self.last = Last { seq, ack, end, win, scaled_win, direction, ..self.last };
    }

    /// Refuses a segment outside the window; an assured entry remembers a FIN or RST, and is
    /// given up sooner when the other side sends one too: `nf_tcp_handle_invalid()`.
    fn refuse(&mut self, visit: &Visit<'_>, reason: Reason, choices: &mut Choices) -> Outcome {
        let ends = matches!(visit.class, Class::Fin | Class::Rst);
        if !self.assured || !ends || !choices.has(Feature::LowerTimeoutOnInvalidFinRst) {
            return Outcome::Invalid(reason);
        }
        let answers = self.last.direction != visit.direction
            && matches!(self.last.class, Class::Fin | Class::Rst);
        if !answers {
            self.last.class = visit.class;
            self.last.direction = visit.direction;
            return Outcome::Invalid(reason);
        }
        let left_ns = self.expires.nanos_since(visit.now);
        let lowered_ns = visit.limits.timeouts.unacknowledged;
        if left_ns < 120 * NANOS_PER_SEC || left_ns <= lowered_ns {
            return Outcome::Invalid(reason);
        }
        self.expires = visit.now.plus_nanos(lowered_ns);
        self.sooner_s = 0;
        Outcome::InvalidTimeoutLowered(reason)
    }

    /// Takes over an accepted segment: state, timer, assurance.
    fn accept(
        &mut self,
        visit: &Visit<'_>,
        (old, new): (TcpState, TcpState),
        choices: &mut Choices,
    ) -> Outcome {
        let Visit { class, direction, .. } = *visit;
        self.last.class = class;
        self.last.direction = direction;
        self.state = new;
        if old != new && new == TcpState::FinWait {
            self.sides[direction].flags.insert(SideFlags::CLOSE_INIT);
        }
        let (mut timeout_ns, sooner_s) = self.timeout(visit, new, choices);
        if self.seen_reply {
            let handshake_done = matches!(old, TcpState::SynRecv | TcpState::Established);
            self.assured |= handshake_done && new == TcpState::Established;
        } else {
            if visit.segment.has(Flags::RST) {
                return Outcome::Deleted;
            }
            let repeated_syn = class == Class::Syn && old == TcpState::SynSent;
            if repeated_syn && choices.has(Feature::SynRetransmitNoRenew) {
                return Outcome::Accepted;
            }
            let cap_ns = visit.limits.timeouts.unacknowledged;
            if new == TcpState::Established
                && timeout_ns > cap_ns
                && choices.has(Feature::CapUnrepliedEstablished)
            {
                timeout_ns = cap_ns;
            }
        }
        self.expires = visit.now.plus_nanos(timeout_ns);
        self.sooner_s = sooner_s;
        Outcome::Accepted
    }
}

/// Returns the low 16 bits, as a store into a `u16` field does.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's field has 16 bits")]
pub(super) const fn low_half(value: u32) -> u16 {
    value as u16
}
