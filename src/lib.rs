//! Audits packet captures as a strict Linux `nf_conntrack` would judge them.

pub mod conntrack;
pub mod frame;
pub mod segment;
pub mod seq;
pub mod source;
pub mod time;
pub mod tuple;
pub mod wire;
