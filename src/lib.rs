//! Audits packet captures as a strict Linux `nf_conntrack` would judge them.
//!
//! What the program finds, how it is used and how far it can be trusted is told by the [`guide`]; this
//! page tells how it is built.
//!
//! A pure model of the kernel's connection tracker stands in the middle. Captures come in on one
//! side, reports go out on the other, a pipeline joins them.
//!
//! ```text
//!  file                              per shard, in capture order               one writer
//!  ──────────────┐                   ┌──────────────────────────────┐
//!  source::Batch ├─► wire::decode ──►│ FlowKey → Flow {             │─► audit::Audit ─► report
//!  (bytes, time) │   Segment, or     │   conntrack::Track → Verdict │
//!                │   Undecodable     │   flow::FlowAudit }          │
//! ```
//!
//! # Parts, from the bottom
//!
//! * [`seq`], [`time`], [`segment`], [`mod@tuple`], [`frame`]: the small words that everything speaks.
//! * [`conntrack`]: the model. A segment and a time go in, a verdict comes out; which kernel and
//!   which settings judge is a set of named features. To change a rule, start at
//!   [`conntrack::entry::judge`], which holds the order of the tests.
//! * [`wire`]: bytes to a segment, or to the reason why there is none.
//! * [`source`]: capture files to batches of frames.
//! * [`flow`]: what one flow showed.
//! * [`audit`]: all flows and totals of a run, mergeable.
//! * [`occupancy`]: how many entries the tracker's table holds, and what would relieve it.
//! * [`diagnose`]: from the facts of a run to causes, how sure they are, and what to do.
//! * [`pipeline`]: batches, shards, threads.
//! * [`partial`]: parts of a run over several machines, as files.
//! * [`anonymize`]: an audit that can be handed on.
//! * [`report`]: an audit to bytes, one file a format; it computes nothing.
//! * [`kernel`]: the real tracker, asked packet by packet: the oracle of the tests, and `verify`.
//! * The program, a crate of its own: `cli` (all that knows clap), `main`, `output`, `live`, `verify`.
//!
//! Dependencies point one way, and a test keeps it so: `conntrack` knows no file, clock or thread,
//! `source` no TCP, `report` no capture.
//!
//! # Four decisions
//!
//! * **Verdict = the kernel's.** For a chosen kernel and settings, verdict, reason and state are
//!   those of the real kernel, which is the oracle of the tests.
//! * **Measure, then judge.** The window check gives signed distances to its four bounds
//!   ([`conntrack::Margins`]); a policy turns them into a verdict. A decision records the features
//!   that it asked for, so that one history serves every policy that agrees on them
//!   ([`conntrack::Track`]).
//! * **Bounded memory.** Flows leave memory when the tracker would have forgotten them; a clean flow
//!   leaves only its numbers.
//! * **Deterministic.** The same bytes give the same report, for any number of threads.
//!
//! # To change a rule
//!
//! Say, a kernel begins to let a certain RST pass.
//!
//! 1. *Find the rule.* [`conntrack::entry::judge`] holds the order of the tests; each is named after
//!    what it does and cites the function of the kernel that it models: `reset.rs` for resets,
//!    [`conntrack::window`] for the four bounds, [`conntrack::state`] for the table of transitions.
//! 2. *Write down what the kernel does.* A conversation in `testdata/scenarios`, one claim a file, in
//!    packetdrill's notation, with the verdicts that the kernel gave, not those expected. As root
//!    `tcp-window-audit verify` asks the running kernel about a capture of it.
//!    `cargo test --test suite scenarios` must fail now.
//! 3. *Is it so in all kernels?* If not, it is a [`conntrack::Feature`]: a name in
//!    `conntrack/policy.rs`, a row in the matrix of `conntrack/profile.rs` that says which kernels have
//!    it, a higher [`conntrack::Profile::DATA_VERSION`]. The rule asks `choices.has(Feature::…)`: from
//!    there on forks and what-if tables know of it.
//! 4. *Change the rule.* Decide first, apply after. Distances to bounds are measured before anything
//!    is said of them, so that all kernels have the same [`conntrack::Margins`]. The commonest segments
//!    take short ways, `ordinary.rs`, `steady.rs` and `greeting.rs`, which must say the same: take out of
//!    them what the rule touches. Builds with debug assertions compare each with the long way.
//! 5. *Explain it.* A new [`conntrack::Reason`] has words in `conntrack/verdict.rs` and a text in
//!    `diagnose/explain.rs`; the compiler asks for both.
//! 6. *See what changed.* `cargo test --test suite`; where a kept report differs and should,
//!    `UPDATE_EXPECT=1` writes it anew, and `git diff` shows it. As root the same tests ask the live
//!    kernel about thousands of hostile packets.
//!
//! A cause is changed in its file below `diagnose/causes`, which holds what is known of it, how facts
//! are searched for it, its score and its remedies.
//!
//! # As a library
//!
//! With `default-features = false` nothing is built that only the program needs, 45 crates instead of
//! 137; `gzip`, `zstd`, `lz4`, `xz` and `bzip2` each read such captures.
//!
//! The model and the analysis of a flow know no file, clock or thread: whatever makes a
//! [`segment::Segment`] can ask them. Here two policies judge at once:
//!
//! ```
//! use tcp_window_audit::conntrack::{
//!     Arrival, CtState, Opinions, Panel, Policy, Profile, Reason, Sysctls, Track,
//! };
//! use tcp_window_audit::segment::{Flags, Segment};
//! use tcp_window_audit::seq::SeqNum;
//! use tcp_window_audit::time::Timestamp;
//! use tcp_window_audit::tuple::Orientation;
//!
//! // The newest kernel with its defaults, and the same with nf_conntrack_tcp_be_liberal=1.
//! let sysctls = Sysctls::default();
//! let strict = Policy::new(Profile::DEFAULT, &sysctls);
//! let panel = Panel::new(vec![strict.features(), strict.liberal().features()], sysctls.limits);
//! let (mut track, mut opinions) = (Track::default(), Opinions::default());
//!
//! let plain = Segment { win: 1000, header_len: 20, ..Segment::default() };
//! let syn = Segment { flags: Flags::SYN, seq: SeqNum(99), ..plain };
//! let syn_ack = Segment { flags: Flags::SYN.with(Flags::ACK), ack: SeqNum(100), ..plain };
//! // Far beyond the 1000 bytes of window that the other side offers.
//! let beyond = Segment { flags: Flags::ACK, seq: SeqNum(9000), ack: SeqNum(1), len: 10, ..plain };
//!
//! let (there, back) = (Orientation::LowToHigh, Orientation::HighToLow);
//! let mut judge = |segment: &Segment, orientation, now| {
//!     let arrival = Arrival { segment, orientation, now: Timestamp(now) };
//!     let verdict = track.judge(&arrival, &panel, &mut opinions);
//!     (verdict, opinions.of(1, &verdict))
//! };
//! assert_eq!(judge(&syn, there, 0).0.ctstate, CtState::New);
//! assert_eq!(judge(&syn_ack, back, 1).0.ctstate, CtState::Established);
//! let (strict, liberal) = judge(&beyond, there, 2);
//! assert_eq!((strict.ctstate, strict.reason), (CtState::Invalid, Some(Reason::SeqOver)));
//! assert_eq!(liberal.ctstate, CtState::Established);
//! assert!(strict.margins.is_some_and(|margins| margins.seq_upper < 0));
//! ```
//!
//! `tests/examples/by_hand.rs` (`cargo run --example by_hand`) feeds a whole conversation to the
//! tracker and to [`flow::FlowAudit`]. Frames of a capture come from [`source::open`], and
//! [`wire::decode`] makes segments of them:
//!
//! ```no_run
//! use tcp_window_audit::frame::Batch;
//! use tcp_window_audit::source::{self, FrameSource, Timeline};
//! use tcp_window_audit::wire::{self, Decoded};
//!
//! let mut source = source::open("capture.pcap".as_ref(), Timeline::default())?;
//! let mut batch = Batch::default();
//! while source.fill(&mut batch)? {
//!     for frame in batch.frames(0..batch.len()) {
//!         if let Decoded::Segment(packet) = wire::decode(&frame) {
//!             let (from, to) = packet.key.endpoints(packet.orientation);
//!             println!("{from} > {to} {}", packet.segment.flags.letters());
//!         }
//!     }
//! }
//! # Ok::<(), source::Error>(())
//! ```
//!
//! # What is stable
//!
//! Versions are semantic. The interface of the program is its options, exit statuses, the lines of
//! `--verdicts`, and the reports for machines by their schema. That of the library is [`seq`],
//! [`time`], [`segment`], [`mod@tuple`], [`frame`], [`conntrack`], [`flow`], [`source::open`] and
//! [`wire::decode`]: what judges and describes without knowing why it is asked; the short ways in it
//! (`take_…`, `step_with`, [`conntrack::Headway`]) are for the pipeline, and may change. What may grow is
//! `non_exhaustive`: reasons, features, kinds of error. The other modules are public because the
//! program, its tests and its benches are crates of their own; they may change with any minor version.
//! What a kernel does is not a matter of versions: where the model was wrong, verdicts change with the
//! next patch.

pub mod anonymize;
pub mod audit;
pub mod conntrack;
pub mod diagnose;
pub mod flow;
pub mod frame;
pub mod guide;
pub mod kernel;
mod memory;
pub mod occupancy;
pub mod partial;
pub mod pipeline;
#[cfg(test)]
mod random;
pub mod report;
pub mod segment;
pub mod seq;
pub mod source;
pub mod time;
pub mod tuple;
pub mod wire;
