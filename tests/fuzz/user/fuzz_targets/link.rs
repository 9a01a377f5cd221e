//! A link, as netlink describes it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| masq_fuzz::netlink::link(bytes));
