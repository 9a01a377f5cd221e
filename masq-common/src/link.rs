//! What lies below an interface: the ports that its frames really come in and go out by, and what
//! stands in them before the IP header.
//!
//! The user names the interface that has the address: a bridge, a VLAN, a PPP session. The fast path
//! runs where the frames are, at the port below, and has to know what the kernel would have made of
//! them: a [`Leg`] says which interface a frame is for, an [`Exit`] how a frame of an interface
//! leaves, a [`Station`] which port of a bridge somebody is behind. The daemon finds all that out; an
//! interface that nothing is known about is served by the hooks of TC alone.
//!
//! None of it is asked for each packet: it is part of the next hop that a session remembers
//! ([`crate::hop`]), and ends with it. Whatever depends on a station is worth nothing as soon as the
//! kernel's bridge has changed its mind about any station of the same [`set`]; whatever depends on a
//! PPPoE session as soon as a frame of its peer has told of the end of one (PADT, RFC 2516 section 5.5),
//! which is heard where there is a leg for that ([`DISCOVERY`]).

use bytemuck::{Pod, Zeroable};

/// How many sets of stations there are. A power of two.
pub const STATION_SETS: usize = 256;

/// The set of those who are no station: nothing ever changes there.
pub const NO_STATION: u16 = 0;

/// In the place of a PPPoE session id, which it is not (RFC 2516 section 4 reserves it): the leg of the
/// interface below PPPoE sessions, where the programs hear of their end. Legs and exits of sessions hold
/// only while there is one on their port and VLAN: nobody would end them otherwise. It has to be there before [`Leg::discoveries`] is read.
pub const DISCOVERY: u16 = 0xffff;

/// Key of the map of legs: what a frame itself tells. As a whole it also says which frames a next hop
/// holds for.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct Arrival {
    /// Index of the port.
    pub port: u32,
    /// Id of the 802.1Q tag, host byte order; 0 without a tag. The priority is not part of it.
    pub vlan: u16,
    /// PPPoE session id as it stands in the frame (network byte order); 0 without PPPoE, which no
    /// session has (RFC 2516 section 4).
    pub session: u16,
}

impl Arrival {
    /// A frame without anything before its IP header but the Ethernet header.
    #[inline(always)]
    pub const fn plain(port: u32) -> Self {
        Self { port, vlan: 0, session: 0 }
    }

    /// In one word, which says the same.
    #[inline(always)]
    pub fn word(self) -> u64 {
        bytemuck::cast(self)
    }

    /// Of the frames that tell of the sessions that frames like this one belong to.
    #[inline(always)]
    pub const fn discovery(self) -> Self {
        Self { session: DISCOVERY, ..self }
    }
}

/// Which interface a frame is for: value of the map of legs.
///
/// Interfaces that are their own port have none: their device says enough.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Leg {
    /// Index of the interface that the kernel would deliver it to.
    pub ifindex: u32,
    /// Index of the port of the bridge that it comes by, for which the bridge has to know the sender;
    /// 0 without a bridge. It is another one than [`Arrival::port`] if a VLAN is a bridge's port.
    pub bridge_port: u32,
    /// Link-layer address that it has to be sent to.
    pub mac: [u8; 6],
    /// Link-layer address that it has to come from; zero for anyone's. Only the peer of a PPPoE session
    /// may send for it.
    pub peer: [u8; 6],
    /// For a PPPoE session: the value of [`crate::hop::Generations::discoveries`] for which it holds;
    /// 0 otherwise.
    pub discoveries: u32,
}

/// What [`Exit::kind`] can be.
pub mod exit {
    /// Frames leave by the port of the exit.
    pub const PORT: u16 = 1;
    /// The interface is a bridge: the next hop is a station, whose port has an exit of its own.
    pub const BRIDGE: u16 = 2;
}

/// How frames leave by an interface, or by a port of a bridge: value of a map keyed by its index.
///
/// Interfaces that are their own port have none, unless they are ports of a bridge.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Exit {
    /// Index of the port; 0 for a bridge.
    pub port: u32,
    /// See [`exit`].
    pub kind: u16,
    /// Of the port: see [`crate::settings::caps`].
    pub caps: u16,
    /// Id of the 802.1Q tag to add, host byte order; 0 for none.
    pub vlan: u16,
    /// PPPoE session id, network byte order; 0 without PPPoE.
    pub session: u16,
    /// 802.1p priority for each of the kernel's priorities 0 to 7: three bits each, the lowest for 0.
    /// The kernel gives a forwarded packet one by its type of service.
    pub priorities: u32,
    /// Link-layer address of the sender; only for PPPoE, otherwise the routing knows.
    pub source: [u8; 6],
    /// Link-layer address of the peer of the PPPoE session; otherwise the routing knows.
    pub peer: [u8; 6],
    /// As in [`Leg::discoveries`].
    pub discoveries: u32,
}

impl Exit {
    /// The 802.1Q tag of a packet with this type-of-service byte, host byte order; 0 for none.
    #[inline(always)]
    pub const fn tag(&self, tos: u8) -> u16 {
        if self.vlan == 0 {
            return 0;
        }
        let priority = self.priorities >> (3 * priority(tos)) & 7;
        self.vlan | (priority as u16) << 13
    }
}

/// The priority, 0 to 7, that Linux gives a packet that it forwards, by the bits of its type of service
/// that once asked for low delay and high throughput (`rt_tos2priority`).
#[inline(always)]
pub const fn priority(tos: u8) -> u32 {
    match tos >> 3 & 3 {
        0 => 0,
        1 => 2,
        2 => 6,
        _ => 4,
    }
}

/// Key of the map of stations.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Pod, Zeroable)]
pub struct Station {
    /// Index of the bridge.
    pub bridge: u32,
    /// Link-layer address.
    pub mac: [u8; 6],
    /// Reserved, zero.
    pub zero: u16,
}

/// Where a station is: value of the map of stations.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Place {
    /// Index of the bridge's port; it has an [`Exit`].
    pub port: u32,
    /// It holds as long as [`crate::hop::Generations::stations`] of its [`set`] has this value (the
    /// lower 32 bits), which was read before the bridge was asked.
    pub changes: u32,
}

/// What stands before the IP header of a frame, as far as it is told to people.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// Bytes of it.
    pub length: u16,
    /// The 802.1Q tag, priority included, if there is one.
    pub tag: Option<u16>,
    /// The PPPoE session id, host byte order, if it is a frame of one.
    pub session: Option<u16>,
    /// EtherType of what follows. In a PPPoE session it is that of IPv4, or that of PPPoE if it is
    /// anything else, whose headers are not part of this one then.
    pub ether_type: u16,
}

/// EtherTypes of what can stand between an Ethernet header and an IPv4 packet, and of that.
pub mod ether_type {
    /// An IPv4 packet.
    pub const IPV4: u16 = 0x0800;
    /// An 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// A frame of a PPPoE session (RFC 2516).
    pub const PPPOE: u16 = 0x8864;
}

impl Header {
    /// Reads it at the beginning of a frame of which `captured` bytes are known.
    #[inline(always)]
    pub fn read<const N: usize>(bytes: &[u8; N], captured: u16) -> Self {
        const { assert!(N >= 26) };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut header = Self { length: 14, ether_type: word(12), ..Self::default() };
        // Constant offsets, of which a verifier wants no proof.
        let mut inner = [word(14), word(16), word(20)];
        if header.ether_type == ether_type::VLAN && captured >= 18 {
            header = Self { length: 18, tag: Some(word(14)), ether_type: word(16), ..header };
            inner = [word(18), word(20), word(24)];
        }
        if header.ether_type == ether_type::PPPOE && captured >= header.length + 8 {
            header.session = Some(inner[1]);
            if [inner[0], inner[2]] == [0x1100, 0x0021] {
                header.length += 8;
                header.ether_type = ether_type::IPV4;
            }
        }
        header
    }
}

/// The set of a station: from 1 to [`STATION_SETS`] − 1.
#[inline(always)]
pub const fn set(mac: [u8; 6]) -> u16 {
    let [a, b, c, d, e, f] = mac;
    let word = u32::from_ne_bytes([c, d, e, f]) ^ (u16::from_ne_bytes([a, b]) as u32) << 8;
    let hash = word.wrapping_mul(0x9e37_79b1) >> 24;
    if hash == 0 { 1 } else { hash as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_the_priority_of_the_type_of_service() {
        // As `ip link set … type vlan egress-qos-map 0:1 2:2 4:3 6:7` would say.
        let exit = Exit { vlan: 7, priorities: 1 | 2 << 6 | 3 << 12 | 7 << 18, ..Exit::default() };
        let tags = [0x00, 0x08, 0x18, 0x10, 0xb8, 0x02].map(|tos| exit.tag(tos));
        assert_eq!(tags, [0x2007, 0x4007, 0x6007, 0xe007, 0x6007, 0x2007]);
        assert_eq!(Exit { vlan: 0, ..exit }.tag(0x10), 0, "no tag has no priority");
        assert_eq!(Exit { vlan: 4094, ..Exit::default() }.tag(0x10), 4094);
    }

    #[test]
    fn a_header_is_read_as_far_as_it_goes() {
        let read = |head: &[u8]| {
            let mut bytes = [0; 32];
            bytes[12..12 + head.len()].copy_from_slice(head);
            Header::read(&bytes, 12 + head.len() as u16)
        };
        let plain = Header { length: 14, ether_type: 0x0800, ..Header::default() };
        assert_eq!(read(&[8, 0, 0x45]), plain);
        let tagged = Header { length: 18, tag: Some(0xe007), ..plain };
        assert_eq!(read(&[0x81, 0, 0xe0, 7, 8, 0]), tagged);
        let session = [0x88, 0x64, 0x11, 0, 0, 0x12, 0, 46, 0, 0x21];
        let pppoe = Header { length: 22, session: Some(0x12), ..plain };
        assert_eq!(read(&session), pppoe);
        let both = [&[0x81, 0, 0xe0, 7][..], &session].concat();
        assert_eq!(read(&both), Header { length: 26, tag: Some(0xe007), ..pppoe });
        // LCP is nothing that an IP header follows; and what is cut off is not read.
        let lcp = [&session[..8], &[0xc0, 0x21]].concat();
        assert_eq!(read(&lcp), Header { length: 14, ether_type: 0x8864, ..pppoe });
        assert_eq!(read(&session[..9]).session, None);
        assert_eq!(read(&[0x81, 0, 0, 7]), Header { ether_type: 0x8100, ..plain });
    }

    #[test]
    fn an_arrival_and_its_word_say_the_same() {
        let arrival = Arrival { port: 3, vlan: 7, session: 0x1200 };
        for other in [
            Arrival { port: 4, ..arrival },
            Arrival { vlan: 0, ..arrival },
            Arrival { session: 0, ..arrival },
            arrival.discovery(),
        ] {
            assert_ne!(arrival.word(), other.word());
        }
        assert_eq!(Arrival::plain(3).word(), 3);
    }

    #[test]
    fn every_station_is_in_a_set_of_its_own_kind() {
        for last in 0..=u8::MAX {
            let set = set([2, 0, 0, 0, 0, last]);
            assert!(set != NO_STATION && usize::from(set) < STATION_SETS);
        }
        assert_ne!(set([2, 0, 0, 0, 0, 1]), set([2, 0, 0, 0, 0, 2]));
        assert_ne!(set([2, 0, 0, 0, 0, 1]), set([2, 1, 0, 0, 0, 1]));
    }
}
