//! Endpoint-independent mappings (RFC 4787 REQ-1) and who owns an external port.
//!
//! Two tables, read only when a session is created, retired or started from outside:
//!
//! * *Ports*, an array with one [`PortSlot`] for each external port of each WAN and protocol. A
//!   port belongs to whoever wins the compare-and-swap of its `state`, which counts the sessions
//!   of the mapping. Array slots are never reused for another key, so, unlike in a hash element,
//!   a count cannot be given to the wrong mapping: the generation in the same word tells.
//! * *Mappings*, a hash: inside endpoint to external port. A mapping that was made with the inside port, as most
//!   are, is not in it, but is found in the slot of that port ([`Owner::PRESERVED`]).
//!
//! Life of a slot: `free(g)` → reserved, owner written → `held(g+1, 1)` → more sessions count it up and down → the
//! last one goes: `retiring(g+1)`, the hash entry is removed if there is one, `free(g+1)`. A mapping whose slot is
//! not `held` with the mapping's generation is no longer valid.
//!
//! An inside endpoint has one mapping, although there are two places for it: who makes one locks the endpoint
//! ([`Making`]), and looks at the other place before it writes to its own.

use bytemuck::{Pod, Zeroable};

use crate::{
    be::{Addr, Id},
    flow::{ICMP, TCP, UDP},
    time::{Span, Tick},
};

/// Key of the hash of mappings: an inside endpoint, seen from one WAN.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct MappingKey {
    /// Inside address.
    pub address: Addr,
    /// Inside port or ICMP identifier.
    pub id: Id,
    /// IP protocol number: 1, 6 or 17.
    pub protocol: u8,
    /// Index of the WAN.
    pub wan: u8,
}

/// One word for all inside endpoints that have the same [index](Self::index): a lock, and how many of their
/// mappings are in the hash, so that most need not be looked for there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Making(pub u64);

impl Making {
    /// How many words there are, for the inside endpoints of all WANs. A power of two.
    pub const WORDS: u32 = 16_384;
    /// Somebody makes a mapping of one of them.
    pub const LOCKED: u64 = 1;
    /// An entry of the hash, or one that is just being made or removed.
    pub const LISTED: u64 = 2;

    /// The same, locked; `None` if it is already.
    #[inline(always)]
    pub const fn locked(self) -> Option<Self> {
        if self.0 & Self::LOCKED == 0 { Some(Self(self.0 | Self::LOCKED)) } else { None }
    }

    /// Whether one of the endpoints may be in the hash. If not, none is, for as long as the word is locked.
    #[inline(always)]
    pub const fn is_listed(self) -> bool {
        self.0 >= Self::LISTED
    }

    /// The word of an inside endpoint.
    #[inline(always)]
    pub const fn index(key: &MappingKey) -> u32 {
        let rest = (key.protocol as u32) << 24 | (key.wan as u32) << 16 | key.id.raw() as u32;
        // A product depends on what is below: so the address, whose last part is uppermost, once more.
        let whole = (key.address.raw() as u64) << 32 | rest as u64;
        let product = (whole ^ whole >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> (64 - Self::WORDS.trailing_zeros())) as u32
    }
}

/// Value of the hash of mappings: the external port of an inside endpoint.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Mapping {
    /// Generation of the port's slot when the mapping was made.
    pub generation: u32,
    /// External port or ICMP identifier.
    pub external: Id,
    /// Padding, zero.
    pub zero: u16,
}

/// One external port of one WAN and protocol.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct PortSlot {
    /// A [`SlotState`]; changed by compare-and-swap only.
    pub state: u64,
    /// The inside endpoint, while held ([`Owner`]); written by whoever has claimed the slot. When
    /// free, when it was given back ([`Rest`]), or 0.
    pub owner: u64,
}

/// When a port was given back, in the place of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rest(pub u64);

impl Rest {
    /// Tells it from a slot that was never used.
    const MARK: u64 = 1 << 63;

    /// Given back now.
    #[inline(always)]
    pub const fn since(now: Tick) -> Self {
        Self(Self::MARK | now.0 as u64)
    }

    /// Whether the port has been given back less than `quarantine` ago.
    #[inline(always)]
    pub fn goes_on(self, quarantine: Span, now: Tick) -> bool {
        self.0 & Self::MARK != 0 && now.since(Tick(self.0 as u32)) < quarantine
    }
}

/// Generation and number of sessions of a [`PortSlot`], packed into the word that is swapped.
///
/// Low half: 0 free, 1 just being made or removed, n + 1 held by n sessions. So a session is given
/// back by one atomic subtraction, which cannot fail, and the last one leaves 1 behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotState(pub u64);

impl SlotState {
    const RETIRING: u32 = 1;
    /// The highest session count of a mapping.
    pub const MAX_SESSIONS: u32 = u32::MAX - 1;

    const fn new(generation: u32, low: u32) -> Self {
        Self((generation as u64) << 32 | low as u64)
    }

    /// Which mapping in the life of this port this is.
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Sessions that hold the port.
    #[inline(always)]
    pub const fn sessions(self) -> u32 {
        (self.0 as u32).saturating_sub(1)
    }

    /// Whether anybody may claim the port.
    #[inline(always)]
    pub const fn is_free(self) -> bool {
        self.0 as u32 == 0
    }

    /// A port that is never given away: in the state of one that is just being made, for ever.
    pub const RESERVED: Self = Self::new(0, Self::RETIRING);

    /// Whether a mapping holds the port.
    #[inline(always)]
    pub const fn is_held(self) -> bool {
        self.0 as u32 > Self::RETIRING
    }

    /// Whether the mapping is just being made or removed.
    #[inline(always)]
    pub const fn is_retiring(self) -> bool {
        self.0 as u32 == Self::RETIRING
    }

    /// The state while a claim is being made: nobody else's, and not held yet, so that nobody reads
    /// an owner that has not been written. Only from a free one; [`claimed`](Self::claimed) follows.
    #[inline(always)]
    pub const fn reserved(self) -> Self {
        Self::new(self.generation().wrapping_add(1), Self::RETIRING)
    }

    /// The state after a claim; only from a free one.
    #[inline(always)]
    pub const fn claimed(self) -> Self {
        Self::new(self.generation().wrapping_add(1), Self::RETIRING + 1)
    }

    /// The state with one more session; `None` unless held with this generation and not full.
    #[inline(always)]
    pub const fn joined(self, generation: u32) -> Option<Self> {
        if self.is_held() && self.generation() == generation && self.sessions() < Self::MAX_SESSIONS
        {
            Some(Self(self.0 + 1))
        } else {
            None
        }
    }

    /// The state with one session less; retiring if that was the last one. `None` unless held.
    #[inline(always)]
    pub const fn left(self) -> Option<Self> {
        if self.is_held() { Some(Self(self.0 - 1)) } else { None }
    }

    /// The free state after retiring.
    #[inline(always)]
    pub const fn freed(self) -> Self {
        Self::new(self.generation(), 0)
    }
}

/// Inside endpoint of a held slot, packed into one word that is read and written whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Inside address.
    pub address: Addr,
    /// Inside port or identifier.
    pub id: Id,
}

impl Owner {
    /// In the packed word: the mapping of this inside endpoint has this port, which is the inside one, and there
    /// is no entry for it in the hash. Not of every mapping with the inside port: one that got it in a search,
    /// because it was not to be had at first, is in the hash.
    pub const PRESERVED: u64 = 1 << 16;

    /// The packed word.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.address.raw() as u64) << 32 | self.id.raw() as u64
    }

    /// From the packed word.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { address: Addr::from_raw((word >> 32) as u32), id: Id::from_raw(word as u16) }
    }
}

/// Number of protocols that have ports or identifiers of their own.
pub const PROTOCOLS: usize = 3;

/// Slots of one WAN in the port table.
pub const SLOTS_PER_WAN: u32 = (PROTOCOLS as u32) << 16;

/// Position of a translated protocol in tables by protocol; `None` for all others.
#[inline(always)]
pub const fn protocol_index(protocol: u8) -> Option<u32> {
    match protocol {
        TCP => Some(0),
        UDP => Some(1),
        ICMP => Some(2),
        _ => None,
    }
}

/// Position of an external port in the port table; `None` for a protocol without ports.
#[inline(always)]
pub const fn slot_index(wan: u8, protocol: u8, external: Id) -> Option<u32> {
    match protocol_index(protocol) {
        Some(index) => Some(wan as u32 * SLOTS_PER_WAN + (index << 16) + external.get() as u32),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_lives_through_claim_join_leave_and_retire() {
        let free = SlotState(0);
        let one = free.claimed();
        assert!(free.is_free() && one.is_held());
        let two = one.joined(1).unwrap();
        assert_eq!(two.sessions(), 2);
        assert_eq!(two.left(), Some(one));
        let retiring = one.left().unwrap();
        assert!(retiring.is_retiring() && !retiring.is_held() && !retiring.is_free());
        assert_eq!(retiring.joined(1), None);
        assert!(retiring.freed().is_free());
        assert_eq!(retiring.freed().claimed().generation(), 2);
    }

    #[test]
    fn a_mapping_of_an_earlier_generation_cannot_join() {
        assert_eq!(SlotState(0).claimed().joined(0), None);
    }

    #[test]
    fn a_port_rests_as_long_as_it_is_told_to() {
        let rest = Rest::since(Tick(100));
        assert!(rest.goes_on(Span(10), Tick(100)) && rest.goes_on(Span(10), Tick(109)));
        assert!(!rest.goes_on(Span(10), Tick(110)) && !rest.goes_on(Span(0), Tick(100)));
        assert!(!Rest(0).goes_on(Span(10), Tick(5)), "never used");
    }

    #[test]
    fn owners_survive_packing() {
        let owner = Owner { address: Addr::from_octets([192, 168, 1, 10]), id: Id::new(40000) };
        assert_eq!(Owner::unpack(owner.pack()), owner);
        assert_eq!(Owner::unpack(owner.pack() | Owner::PRESERVED), owner);
        assert_eq!(owner.pack() & Owner::PRESERVED, 0);
    }

    #[test]
    fn inside_endpoints_spread_over_the_words() {
        let mut endpoints = [0_u32; Making::WORDS as usize];
        for number in 0..10 * Making::WORDS {
            let [.., host, port] = (number * 7).to_be_bytes();
            let address = Addr::from_octets([10, 0, (number >> 12) as u8, host]);
            let id = Id::new(1024 + u16::from(port));
            let key = MappingKey { address, id, protocol: UDP, wan: 0 };
            endpoints[Making::index(&key) as usize] += 1;
        }
        assert!(endpoints.iter().all(|&count| count < 40), "{:?}", endpoints.iter().max());
    }

    #[test]
    fn a_word_is_locked_once_whatever_is_listed() {
        let listed = Making(3 * Making::LISTED);
        let locked = listed.locked().unwrap();
        assert!(locked.locked().is_none() && locked.is_listed());
        assert!(!Making(0).locked().unwrap().is_listed());
        assert_eq!(locked.0 - Making::LOCKED, listed.0);
    }

    #[test]
    fn slots_of_wans_and_protocols_do_not_overlap() {
        assert_eq!(slot_index(0, TCP, Id::new(65535)), Some(65535));
        assert_eq!(slot_index(0, UDP, Id::new(0)), Some(65536));
        assert_eq!(slot_index(1, TCP, Id::new(0)), Some(3 * 65536));
        assert_eq!(slot_index(0, 47, Id::new(0)), None);
    }
}
