//! Nanoseconds of `fast_xdp` alone where more than an Ethernet header stands before the IP header, or a
//! bridge above the port: what that costs on top of [`program`](super::program)'s established packet.
//!
//! Leg, exit and station are told by hand, as the daemon would. VLANs and PPPoE sessions need no device
//! for that: the interface stands in for what would be above it.

use masq_common::{
    be::Addr,
    link::{Arrival, Exit, Leg, exit},
    settings::{Device, caps, role},
};

use super::link::Link;
use crate::{
    lab::{HOST_A, MAC_HOST_A},
    program::{Bench, Hook, mac},
};

/// The bridge; a device of any other kind would do.
const BRIDGE: &str = "inside";
const MAC_BRIDGE: &str = "02:00:00:00:01:aa";

/// Which way a packet goes, between plain Ethernet and something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crossing {
    /// From the LAN to a WAN of this kind.
    To(Link),
    /// From a WAN of this kind to the LAN.
    From(Link),
    /// From a LAN that is a bridge to the WAN.
    FromBridge,
    /// From the WAN to a LAN that is a bridge.
    ToBridge,
}

impl Crossing {
    /// What is measured.
    pub const ALL: [Self; 6] = [
        Self::To(Link::Vlan),
        Self::To(Link::PppoeOnVlan),
        Self::From(Link::Vlan),
        Self::From(Link::PppoeOnVlan),
        Self::FromBridge,
        Self::ToBridge,
    ];

    /// In tables.
    pub fn title(self) -> String {
        match self {
            Self::To(link) => format!("fast_xdp, from Ethernet to {}", link.title()),
            Self::From(link) => format!("fast_xdp, from {} to Ethernet", link.title()),
            Self::FromBridge => "fast_xdp, from a bridge to Ethernet".to_owned(),
            Self::ToBridge => "fast_xdp, from Ethernet to a bridge".to_owned(),
        }
    }

    /// Where the packet comes in.
    pub const fn hook(self) -> Hook {
        match self {
            Self::To(_) | Self::FromBridge => Hook::LanXdp,
            Self::From(_) | Self::ToBridge => Hook::WanXdp,
        }
    }

    /// What the frame looks like when it comes in.
    pub(super) const fn arriving(self) -> Link {
        match self {
            Self::From(link) => link,
            Self::To(_) | Self::FromBridge | Self::ToBridge => Link::Ethernet,
        }
    }

    /// Its addresses then: destination and source.
    pub(super) fn addresses(self) -> [[u8; 6]; 2] {
        match self {
            Self::FromBridge => [mac(MAC_BRIDGE), mac(MAC_HOST_A)],
            _ => self.hook().link_addresses(),
        }
    }

    /// Tells the programs what lies below, and nothing else any more. Bridges have to come last: the
    /// LAN stays above one.
    pub(super) fn tell(self, bench: &mut Bench) {
        bench.forget_links();
        match self {
            Self::To(link) | Self::From(link) => tell_wan(bench, link),
            Self::FromBridge | Self::ToBridge => tell_bridge(bench),
        }
        bench.forget_next_hops(false);
    }
}

fn tell_wan(bench: &mut Bench, link: Link) {
    let [_, port] = bench.ports();
    let [wan, peer] = Hook::WanXdp.link_addresses();
    let (arrival, mut leg, mut way_out) = link.told(port, wan);
    if arrival.session != 0 {
        bench.set_leg(arrival.discovery(), leg);
        let discoveries = bench.generations().discoveries();
        (leg.peer, leg.discoveries) = (peer, discoveries);
        (way_out.peer, way_out.source, way_out.discoveries) = (peer, wan, discoveries);
    }
    bench.set_leg(arrival, leg);
    bench.set_exit(port, way_out);
}

fn tell_bridge(bench: &mut Bench) {
    let exists = bench.namespace().run(|| nix::net::if_::if_nametoindex(BRIDGE).is_ok());
    if !exists {
        bench.namespace().ip(&format!(
            "link add {BRIDGE} address {MAC_BRIDGE} type bridge\nlink set {BRIDGE} up\n\
             neigh replace {HOST_A} lladdr {MAC_HOST_A} dev {BRIDGE} nud permanent\n\
             route replace {HOST_A} dev {BRIDGE}"
        ));
    }
    let ifindex = bench.namespace().interface_index(BRIDGE);
    let [port, _] = bench.ports();
    let bridge = Device {
        address: Addr::NONE,
        mac: mac(MAC_BRIDGE),
        role: role::LAN,
        wan: 0,
        caps: caps::ETHERNET | caps::READY,
        mss: 0,
    };
    bench.set_interface(ifindex, bridge);
    let other = Device { role: role::OTHER, caps: caps::READY, ..Device::default() };
    bench.set_interface(port, other);
    let leg = Leg { ifindex, bridge_port: port, mac: mac(MAC_BRIDGE), ..Leg::default() };
    bench.set_leg(Arrival::plain(port), leg);
    bench.set_exit(ifindex, Exit { kind: exit::BRIDGE, ..Exit::default() });
    let caps = caps::ETHERNET | caps::XDP_TRANSMIT;
    bench.set_exit(port, Exit { port, kind: exit::PORT, caps, ..Exit::default() });
    bench.set_station(ifindex, mac(MAC_HOST_A), port);
}
