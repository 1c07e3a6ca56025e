//! Feeds what the fuzzer invents to [`tcp_window_audit_fuzz::report`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcp_window_audit_fuzz::report(data));
