//! The phase of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::shared::tcp(bytes));
