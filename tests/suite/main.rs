#![allow(missing_docs, reason = "test code")]

#[cfg(target_os = "linux")]
mod kernel;
