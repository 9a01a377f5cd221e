//! What the kernel programs tell the daemon through the ring buffer.

use bytemuck::{Pod, Zeroable};

use crate::{flow::Tuple, reason::Reason};

/// One record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Event {
    /// When, in ns of CLOCK_MONOTONIC (plus the test offset).
    pub nanos: u64,
    /// Packets from inside, of a closed session.
    pub packets_out: u64,
    /// Bytes from inside, of a closed session.
    pub bytes_out: u64,
    /// Packets from outside, of a closed session.
    pub packets_in: u64,
    /// Bytes from outside, of a closed session.
    pub bytes_in: u64,
    /// How long a closed session lived, in ms.
    pub age_ms: u64,
    /// Inside to remote, as received from the inside.
    pub inside: Tuple,
    /// External to remote, as sent to the outside; zero if there was no translation.
    pub outside: Tuple,
    /// A [`Reason`] as a number: what happened.
    pub reason: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Index of the WAN.
    pub wan: u8,
    /// Why a session was closed: a [`CloseCause`] as a number.
    pub cause: u8,
    /// Padding, zero.
    pub zero: [u8; 4],
}

impl Event {
    /// What happened, if this version knows the number.
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason)
    }

    /// From the bytes of a ring buffer record; `None` if the length is not that of a record.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytemuck::try_pod_read_unaligned(bytes).ok()
    }
}

/// Why a session was removed.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CloseCause {
    /// Its timer ran out.
    #[default]
    Expired = 0,
    /// Its external address is no longer the WAN's.
    AddressLost = 1,
    /// The user removed it.
    Flushed = 2,
}

impl CloseCause {
    /// From its number; anything unknown is an expiry.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::AddressLost,
            2 => Self::Flushed,
            _ => Self::Expired,
        }
    }

    /// The cause in one or two words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::AddressLost => "address_lost",
            Self::Flushed => "flushed",
        }
    }
}

/// Head of the data that the daemon gives to the `retire` program; [`FlowKey`]s follow, of either
/// half, [`RetireRequest::MAX_KEYS`] at most.
///
/// [`FlowKey`]: crate::flow::FlowKey
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct RetireRequest {
    /// Number of keys that follow.
    pub count: u32,
    /// A [`CloseCause`] as a number. `Expired` removes a session only if it really has expired.
    pub cause: u8,
    /// Padding, zero.
    pub zero: [u8; 11],
}

impl RetireRequest {
    /// Keys that fit into one run: the kernel takes a little less than a page of test data.
    pub const MAX_KEYS: usize = 200;
}
