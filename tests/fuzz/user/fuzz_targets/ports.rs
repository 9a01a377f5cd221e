//! The choice of a port.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::shared::ports(bytes));
