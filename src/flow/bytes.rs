//! A closer look at the bytes of a segment: new ones, missing ones, ones seen before.

use crate::flow::counters::COPY_GAP_US;
use crate::flow::detail::{Again, MadeUp};
use crate::flow::exchange::{Repeated, take_new_bytes};
use crate::flow::half::Half;
use crate::flow::ranges::{Found, Hole, Order};
use crate::flow::retransmission::{Kind, Loss, Recovery, View, first_sight, trigger};
use crate::flow::scaling::{self, Scaling};
use crate::flow::step::{MAX_JUMP, Outcome, Step};
use crate::flow::story::Happening;
use crate::seq::SeqNum;

/// How far an identification may step back without a gap in the sequence numbers to show for it.
const MAX_ID_LATE: i16 = 128;
/// Silence after which a segment with the byte before the next one keeps a connection alive: 1 s.
const KEEPALIVE_IDLE_US: u32 = 1_000_000;
/// The segment size where nothing is known (RFC 9293, section 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// What scheduling, and other segments before it, may add to a reaction: 5 ms.
const REACTION_SLACK_US: u32 = 5_000;

impl Step<'_> {
    /// Takes the bytes, and the FIN, of a segment without SYN and RST.
    pub(super) fn take_bytes(&mut self) -> Outcome {
        let segment = self.look.segment;
        let end = segment.end();
        if !self.own.is(Half::SEQ) {
            self.meet();
        }
        let ahead = segment.seq.offset_from(self.own.max_end);
        if ahead.unsigned_abs() > MAX_JUMP {
            self.watch_leap();
            return Outcome::default();
        }
        if end == segment.seq {
            return self.take_empty(ahead);
        }
        let outcome = if ahead >= 0 { self.take_new(ahead) } else { self.take_old() };
        if let Some(side) = self.own_side_if_any() {
            side.recent.push(segment);
        }
        outcome
    }

    /// Meets a side in the middle of its bytes: of those before, some may have been acknowledged while
    /// the capture ran.
    fn meet(&mut self) {
        let acked = self.peer.ack.offset_from(self.own.max_end);
        if self.peer.is(Half::ACK)
            && let Ok(bytes) = u32::try_from(acked)
            && (1..=MAX_JUMP).contains(&bytes)
        {
            self.own_side().acked_before += bytes;
        }
        self.own.max_end = self.first_number();
        self.own.set(Half::SEQ);
    }

    /// Returns the number of the next byte of a side of which this is the first segment.
    ///
    /// A segment without bytes just below what the other side has acknowledged keeps alive (RFC 9293,
    /// section 3.8.4).
    fn first_number(&self) -> SeqNum {
        let segment = self.look.segment;
        let is_empty = segment.end() == segment.seq;
        let is_acked = self.peer.is(Half::ACK) && self.peer.ack == segment.seq.plus(1);
        if is_empty && is_acked { self.peer.ack } else { segment.seq }
    }

    /// Takes a segment without bytes that does not begin at the highest number.
    fn take_empty(&mut self, ahead: i32) -> Outcome {
        if ahead > 0 {
            let seq = self.look.segment.seq;
            self.own_side().bare_ahead = Some(seq);
        }
        let kind = if ahead == -1 { self.probe_kind() } else { None };
        if let Some(kind) = kind {
            self.count(kind, 0);
        }
        Outcome { kind, ..Outcome::default() }
    }

    /// Says what a segment of at most one byte just below the highest number is for.
    fn probe_kind(&self) -> Option<Kind> {
        let waited = self.look.now.since(self.own.progress_at) >= KEEPALIVE_IDLE_US;
        // Of a connection met in the middle nobody knows for how long it had been quiet.
        let is_met = self.peer.is(Half::ACK) && !self.own.is(Half::SYN);
        let quiet = waited || is_met && self.own.max_flight == 0;
        let shut = self.peer.is(Half::ACK) && self.peer.win == 0;
        if shut {
            Some(Kind::WindowProbe)
        } else if quiet && self.own.flight(self.peer) == 0 {
            Some(Kind::KeepAlive)
        } else {
            None
        }
    }

    // ---- new bytes ----------------------------------------------------------------------------

    fn take_new(&mut self, ahead: i32) -> Outcome {
        let segment = self.look.segment;
        let mut outcome = Outcome::default();
        if let Ok(bytes) = u32::try_from(ahead)
            && bytes > 0
        {
            self.open_hole(bytes);
        } else if segment.len > 0 && self.is_late() {
            outcome.kind = self.late_in_order();
        }
        let probes = segment.len == 1 && self.peer.is(Half::ACK) && self.peer.win == 0;
        if probes {
            // The receiver may refuse the byte, which is then sent again as if for the first time.
            let end = segment.end();
            self.own_side().probe_end = Some(end);
            self.count(Kind::WindowProbe, segment.len);
            return Outcome { kind: Some(Kind::WindowProbe), ..outcome };
        }
        if segment.len > 0 {
            self.use_window();
            self.look_for_late_data(ahead);
        }
        if let Some(kind) = outcome.kind {
            self.count(kind, segment.len);
        }
        take_new_bytes(self.own, self.peer, segment, self.look.now);
        outcome
    }

    /// Returns the kind of the next bytes, which left before something already seen.
    ///
    /// Where only the identification says so, it has to be by a little, for hardware that cuts large
    /// segments counts in its own way, and something must have been seen that can have overtaken the
    /// segment: its sender sends bytes in their order, so only what repeats, or has none, can.
    fn late_in_order(&mut self) -> Option<Kind> {
        let timestamps = self.look.segment.options.timestamps;
        let by_clock =
            timestamps.is_some_and(|ts| ts.value.wrapping_sub(self.own.tsval).cast_signed() < 0);
        let step = self.look.segment.ip_id.wrapping_sub(self.own.ip_id).cast_signed();
        if by_clock || step > -MAX_ID_LATE && self.may_be_overtaken() {
            return Some(Kind::Reordered);
        }
        self.own.set(Half::RANDOM_ID);
        None
    }

    /// Returns whether a segment was seen that its sender may have sent after these next bytes.
    fn may_be_overtaken(&self) -> bool {
        let end = self.look.segment.end();
        self.side().is_some_and(|side| {
            let by_bare = side.bare_ahead.is_some_and(|bare| !end.is_after(bare));
            by_bare || side.kinds.retransmitted().packets > 0
        })
    }

    /// Counts data whose acknowledgement was captured before it.
    fn look_for_late_data(&mut self, ahead: i32) {
        let end = self.look.segment.end();
        let Some(side) = self.own_side_if_any() else { return };
        let Some(awaited) = side.awaited else { return };
        if ahead == 0 && !end.is_after(awaited) {
            side.data_after_ack += 1;
        }
        if ahead > 0 || !end.is_before(awaited) {
            side.awaited = None;
        }
    }

    fn open_hole(&mut self, bytes: u32) {
        self.watch_leap();
        let (start, end) = (self.own.max_end, self.look.segment.seq);
        let hole = Hole { start, end, at: self.look.now, opener: self.stamp() };
        self.own_side().ranges.open(hole);
        self.tell(Happening::Gap { bytes });
    }

    /// Compares new data with the window of the receiver.
    fn use_window(&mut self) {
        if !self.peer.is(Half::ACK) || self.peer.win == 0 {
            return;
        }
        let end = self.look.segment.end();
        let Ok(flight) = u32::try_from(end.offset_from(self.peer.ack)) else { return };
        let raw = self.peer.win;
        let window = u32::from(raw) << self.peer.shift;
        let scaling = scaling::of(self.peer, self.own);
        if flight > window
            && let Some(shift) = scaling::least_shift(flight, raw)
        {
            self.peer_side().scaling.exceeded(end, shift);
        }
        if scaling == Scaling::Unknown {
            if let Some(shift) = self.peer_side_if_any().and_then(|s| s.scaling.needed_shift()) {
                self.peer.shift = self.peer.shift.max(shift);
            }
            return;
        }
        if flight == u32::from(raw) && self.peer.shift > 0 && !self.own.is(Half::SCALES) {
            self.peer_side().scaling.raw_stops += 1;
        }
        if flight >= window {
            self.peer_side().window.full += 1;
            self.tell(Happening::WindowFull);
        }
        if let Ok(bytes) = u32::try_from(end.offset_from(self.peer.max_edge))
            && bytes > 0
        {
            self.peer_side().window.overrun_by(bytes);
            self.tell(Happening::Overrun { bytes });
        }
    }

    // ---- bytes below the highest number -------------------------------------------------------

    fn take_old(&mut self) -> Outcome {
        let segment = self.look.segment;
        let (start, end) = (segment.seq, segment.end());
        let reaches_beyond = end.is_after(self.own.max_end);
        let old_end = if reaches_beyond { self.own.max_end } else { end };
        let bytes = old_end.0.wrapping_sub(start.0);
        let found = self
            .own_side_if_any()
            .map_or_else(Found::default, |side| side.ranges.fill(start, old_end));
        let view = self.view(old_end);
        let kind = self.kind_of(&found, bytes, &view);
        self.count(kind, bytes.min(segment.len));
        let mut outcome = Outcome { kind: Some(kind), ..Outcome::default() };
        if kind.is_retransmission() {
            outcome.again = Some((start, old_end));
            outcome.repeated = Some(Repeated { idle_us: view.idle });
            self.take_again(kind, &view, (start, old_end));
        }
        if reaches_beyond {
            take_new_bytes(self.own, self.peer, segment, self.look.now);
            self.own.spoil_probe();
        }
        outcome
    }

    fn kind_of(&self, found: &Found, bytes: u32, view: &View) -> Kind {
        let segment = self.look.segment;
        if segment.len == 1
            && segment.end() == self.own.max_end
            && let Some(kind) = self.probe_kind()
        {
            return kind;
        }
        if let Some(hole) = found.hole {
            let order = self.stamp().order(hole.opener);
            // A segment that also holds bytes seen before was made anew.
            let is_whole = found.unseen == bytes || order == Order::Earlier;
            let lag = self.look.now.since(hole.at);
            return if is_whole { first_sight(order, lag, view) } else { Kind::LostUpstream };
        }
        self.seen_before(view)
    }

    /// Says what a segment is of which all bytes were seen before.
    fn seen_before(&self, view: &View) -> Kind {
        let segment = self.look.segment;
        if let Some(kind) = self.copied() {
            return kind;
        }
        if self.is_unprompted() && !view.some_evidence() {
            return Kind::Unprompted;
        }
        if self.was_left_in_syn() {
            return Kind::SynData;
        }
        if segment.len == 0 {
            return Kind::Fin;
        }
        self.unneeded().unwrap_or_else(|| trigger(view))
    }

    /// Returns the kind of a segment that was sent before segments already seen, or is one of them.
    fn copied(&self) -> Option<Kind> {
        let segment = self.look.segment;
        let side = self.side();
        if !self.own.is(Half::RANDOM_ID) && side.is_some_and(|side| side.recent.holds(segment)) {
            return Some(Kind::Duplicate);
        }
        if self.is_late() {
            let missed = side.and_then(|side| side.ranges.once_missing(segment));
            if missed.is_some_and(|hole| self.stamp().order(hole.opener) == Order::Earlier) {
                return Some(Kind::Reordered);
            }
            // Sent again and then overtaken, unless it would be remembered from before.
            let is_remembered = side.is_some_and(|side| side.recent.reaches(segment.ip_id));
            return if is_remembered { None } else { Some(Kind::Duplicate) };
        }
        let gap = self.look.now.since(self.own.last_at);
        let reaction = self.peer.min_rtt().unwrap_or(COPY_GAP_US * 4);
        let no_identity = self.own.is(Half::RANDOM_ID) && segment.ip_id == 0;
        let repeats_last = segment.end() == self.own.max_end
            && self.same_clock()
            && side.is_none_or(|side| side.recent.ends_with(segment));
        let at_once = gap < COPY_GAP_US.min(reaction / 4);
        (no_identity && repeats_last && at_once).then_some(Kind::Duplicate)
    }

    /// Returns whether the sender sends again what it has just sent, before an answer can have come
    /// back: neither a timer nor an acknowledgement makes a host do so.
    pub(super) fn is_unprompted(&self) -> bool {
        let sent_at = self.own.sent_at(self.look.segment.end());
        sent_at
            .zip(self.least_rtt())
            .is_some_and(|(sent_at, rtt)| self.look.now.since(sent_at) < rtt)
    }

    /// Returns whether the bytes are those of a SYN, of which the SYN-ACK took none, in the segment
    /// that answers it.
    fn was_left_in_syn(&self) -> bool {
        let segment = self.look.segment;
        let follows_syn =
            self.own.is(Half::SYN) && self.look.first_seq == Some(segment.seq.minus(1));
        let is_refused = self.peer.is(Half::ACK) && self.peer.ack == segment.seq;
        follows_syn && is_refused && self.ack_before.is_none()
    }

    /// Returns the least round trip between both ends, as far as it is known, in microseconds.
    fn least_rtt(&self) -> Option<u32> {
        let halves = [self.peer.min_rtt(), self.own.min_rtt()];
        halves.into_iter().flatten().reduce(u32::saturating_add)
    }

    /// Returns the kind of a segment whose bytes were acknowledged before its sender sent it.
    fn unneeded(&self) -> Option<Kind> {
        let end = self.look.segment.end();
        if !self.peer.is(Half::ACK) || end.is_after(self.peer.ack) {
            return None;
        }
        let now = self.look.now;
        let reaction = self.peer.min_rtt().unwrap_or(0);
        let passed = if now.since(self.own.progress_at) >= reaction {
            Some(self.peer.ack)
        } else {
            self.side().and_then(|side| side.acks.at_least(reaction, now))
        };
        if passed.is_none_or(|passed| end.is_after(passed)) {
            return None;
        }
        let valid = self.valid_ack_of_peer();
        let only_refused = valid.is_some_and(|valid| end.is_after(valid));
        Some(if only_refused { Kind::AckNotProcessed } else { Kind::Spurious })
    }

    /// Returns what the sender knew of a loss, where it may have sent the segment before it learned that
    /// nothing is missing any more.
    fn not_known_made_up(&self) -> Option<MadeUp> {
        let end = self.look.segment.end();
        if !self.peer.is(Half::ACK) || end.is_after(self.peer.ack) {
            return None;
        }
        let reaction = self.peer.min_rtt().unwrap_or(0).saturating_add(REACTION_SLACK_US);
        let made_up = self.side()?.made_up?;
        (self.look.now.since(made_up.at) <= reaction).then_some(made_up)
    }

    /// Collects the circumstances in which the bytes up to `end` were sent again.
    fn view(&self, end: SeqNum) -> View {
        let segment = self.look.segment;
        let now = self.look.now;
        let side = self.side();
        let again = side.and_then(|side| side.again).filter(|again| again.start == segment.seq);
        // What the sender takes to react includes its pauses: only the least of it is the path.
        let (near, far) = (self.peer.min_rtt(), self.own.srtt());
        let rtt = near.into_iter().chain(far).reduce(u32::saturating_add);
        let sizes = [self.own.mss, self.peer.mss];
        let mss = sizes.into_iter().filter(|mss| *mss > 0).min().unwrap_or(DEFAULT_MSS);
        let blocks = self.peer_side_seen().is_some_and(|side| side.sack.blocks() > 0);
        let (sacked, recovery) = side.map_or((0, None), |side| (side.sacked, side.recovery));
        let made_up = self.not_known_made_up();
        View {
            first: !self.peer.is(Half::ACK) || !segment.seq.is_after(self.peer.ack),
            last: end == self.own.max_end,
            idle: now.since(self.own.progress_at),
            gaps: again.map(|again| (now.since(again.at), again.gap)),
            rtt,
            least_rtt: self.least_rtt(),
            sack: blocks || self.own.is(Half::SACK) && self.peer.is(Half::SACK),
            dup_acks: self.peer.dup_acks,
            sacked: sacked.max(made_up.map_or(0, |made_up| made_up.sacked)),
            mss: u32::from(mss),
            recovery: recovery.or(made_up.and_then(|made_up| made_up.recovery)),
            probed: side.is_some_and(|side| side.probed),
        }
    }

    /// Keeps what a repetition means for the next ones.
    fn take_again(&mut self, kind: Kind, view: &View, (start, end): (SeqNum, SeqNum)) {
        self.own.spoil_probe();
        let until = self.own.max_end;
        let at = self.look.now;
        let tsval = self.look.segment.options.timestamps.map(|timestamps| timestamps.value);
        let frame = self.look.frame;
        let is_joined = self.peer.is(Half::MSS) && self.look.segment.len > u32::from(self.peer.mss);
        let cause = if kind == Kind::LostUpstream { trigger(view) } else { kind };
        let side = self.own_side();
        let is_same = side.again.is_some_and(|again| (again.start, again.end) == (start, end));
        side.remember_resent(start, end);
        if view.sack {
            side.joined.sent_again((start, end), is_joined, frame);
        }
        side.again = Some(Again { start, end, at, gap: view.gaps.map(|(gap, _)| gap), tsval });
        match cause {
            Kind::Rto => {
                side.recovery = Some(Recovery { loss: Loss::TimedOut, until });
                side.backoff += 1;
                side.longest_backoff = side.longest_backoff.max(side.backoff);
                if is_same {
                    side.stuck.timed_out(side.backoff, end.0.wrapping_sub(start.0), frame);
                }
            }
            Kind::TailProbe => side.probed = true,
            Kind::Fast | Kind::Rack | Kind::Ambiguous if side.recovery.is_none() => {
                side.recovery = Some(Recovery { loss: Loss::Reported, until });
            }
            _ => {}
        }
    }
}
