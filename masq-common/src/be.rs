//! Addresses and transport identifiers as they stand in a packet.
//!
//! Both types hold the bytes in network order, so that the kernel programs compare and copy them
//! without swapping. This is the only module that swaps bytes.

use bytemuck::{Pod, Zeroable};

/// An IPv4 address, network byte order in memory.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Pod, Zeroable)]
pub struct Addr(u32);

impl Addr {
    /// The address 0.0.0.0, which stands for "none".
    pub const NONE: Self = Self(0);

    /// From the four octets, in the order they are written.
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// From a word as it was loaded from a packet or a kernel structure.
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The word as it has to be stored into a packet or a kernel structure.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The four octets, in the order they are written.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// Whether this is 0.0.0.0.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl From<core::net::Ipv4Addr> for Addr {
    fn from(addr: core::net::Ipv4Addr) -> Self {
        Self::from_octets(addr.octets())
    }
}

impl From<Addr> for core::net::Ipv4Addr {
    fn from(addr: Addr) -> Self {
        addr.octets().into()
    }
}

impl core::fmt::Debug for Addr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&core::net::Ipv4Addr::from(*self), f)
    }
}

impl core::fmt::Display for Addr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&core::net::Ipv4Addr::from(*self), f)
    }
}

/// A TCP or UDP port, or the identifier of an ICMP query; network byte order in memory.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
pub struct Id(u16);

impl Id {
    /// The identifier 0.
    pub const ZERO: Self = Self(0);

    /// From the number as people write it.
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be())
    }

    /// The number as people write it.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From a word as it was loaded from a packet.
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }

    /// The word as it has to be stored into a packet.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }
}

impl core::fmt::Debug for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.get(), f)
    }
}

impl core::fmt::Display for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.get(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_and_numbers_survive_the_round_trip() {
        assert_eq!(Addr::from_octets([192, 168, 1, 10]).octets(), [192, 168, 1, 10]);
        assert_eq!(Id::new(0x1234).raw().to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(Id::from_raw(Id::new(53).raw()).get(), 53);
    }
}
