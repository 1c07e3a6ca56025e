//! A closer look at an acknowledgement: progress, duplicates, SACK blocks, windows.

use crate::flow::detail::{Again, MadeUp, Side};
use crate::flow::half::Half;
use crate::flow::history::Letter;
use crate::flow::sack::LEAST_REACH;
use crate::flow::scaling::{self, Scaling};
use crate::flow::step::{MAX_JUMP, Step};
use crate::flow::story::Happening;
use crate::flow::window::shrink;
use crate::segment::{Flags, SackBlock, Segment};
use crate::seq::SeqNum;

/// How far an acknowledgement may lie above all data seen before it counts as nonsense rather than
/// as missing frames: 64 MiB.
const MAX_UNSEEN: i32 = 1 << 26;

/// What a side has sent, as far as SACK blocks are compared with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    end: SeqNum,
    /// How far below the acknowledgement a duplicate may lie.
    reach: u32,
}

impl Sent {
    pub(super) fn by(half: &Half) -> Self {
        let reach = half.max_flight.saturating_mul(2).max(LEAST_REACH);
        Self { end: half.max_end, reach }
    }
}

/// What the SACK blocks of an acknowledgement say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    sacked: u32,
    duplicate: Option<SackBlock>,
    /// Whether a block lies outside what was sent.
    is_outside: bool,
    /// Whether blocks of the side ever did.
    was_outside: bool,
}

impl Side {
    /// Takes the SACK blocks of an acknowledgement that this side sent.
    pub(super) fn reports(&mut self, frame: u64, segment: &Segment, sent: Sent) -> Report {
        let blocks = segment.options.sack.as_slice();
        let audit = &mut self.sack;
        let outside_before = audit.beyond + audit.below;
        let (sacked, duplicate) = audit.take(blocks, segment.ack, sent.end, sent.reach);
        let outside = audit.beyond + audit.below;
        let is_outside = outside > outside_before;
        if is_outside {
            let over = blocks.iter().map(|block| block.right.offset_from(sent.end)).max();
            self.sack_over.see_over(frame, over.unwrap_or(0));
        }
        Report { sacked, duplicate, is_outside, was_outside: outside > 0 }
    }

    /// Takes what the SACK blocks of the other side say of this one.
    pub(super) fn is_reported(&mut self, report: &Report, is_current: bool) {
        if is_current {
            self.sacked = self.sacked.max(report.sacked);
            self.stuck.arrived_behind(report.sacked);
        }
        if let Some(block) = report.duplicate
            && !report.was_outside
            && self.forget_resent(block.left, block.right)
        {
            self.proofs.dsack += 1;
        }
    }
}

impl Step<'_> {
    /// Takes the acknowledgement number and the SACK blocks; returns whether more is acknowledged.
    pub(super) fn take_ack(&mut self) -> bool {
        self.adopt_other_syn_ack();
        let segment = self.look.segment;
        let unseen = segment.ack.offset_from(self.peer.max_end);
        if self.peer.is(Half::SEQ) && unseen > MAX_UNSEEN {
            self.watch_leap();
            return false;
        }
        let before = self.own.is(Half::ACK).then_some(self.own.ack);
        let more = before.is_none_or(|before| {
            let step = segment.ack.offset_from(before);
            step > 0 && step.unsigned_abs() <= MAX_JUMP
        });
        self.look_for_challenge(more, before.is_none());
        self.peer.answered(segment, self.look.now);
        if more {
            if before.is_none() && !self.peer.is(Half::SEQ) {
                self.peer.max_end = segment.ack;
            }
            self.own.set(Half::ACK);
            self.own.ack = segment.ack;
            self.own.dup_acks = 0;
            self.peer.progress_at = self.look.now;
            self.make_progress();
            self.look_for_unseen(before);
        } else if self.is_duplicate() {
            self.own.dup_acks = self.own.dup_acks.saturating_add(1);
        }
        if let Some(peer) = self.peer_side_if_any() {
            peer.joined.acknowledged(segment.ack, segment.options.sack.as_slice());
        }
        self.take_sack();
        more && before.is_some()
    }

    /// Returns whether the acknowledgement is a duplicate (RFC 5681, section 2), or brings SACK
    /// blocks in place of progress.
    fn is_duplicate(&self) -> bool {
        let segment = self.look.segment;
        let is_pure = segment.len == 0 && !segment.has(Flags::SYN) && !segment.has(Flags::FIN);
        let same_window = segment.win == self.own.win;
        let brings_sack = !segment.options.sack.as_slice().is_empty();
        let outstanding = self.peer.flight(self.own) > 0;
        is_pure && outstanding && segment.ack == self.own.ack && (same_window || brings_sack)
    }

    /// Moves on what waited for this acknowledgement.
    fn make_progress(&mut self) {
        let (ack, now) = (self.own.ack, self.look.now);
        let age = self.own.min_rtt().unwrap_or(0);
        if let Some(own) = self.own_side_if_any() {
            own.scaling.acknowledged(ack);
        }
        let Some(peer) = self.peer_side_if_any() else { return };
        peer.acks.note(ack, now, age);
        let ended = peer.recovery.filter(|recovery| !recovery.until.is_after(ack));
        if peer.sacked > 0 || ended.is_some() {
            peer.made_up = Some(MadeUp { at: now, sacked: peer.sacked, recovery: ended });
        }
        peer.sacked = 0;
        peer.probed = false;
        peer.backoff = 0;
        if ended.is_some() {
            peer.recovery = None;
        }
        if peer.probe_end.take_if(|end| *end == ack).is_some() {
            self.peer.max_end = self.peer.max_end.latest(ack);
        }
        let Some(peer) = self.peer_side_if_any() else { return };
        let given_up = peer.ranges.give_up(ack, now);
        let acked = peer.again.filter(|again| !again.end.is_after(ack));
        if let Some(again) = acked {
            peer.again = None;
            peer.stuck.got_through(again.end.0.wrapping_sub(again.start.0));
            self.prove(&again);
        }
        if given_up > 0 {
            self.write_gap(given_up);
        }
    }

    /// Finds out whether what was sent again had arrived the first time.
    fn prove(&mut self, again: &Again) {
        let segment = self.look.segment;
        let echo = segment.options.timestamps.map(|timestamps| timestamps.echo);
        let echoes_older = again
            .tsval
            .zip(echo)
            .is_some_and(|(value, echo)| echo.wrapping_sub(value).cast_signed() < 0);
        let fastest = self.peer.min_rtt();
        let took = self.look.now.since(again.at);
        let too_early = fastest.is_some_and(|fastest| took < fastest / 2);
        let Some(peer) = self.peer_side_if_any() else { return };
        if echoes_older {
            peer.proofs.eifel += 1;
        } else if too_early {
            peer.proofs.too_early += 1;
        }
    }

    /// Counts bytes that are acknowledged, but were never seen.
    fn look_for_unseen(&mut self, before: Option<SeqNum>) {
        let unseen = self.own.ack.offset_from(self.peer.max_end);
        let was_unseen = before.is_some_and(|before| before.is_after(self.peer.max_end));
        if unseen == 1 && self.answers_keepalive() {
            self.peer.max_end = self.own.ack;
            return;
        }
        if self.peer.is(Half::SEQ) && unseen > 0 && !was_unseen {
            self.watch_leap();
            self.own_side().acked_unseen += 1;
            self.peer_side().awaited = Some(self.own.ack);
            self.tell(Happening::AckedUnseen { bytes: unseen.unsigned_abs() });
        }
    }

    /// Returns whether the acknowledgement of one byte answers a keep-alive of a connection met in the
    /// middle: nothing but segments without bytes was seen of the other side, the number of the
    /// first of which may be one below the next (RFC 9293, section 3.8.4), and the answer is bare.
    fn answers_keepalive(&self) -> bool {
        const BYTES: u16 =
            Letter::Syn.mark() | Letter::SynAck.mark() | Letter::Data.mark() | Letter::Fin.mark();
        let segment = self.look.segment;
        let is_bare = segment.end() == segment.seq;
        is_bare && self.peer.is(Half::SEQ) && self.peer.marks & BYTES == 0
    }

    /// Writes gaps that will not close into the history of the other side.
    fn write_gap(&mut self, stretches: u32) {
        if self.peer.marks & Letter::Gap.mark() == 0 && stretches > 0 {
            self.write_for_peer(Letter::Gap);
        }
    }

    /// Believes another SYN-ACK once the originator acknowledges it.
    fn adopt_other_syn_ack(&mut self) {
        let ack = self.look.segment.ack;
        let has_spoken = self.peer.marks & Letter::Data.mark() != 0;
        let Some(detail) = self.detail_if_any() else { return };
        if detail.handshake.other_end == Some(ack) && !has_spoken {
            self.peer.max_end = ack;
        }
    }

    fn take_sack(&mut self) {
        let (frame, segment) = (self.look.frame, self.look.segment);
        if segment.options.sack.is_empty() || !self.peer.is(Half::SEQ) {
            return;
        }
        let (sent, is_current) = (Sent::by(self.peer), segment.ack == self.own.ack);
        let report = self.own_side().reports(frame, segment, sent);
        self.peer_side().is_reported(&report, is_current);
        if report.duplicate.is_some() {
            self.tell(Happening::DuplicateReported);
        }
        if report.is_outside {
            self.tell(Happening::SackOutside);
        }
    }

    /// Takes the window of an acknowledgement; `before` is the right edge of the one before.
    pub(super) fn take_window(&mut self, before: Option<SeqNum>) {
        let segment = self.look.segment;
        if !self.own.is(Half::ACK) || segment.ack != self.own.ack {
            // An older acknowledgement says nothing of the window.
            return;
        }
        if segment.has(Flags::SYN) {
            self.own.shift = 0;
            self.own.win = segment.win;
            self.own.max_edge = self.own.edge();
            return;
        }
        let scaling = scaling::of(self.own, self.peer);
        let follows_syn = self.is_opening && self.own.is(Half::SYN);
        if follows_syn && scaling != Scaling::Unknown {
            self.compare_with_syn(scaling);
        }
        if let Scaling::By(shift) = scaling {
            self.own.shift = shift;
        }
        self.own.win = segment.win;
        let edge = self.own.edge();
        self.own.max_edge = if before.is_none() { edge } else { self.own.max_edge.latest(edge) };
        self.watch_zero();
        if scaling != Scaling::Unknown && !follows_syn && !self.peer.has_closed() {
            self.watch_edge(before);
        }
        self.sample_window();
    }

    /// Compares the first window after the SYN with that of the SYN, where nothing is scaled, or by
    /// less.
    fn compare_with_syn(&mut self, scaling: Scaling) {
        // A SYN without ACK has a window, but no acknowledgement: it was not kept.
        let syn_window = self.own.win;
        let ratio = scaling::ratio(syn_window, self.look.segment.win);
        if ratio.is_some_and(|ratio| scaling::is_more(ratio, scaling)) {
            self.own_side().scaling.ratio_shift = ratio;
        }
    }

    fn watch_zero(&mut self) {
        let now = self.look.now;
        let closes = self.look.segment.has(Flags::FIN) || self.peer.has_closed();
        if self.own.win == 0 && !closes {
            let window = &mut self.own_side().window;
            if window.shut(now) {
                let count = window.zero;
                self.write_repeated(Letter::ZeroWindow, count);
                self.tell(Happening::WindowShut);
            }
        } else if let Some(micros) = self.own_side_if_any().and_then(|side| side.window.opened(now))
        {
            self.tell(Happening::WindowOpened { micros });
        }
    }

    /// Compares the right edge with the one before, and the window with a segment.
    fn watch_edge(&mut self, before: Option<SeqNum>) {
        let (edge, shift) = (self.own.edge(), self.own.shift);
        if let Some(bytes) = before.and_then(|before| shrink(before, edge, shift)) {
            self.own_side().window.shrunk_by(bytes);
            self.tell(Happening::Shrunk { bytes });
        }
        let window = u32::from(self.own.win) << shift;
        if window > 0 && window < u32::from(self.own.mss) {
            self.own_side().window.silly += 1;
        }
    }
}
