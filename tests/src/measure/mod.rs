//! Measuring: packet rates with frames from the kernel, TCP throughput with sockets, for several
//! kinds of router in turn.
//!
//! 1. [`mod@line`]: host, router and remote in a row, with nothing else between them.
//! 2. [`contender`]: what the router does: forward, masquerade, or masq.
//! 3. [`frames`]: generator and sink, kernel programs of their own.
//! 4. [`rate`]: packets a second through a router, for a number of established flows.
//! 5. [`throughput`]: bytes a second over TCP.
//! 6. [`series`]: the median of what was measured several times.

pub mod contender;
pub mod frames;
pub mod line;
pub mod rate;
pub mod series;
pub mod throughput;
