//! A record of the slow path.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::records::slow(bytes));
