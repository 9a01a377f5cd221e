//! What masq thinks: the pure logic of the NAT and every type that crosses the kernel boundary.
//!
//! The same code runs in the kernel programs, the daemon, the tests and the fuzzers. Nothing in
//! here reads a clock, touches a map or does I/O: time and randomness are arguments.
//!
//! Reading order, each module using only those above it:
//!
//! 1. [`be`]: addresses and ports in network byte order; the only place where bytes are swapped.
//! 2. [`checksum`]: one's-complement differences (RFC 1071, RFC 1624).
//! 3. [`time`]: the coarse clock of the data plane.
//! 4. [`flow`]: the 5-tuple that a packet is looked up by.
//! 5. [`tcp`]: the phase of a connection, derived from what both directions have sent.
//! 6. [`hop`]: next hops that sessions remember; [`link`]: what lies below the interfaces.
//! 7. [`session`]: one direction of a session, with its finished rewrite; [`table`]: where it lies.
//! 8. [`mapping`]: endpoint-independent mappings and who owns an external port.
//! 9. [`ports`]: which external port to try next.
//! 10. [`fragment`]: what is done to the fragments of a datagram.
//! 11. [`icmp`]: which ICMP messages are queries, which are errors.
//! 12. [`reason`]: every way a packet can end.
//! 13. [`settings`]: what the daemon tells the programs: policy, timers, devices, prefixes.
//! 14. [`event`]: what the programs tell the daemon.
//! 15. [`slow`]: packets that the programs give to the daemon.
//! 16. [`trace`]: packets before and after, for `masq trace`.
//! 17. [`abi`]: names of maps and programs, and the layout version.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod account;
pub mod be;
pub mod checksum;
pub mod event;
pub mod flow;
pub mod fragment;
pub mod hop;
pub mod icmp;
pub mod link;
pub mod mapping;
pub mod mss;
pub mod ports;
pub mod reason;
pub mod session;
pub mod settings;
pub mod slow;
pub mod table;
pub mod tcp;
pub mod time;
pub mod trace;
