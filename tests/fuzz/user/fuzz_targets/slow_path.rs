//! The slow path of the daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::slow::handler(bytes));
