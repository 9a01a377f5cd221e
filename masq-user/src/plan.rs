//! What should be: which devices the data plane knows, with which hooks, and what is true of
//! which addresses. A pure function of the configuration and a snapshot of the machine; bringing
//! it about is the business of [`crate::reconcile`].

use std::net::Ipv4Addr;

use masq_common::{
    mss,
    settings::{Device, caps, role},
};

use crate::{
    cli::{Mode, MssClamp},
    config::Config,
    netlink::{Address, Layer, Link, Snapshot},
    prefixes::{self, Prefixes},
    topology::{self, Kind, Topology},
};

/// The state that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// All configured interfaces, in the order LANs, WANs.
    pub interfaces: Vec<Interface>,
    /// Indices of all other interfaces of the machine: no WAN of ours.
    pub others: Vec<u32>,
    /// The ports below the interfaces, each once, however many interfaces it serves.
    pub ports: Vec<Port>,
    /// Content of the prefix table.
    pub prefixes: Prefixes,
    /// What the user should know about.
    pub warnings: Vec<String>,
}

/// One configured interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What it is now; `None` while it does not exist or cannot be used.
    pub present: Option<Present>,
}

/// The role of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// To the inside.
    Lan,
    /// To the outside, with its index in the data plane.
    Wan(u8),
}

impl Role {
    /// The role in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan(_) => "wan",
        }
    }
}

/// An interface that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Present {
    /// Its index.
    pub index: u32,
    /// Whether its frames begin with an Ethernet header.
    pub ethernet: bool,
    /// Link-layer address; zero if it has none.
    pub mac: [u8; 6],
    /// The address that a WAN translates to.
    pub address: Option<Ipv4Addr>,
    /// The largest TCP segment that connections over a WAN may announce; 0 for no limit.
    pub mss: u16,
    /// What is below it; or why the fast path stays in TC.
    pub below: Result<Topology, String>,
}

/// A port: a device whose driver the fast path may go into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Where the fast path of its frames should be.
    pub fast: Fast,
    /// Whether tags have to stay in the frames: there are VLANs on top of it, and without its tag a
    /// frame of theirs would look like one of the port itself.
    pub tagged: bool,
}

/// Where the fast path of a port should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fast {
    /// In TC, and why.
    Tc(String),
    /// In the driver if it can, else in TC.
    TryXdp,
    /// In the driver.
    ForceXdp,
}

/// What of that is attached that the device table tells.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hooks {
    /// The program in the driver.
    pub xdp: bool,
    /// The program on WAN egress.
    pub wan_out: bool,
}

impl Present {
    /// The entry of the device table, given which hooks are attached.
    pub fn device(&self, role: Role, hooks: Hooks) -> Device {
        let ethernet = if self.ethernet { caps::ETHERNET } else { 0 };
        let transmit = if hooks.xdp { caps::XDP_TRANSMIT } else { 0 };
        let ready = if hooks.wan_out || role == Role::Lan { caps::READY } else { 0 };
        let (role, wan) = match role {
            Role::Lan => (role::LAN, 0),
            Role::Wan(index) => (role::WAN, index),
        };
        Device {
            address: self.address.map(Into::into).unwrap_or_default(),
            mac: self.mac,
            role,
            wan,
            caps: ethernet | transmit | ready,
            mss: self.mss,
        }
    }
}

/// The entry of the device table for an interface that is not ours.
pub fn other_device() -> Device {
    Device { role: role::OTHER, caps: caps::READY, ..Device::default() }
}

/// Works out what should be.
pub fn plan(config: &Config, snapshot: &Snapshot) -> Plan {
    let lans = config.lans.iter().map(|name| (name, Role::Lan));
    let wans = config.wans.iter().zip(0..).map(|(name, index)| (name, Role::Wan(index)));
    let interfaces: Vec<_> = lans
        .chain(wans)
        .map(|(name, role)| Interface {
            name: name.clone(),
            role,
            present: snapshot.link(name).and_then(|link| present(config, role, link, snapshot)),
        })
        .collect();
    let ours = |link: &&Link| config.interfaces().any(|name| name == link.name);
    let others = snapshot.links.iter().filter(|link| !ours(link)).map(|link| link.index).collect();
    let ports = ports(config.mode, &interfaces, snapshot);
    let addresses = |wanted: fn(Role) -> bool| -> Vec<Address> {
        let chosen = interfaces.iter().filter(|interface| wanted(interface.role));
        let indexes = chosen.filter_map(|interface| Some(interface.present.as_ref()?.index));
        indexes.flat_map(|index| snapshot.addresses_of(index)).copied().collect()
    };
    let external: Vec<_> = interfaces
        .iter()
        .filter_map(|interface| match (interface.role, &interface.present) {
            (Role::Wan(wan), Some(present)) => Some((present.address?, wan)),
            _ => None,
        })
        .collect();
    let (prefixes, warnings) = prefixes::prefixes(
        &config.sources,
        &addresses(|role| role == Role::Lan),
        &addresses(|role| role != Role::Lan),
        &external,
    );
    Plan { interfaces, others, ports, prefixes, warnings }
}

/// The ports below these interfaces.
fn ports(mode: Mode, interfaces: &[Interface], snapshot: &Snapshot) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for lane in interfaces.iter().flat_map(Interface::lanes) {
        let known = ports.iter().any(|port| port.index == lane.port);
        let Some(link) = snapshot.link_of(lane.port).filter(|_| !known) else { continue };
        let on_top =
            |other: &Link| other.stack.vlan.is_some() && other.stack.parent == Some(link.index);
        ports.push(Port {
            index: link.index,
            name: link.name.clone(),
            fast: fast(mode, link),
            tagged: snapshot.links.iter().any(on_top),
        });
    }
    ports
}

impl Interface {
    /// The ways of its frames, as far as they are understood.
    pub fn lanes(&self) -> impl Iterator<Item = &topology::Lane> {
        let below = self.present.as_ref().and_then(|present| present.below.as_ref().ok());
        below.into_iter().flat_map(|topology| &topology.lanes)
    }
}

impl Present {
    /// Whether it is its own port.
    pub fn is_port(&self) -> bool {
        self.below.as_ref().is_ok_and(|topology| topology.kind == Kind::Itself)
    }
}

fn present(config: &Config, role: Role, link: &Link, snapshot: &Snapshot) -> Option<Present> {
    let ethernet = match link.layer {
        Layer::Ethernet => true,
        Layer::Raw => false,
        Layer::Other => return None,
    };
    let address = match role {
        Role::Lan => None,
        Role::Wan(_) => snapshot.external_address(link.index),
    };
    let mss = match role {
        Role::Lan => 0,
        Role::Wan(_) => mss_limit(config, link, snapshot),
    };
    let below = match config.mode {
        Mode::Tc | Mode::Kernel => Err("asked for".to_owned()),
        Mode::Auto | Mode::Xdp => topology::resolve(link, snapshot),
    };
    Some(Present { index: link.index, ethernet, mac: link.mac, address, mss, below })
}

/// What hosts behind a LAN may take, whatever the router's own device there does: ordinary Ethernet.
const ETHERNET_MTU: u32 = 1500;

/// The largest TCP segment that connections over a WAN may announce. None is needed where all packets
/// of the LANs and of hosts further inside fit.
fn mss_limit(config: &Config, wan: &Link, snapshot: &Snapshot) -> u16 {
    match config.mss_clamp {
        MssClamp::Off => 0,
        MssClamp::Most(size) => size,
        MssClamp::Auto => {
            let lans = config.lans.iter().filter_map(|name| snapshot.link(name));
            let widest = lans.map(|lan| lan.mtu).fold(ETHERNET_MTU, u32::max);
            if widest > wan.mtu { mss::fitting(wan.mtu) } else { 0 }
        }
    }
}

fn fast(mode: Mode, link: &Link) -> Fast {
    let tc = |why: &str| Fast::Tc(why.to_owned());
    match mode {
        Mode::Tc | Mode::Kernel => tc("asked for"),
        Mode::Xdp => Fast::ForceXdp,
        Mode::Auto => match (&link.kind, link.hardware) {
            (Some(kind), _) => Fast::Tc(format!("virtual device ({kind})")),
            (None, false) => tc("virtual device"),
            (None, true) if link.xdp.is_some() => tc("another XDP program is attached to it"),
            (None, true) => Fast::TryXdp,
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use masq_common::{be::Addr, settings::prefix};

    use super::*;
    use crate::{
        cli::{Cli, Command},
        netlink::{Stack, Vlan},
    };

    fn config(rest: &str) -> Config {
        let words = format!("masq run {rest}");
        match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
            Command::Run(args) => Config::new(*args).unwrap(),
            _ => unreachable!(),
        }
    }

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.into(),
            layer: Layer::Ethernet,
            mac: [2, 0, 0, 0, 0, index as u8],
            mtu: 1500,
            kind: None,
            hardware: true,
            xdp: None,
            master: None,
            up: true,
            stack: Stack::default(),
        }
    }

    fn address(index: u32, local: &str, network: &str) -> Address {
        Address {
            index,
            local: local.parse().unwrap(),
            network: network.parse().unwrap(),
            usable: true,
        }
    }

    fn machine() -> Snapshot {
        let ppp =
            Link { layer: Layer::Raw, kind: Some("ppp".into()), mac: [0; 6], ..link(9, "ppp0") };
        Snapshot {
            links: vec![link(2, "eth0"), link(3, "eth1"), Link { hardware: false, ..ppp }],
            addresses: vec![
                address(3, "192.168.1.1", "192.168.1.0/24"),
                address(9, "203.0.113.5", "203.0.113.1/32"),
            ],
            sessions: Vec::new(),
        }
    }

    #[test]
    fn a_home_router_is_planned() {
        let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
        assert!(plan.warnings.is_empty());
        let lan = plan.interfaces[0].present.as_ref().unwrap();
        assert!(lan.is_port());
        let port = Port { index: 3, name: "eth1".into(), fast: Fast::TryXdp, tagged: false };
        assert_eq!((lan.index, plan.ports), (3, vec![port]));
        let wan = &plan.interfaces[1];
        let device = wan.present.as_ref().unwrap().device(wan.role, Hooks::default());
        assert_eq!(device.address, Addr::from_octets([203, 0, 113, 5]));
        assert_eq!((device.role, device.wan, device.caps), (role::WAN, 0, 0));
        assert_eq!(
            plan.prefixes[&"192.168.1.0/24".parse().unwrap()],
            prefix::SOURCE | prefix::INSIDE
        );
    }

    #[test]
    fn a_lan_has_no_external_address() {
        let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
        let lan = plan.interfaces[0].present.as_ref().unwrap();
        let lan = lan.device(Role::Lan, Hooks { xdp: true, wan_out: false });
        assert_eq!(lan.address, Addr::NONE);
        assert_eq!(lan.caps, caps::ETHERNET | caps::XDP_TRANSMIT | caps::READY);
        assert_eq!(lan.mac, [2, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn a_wan_is_ready_when_its_egress_hook_is_attached() {
        let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
        let ready = |interface: &Interface, wan_out| {
            let present = interface.present.as_ref().unwrap();
            present.device(interface.role, Hooks { xdp: false, wan_out }).caps & caps::READY != 0
        };
        assert!(!ready(&plan.interfaces[1], false) && ready(&plan.interfaces[1], true));
        assert!(ready(&plan.interfaces[0], false), "nothing is translated on its way into a LAN");
        assert_eq!(plan.others, [2], "eth0 is nobody's WAN");
    }

    #[test]
    fn an_interface_that_is_missing_is_not_present() {
        let mut machine = machine();
        machine.links.retain(|link| link.name != "ppp0");
        let plan = plan(&config("--lan eth1 --wan ppp0"), &machine);
        assert_eq!(plan.interfaces[1].present, None);
        assert!(plan.interfaces[0].present.is_some());
    }

    #[test]
    fn second_wan_has_the_second_index() {
        let plan = plan(&config("--lan eth1 --wan ppp0 --wan eth0"), &machine());
        assert_eq!(plan.interfaces[2].role, Role::Wan(1));
        assert_eq!(plan.interfaces[2].present.as_ref().unwrap().address, None);
    }

    #[test]
    fn segments_are_limited_where_the_wan_is_narrower() {
        let behind = |lan: u32, options: &str, ppp: u32| {
            let mut machine = machine();
            (machine.links[1].mtu, machine.links[2].mtu) = (lan, ppp);
            let plan = plan(&config(&format!("--lan eth1 --wan ppp0 {options}")), &machine);
            let device = |i: usize| plan.interfaces[i].present.as_ref().unwrap().mss;
            assert_eq!(device(0), 0, "the limit is the WAN's");
            device(1)
        };
        let mss = |options: &str, ppp: u32| behind(1500, options, ppp);
        // Jumbo frames inside; a tunnel inside, behind which there is Ethernet.
        assert_eq!(behind(9000, "", 1500), 1460);
        assert_eq!(behind(1420, "", 1492), 1452);
        assert_eq!(mss("", 1492), 1452);
        assert_eq!(mss("", 1500), 0);
        assert_eq!(mss("", 9000), 0);
        assert_eq!(mss("--mss-clamp off", 1492), 0);
        assert_eq!(mss("--mss-clamp 1400", 1500), 1400);
        assert_eq!(mss("--mss-clamp auto", 576), 536);
    }

    #[test]
    fn the_fast_path_is_chosen_by_mode_and_device() {
        let veth = Link { kind: Some("veth".into()), hardware: false, ..link(2, "v0") };
        let busy = Link { xdp: Some(17), ..link(2, "eth0") };
        let is_tc = |mode, link: &Link| matches!(fast(mode, link), Fast::Tc(_));
        assert!(is_tc(Mode::Auto, &veth) && is_tc(Mode::Auto, &busy));
        assert!(is_tc(Mode::Tc, &link(2, "eth0")));
        assert_eq!(fast(Mode::Auto, &link(2, "eth0")), Fast::TryXdp);
        assert_eq!(fast(Mode::Xdp, &veth), Fast::ForceXdp);
    }

    #[test]
    fn a_port_is_planned_once_and_keeps_the_tags_of_its_vlans() {
        let mut machine = machine();
        for (index, name, id) in [(5, "eth0.7", 7), (6, "eth0.8", 8)] {
            let tag = Vlan { id, ordinary: true, priorities: 0 };
            let stack = Stack { parent: Some(2), vlan: Some(tag), ..Stack::default() };
            let kind = Some("vlan".into());
            machine.links.push(Link { kind, hardware: false, stack, ..link(index, name) });
        }
        let plan = |rest: &str| plan(&config(rest), &machine).ports;
        let port = Port { index: 2, name: "eth0".into(), fast: Fast::TryXdp, tagged: true };
        assert_eq!(plan("--lan eth0.8 --wan eth0.7"), [port]);
        assert_eq!(plan("--lan eth0.8 --wan eth0.7 --mode tc"), []);
    }
}
