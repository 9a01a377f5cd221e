//! Links and IPv4 addresses of this network namespace as plain data, and how they are read from
//! netlink messages. Decides nothing.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp},
};

use super::{pppoe::Session, stack::Stack};

/// Everything that masq wants to know about the interfaces of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// All links, in the order of the kernel.
    pub links: Vec<Link>,
    /// All IPv4 addresses, in the order of the kernel: the oldest primary one of a link first.
    pub addresses: Vec<Address>,
    /// The PPPoE sessions.
    pub sessions: Vec<Session>,
}

impl Snapshot {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link with this index.
    pub fn link_of(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.index == index)
    }

    /// The same without these XDP programs: they are our own, from before.
    pub fn without_xdp(mut self, programs: &[u32]) -> Self {
        for link in &mut self.links {
            link.xdp = link.xdp.filter(|program| !programs.contains(program));
        }
        self
    }

    /// The same without the XDP programs on these links.
    pub fn without_xdp_on(mut self, ours: impl Fn(u32) -> bool) -> Self {
        for link in &mut self.links {
            link.xdp = link.xdp.filter(|_| !ours(link.index));
        }
        self
    }

    /// The address that a WAN translates to: the first primary one of global scope.
    pub fn external_address(&self, index: u32) -> Option<Ipv4Addr> {
        self.addresses_of(index).find(|address| address.usable).map(|address| address.local)
    }
}

/// One network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its index, never used again while the machine runs.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What its frames begin with.
    pub layer: Layer,
    /// Link-layer address; zero if it has none.
    pub mac: [u8; 6],
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// The kind of a software device (veth, bridge, ppp, ...).
    pub kind: Option<String>,
    /// Whether a bus device (PCI, virtio, ...) is behind it.
    pub hardware: bool,
    /// Id of the XDP program that is attached to it.
    pub xdp: Option<u32>,
    /// Index of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// Whether the administrator has turned it on.
    pub up: bool,
    /// Kind of the queueing discipline at its root.
    pub qdisc: Option<String>,
    /// What it stands on.
    pub stack: Stack,
}

/// What the frames of a device begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// The IP header.
    Raw,
    /// Something that masq cannot read.
    Other,
}

/// One IPv4 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// The machine's own address (IFA_LOCAL; IFA_ADDRESS is the peer's on a point-to-point link).
    pub local: Ipv4Addr,
    /// What is reached directly: the subnet, or the peer of a point-to-point link.
    pub network: Ipv4Net,
    /// Primary and of global scope.
    pub usable: bool,
}

impl Link {
    /// From a netlink message; `None` if it is not a usable description of a link.
    pub fn from_message(message: &LinkMessage) -> Option<Self> {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            layer: layer(message.header.link_layer_type),
            mac: [0; 6],
            mtu: 0,
            kind: None,
            hardware: false,
            xdp: None,
            master: None,
            up: message.header.flags.contains(LinkFlags::Up),
            qdisc: None,
            stack: Stack::default(),
        };
        let mut elsewhere = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::ParentDevName(_) => link.hardware = true,
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    link.stack.read(infos);
                }
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Qdisc(kind) => link.qdisc = Some(kind.clone()),
                LinkAttribute::Link(index) => link.stack.parent = Some(*index),
                // Its parent's index is one of that namespace then.
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::Xdp(attributes) => link.xdp = xdp_program(attributes),
                _ => {}
            }
        }
        link.stack.parent = link.stack.parent.filter(|index| *index != 0 && !elsewhere);
        (!link.name.is_empty()).then_some(link)
    }
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    })
}

/// The same distinction that the kernel makes (`dev_is_mac_header_xmit`), less the link layers
/// whose header is not Ethernet's.
fn layer(kind: LinkLayerType) -> Layer {
    match kind {
        LinkLayerType::Ether => Layer::Ethernet,
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre
        | LinkLayerType::Void => Layer::Raw,
        _ => Layer::Other,
    }
}

impl Address {
    /// From a netlink message; `None` if it is not an IPv4 address.
    pub fn from_message(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut peer) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => local = Some(*address),
                AddressAttribute::Address(IpAddr::V4(address)) => peer = Some(*address),
                _ => {}
            }
        }
        let local = local.or(peer)?;
        let network = Ipv4Net::new(peer.unwrap_or(local), message.header.prefix_len).ok()?;
        Some(Self {
            index: message.header.index,
            local,
            network: network.trunc(),
            usable: message.header.scope == AddressScope::Universe
                && !message.header.flags.contains(AddressHeaderFlags::Secondary),
        })
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::AddressFamily;

    use super::*;

    fn message(local: [u8; 4], peer: [u8; 4], length: u8) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = 7;
        message.header.prefix_len = length;
        message.attributes = vec![
            AddressAttribute::Address(IpAddr::V4(peer.into())),
            AddressAttribute::Local(IpAddr::V4(local.into())),
        ];
        message
    }

    #[test]
    fn the_address_of_a_point_to_point_link_is_not_its_peers() {
        let address =
            Address::from_message(&message([203, 0, 113, 5], [203, 0, 113, 1], 32)).unwrap();
        assert_eq!(address.local, Ipv4Addr::new(203, 0, 113, 5));
        assert_eq!(address.network, "203.0.113.1/32".parse().unwrap());
        assert!(address.usable);
    }

    #[test]
    fn the_network_of_an_address_has_no_host_bits() {
        let address = Address::from_message(&message([10, 0, 3, 7], [10, 0, 3, 7], 24)).unwrap();
        assert_eq!(address.network, "10.0.3.0/24".parse().unwrap());
    }

    #[test]
    fn secondary_and_link_local_addresses_are_not_translated_to() {
        let mut secondary = message([10, 0, 0, 1], [10, 0, 0, 1], 24);
        secondary.header.flags = AddressHeaderFlags::Secondary;
        assert!(!Address::from_message(&secondary).unwrap().usable);
        let mut local = message([169, 254, 1, 1], [169, 254, 1, 1], 16);
        local.header.scope = AddressScope::Link;
        assert!(!Address::from_message(&local).unwrap().usable);
    }

    #[test]
    fn the_first_usable_address_wins() {
        let mut secondary = message([10, 0, 0, 1], [10, 0, 0, 1], 24);
        secondary.header.flags = AddressHeaderFlags::Secondary;
        let messages = [
            secondary,
            message([10, 0, 0, 9], [10, 0, 0, 9], 24),
            message([10, 1, 0, 2], [10, 1, 0, 2], 24),
        ];
        let snapshot = Snapshot {
            addresses: messages.iter().filter_map(Address::from_message).collect(),
            ..Snapshot::default()
        };
        assert_eq!(snapshot.external_address(7), Some(Ipv4Addr::new(10, 0, 0, 9)));
        assert_eq!(snapshot.external_address(8), None);
    }
}
