//! What a shard remembers of a flow: the tracker's view of it, and what it showed.

use std::ops::Range;

use crate::conntrack::{Arrival, Keyed, Panel, Table, Track};
#[cfg(debug_assertions)]
use crate::conntrack::{CtState, Members, Opinions};
use crate::flow::{FlowAudit, Greeting};
#[cfg(debug_assertions)]
use crate::flow::{Observation, Sighted};
use crate::memory::{LINE, bring};
use crate::pipeline::recorder::RecordId;
use crate::pipeline::slice::Stamp;
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// A flow while the tracker remembers it. The order of the fields is that in memory: a packet that
/// nothing is to be said of reads and writes the lines of the cache from the second to the fifth, in
/// which the timer of the entry is, the key, and the first part of the analysis.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    track: Track,
    pub(super) key: FlowKey,
    /// The bytes that the ledger has for it.
    pub(super) bytes: u32,
    /// Where its entry is recorded, when that is wanted.
    pub(super) record: RecordId,
    audit: FlowAudit,
}

const _: () = assert!(size_of::<Option<Flow>>() == 384, "six lines of the cache");

impl Keyed for Flow {
    fn key(&self) -> &FlowKey {
        &self.key
    }
}

impl Flow {
    /// The lines of the cache that a packet needs of which nothing is to be said.
    pub(super) const EVERYDAY: Range<usize> = 1..5;

    /// Asks for the other lines.
    #[inline]
    pub(super) fn bring_rest(&self) {
        bring(self, 0..Self::EVERYDAY.start);
        bring(self, Self::EVERYDAY.end..size_of::<Self>() / LINE);
    }

    pub(super) const fn new(key: FlowKey, track: Track, audit: FlowAudit) -> Self {
        Self { track, key, audit, bytes: 0, record: RecordId::NONE }
    }

    /// Returns when the tracker's entry expires, if there is one.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.track.entry().map(|entry| entry.expires)
    }

    /// Returns the tracker's view, brought up to date.
    pub(super) fn track(&mut self) -> &Track {
        self.audit.bring_up(&mut self.track);
        &self.track
    }

    pub(super) const fn audit(&self) -> &FlowAudit {
        &self.audit
    }

    /// Returns both parts for changing: from now on they may not be in step.
    #[inline]
    pub(super) fn open(&mut self) -> (&mut Track, &mut FlowAudit) {
        self.audit.fall_out_of_step(&mut self.track);
        (&mut self.track, &mut self.audit)
    }

    /// Returns the analysis of a flow that ends: nobody asks the tracker's view of it any more.
    pub(super) const fn last_account(&mut self) -> &mut FlowAudit {
        self.audit.outlive_tracker();
        &mut self.audit
    }

    /// Finds out whether tracker and analysis are in step.
    #[inline]
    pub(super) fn compare(&mut self, panel: &Panel) {
        self.audit.step_with(&self.track, panel);
    }

    /// Takes the next segment of a flow that is in step; returns whether it was one, and leaves the flow
    /// as it is when not. Builds with debug assertions compare with what the long way makes of it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as the work")]
    pub(super) fn take_next(
        &mut self,
        ts: Timestamp,
        arrival: &Arrival<'_>,
        panel: &Panel,
    ) -> bool {
        #[cfg(debug_assertions)]
        let before = self.up_to_date();
        let is_next = self.audit.take_next(ts, arrival, &mut self.track, panel);
        #[cfg(debug_assertions)]
        if is_next {
            self.assert_is(take_the_long_way(before, ts, arrival, panel));
        }
        is_next
    }

    /// Takes the next segment of a flow whose entry may fall behind, as [`Self::take_next`] does; any
    /// other one leaves the flow as it is.
    #[inline]
    pub(super) fn run_on(&mut self, ts: Timestamp, arrival: &Arrival<'_>, panel: &Panel) -> bool {
        #[cfg(debug_assertions)]
        let before = self.up_to_date();
        let is_next = self.audit.run_on(ts, arrival, &mut self.track, panel);
        #[cfg(debug_assertions)]
        if is_next {
            self.assert_is(take_the_long_way(before, ts, arrival, panel));
        }
        is_next
    }

    /// Returns tracker and analysis, up to date and out of step.
    #[cfg(debug_assertions)]
    fn up_to_date(&self) -> (Track, FlowAudit) {
        out_of_step((self.track.clone(), self.audit.clone()))
    }

    /// Finds out that the flow is what another way has made of it.
    #[cfg(debug_assertions)]
    fn assert_is(&self, other: (Track, FlowAudit)) {
        let ((track, audit), (other_track, other_audit)) = (self.up_to_date(), out_of_step(other));
        assert_eq!((track.entry(), audit), (other_track.entry(), other_audit));
    }

    /// Takes a segment of a handshake by the book, or the first one of the side that was called; returns
    /// whether it was one, and leaves the flow as it is when not. Builds with debug assertions compare with
    /// what the long way makes of it.
    #[inline]
    pub(super) fn take_greeting(
        &mut self,
        kind: Greeting,
        stamp: &Stamp,
        arrival: &Arrival<'_>,
        panel: &Panel,
    ) -> bool {
        #[cfg(debug_assertions)]
        let before = self.up_to_date();
        let Self { track, audit, .. } = self;
        let ts = stamp.ts;
        let is_taken = match kind {
            Greeting::SynAck => audit.take_syn_ack((ts, stamp.vantage()), arrival, track, panel),
            Greeting::Refusal => audit.take_refusal(ts, arrival, track, panel),
            Greeting::Ack | Greeting::Data if audit.is_in_step() => {
                audit.take_first_answer(ts, arrival, track, panel)
            }
            Greeting::Ack => audit.take_first_ack(ts, arrival, track, panel),
            Greeting::Syn | Greeting::Data => false,
        };
        if is_taken && matches!(kind, Greeting::Ack | Greeting::Data) {
            self.compare(panel);
        }
        #[cfg(debug_assertions)]
        if is_taken {
            self.assert_is(take_the_longest_way(before, stamp, arrival, panel));
        }
        is_taken
    }

    /// Takes a segment that merely goes on in a flow that is not in step, or of which more is kept than its
    /// numbers; returns whether it was such, and leaves the flow as it is when not. Builds with debug
    /// assertions compare with what the long way makes of it.
    #[inline]
    pub(super) fn take_onward(
        &mut self,
        stamp: &Stamp,
        arrival: &Arrival<'_>,
        panel: &Panel,
    ) -> bool {
        #[cfg(debug_assertions)]
        let before = self.up_to_date();
        self.audit.bring_up(&mut self.track);
        let at = (stamp.number, stamp.ts);
        let is_onward = self.audit.take_onward(at, arrival, &mut self.track, panel);
        if is_onward {
            self.compare(panel);
            #[cfg(debug_assertions)]
            self.assert_is(take_the_longest_way(before, stamp, arrival, panel));
        }
        is_onward
    }

    /// Starts a flow with a SYN by the book, where that opens its entry. Builds with debug assertions
    /// compare with what the long way makes of it.
    #[inline]
    pub(super) fn greeted_by(
        key: FlowKey,
        stamp: &Stamp,
        arrival: &Arrival<'_>,
        panel: &Panel,
    ) -> Option<Self> {
        let track = Track::greeted_by(arrival, panel)?;
        let audit = FlowAudit::greeted_by(stamp.number, stamp.ts, stamp.vantage(), arrival);
        let bytes = u32::try_from(FLOW_BYTES).unwrap_or(u32::MAX);
        let flow = Self { track, key, audit, bytes, record: RecordId::NONE };
        #[cfg(debug_assertions)]
        {
            let fresh = FlowAudit::new(stamp.number, stamp.ts, arrival);
            let before = (Track::default(), fresh);
            flow.assert_is(take_the_longest_way(before, stamp, arrival, panel));
        }
        Some(flow)
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.over_at() <= now
    }

    pub(super) fn over_at(&self) -> Timestamp {
        self.audit.over_at(self.track.expires())
    }

    /// Returns the bytes that it takes, with all that hangs on it.
    pub(super) fn bytes_taken(&self) -> usize {
        FLOW_BYTES + self.track.heap_bytes() + self.audit.heap_bytes()
    }
}

/// The bytes that a clean flow takes, with its places in the index.
pub(super) const FLOW_BYTES: usize = size_of::<Option<Flow>>() + Table::<Flow>::INDEX_BYTES;

/// Takes a segment of which nothing is to be said as any other is taken.
#[cfg(debug_assertions)]
fn take_the_long_way(
    (mut track, mut audit): (Track, FlowAudit),
    ts: Timestamp,
    arrival: &Arrival<'_>,
    panel: &Panel,
) -> (Track, FlowAudit) {
    let mut opinions = Opinions::default();
    assert!(audit.is_regular(ts, arrival), "{arrival:?} is not the next one of {audit:?}");
    let verdict = track.judge(arrival, panel, &mut opinions);
    assert!(verdict.is_silent() && opinions.is_unanimous(), "{verdict:?} on {arrival:?}");
    audit.carry_on(ts, arrival);
    (track, audit)
}

/// Takes a segment of which nothing is to be said, as any of which something is.
#[cfg(debug_assertions)]
fn take_the_longest_way(
    (mut track, mut audit): (Track, FlowAudit),
    stamp: &Stamp,
    arrival: &Arrival<'_>,
    panel: &Panel,
) -> (Track, FlowAudit) {
    let mut opinions = Opinions::default();
    if audit.may_be_copy(arrival.segment) {
        let seen = audit.sight(stamp.number, (stamp.ts, stamp.vantage()), arrival, None);
        assert_eq!(seen, Sighted::Here, "{arrival:?}");
    }
    let verdict = track.judge(arrival, panel, &mut opinions);
    let is_syn = Greeting::of(arrival.segment) == Some(Greeting::Syn);
    let is_refusal = Greeting::of(arrival.segment) == Some(Greeting::Refusal);
    assert!(verdict.reason.is_none() && opinions.is_unanimous(), "{verdict:?} on {arrival:?}");
    assert_eq!(
        (verdict.opened, verdict.state.is_none()),
        (is_syn, is_refusal),
        "{verdict:?} on {arrival:?}"
    );
    let ctstate = if is_syn { CtState::New } else { CtState::Established };
    assert_eq!(verdict.ctstate, ctstate, "{verdict:?} on {arrival:?}");
    audit.observe(&Observation {
        frame: stamp.number,
        ts: stamp.ts,
        arrival: *arrival,
        verdict,
        liberal: ctstate,
        invalid_for: Members::default(),
    });
    (track, audit)
}

/// Brings a tracker up to date, and forgets what the analysis keeps for it.
#[cfg(debug_assertions)]
fn out_of_step((mut track, mut audit): (Track, FlowAudit)) -> (Track, FlowAudit) {
    audit.fall_out_of_step(&mut track);
    audit.forget_pace();
    (track, audit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{CtState, Feature, Limits, Members, Opinions, Profile, Setting};
    use crate::flow::Observation;
    use crate::random::Random;
    use crate::segment::{Flags, Options, SackBlock, Segment, TcpTimestamps};
    use crate::seq::SeqNum;
    use crate::tuple::{Orientation, TCP};

    const THERE: Orientation = Orientation::LowToHigh;
    const MSS: u32 = 1460;

    /// One end of a conversation.
    #[derive(Clone, Copy)]
    struct End {
        next: SeqNum,
        /// Where the bytes of one segment are missing.
        missing: Option<SeqNum>,
        scale: Option<u8>,
        window: u16,
        has_stamps: bool,
        ip_id: u16,
        ttl: u8,
    }

    impl End {
        fn new(random: &mut Random) -> Self {
            Self {
                next: SeqNum(random.of(&[1, 7000, u32::MAX, 1 << 31])),
                missing: None,
                scale: random.of(&[None, Some(0), Some(7), Some(7), Some(14), Some(200)]),
                window: random.of(&[501, 502, 8192, 64_240, 64_240, 65_535]),
                has_stamps: random.of(&[true, true, false]),
                ip_id: random.of(&[0, 0, 1, 500, 65_530]),
                ttl: random.of(&[64, 128, 1]),
            }
        }

        /// Makes the next segment that this end sends, more often by the book than not.
        fn send(
            &mut self,
            (flags, len): (u8, u32),
            other: &Self,
            clock: u32,
            random: &mut Random,
        ) -> Segment {
            let is_open = flags & 2 == 0;
            if is_open && random.seldom() {
                self.window = random.of(&[501, 502, 503, 8192, 64_240]);
            }
            let mends = self.missing.is_some() && random.of(&[true, false, false, false, false]);
            let again = self.missing.take_if(|_| mends);
            if is_open && !mends && self.missing.is_none() && random.seldom() {
                self.missing = Some(self.next);
                self.next = self.next.plus(MSS);
            }
            let mut segment = Segment {
                seq: again.unwrap_or(self.next),
                ack: other.missing.unwrap_or(other.next),
                len: if mends { MSS } else { len },
                win: self.window,
                flags: Flags(flags),
                header_len: 32,
                ip_id: self.ip_id,
                ttl: self.ttl,
                ..Segment::default()
            };
            let stamps = TcpTimestamps { value: clock, echo: clock.wrapping_sub(1) };
            segment.options.timestamps = self.has_stamps.then_some(stamps);
            if !is_open {
                let sack_permitted = random.of(&[true, true, false]);
                let (mss, wscale) = (Some(1460), self.scale);
                segment.options = Options { mss, wscale, sack_permitted, ..segment.options };
            }
            if let Some(missing) = other.missing
                && missing.plus(MSS) != other.next
            {
                let block = SackBlock { left: missing.plus(MSS), right: other.next };
                segment.options.sack.push(block);
            }
            if !mends {
                self.next = segment.end();
            }
            self.ip_id = self.ip_id.wrapping_add(u16::from(self.ip_id != 0));
            spoil(&mut segment, random);
            segment
        }
    }

    /// Changes something about a segment, seldom.
    fn spoil(segment: &mut Segment, random: &mut Random) {
        if random.seldom() {
            segment.seq = segment.seq.plus(random.of(&[1, 1000, 90_000, u32::MAX]));
        }
        if random.seldom() {
            segment.ack = segment.ack.plus(random.of(&[1, 1000, u32::MAX, 1 << 31]));
        }
        if random.seldom() {
            segment.win = random.of(&[0, 1, 512, 65_535]);
        }
        if random.seldom() {
            segment.flags = Flags(random.of(&[1, 2, 4, 16, 17, 18, 20, 24, 0]));
        }
        if random.seldom() {
            segment.ttl = random.of(&[1, 62, 63]);
        }
        if random.seldom() {
            segment.ip_id = random.of(&[0, 3, 40_000]);
        }
        if random.seldom() {
            segment.options.timestamps = random.of(&[None, Some(TcpTimestamps::default())]);
        }
        if random.seldom() {
            segment.header_len = 20;
        }
        if random.seldom() {
            let left = segment.ack.plus(100);
            segment.options.sack.push(SackBlock { left, right: left.plus(random.of(&[50, 5000])) });
        }
    }

    /// Takes a segment by the way it can go; returns which of those that are compared it was.
    fn take(flow: &mut Flow, stamp: &Stamp, arrival: &Arrival<'_>, panel: &Panel) -> usize {
        if flow.take_next(stamp.ts, arrival, panel) {
            return 0;
        }
        if let Some(kind) = Greeting::of(arrival.segment)
            && flow.audit.may_greet(arrival.orientation)
            && flow.take_greeting(kind, stamp, arrival, panel)
        {
            return kind as usize;
        }
        if flow.take_onward(stamp, arrival, panel) {
            return 5;
        }
        let (track, audit) = flow.open();
        let mut opinions = Opinions::default();
        if audit.may_be_copy(arrival.segment) {
            audit.sight(stamp.number, (stamp.ts, stamp.vantage()), arrival, None);
        }
        let verdict = track.judge(arrival, panel, &mut opinions);
        let is_other = verdict.is_invalid() || !opinions.is_unanimous();
        audit.observe(&Observation {
            frame: stamp.number,
            ts: stamp.ts,
            arrival: *arrival,
            verdict,
            liberal: if is_other { CtState::Established } else { verdict.ctstate },
            invalid_for: Members::default(),
        });
        flow.compare(panel);
        6
    }

    fn converse(panel: &Panel, random: &mut Random, ways: &mut [u32; 7]) {
        let mut ends = [End::new(random), End::new(random)];
        let mut ts = Timestamp(1_700_000_000_000_000_000);
        let mut flow: Option<Flow> = None;
        for number in 1..60_u64 {
            let opening = match number {
                1 => Some((0, 2)),
                2 => Some((1, random.of(&[18, 18, 18, 20]))),
                3 => Some((0, 16)),
                _ => None,
            };
            let (who, flags) = opening.unwrap_or_else(|| (random.of(&[0, 1, 1]), 16));
            let len = if opening.is_none() { random.of(&[0, 10, MSS, MSS]) } else { 0 };
            let other = ends[1 - who];
            let seconds = if random.seldom() { random.of(&[1, 3, 200]) } else { 0 };
            ts = ts.plus_nanos(random.of(&[10_000, 900_000, 40_000_000]) + seconds * 1_000_000_000);
            let clock = u32::try_from(ts.0 / 1_000_000 % (1 << 32)).unwrap();
            let segment = ends[who].send((flags, len), &other, clock, random);
            let orientation = if who == 0 { THERE } else { THERE.flip() };
            let arrival = Arrival { segment: &segment, orientation, now: ts };
            let stamp = Stamp { number, ts, clock: ts, interface: 0, part: 0 };
            if let Some(flow) = &mut flow {
                ways[take(flow, &stamp, &arrival, panel)] += 1;
                continue;
            }
            let key = FlowKey::of_v4(TCP, (1, 1), (2, 80)).0;
            let is_syn = Greeting::of(&segment) == Some(Greeting::Syn);
            let greeted = is_syn.then(|| Flow::greeted_by(key, &stamp, &arrival, panel)).flatten();
            let fresh = || Flow::new(key, Track::default(), FlowAudit::new(number, ts, &arrival));
            let is_greeted = greeted.is_some();
            let started = flow.insert(greeted.unwrap_or_else(fresh));
            if !is_greeted {
                take(started, &stamp, &arrival, panel);
            }
        }
    }

    /// Builds with debug assertions, as those of tests are, compare each of the short ways with the long
    /// one: here for conversations in which everything that they look at is odd now and then.
    #[test]
    fn each_short_way_does_what_the_long_way_does() {
        let (mut random, mut ways) = (Random(1), [0; 7]);
        let policies = Profile::all().chain([Profile::DEFAULT]).flat_map(|profile| {
            let loose = profile.features().with(Feature::Loose);
            [loose, loose.set(Feature::BeLiberal, Setting::On)]
        });
        let panel = Panel::new(policies.collect(), Limits::default());
        (0..3000).for_each(|_| converse(&panel, &mut random, &mut ways));
        assert!(ways.iter().all(|taken| *taken > 300), "{ways:?}");
    }
}
