//! Fragments: what tells a datagram's fragments from all others, and what is done to them.
//!
//! Only the first fragment has ports. What was done to it is remembered under its [`Datagram`] and
//! done to the later ones.

use bytemuck::{Pod, Zeroable};

use crate::{
    be::{Addr, Id},
    checksum::Delta,
    flow::{FlowKey, Tuple},
    time::{Span, Tick},
};

/// A fragmented datagram (RFC 791: these four tell its fragments from all others), as received.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct Datagram {
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// IP identification, as loaded from the packet.
    pub identification: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Padding, zero.
    pub zero: u8,
}

/// How long a first fragment is remembered: identifications come round again.
pub const MEMORY: Span = Span::from_secs(5);

/// What is done to the fragments of a datagram.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Translation {
    /// The datagram: its own key, since an entry may be given to another one at any moment.
    pub datagram: Datagram,
    /// Source address to leave with.
    pub source: Addr,
    /// Destination address to leave with.
    pub destination: Addr,
    /// Difference of addresses and identification, for the IP checksum ([`Delta::raw`]).
    pub delta: u16,
    /// Identification to leave with, as stored into the packet.
    pub identification: u16,
    /// When the first fragment passed.
    pub seen: Tick,
    /// Source port or ICMP identifier of the first fragment, as received.
    pub source_id: Id,
    /// Destination port or ICMP identifier of the first fragment, as received.
    pub destination_id: Id,
}

impl Translation {
    /// Nothing is done to them: they are the router's own.
    #[inline(always)]
    pub const fn own(datagram: Datagram, seen: Tick) -> Self {
        let Datagram { source, destination, identification, .. } = datagram;
        let delta = Delta::ZERO.raw();
        let (source_id, destination_id) = (Id::ZERO, Id::ZERO);
        Self {
            datagram,
            source,
            destination,
            delta,
            identification,
            seen,
            source_id,
            destination_id,
        }
    }

    /// What the session of the datagram is found by.
    #[inline(always)]
    pub const fn key(&self) -> FlowKey {
        let Datagram { source, destination, protocol, .. } = self.datagram;
        let (source_id, destination_id) = (self.source_id, self.destination_id);
        Tuple { source, destination, source_id, destination_id }.key(protocol)
    }

    /// Whether the datagram goes from the inside to the inside, so that a second session changes what
    /// the first one has made of it.
    #[inline(always)]
    pub fn is_hairpin(&self) -> bool {
        self.source != self.datagram.source && self.destination != self.datagram.destination
    }

    /// Whether the fragments are the router's own.
    #[inline(always)]
    pub fn is_own(&self) -> bool {
        self.destination == self.datagram.destination && self.source == self.datagram.source
    }
}
