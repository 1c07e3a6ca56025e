//! How full the connection table would be: the story of a DNS server, and what a real kernel counts.

mod dns;
mod full;
mod half_full;
#[cfg(target_os = "linux")]
mod live;
mod story;
mod traffic;
