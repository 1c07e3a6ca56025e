#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_in_result,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "test code, in which a panic is a failed test"
)]
//! The tests that work through data: conversations, captures, golden files.

mod accounting;
mod behaviour;
mod bench;
mod browser;
mod capture_writer;
mod captures;
mod causes;
mod checksums;
mod clocks;
mod compatibility;
mod confined;
mod conversation;
mod corpus;
mod diagnoses;
mod diagnosis;
mod docs;
mod emulated;
mod evidence;
mod filter;
mod follow;
mod forgotten;
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod gate;
mod generate;
mod hostile;
mod incident;
#[cfg(target_os = "linux")]
mod kernel;
mod live;
mod machines;
mod merged;
mod netlink;
mod notrack;
mod outputs;
mod packaging;
mod page;
mod parts;
mod pieces;
mod pipeline;
mod privacy;
mod program;
mod recipes;
mod recorded;
mod recorded_kernels;
mod reports;
mod scenario;
mod scenarios;
mod sightings;
mod source;
mod source_captures;
mod source_compressed;
mod source_damaged;
mod table;
mod tidy;
mod truth;
mod tunnels;
mod untrusted;
mod wire;
mod wireshark;
