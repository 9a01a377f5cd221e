//! Next hops that sessions remember, so that the kernel's routing is not asked for every packet.
//!
//! The table of hops holds what the routing has answered; a session half remembers the number of
//! its hop in a [`Ticket`], with the generation in which it was asked. A ticket of an earlier
//! generation is worth nothing, and its session asks anew.
//!
//! The kernel itself ends a generation. It counts every change of routes, rules, addresses and
//! forwarding switches (`rt_genid`), since the routes that its own sockets remember end with it;
//! we read that number. (The few that it does not count, and their end, are in ARCHITECTURE.md.) For
//! neighbours there is no such number; a program of ours in the kernel's neighbour code counts,
//! separately for each of [`NEIGHBOURHOODS`] sets of neighbours, so that one that changes does not make
//! the sessions of all others ask; another one counts for the stations of bridges, and the hook in the
//! driver for the ends of PPPoE sessions. A generation is the sum of all that a way depends on: they only
//! grow, so for one way a sum that is the same means that none has. A number of the table stands for
//! another way in another epoch, so that is in the ticket too.

use bytemuck::{Pod, Zeroable};

use crate::{
    link::{Arrival, STATION_SETS},
    time::{Span, Tick},
};

/// How many generations there are: one for each set of neighbours. A power of two.
pub const NEIGHBOURHOODS: usize = 256;

/// Entries of the table of hops. A power of two, at most 65,536.
pub const HOPS: u32 = 8192;

/// Entries that are looked at for a hop, from its place on.
pub const PROBES: u32 = 4;

/// How long an entry of an earlier epoch stays as it is: no program that has seen a ticket to it is
/// still running then.
pub const REST: Span = Span::from_secs(1);

/// What a session half remembers of its next hop, in one word, so that it is never half written.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Ticket(pub u64);

impl Ticket {
    /// No hop is known.
    pub const NONE: Self = Self(0);

    /// Of a packet with this type-of-service byte: the number of its hop (never 0), the epoch in which
    /// that was written, and the generation of its way.
    #[inline(always)]
    pub const fn new(hop: u32, tos: u8, epoch: u32, generation: u32) -> Self {
        let rest = Self::rest(tos, Hop::ready(epoch), generation);
        Self((hop as u64 & 0xffff) << 48 | rest)
    }

    /// All but the number of the hop, whose entry is in this state. Of its epoch the lower eight bits:
    /// an idle session would have to miss 256 of them, and then find the same sum.
    #[inline(always)]
    const fn rest(tos: u8, state: u64, generation: u32) -> u64 {
        (class(tos) as u64) << 40 | state & 0xff << 32 | generation as u64
    }

    /// Number of the hop in its table; 0 for none.
    #[inline(always)]
    pub const fn hop(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// Whether it holds for a packet with this type-of-service byte, if the entry of its hop is in this
    /// [`Hop::state`], in this generation of its way.
    #[inline(always)]
    pub const fn holds(self, tos: u8, state: u64, generation: u32) -> bool {
        self.0 & 0x0000_ffff_ffff_ffff == Self::rest(tos, state, generation)
    }
}

/// The part of the type-of-service byte that rules and routes may look at (RFC 2474): not the two
/// bits of explicit congestion notification, which change from packet to packet.
#[inline(always)]
const fn class(tos: u8) -> u8 {
    tos & 0xfc
}

/// A next hop: a value of the table.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Hop {
    /// 0, or [`busy`](Self::busy) or [`ready`](Self::ready) of the epoch in which it is or was written.
    pub state: u64,
    /// What it is.
    pub way: Way,
}

impl Hop {
    /// The entry is being written.
    #[inline(always)]
    pub const fn busy(epoch: u32) -> u64 {
        1 | (epoch as u64) << 32
    }

    /// The entry is complete.
    #[inline(always)]
    pub const fn ready(epoch: u32) -> u64 {
        2 | (epoch as u64) << 32
    }

    /// Whether an entry in this `state` may be written anew at `now`.
    #[inline(always)]
    pub const fn is_free(state: u64, epoch: Epoch, now: Tick) -> bool {
        state == 0
            || state & 2 != 0
                && (state >> 32) as u32 != epoch.number
                && now.since(epoch.began).0 > REST.0
    }
}

/// Which entries of the table may be used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Epoch {
    /// Entries of other epochs are only waiting to be written anew.
    pub number: u32,
    /// When it began.
    pub began: Tick,
}

impl Epoch {
    /// In one word, so that it is never half written.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        (self.number as u64) << 32 | self.began.0 as u64
    }

    /// From its [`word`](Self::word).
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { number: (word >> 32) as u32, began: Tick(word as u32) }
    }
}

/// From where to where: all that a packet needs to be sent on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Way {
    /// How the packets come in: rules may look at the interface, and who else sends is not meant.
    pub arrival: Arrival,
    /// The port that they leave by.
    pub port: u32,
    /// Length of the largest IP packet that may be sent there.
    pub mtu: u32,
    /// Link-layer address that they are sent to when they come in: who else is addressed is not ours.
    pub addressee: [u8; 6],
    /// Link-layer address of the next hop.
    pub destination: [u8; 6],
    /// Link-layer address of the interface that they leave by.
    pub source: [u8; 6],
    /// The only one who may send them, zero for anyone: see [`crate::link::Leg::peer`].
    pub peer: [u8; 6],
    /// 802.1Q tag that they leave with, priority included, host byte order; 0 without a tag.
    pub tag: u16,
    /// PPPoE session that they leave by, network byte order; 0 without PPPoE.
    pub session: u16,
    /// The set of the station that they come from or go to, if one of the two interfaces is a bridge:
    /// see [`crate::link::set`]. Of two bridges there are two, see `other_station`.
    pub station: u16,
    /// The set of the second station; [`NO_STATION`](crate::link::NO_STATION) if there is none.
    pub other_station: u16,
    /// The neighbourhood of the next hop, below [`NEIGHBOURHOODS`].
    pub neighbourhood: u16,
    /// Of the port that they leave by: see [`crate::settings::caps`], and [`BELOW`](Self::BELOW).
    pub caps: u16,
    /// Reserved, zero.
    pub zero: u32,
}

impl Way {
    /// Flag of [`caps`](Self::caps): they leave by a port below the interface that the routing has
    /// named, as only the hook in the driver can send them.
    pub const BELOW: u16 = 1 << 15;

    /// Tag, session and stations in one word: 0 if it is a way from one Ethernet interface to another,
    /// neither of which is a bridge. (The session that they come by is not in it.)
    #[inline(always)]
    pub fn below(&self) -> u64 {
        // In one piece, which it would not be as four fields.
        bytemuck::cast_ref::<Self, [u64; 7]>(self)[5]
    }

    /// Tag and session in one word: 0 if they leave with an Ethernet header and no more.
    #[inline(always)]
    pub fn header(&self) -> u32 {
        bytemuck::cast_ref::<Self, [u32; 14]>(self)[10]
    }

    /// Where its entry is looked for first. Whatever many ways may differ in has a share in it.
    #[inline(always)]
    pub fn place(&self) -> u32 {
        let [_, _, a, b, c, d] = self.destination;
        let next = u64::from(u32::from_ne_bytes([a, b, c, d]));
        let port = u64::from(self.port) | u64::from(self.mtu) << 32;
        let mut hash = 0_u64;
        for word in [next, port, self.arrival.word(), self.below()] {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        (hash >> 16) as u32 & 0xffff
    }
}

/// The neighbourhood of a neighbour, given the first four bytes of its address as they stand in
/// memory.
#[inline(always)]
pub const fn neighbourhood(address: u32) -> u16 {
    let folded = address ^ address >> 16;
    ((folded ^ folded >> 8) & (NEIGHBOURHOODS as u32 - 1)) as u16
}

/// The generations: the single value of their map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Generations {
    /// Counts every change that [`of`](Self::of) counts, before that does.
    pub changes: u64,
    /// See [`Epoch::word`].
    pub epoch: u64,
    /// Hops that were written in this epoch.
    pub used: u64,
    /// So that who only reads has no share in the cache line of those who write.
    pub zero: [u64; 5],
    /// Where the kernel counts the changes of the routes of this network namespace: an address; 0
    /// while it is not known.
    pub routes: u64,
    /// Counts the frames that told of the end of a PPPoE session; see
    /// [`discoveries`](crate::hop::discoveries) for how it is compared.
    pub discoveries: u64,
    /// As above.
    pub zeros: [u64; 6],
    /// The changes of each neighbourhood, and those that concern them all; the lower 32 bits count.
    pub of: [u64; NEIGHBOURHOODS],
    /// The changes of each set of stations of bridges ([`crate::link::set`]); the lower 32 bits count.
    /// Nothing is counted for number 0.
    pub stations: [u64; STATION_SETS],
}

impl Generations {
    /// What a leg or an exit of a PPPoE session has to be written with to hold from now on.
    pub const fn discoveries(&self) -> u32 {
        discoveries(self.discoveries)
    }
}

/// How a count of [`Generations::discoveries`] stands in a leg or an exit: never 0, which is what has
/// not been filled in.
#[inline(always)]
pub const fn discoveries(count: u64) -> u32 {
    count as u32 | 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_from_ethernet_to_ethernet_has_nothing_below() {
        let way = Way { port: 3, mtu: 1500, neighbourhood: 7, caps: 7, ..Way::default() };
        assert_eq!(way.below(), 0);
        for way in [
            Way { tag: 1, ..way },
            Way { session: 1, ..way },
            Way { station: 1, ..way },
            Way { other_station: 1, ..way },
        ] {
            assert_ne!(way.below(), 0);
            assert_eq!(way.header() != 0, way.tag | way.session != 0);
        }
    }

    #[test]
    fn ways_that_differ_have_places_of_their_own() {
        let arrival = Arrival { port: 3, vlan: 7, session: 0 };
        let way = Way { arrival, port: 4, mtu: 1500, station: 9, ..Way::default() };
        let other = |number: u16| {
            let destination = [2, 0, 0, 0, (number >> 8) as u8, number as u8];
            [
                Way { arrival: Arrival { vlan: number, ..arrival }, ..way },
                Way { arrival: Arrival { session: number, ..arrival }, ..way },
                Way { arrival: Arrival { port: number.into(), ..arrival }, ..way },
                Way { tag: number, ..way },
                Way { session: number, ..way },
                Way { station: number, ..way },
                Way { other_station: number, ..way },
                Way { port: number.into(), ..way },
                Way { destination, ..way },
            ]
        };
        for kind in 0..9 {
            let mut taken = std::vec![0; HOPS as usize];
            for number in 0..512 {
                taken[(other(number)[kind].place() & (HOPS - 1)) as usize] += 1;
            }
            let crowded = taken.iter().filter(|ways| **ways as u32 > PROBES).count();
            let places = taken.iter().filter(|ways| **ways > 0).count();
            assert!(crowded == 0 && places > 400, "kind {kind}: {places} places");
        }
    }

    #[test]
    fn a_ticket_holds_for_its_class_epoch_and_generation_only() {
        let ticket = Ticket::new(8191, 0xb8, 3, 7);
        let state = Hop::ready(3);
        assert_eq!(ticket.hop(), 8191);
        assert!(ticket.holds(0xb8, state, 7) && ticket.holds(0xb9, state, 7), "ECN is no class");
        assert!(!ticket.holds(0xb8, state, 8) && !ticket.holds(0, state, 7));
        for other in [Hop::ready(2), Hop::busy(4), Hop::ready(4), 0] {
            assert!(!ticket.holds(0xb8, other, 7), "another way has this number");
        }
        assert_eq!(Ticket::NONE.hop(), 0, "which no hop has");
    }

    #[test]
    fn an_entry_rests_before_it_is_written_anew() {
        let epoch = Epoch { number: 2, began: Tick(100) };
        let (old, new) = (Hop::ready(1), Hop::ready(2));
        assert!(Hop::is_free(0, epoch, Tick(100)));
        assert!(!Hop::is_free(old, epoch, Tick(100 + REST.0)));
        assert!(Hop::is_free(old, epoch, Tick(101 + REST.0)));
        assert!(!Hop::is_free(new, epoch, Tick(10_000)));
        assert!(!Hop::is_free(Hop::busy(1), epoch, Tick(10_000)));
    }

    #[test]
    fn an_epoch_survives_its_word() {
        let epoch = Epoch { number: 7, began: Tick(u32::MAX) };
        assert_eq!(Epoch::from_word(epoch.word()), epoch);
    }

    #[test]
    fn every_bit_of_an_address_counts_for_its_neighbourhood() {
        for bit in 0..32 {
            assert_ne!(neighbourhood(0), neighbourhood(1 << bit));
        }
    }
}
