//! Which resets are believed.
//!
//! The RST part of `nf_conntrack_tcp_packet()` (`nf_conntrack_proto_tcp.c`, Linux 6.18), after
//! RFC 5961, section 3. Does not: change the entry.

use crate::conntrack::entry::{Entry, Visit};
use crate::conntrack::policy::{Choices, Feature};
use crate::conntrack::state::{Class, TcpState};
use crate::conntrack::window::SideFlags;
use crate::segment::Direction;
use crate::seq::SeqNum;

/// What becomes of a RST that the state table would let close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ResetPath {
    /// INVALID: it lies below what its receiver has acknowledged.
    Invalid,
    /// Accepted without a window check; the entry goes to this state.
    Unchecked(TcpState),
    /// The entry goes to this state if the window check agrees.
    Checked(TcpState),
}

/// Chooses the path of a RST.
pub(super) fn path(entry: &Entry, visit: &Visit<'_>, choices: &mut Choices) -> ResetPath {
    let closing = matches!(
        entry.state,
        TcpState::FinWait
            | TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::TimeWait
            | TcpState::Close
    );
    if closing && choices.has(Feature::RstSkipWhenClosing) {
        return ResetPath::Unchecked(TcpState::Close);
    }
    let state = match against_highest_ack(entry, visit, choices) {
        Exactness::NotTested => TcpState::Close,
        Exactness::Below => return ResetPath::Invalid,
        Exactness::Trusted => return ResetPath::Checked(TcpState::Close),
        Exactness::Inexact => entry.state,
    };
    if answers_ignored_segment(entry, visit, choices) || answers_challenge(entry, visit, choices) {
        return ResetPath::Unchecked(state);
    }
    ResetPath::Checked(state)
}

/// How a RST stands to the highest acknowledgement of its receiver.
enum Exactness {
    /// No acknowledgement to compare with, or a kernel that does not ask for exactness.
    NotTested,
    /// Below it.
    Below,
    /// It matches, or cannot be expected to: it goes straight to the window check.
    Trusted,
    /// Not below, but no match either: it does not close an assured connection.
    Inexact,
}

fn against_highest_ack(entry: &Entry, visit: &Visit<'_>, choices: &mut Choices) -> Exactness {
    let receiver = &entry.sides[visit.direction.flip()];
    let after_syn = entry.last.class == Class::Syn;
    if !receiver.flags.contains(SideFlags::MAXACK_SET)
        || (after_syn && choices.has(Feature::RstGuardAfterSyn))
    {
        return Exactness::NotTested;
    }
    let seq = visit.segment.seq;
    let in_use = entry.state == TcpState::Established && entry.assured;
    if seq == SeqNum(0) && !in_use && choices.has(Feature::RstGuardAfterSyn) {
        return Exactness::Trusted;
    }
    if seq.is_before(receiver.max_ack) && !choices.has(Feature::IgnoreInvalidRst) {
        return Exactness::Below;
    }
    if !choices.has(Feature::RstExactSeq) {
        return Exactness::NotTested;
    }
    let follows_ack = entry.last.class == Class::Ack
        && entry.last.direction == visit.direction
        && seq == entry.last.end;
    if !in_use || seq == receiver.max_ack || follows_ack {
        Exactness::Trusted
    } else {
        Exactness::Inexact
    }
}

/// Returns whether a RST answers an ignored SYN, or the ACK of a half-open connection.
fn answers_ignored_segment(entry: &Entry, visit: &Visit<'_>, choices: &mut Choices) -> bool {
    if visit.segment.ack != entry.last.end {
        return false;
    }
    let answers_syn = entry.seen_reply && entry.last.class == Class::Syn;
    let from_other_side = entry.last.direction != visit.direction;
    if answers_syn && (from_other_side || !choices.has(Feature::RstReplyDirCheck)) {
        return true;
    }
    !entry.assured && entry.last.class == Class::Ack
}

/// Returns whether a RST answers the challenge ACK that was ignored in `SYN_SENT`.
fn answers_challenge(entry: &Entry, visit: &Visit<'_>, choices: &mut Choices) -> bool {
    entry.state == TcpState::SynSent
        && entry.last.class == Class::Ack
        && entry.last.direction == Direction::Reply
        && visit.segment.seq == entry.last.ack
        && choices.has(Feature::ChallengeAckSynSent)
}
