//! Properties of the pure NAT logic, checked on random input. What is true of a single example
//! stands in the unit tests next to the code.
//!
//! `packet` holds the oracle: whole packets whose checksums are computed in full, by code that
//! shares nothing with `masq_common::checksum`.

mod checksum;
mod event;
mod packet;
mod ports;
mod session;
mod slots;
mod tcp;
mod time;
