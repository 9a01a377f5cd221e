//! What should be: which devices the data plane knows, with which hooks, and what is true of
//! which addresses. A pure function of the configuration and a snapshot of the machine; bringing
//! it about is the business of [`crate::reconcile`].

#[cfg(test)]
mod tests;

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
    /// Whether tags have to stay in the frames: there are VLANs on top of it, or may be on top of its
    /// bridge, and without its tag a frame of theirs would look like one of the port itself.
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
        let bridged = lane.bridge_port.is_some();
        if let Some(known) = ports.iter_mut().find(|port| port.index == lane.port) {
            known.tagged |= bridged;
            continue;
        }
        if let Some(port) = Port::below(mode, lane.port, snapshot) {
            ports.push(Port { tagged: bridged || port.tagged, ..port });
        }
    }
    ports
}

impl Port {
    /// The device with this index as the port below something else; `None` if it has gone.
    pub fn below(mode: Mode, index: u32, snapshot: &Snapshot) -> Option<Self> {
        let link = snapshot.link_of(index)?;
        let on_top = |other: &Link| other.stack.vlan.is_some() && other.stack.parent == Some(index);
        Some(Self {
            index,
            name: link.name.clone(),
            fast: fast(mode, link),
            tagged: snapshot.links.iter().any(on_top),
        })
    }
}

impl Plan {
    /// Whether there is a port that this one could send to: one that serves the other side, and `may` have
    /// the program.
    pub fn has_partner(&self, port: u32, may: impl Fn(u32) -> bool) -> bool {
        let is_lan = |interface: &Interface| interface.role == Role::Lan;
        let serves = |lan: bool, port: u32| {
            let mut side = self.interfaces.iter().filter(move |other| is_lan(other) == lan);
            side.any(|interface| interface.lanes().any(|lane| lane.port == port))
        };
        let wanted = |port: &&Port| !matches!(port.fast, Fast::Tc(_)) && may(port.index);
        let others = || self.ports.iter().filter(wanted);
        [true, false]
            .into_iter()
            .any(|lan| serves(lan, port) && others().any(|other| serves(!lan, other.index)))
    }
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
    let below = match (config.mode, shaper(link)) {
        (Mode::Tc | Mode::Kernel, _) => Err("asked for".to_owned()),
        (Mode::Auto, Some(why)) => Err(why),
        (Mode::Auto, None) | (Mode::Xdp, _) => topology::resolve(link, snapshot),
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

/// Queueing disciplines that hold packets back, for those who have set them up.
pub const SHAPERS: [&str; 9] =
    ["cake", "cbq", "cbs", "etf", "hfsc", "htb", "netem", "taprio", "tbf"];

/// Why a link with a shaper does without XDP, unless it is asked for.
fn shaper(link: &Link) -> Option<String> {
    let kind = link.qdisc.as_deref().filter(|kind| SHAPERS.contains(kind))?;
    Some(format!("{} has a shaper ({kind}), which XDP would pass by", link.name))
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
            (None, true) => shaper(link).map_or(Fast::TryXdp, Fast::Tc),
        },
    }
}
