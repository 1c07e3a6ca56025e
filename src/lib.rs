//! Audits packet captures as a strict Linux `nf_conntrack` would judge them.

pub mod audit;
pub mod conntrack;
pub mod flow;
pub mod frame;
pub mod pipeline;
pub mod report;
pub mod segment;
pub mod seq;
pub mod source;
pub mod time;
pub mod tuple;
pub mod wire;
