//! Feeds what the fuzzer invents to [`tcp_window_audit_fuzz::conversation`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcp_window_audit_fuzz::conversation(data));
