//! What hosts do on a network: transfers over HTTP, UDP questions and answers, pings, traceroutes,
//! and a STUN client that finds out what kind of NAT it is behind.
//!
//! Clients return what happened; servers are threads that end when their value is dropped. All of
//! it is plain sockets: nothing knows whether there is a gateway on the way.

pub mod echo;
pub mod http;
pub mod probe;
pub mod stun;
