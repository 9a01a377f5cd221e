//! What iptables-save prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::rules::iptables(bytes));
