//! The 5-tuple of a packet as it was received: what sessions are looked up by.

use bytemuck::{Pod, Zeroable};

use crate::be::{Addr, Id};

/// Number of no protocol of IPv4: it is that of an option of IPv6 (hop-by-hop). A place of the session table
/// where no half lies has it.
pub const NONE: u8 = 0;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of IGMP.
pub const IGMP: u8 = 2;
/// IP protocol number of DCCP.
pub const DCCP: u8 = 33;
/// IP protocol number of the authentication header of IPsec.
pub const AH: u8 = 51;
/// IP protocol number of UDP-Lite.
pub const UDP_LITE: u8 = 136;

/// Whether sessions of a protocol have ports or identifiers of their own. Of all others only the
/// addresses are translated (RFC 2663 section 4.1.1), one inside host for each remote one.
#[inline(always)]
pub const fn has_ids(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | ICMP)
}

/// Whether a packet of this protocol can be translated at all: the authentication header signs the
/// addresses, IGMP is between neighbours only, and [`NONE`] is nobody's.
#[inline(always)]
pub const fn is_translatable(protocol: u8) -> bool {
    !matches!(protocol, NONE | AH | IGMP)
}

/// Where in its header a protocol has a checksum that covers the addresses, if it has one.
#[inline(always)]
pub const fn pseudo_checksum(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP | UDP_LITE | DCCP => Some(6),
        _ => None,
    }
}

/// Source and destination of a packet, without the protocol.
///
/// An ICMP query has one identifier, which stands in the place that belongs to the side that
/// chose it: in `source_id` of a request, in `destination_id` of a reply; the other one is 0.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct Tuple {
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// Source port or ICMP request identifier.
    pub source_id: Id,
    /// Destination port or ICMP reply identifier.
    pub destination_id: Id,
}

impl Tuple {
    /// The tuple of the packets that answer packets of this one.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_id: self.destination_id,
            destination_id: self.source_id,
        }
    }

    /// With the protocol: the key of the session table.
    #[inline(always)]
    pub const fn key(self, protocol: u8) -> FlowKey {
        FlowKey { tuple: self, protocol, zero: 0, zeros: 0 }
    }
}

/// Key of the session table: a tuple as received, and its protocol.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct FlowKey {
    /// Source and destination as received.
    pub tuple: Tuple,
    /// IP protocol number. Of a protocol without ports or identifiers ([`has_ids`]), both are 0.
    pub protocol: u8,
    /// Padding, always zero: it is part of the [words](FlowKey::words). Two integers, because the compiler
    /// would clear an array of three bytes by a call of a function.
    pub zero: u8,
    /// The rest of it.
    pub zeros: u16,
}

impl FlowKey {
    /// The key in two numbers, which take two registers: addresses, and the rest.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 2] {
        let Tuple { source, destination, source_id, destination_id } = self.tuple;
        let addresses = source.raw() as u64 | (destination.raw() as u64) << 32;
        let ids = source_id.raw() as u64 | (destination_id.raw() as u64) << 16;
        [addresses, ids | (self.protocol as u64) << 32]
    }

    /// The key of the packets that answer.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        self.tuple.reversed().key(self.protocol)
    }
}
