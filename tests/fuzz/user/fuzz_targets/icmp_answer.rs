//! The answer to a packet that was refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::slow::answer(bytes));
