//! The model of the kernel's TCP connection tracker: a segment and a time go in, a verdict comes
//! out.
//!
//! # Parts
//!
//! * [`policy`]: which kernel and which settings judge, as a set of named features; [`profile`]
//!   lists the kernels.
//! * [`sysctl`]: the settings under their kernel names.
//! * [`state`]: the table of transitions between TCP states.
//! * [`window`]: the four bounds of the window check.
//! * [`entry`]: one connection, [`entry::judge`] the order of the tests.
//! * `repeats`, `expiry`: how often an acknowledgement was repeated, and the timeout of an entry.
//! * `known`: an entry that another tracker tells of.
//! * [`datagram`]: UDP, ICMP queries and other protocols.
//! * [`icmp`]: errors about a connection.
//! * `ordinary`: the short way for the segments that nearly all segments are.
//! * `steady`: the shortest way, for the next segment of a connection that runs steadily.
//! * `greeting`: the shortest way through a handshake by the book.
//! * [`track`]: one connection under several policies at once, forked only where they part.
//! * `members`: a set of policies.
//! * [`what_if`]: every kernel with every switch.
//! * [`table`]: finds connections.
//! * [`verdict`]: what is said of a packet.
//!
//! # Does not
//!
//! Know a file, a clock, a thread, a report or a link layer.

pub mod datagram;
pub mod entry;
mod expiry;
mod greeting;
pub mod icmp;
mod known;
mod members;
mod ordinary;
mod out_of_sync;
pub mod policy;
pub mod profile;
mod repeats;
mod reset;
pub mod state;
mod steady;
pub mod sysctl;
pub mod table;
pub mod track;
pub mod verdict;
pub mod what_if;
pub mod window;

pub use datagram::{DatagramArrival, DatagramEntry, DatagramKind, DatagramTimeouts};
pub use entry::{Arrival, Entry};
pub use icmp::ErrorArrival;
pub use known::Known;
pub use members::{MAX_POLICIES, Members};
pub use ordinary::judge_alone;
pub use policy::{Choices, Feature, Features, Limits, Setting, Timeouts};
pub use profile::Profile;
pub use repeats::Repeats;
pub use state::{Class, TcpState};
pub use steady::{Headway, Latest, Next, SideHeadway, Standing};
pub use sysctl::{Policy, SysctlError, Sysctls, TableSize};
pub use table::{Keyed, Table};
pub use track::{Opinions, Panel, Track};
pub use verdict::{CtState, Reason, Verdict};
pub use window::{Margins, Side, SideFlags};
