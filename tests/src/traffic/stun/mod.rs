//! NAT behaviour discovery using STUN (RFC 5780): the server, and the client that finds out from
//! behind a gateway what kind of NAT it is.
//!
//! [`wire`] is the format and knows no sockets; [`Server`] answers on two addresses and two ports;
//! [`Client`] asks, and draws the conclusions of RFC 5780 section 4. Only what that needs is here:
//! no authentication, no IPv6, no TCP, and requests are not repeated, since nothing is lost on the
//! way but what the gateway drops.

mod client;
mod server;
pub mod wire;

pub use client::{Answer, Behaviour, Client};
pub use server::{PORTS, Server};
