//! What the tracker makes of segments that show it may be out of sync: SYNs on a live or ended
//! connection, the answers to them, simultaneous opens.
//!
//! The `TCP_CONNTRACK_IGNORE` branch of `nf_conntrack_tcp_packet()` and the cases around it
//! (`nf_conntrack_proto_tcp.c`, Linux 6.18). An ignored segment passes without effect; it is
//! remembered, because the other side's answer tells who was right.

use crate::conntrack::entry::{Entry, Visit};
use crate::conntrack::policy::{Choices, Feature};
use crate::conntrack::state::{Class, TcpState};
use crate::conntrack::window::{Side, SideFlags};
use crate::segment::Direction;

impl Entry {
    /// Returns whether the connection has ended, so that a SYN may open it anew.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, TcpState::TimeWait | TcpState::Close)
    }

    /// Returns whether a SYN on an ended connection removes the entry: a FIN ended it, or the
    /// last segment was a RST of the same side.
    pub(super) fn may_reopen(&self, direction: Direction) -> bool {
        let flags = self.sides.original.flags.or(self.sides.reply.flags);
        let own_reset = self.last.direction == direction && self.last.class == Class::Rst;
        flags.contains(SideFlags::CLOSE_INIT) || own_reset
    }

    /// Returns whether a SYN/ACK answers the SYN that was ignored last.
    pub(super) fn answers_ignored_syn(&self, visit: &Visit<'_>) -> bool {
        visit.class == Class::Synack
            && self.last.class == Class::Syn
            && self.last.direction != visit.direction
            && visit.segment.ack == self.last.end
    }

    /// Takes the ignored SYN as the start of the connection: we were out of sync.
    pub(super) fn resynchronise(&mut self, direction: Direction, choices: &mut Choices) {
        let last = &mut self.last;
        let opener = &mut self.sides[last.direction];
        opener.end = last.end;
        opener.max_end = last.end;
        opener.max_win = u32::from(last.win).max(1);
        opener.scale = last.wscale;
        last.flags.remove(SideFlags::EXP_CHALLENGE_ACK);
        opener.flags = last.flags;
        let answerer = &mut self.sides[direction];
        let was_liberal = answerer.flags.contains(SideFlags::BE_LIBERAL);
        *answerer = Side::default();
        if was_liberal && choices.has(Feature::KeepLiberalOnOptions) {
            answerer.flags.insert(SideFlags::BE_LIBERAL);
        }
    }

    /// Lets a segment pass without effect, and remembers it in case the other side answers it.
    pub(super) fn ignore(&mut self, visit: &Visit<'_>, choices: &mut Choices) {
        let Visit { segment, class, direction, .. } = *visit;
        let old = self.state;
        let last = &mut self.last;
        last.class = class;
        last.direction = direction;
        last.seq = segment.seq;
        last.end = segment.end();
        if choices.has(Feature::AnnotateIgnoredWindow) {
            last.win = segment.win;
            last.scaled_win = segment.win;
        }
        let opens = class == Class::Syn && direction == Direction::Original;
        if opens && choices.has(Feature::IgnoredSynResync) {
            let mut offered = Side::default();
            offered.parse_options(segment, choices);
            last.flags = offered.flags;
            last.wscale = offered.scale;
            if old == TcpState::LastAck && choices.has(Feature::ChallengeAckLastAck) {
                last.flags.insert(SideFlags::EXP_CHALLENGE_ACK);
            }
        }
        let challenges =
            old == TcpState::SynSent && class == Class::Ack && direction == Direction::Reply;
        if challenges && choices.has(Feature::ChallengeAckSynSent) {
            last.ack = segment.ack;
        }
    }

    /// Returns whether an ACK in `LAST_ACK` only challenges a SYN that was ignored (RFC 5961).
    pub(super) fn is_challenge_ack(&self, visit: &Visit<'_>, choices: &mut Choices) -> bool {
        self.state == TcpState::LastAck
            && visit.class == Class::Ack
            && self.last.direction != visit.direction
            && self.last.class == Class::Syn
            && self.last.flags.contains(SideFlags::EXP_CHALLENGE_ACK)
            && choices.has(Feature::ChallengeAckLastAck)
    }

    /// Returns whether an ACK of the reply side ends a simultaneous open. The flag is set only
    /// where the kernel has [`Feature::SimultaneousOpenAck`].
    pub(super) fn completes_simultaneous_open(&self, visit: &Visit<'_>) -> bool {
        visit.direction == Direction::Reply
            && visit.class == Class::Ack
            && self.last.flags.contains(SideFlags::SIMULTANEOUS_OPEN)
    }
}
