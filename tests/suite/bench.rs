//! Devices that spoil connections, between real kernels: each yields its diagnosis and no other as
//! confirmed, on whichever side it is captured.
//!
//! Hosts are network namespaces; the path between them, with its devices and capture points, is a
//! program of this bench; firewalls are real ones (`ct state invalid drop`). Needs root, `ip` and
//! `nft`; says so and is skipped otherwise.
//!
//! ```text
//! cargo test --test suite -- --ignored bench                        all devices; takes minutes
//! BENCH_CAPTURES=DIR cargo test --test suite -- --ignored bench     leaves the captures in DIR
//! UPDATE_EXPECT=1 cargo test --test suite -- --ignored bench        records those of testdata anew
//! ```
#![cfg(target_os = "linux")]

mod app;
mod cases;
mod device;
mod host;
mod judge;
mod kept;
mod packet;
mod path;
mod scene;
