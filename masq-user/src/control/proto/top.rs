//! What `masq top` asks for and gets: looks at the session table, with what each session and host has
//! sent since the look before.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{super::filter::Filter, Session};

/// What is to be looked at, again and again until the client hangs up.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct TopQuery {
    /// Only sessions that match, also in the sums of hosts.
    pub filter: Filter,
    /// How many sessions and hosts are wanted by each order: the daemon has its own bound.
    pub limit: u32,
    /// Milliseconds from look to look, if the daemon finds the time.
    pub interval_ms: u32,
}

/// One look at the session table.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Top {
    /// Time since the look before; null in the first one, which knows no rates.
    pub elapsed_ms: Option<u64>,
    /// Bytes a second from inside, of all sessions whether they match or not.
    pub rate_out: u64,
    /// Bytes a second from outside, of all sessions.
    pub rate_in: u64,
    /// Sessions that match.
    pub matched: u64,
    /// Halves of sessions that were not remembered, because there are too many: what they have sent is
    /// in no rate.
    pub not_remembered: u64,
    /// Sessions of hosts that were not summed, because there are too many.
    pub not_summed: u64,
    /// Those with the highest rates, those with most bytes and the youngest; by rate.
    pub sessions: Vec<TopSession>,
    /// Those with the highest rates, most bytes and most sessions; by rate.
    pub hosts: Vec<TopHost>,
}

/// A session and what it sends.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TopSession {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// Bytes a second from inside.
    pub rate_out: u64,
    /// Bytes a second from outside.
    pub rate_in: u64,
}

/// An inside host: the sum of its sessions that match.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopHost {
    /// Its address.
    pub address: Ipv4Addr,
    /// How many.
    pub sessions: u64,
    /// Bytes from inside, of sessions that still live.
    pub bytes_out: u64,
    /// Bytes from outside, of sessions that still live.
    pub bytes_in: u64,
    /// Bytes a second from inside.
    pub rate_out: u64,
    /// Bytes a second from outside.
    pub rate_in: u64,
}
