//! How full the kernel's connection table would be: entries over time, what they are, whether they
//! fit, and what would relieve it.
//!
//! # Parts
//!
//! * [`series`]: counts over time, bounded in memory and mergeable.
//! * [`Occupancy`]: entries by protocol, counted in every run.
//! * [`life`]: each entry's life, recorded when the table is asked for.
//! * [`Capacity`]: how much the table holds, and what that costs.
//! * [`simulation`]: what a full table would have refused.
//! * [`Assessment`]: all of it put together, for reports.
//!
//! An entry counts from the packet that made it until it expires or is deleted, on the capture's
//! clock. Entries that were there before the capture and sent no packet are unknown.
//!
//! Does not: track packets, or read a capture.

mod assessment;
mod capacity;
mod count;
mod demand;
pub mod life;
mod relief;
pub mod series;
mod service;
pub mod simulation;

pub use assessment::{Assessment, Basis, Moment, Peak, Served, Share};
pub use capacity::{Capacity, Origin, SLOT_BYTES};
pub use count::{Group, Occupancy, Reading};
pub use demand::Demand;
pub use life::{After, Course, Life, Lives, Phase, Watched};
pub use relief::{Change, Relief, Timeout, shorter};
pub use series::Series;
pub use service::{Prefix, Service};
pub use simulation::{Outcome, Refused};
