//! RFC 5382: TCP.

mod ends;
mod network;
mod opening;
mod timers;
