//! What stands between the link-layer addresses and the IP header of frames at one end of a line.

use masq_common::{
    link::{Arrival, Exit, Leg, exit},
    settings::caps,
};

use super::plan::{ADDRESSES, Front, PPPOE, TAG, TAG_AND_PPPOE};

/// Id of the VLAN, wherever there is one.
pub const VLAN: u16 = 7;
/// Id of the PPPoE session, wherever there is one. Both bytes differ.
pub const SESSION: u16 = 0x0a01;

/// EtherTypes: IPv4, 802.1Q, PPPoE session (RFC 2516). Protocol of PPP: IPv4 (RFC 1332).
const IPV4: u16 = 0x0800;
const TAGGED: u16 = 0x8100;
const SESSION_STAGE: u16 = 0x8864;
const PPP_IPV4: u16 = 0x0021;
/// Version and type of PPPoE, and the code of a session's frames.
const VERSION: u16 = 0x1100;

/// What there is before the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// And a tag.
    Vlan,
    /// And the header of a PPPoE session.
    Pppoe,
    /// And both.
    PppoeOnVlan,
}

impl Link {
    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Vlan => "VLAN",
            Self::Pppoe => "PPPoE",
            Self::PppoeOnVlan => "PPPoE on a VLAN",
        }
    }

    /// Id of the tag, 0 for none.
    pub const fn vlan(self) -> u16 {
        match self {
            Self::Vlan | Self::PppoeOnVlan => VLAN,
            Self::Ethernet | Self::Pppoe => 0,
        }
    }

    /// What masq would be told of a WAN with this index and link-layer address that such frames come in
    /// and leave by, but for what only PPPoE needs.
    pub fn told(self, port: u32, mac: [u8; 6]) -> (Arrival, Leg, Exit) {
        let arrival = Arrival { port, vlan: self.vlan(), session: self.session().to_be() };
        let leg = Leg { ifindex: port, mac, ..Leg::default() };
        let way_out = Exit {
            port,
            kind: exit::PORT,
            caps: caps::ETHERNET | caps::XDP_TRANSMIT,
            vlan: arrival.vlan,
            session: arrival.session,
            ..Exit::default()
        };
        (arrival, leg, way_out)
    }

    /// Id of the PPPoE session, 0 for none.
    pub const fn session(self) -> u16 {
        match self {
            Self::Pppoe | Self::PppoeOnVlan => SESSION,
            Self::Ethernet | Self::Vlan => 0,
        }
    }

    /// Bytes that stand there besides an Ethernet header.
    pub(super) const fn more(self) -> usize {
        2 * match self {
            Self::Ethernet => 0,
            Self::Vlan => TAG,
            Self::Pppoe => PPPOE,
            Self::PppoeOnVlan => TAG_AND_PPPOE,
        }
    }

    /// The word right before the IP header, as on the wire.
    pub(super) const fn last(self) -> u16 {
        if self.session() == 0 { IPV4.to_be() } else { PPP_IPV4.to_be() }
    }

    /// What stands before that, in frames with these addresses (destination, source) and IP packets of
    /// this length.
    pub(super) fn front(self, addresses: [[u8; 6]; 2], packet: u16) -> Front {
        let addresses = addresses.as_flattened().chunks_exact(2);
        let addresses = addresses.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let tag = [TAGGED, self.vlan()];
        let session = [SESSION_STAGE, VERSION, self.session(), packet + 2];
        let tag = &tag[..if self.vlan() == 0 { 0 } else { TAG }];
        let session = &session[..if self.session() == 0 { 0 } else { PPPOE }];
        let mut words = [0; ADDRESSES + TAG_AND_PPPOE];
        let all = addresses.chain(tag.iter().copied()).chain(session.iter().copied());
        for (place, word) in words.iter_mut().zip(all) {
            *place = word.to_be();
        }
        Front { words, more: (self.more() / 2) as u16, zero: 0 }
    }

    /// A whole frame with a packet.
    pub(super) fn frame(self, addresses: [[u8; 6]; 2], packet: &[u8]) -> Vec<u8> {
        let front = self.front(addresses, packet.len() as u16);
        let words = &front.words[..ADDRESSES + usize::from(front.more)];
        let mut frame: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        frame.extend(self.last().to_ne_bytes());
        frame.extend(packet);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

    #[test]
    fn frames_are_as_the_standards_say() {
        let heads: [(Link, &[u8]); 4] = [
            (Link::Ethernet, &[0x08, 0x00]),
            (Link::Vlan, &[0x81, 0x00, 0x00, 0x07, 0x08, 0x00]),
            (Link::Pppoe, &[0x88, 0x64, 0x11, 0x00, 0x0a, 0x01, 0x00, 0x16, 0x00, 0x21]),
            (
                Link::PppoeOnVlan,
                &[0x81, 0, 0, 7, 0x88, 0x64, 0x11, 0x00, 0x0a, 0x01, 0x00, 0x16, 0x00, 0x21],
            ),
        ];
        for (link, head) in heads {
            let frame = link.frame(ADDRESSES, &[0x45; 20]);
            let wanted = [ADDRESSES.as_flattened(), head, &[0x45; 20]].concat();
            assert_eq!(frame, wanted, "{}", link.title());
            assert_eq!(frame.len(), 14 + link.more() + 20, "{}", link.title());
        }
    }
}
