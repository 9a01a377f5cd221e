//! The variants of the network: what stands on what in the router.

use std::env;

use super::{ISP_IF, WAN_IF, veth};
use crate::netns::Namespace;

/// How the LAN hosts are connected to the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LanKind {
    /// `lan0` is an Ethernet interface; a switch outside of the router joins the hosts.
    #[default]
    Switch,
    /// `lan0` is a bridge on the router, with one port for each host.
    Bridge,
    /// `lan0` and `lan1` are Ethernet interfaces, with one host on each.
    InterfacePerHost,
    /// `lan0` is VLAN 10 of `trunk0`, which leads to the switch.
    Vlan,
    /// `lan0` is a bridge on the router whose ports are the VLANs 10 and 20 of `trunk0`, with one host
    /// in each.
    BridgeOfVlans,
}

/// What the WAN interface of the router is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WanKind {
    /// Ethernet, as with DHCP.
    #[default]
    Ethernet,
    /// A TUN device, as `ppp0`: no link-layer header.
    Tun,
    /// VLAN 7 of `line0`, at both ends.
    Vlan,
}

impl WanKind {
    /// The devices that make the line: the router's end, the other end.
    pub(super) const fn line(self) -> (&'static str, &'static str) {
        match self {
            Self::Vlan => ("line0", "line1"),
            Self::Ethernet | Self::Tun => (WAN_IF, ISP_IF),
        }
    }
}

/// A variant of the network.
///
/// `Layout::default().tun().wan_mtu(1492)`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// How the LAN hosts are connected.
    pub lan: LanKind,
    /// What the WAN interface is.
    pub wan: WanKind,
    /// MTU of both ends of the WAN line, if not 1500.
    pub wan_mtu: Option<u32>,
    /// MTU of a hop between the ISP and one more router (`core`) in front of the servers.
    pub hop_mtu: Option<u32>,
}

impl Layout {
    /// With the LAN hosts connected in this way.
    pub fn lan(self, lan: LanKind) -> Self {
        Self { lan, ..self }
    }

    /// As the variable `MASQ_TEST_LAYOUT` says, so that tests which want no particular network can be
    /// run in others: `bridge`, `vlan` (both sides), `bridge-of-vlans`.
    ///
    /// # Panics
    /// If it names nothing of that.
    pub fn from_environment() -> Self {
        let usual = Self::default();
        match env::var("MASQ_TEST_LAYOUT").as_deref() {
            Err(_) | Ok("switch") => usual,
            Ok("bridge") => usual.lan(LanKind::Bridge),
            Ok("vlan") => usual.lan(LanKind::Vlan).vlan(),
            Ok("bridge-of-vlans") => usual.lan(LanKind::BridgeOfVlans),
            Ok(other) => panic!("MASQ_TEST_LAYOUT is {other}, which is no network"),
        }
    }

    /// With a VLAN as WAN.
    pub fn vlan(self) -> Self {
        Self { wan: WanKind::Vlan, ..self }
    }

    /// Whether the kernel can build it.
    pub fn is_possible(self) -> bool {
        let tagged = matches!(self.lan, LanKind::Vlan | LanKind::BridgeOfVlans);
        if !tagged && self.wan != WanKind::Vlan {
            return true;
        }
        let namespace = Namespace::new("probe");
        veth(&namespace, "probe0", &namespace, "probe1");
        let vlan = ["link", "add", "link", "probe0", "name", "probe2", "type", "vlan", "id", "7"];
        namespace.command("ip").args(vlan).output().is_ok_and(|output| output.status.success())
    }

    /// With a TUN device as WAN.
    pub fn tun(self) -> Self {
        Self { wan: WanKind::Tun, ..self }
    }

    /// With this MTU on the WAN line.
    pub fn wan_mtu(self, mtu: u32) -> Self {
        Self { wan_mtu: Some(mtu), ..self }
    }

    /// With a hop of this MTU behind the ISP.
    pub fn hop_mtu(self, mtu: u32) -> Self {
        Self { hop_mtu: Some(mtu), ..self }
    }
}
