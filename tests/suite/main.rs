#![allow(missing_docs, reason = "test code")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "test code may fail at once"
)]

mod capture_writer;
mod source;
mod source_captures;
mod source_compressed;
mod wire;
