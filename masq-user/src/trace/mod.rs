//! `masq trace`, the daemon's part: who traces, with which programs, and what their records say. How
//! it is told to a client is the business of [`crate::control::trace`].
//!
//! Tracing costs next to nothing while nobody does it: a constant is read twice for each packet, and not
//! acted on. The kernel object is loaded a second time, with the constant
//! [`TRACED`](masq_common::abi::TRACED) on and the same maps, and each hook gets its other program from
//! one packet to the next, as when a daemon takes over; at the end it gets the first one back. Both kinds
//! know the same sessions, so no packet notices.

mod filter;
mod packet;
mod programs;
mod tracer;

pub use self::{
    filter::{Wanted, reason},
    packet::passage,
    programs::{Recipe, Recording},
    tracer::{Exchange, Tracer, Tracing},
};
