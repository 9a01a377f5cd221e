//! What an inside host has sent and received, in sessions that have ended. With what its living sessions
//! have counted it is exact, and nothing is counted twice on a packet's way.

use bytemuck::{Pod, Zeroable};

/// The sums of a host's ended sessions.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Account {
    /// How many sessions have ended.
    pub sessions: u64,
    /// Packets from inside.
    pub packets_out: u64,
    /// Bytes from inside, from the IP header on.
    pub bytes_out: u64,
    /// Packets from outside.
    pub packets_in: u64,
    /// Bytes from outside, from the IP header on.
    pub bytes_in: u64,
}

/// How many hosts have an account of their own, more than a /16 has; the others share one.
pub const HOSTS: usize = 1 << 17;
