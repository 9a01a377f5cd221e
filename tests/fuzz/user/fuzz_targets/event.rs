//! A record of what the programs report.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::records::event(bytes));
