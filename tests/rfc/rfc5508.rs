//! RFC 5508: ICMP.

mod errors;
mod exhaustion;
mod network;
mod other;
mod queries;
