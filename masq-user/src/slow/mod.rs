//! The slow path: packets that the kernel programs cannot decide, resolved here and sent on.
//!
//! Two kinds come, through a ring buffer of their own: fragments that have overtaken the first one
//! of their datagram (RFC 4787 REQ-14), and first packets from the inside for which there was no
//! room (RFC 5508 REQ-8). Nothing that a session exists for ever comes here, and everything that
//! is kept is bounded in number and time: a flood costs those who send it.
//!
//! Reading order; all but the last two are pure, and take any bytes:
//!
//! 1. [`ip`]: an IPv4 packet whose header can be trusted.
//! 2. [`fragment`]: a fragment made to leave like the first one of its datagram.
//! 3. [`lot`]: where fragments wait for it.
//! 4. [`refused`]: where first packets wait for the sweeper.
//! 5. [`icmp`], [`rate`]: the answer to whoever is refused, and how often.
//! 6. [`handler`]: what is done with a record.
//! 7. Sending: [`socket`].
//! 8. [`service`]: reading the ring buffer, and the time.

pub mod fragment;
pub mod handler;
pub mod icmp;
pub mod ip;
pub mod lot;
pub mod rate;
pub mod refused;
pub mod service;
pub mod socket;
