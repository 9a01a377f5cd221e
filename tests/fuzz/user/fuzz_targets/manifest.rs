//! The manifest of a data plane that outlives its daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::records::manifest(bytes));
