//! RFC 4787: UDP.

mod filtering;
mod fragments;
mod hairpin;
mod icmp;
mod mapping;
mod timers;

pub use icmp::all_errors;
