//! A closer look at the bytes of a segment: new ones, missing ones, ones seen before.

use crate::flow::detail::Again;
use crate::flow::exchange::{Repeated, take_new_bytes};
use crate::flow::half::{Half, Probe};
use crate::flow::ranges::{Found, Hole, MAX_ID_STEP, Order, Stamp};
use crate::flow::retransmission::{Kind, Loss, Recovery, View, first_sight, trigger};
use crate::flow::scaling::{self, Scaling};
use crate::flow::step::{MAX_JUMP, Outcome, Step};
use crate::flow::story::Happening;
use crate::segment::Flags;
use crate::seq::SeqNum;

/// How far an identification may step back without a gap in the sequence numbers to show for it.
const MAX_ID_LATE: i16 = 128;
/// Silence after which a segment with the byte before the next one keeps a connection alive: 1 s.
const KEEPALIVE_IDLE_US: u32 = 1_000_000;
/// The time within which a copy without identity must follow the first: 1 ms.
const COPY_GAP_US: u32 = 1_000;
/// The time within which a copy that only its identification tells must follow: 200 ms.
const COPY_ID_GAP_US: u32 = 200_000;
/// The segment size where nothing is known (RFC 9293, section 3.7.1).
const DEFAULT_MSS: u16 = 536;

impl Step<'_> {
    /// Takes the bytes, and the FIN, of a segment without SYN and RST.
    pub(super) fn take_bytes(&mut self) -> Outcome {
        let segment = self.look.segment;
        let end = segment.end();
        if !self.own.is(Half::SEQ) {
            self.own.set(Half::SEQ);
            self.own.max_end = segment.seq;
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

    /// Takes a segment without bytes that does not begin at the highest number.
    fn take_empty(&mut self, ahead: i32) -> Outcome {
        let kind = if ahead == -1 { self.probe_kind() } else { None };
        if let Some(kind) = kind {
            self.count(kind, 0);
        }
        Outcome { kind, ..Outcome::default() }
    }

    /// Says what a segment of at most one byte just below the highest number is for.
    fn probe_kind(&self) -> Option<Kind> {
        let quiet = self.look.now.since(self.own.progress_at) >= KEEPALIVE_IDLE_US;
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
    /// Where only the identification says so, it has to be by a little: hardware that cuts large
    /// segments counts in its own way.
    fn late_in_order(&mut self) -> Option<Kind> {
        let timestamps = self.look.segment.options.timestamps;
        let by_clock =
            timestamps.is_some_and(|ts| ts.value.wrapping_sub(self.own.tsval).cast_signed() < 0);
        let step = self.look.segment.ip_id.wrapping_sub(self.own.ip_id).cast_signed();
        if by_clock || step > -MAX_ID_LATE {
            return Some(Kind::Reordered);
        }
        self.own.set(Half::RANDOM_ID);
        None
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

    /// Collects the circumstances in which the bytes up to `end` were sent again.
    fn view(&self, end: SeqNum) -> View {
        let segment = self.look.segment;
        let now = self.look.now;
        let side = self.side();
        let again = side.and_then(|side| side.again).filter(|again| again.start == segment.seq);
        // What the sender takes to react includes its pauses: only the least of it is the path.
        let (near, far) = (self.peer.min_rtt(), self.own.srtt());
        let rtt = near.into_iter().chain(far).reduce(u32::saturating_add);
        let least = [self.peer.min_rtt(), self.own.min_rtt()];
        let least_rtt = least.into_iter().flatten().reduce(u32::saturating_add);
        let sizes = [self.own.mss, self.peer.mss];
        let mss = sizes.into_iter().filter(|mss| *mss > 0).min().unwrap_or(DEFAULT_MSS);
        let blocks = self.peer_side_seen().is_some_and(|side| side.sack.blocks() > 0);
        View {
            first: !self.peer.is(Half::ACK) || !segment.seq.is_after(self.peer.ack),
            last: end == self.own.max_end,
            idle: now.since(self.own.progress_at),
            gaps: again.map(|again| (now.since(again.at), again.gap)),
            rtt,
            least_rtt,
            sack: blocks || self.own.is(Half::SACK) && self.peer.is(Half::SACK),
            dup_acks: self.peer.dup_acks,
            sacked: side.map_or(0, |side| side.sacked),
            mss: u32::from(mss),
            recovery: side.and_then(|side| side.recovery),
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

    // ---- the sender's counters ----------------------------------------------------------------

    /// Returns whether a SYN sent again is a copy: a host that sends one again has moved its clock
    /// and its identification on by then.
    pub(super) fn is_copied_syn(&self) -> bool {
        let has_clock = self.look.segment.options.timestamps.is_some();
        let at_once = self.look.now.since(self.own.progress_at) < COPY_GAP_US;
        self.is_late() || has_clock && self.same_clock() || at_once
    }

    fn stamp(&self) -> Stamp {
        let segment = self.look.segment;
        let has_counter = !self.own.is(Half::RANDOM_ID) && segment.ip_id != 0;
        Stamp {
            tsval: segment.options.timestamps.map(|timestamps| timestamps.value),
            ip_id: has_counter.then_some(segment.ip_id),
        }
    }

    /// Returns whether the segment left its sender before one that was seen before it.
    fn is_late(&self) -> bool {
        let has_counter = !self.own.is(Half::RANDOM_ID) && self.own.ip_id != 0;
        let newest = Stamp {
            tsval: self.own.is(Half::TIMESTAMPS).then_some(self.own.tsval),
            ip_id: has_counter.then_some(self.own.ip_id),
        };
        self.stamp().order(newest) == Order::Earlier
    }

    fn same_clock(&self) -> bool {
        let timestamps = self.look.segment.options.timestamps;
        timestamps.map(|timestamps| timestamps.value)
            == self.own.is(Half::TIMESTAMPS).then_some(self.own.tsval)
    }

    /// Returns whether the segment is the last one of its sender once more.
    pub(super) fn is_copy_of_last(&self) -> bool {
        let segment = self.look.segment;
        let same_id =
            segment.ip_id != 0 && segment.ip_id == self.own.ip_id && !self.own.is(Half::RANDOM_ID);
        let gap = self.look.now.since(self.own.last_at);
        let soon = segment.options.timestamps.is_some() || gap < COPY_ID_GAP_US;
        let same_ack = if segment.has(Flags::ACK) {
            self.own.is(Half::ACK) && segment.ack == self.own.ack && segment.win == self.own.win
        } else {
            !self.own.is(Half::ACK)
        };
        let same_end = self.own.is(Half::SEQ) && segment.end() == self.own.max_end;
        same_id && soon && self.same_clock() && same_ack && same_end
    }

    /// Takes timestamp and identification, where they are newer.
    pub(super) fn take_stamp(&mut self, kind: Option<Kind>) {
        let segment = self.look.segment;
        if let Some(timestamps) = segment.options.timestamps {
            let value = timestamps.value;
            let is_newer = value.wrapping_sub(self.own.tsval).cast_signed() > 0;
            if !self.own.is(Half::TIMESTAMPS) && self.own.is(Half::SYN) && !segment.has(Flags::SYN)
            {
                self.detail().stamps_unannounced = true;
            }
            if !self.own.is(Half::TIMESTAMPS) || is_newer {
                if segment.end() == segment.seq && self.own.is(Half::TIMESTAMPS) {
                    self.own.time(Probe::Echo(value), self.look.now);
                }
                self.own.tsval = value;
                self.own.set(Half::TIMESTAMPS);
            }
        }
        if kind != Some(Kind::Duplicate) {
            self.take_ip_id();
        }
    }

    fn take_ip_id(&mut self) {
        let ip_id = self.look.segment.ip_id;
        let step = ip_id.wrapping_sub(self.own.ip_id).cast_signed();
        let is_syn = self.look.segment.has(Flags::SYN);
        if self.own.is(Half::RANDOM_ID) || ip_id == 0 && self.own.ip_id != 0 {
            return;
        }
        if self.own.ip_id == 0 || is_syn {
            if ip_id == 0 && !is_syn {
                self.own.set(Half::RANDOM_ID);
            }
            self.own.ip_id = ip_id;
        } else if step > 0 && step < MAX_ID_STEP {
            self.own.ip_id = ip_id;
        } else if step == 0 || step <= -MAX_ID_STEP || step >= MAX_ID_STEP {
            self.own.set(Half::RANDOM_ID);
        }
    }
}
