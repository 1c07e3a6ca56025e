//! What a shard remembers of a flow: the tracker's view of it, and what it showed.

use crate::conntrack::{Arrival, Keyed, Panel, Table, Track};
#[cfg(debug_assertions)]
use crate::conntrack::{CtState, Members, Opinions};
use crate::flow::{FlowAudit, Greeting};
#[cfg(debug_assertions)]
use crate::flow::{Observation, Sighted};
use crate::pipeline::slice::Stamp;
use crate::time::Timestamp;
use crate::tuple::FlowKey;

/// A flow while the tracker remembers it. The order of the fields is that in memory: a packet that
/// nothing is to be said of reads and writes these lines of the cache, and no other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    track: Track,
    pub(super) key: FlowKey,
    audit: FlowAudit,
    /// The bytes that the ledger has for it.
    pub(super) bytes: u32,
}

const _: () = assert!(size_of::<Option<Flow>>() == 384, "six lines of the cache");

impl Keyed for Flow {
    fn key(&self) -> &FlowKey {
        &self.key
    }

    #[inline]
    fn touch(&self) -> u64 {
        let [.., word] = self.key.words();
        word.wrapping_add(self.track.touch()).wrapping_add(self.audit.touch())
    }
}

impl Flow {
    pub(super) const fn new(key: FlowKey, track: Track, audit: FlowAudit) -> Self {
        Self { track, key, audit, bytes: 0 }
    }

    pub(super) const fn track(&self) -> &Track {
        &self.track
    }

    pub(super) const fn audit(&self) -> &FlowAudit {
        &self.audit
    }

    /// Returns both parts for changing: from now on they may not be in step.
    #[inline]
    pub(super) const fn open(&mut self) -> (&mut Track, &mut FlowAudit) {
        self.audit.fall_out_of_step();
        (&mut self.track, &mut self.audit)
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
        let mut before = (self.track.clone(), self.audit.clone());
        let is_next = self.audit.take_next(ts, arrival, &mut self.track, panel);
        #[cfg(debug_assertions)]
        if is_next {
            take_the_long_way(&mut before, ts, arrival, panel);
            assert_eq!((self.track.entry(), &self.audit), (before.0.entry(), &before.1));
        }
        is_next
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
        let mut before = (self.track.clone(), self.audit.clone());
        let Self { track, audit, .. } = self;
        let ts = stamp.ts;
        let is_taken = match kind {
            Greeting::SynAck => audit.take_syn_ack(ts, stamp.vantage(), arrival, track, panel),
            Greeting::Ack | Greeting::Data if audit.is_in_step() => {
                audit.take_first_answer(ts, arrival, track, panel)
            }
            Greeting::Ack => {
                let is_answer = audit.take_first_ack(ts, arrival, track, panel);
                if is_answer {
                    audit.step_with(track, panel);
                }
                is_answer
            }
            Greeting::Syn | Greeting::Data => false,
        };
        #[cfg(debug_assertions)]
        if is_taken {
            take_the_longest_way(&mut before, stamp, arrival, panel);
            assert_eq!((self.track.entry(), &self.audit), (before.0.entry(), &before.1));
        }
        is_taken
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
        #[cfg(debug_assertions)]
        {
            let fresh = FlowAudit::new(stamp.number, stamp.ts, arrival);
            let mut before = (Track::default(), fresh);
            take_the_longest_way(&mut before, stamp, arrival, panel);
            assert_eq!((track.entry(), &audit), (before.0.entry(), &before.1));
        }
        let bytes = u32::try_from(FLOW_BYTES).unwrap_or(u32::MAX);
        Some(Self { track, key, audit, bytes })
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
    (track, audit): &mut (Track, FlowAudit),
    ts: Timestamp,
    arrival: &Arrival<'_>,
    panel: &Panel,
) {
    let mut opinions = Opinions::default();
    assert!(audit.is_regular(ts, arrival), "{arrival:?} is not the next one of {audit:?}");
    let verdict = track.judge(arrival, panel, &mut opinions);
    assert!(verdict.is_silent() && opinions.is_unanimous(), "{verdict:?} on {arrival:?}");
    audit.carry_on(ts, arrival);
}

/// Takes a segment of which nothing is to be said, as any of which something is.
#[cfg(debug_assertions)]
fn take_the_longest_way(
    (track, audit): &mut (Track, FlowAudit),
    stamp: &Stamp,
    arrival: &Arrival<'_>,
    panel: &Panel,
) {
    let mut opinions = Opinions::default();
    audit.fall_out_of_step();
    if audit.may_be_copy(arrival.segment) {
        let seen = audit.sight(stamp.number, (stamp.ts, stamp.vantage()), arrival, None);
        assert_eq!(seen, Sighted::Here, "{arrival:?}");
    }
    let verdict = track.judge(arrival, panel, &mut opinions);
    let is_syn = Greeting::of(arrival.segment) == Some(Greeting::Syn);
    assert!(verdict.reason.is_none() && opinions.is_unanimous(), "{verdict:?} on {arrival:?}");
    assert!(verdict.opened == is_syn && verdict.state.is_some(), "{verdict:?} on {arrival:?}");
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
    audit.step_with(track, panel);
}
