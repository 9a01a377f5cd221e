//! An answer on the control socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::control::answer(bytes));
