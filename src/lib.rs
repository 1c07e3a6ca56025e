//! Audits packet captures as a strict Linux `nf_conntrack` would judge them.
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
//! * [`diagnose`]: from the facts of a run to causes, how sure they are, and what to do.
//! * [`pipeline`]: batches, shards, threads.
//! * [`partial`]: parts of a run over several machines, as files.
//! * [`anonymize`]: an audit that can be handed on.
//! * [`report`]: an audit to bytes, one file a format; it computes nothing.
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

pub mod anonymize;
pub mod audit;
pub mod conntrack;
pub mod diagnose;
pub mod flow;
pub mod frame;
pub mod kernel;
pub mod occupancy;
pub mod partial;
pub mod pipeline;
pub mod report;
pub mod segment;
pub mod seq;
pub mod source;
pub mod time;
pub mod tuple;
pub mod wire;
