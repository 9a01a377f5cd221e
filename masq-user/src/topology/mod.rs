//! What lies below a configured interface: the ports that its frames come in and go out by, and what
//! stands in them before the IP header. A pure function of a snapshot of the machine.
//!
//! Whether a port's driver can take the fast path is not asked here ([`crate::plan`] says where it
//! should be, [`crate::attach`] finds out), nor who is behind the port of a bridge
//! ([`crate::stations`]). What is not understood in full is refused with the reason, and the fast
//! path of that interface stays in TC.

mod tables;
mod text;

#[cfg(test)]
mod tests;

use crate::netlink::{Layer, Link, Snapshot};

pub use self::{tables::Tables, text::describe};

/// What an interface turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    /// Its kind.
    pub kind: Kind,
    /// All ways that its frames take.
    pub lanes: Vec<Lane>,
    /// Ports of a bridge that XDP cannot serve, by name, and why.
    pub refused: Vec<(String, String)>,
}

/// The kinds of interface, as far as they matter here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is its own port.
    Itself,
    /// A VLAN with this id.
    Vlan(u16),
    /// A bridge.
    Bridge,
    /// A PPPoE session over the device of this name.
    Pppoe(String),
}

/// One way of an interface's frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lane {
    /// Index of the port, which has the driver.
    pub port: u32,
    /// Its name.
    pub name: String,
    /// Id of the 802.1Q tag; 0 without one.
    pub vlan: u16,
    /// See [`crate::netlink::Vlan::priorities`].
    pub priorities: u32,
    /// Index of the port of the bridge that this is.
    pub bridge_port: Option<u32>,
    /// The PPPoE session.
    pub pppoe: Option<Pppoe>,
    /// Why nothing may take it at present, although it is there.
    pub idle: Option<&'static str>,
}

/// A PPPoE session as its frames show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pppoe {
    /// Its id as it stands in frames (network byte order).
    pub id: u16,
    /// Index of the device that it runs over.
    pub device: u32,
    /// Link-layer address of that device.
    pub own: [u8; 6],
    /// Link-layer address of the other end.
    pub peer: [u8; 6],
}

/// Bytes that PPPoE adds to a packet (RFC 2516 section 4, with the PPP protocol).
const PPPOE_HEADER: u32 = 8;

/// Finds out what is below an interface.
///
/// # Errors
/// If that is nothing that the fast path understands: why, for people.
pub fn resolve(link: &Link, snapshot: &Snapshot) -> Result<Topology, String> {
    match (link.layer, link.kind.as_deref()) {
        (Layer::Ethernet, Some("vlan")) => {
            let lane = vlan(link, snapshot)?;
            Ok(Topology { kind: Kind::Vlan(lane.vlan), lanes: vec![lane], refused: Vec::new() })
        }
        (Layer::Ethernet, Some("bridge")) => bridge(link, snapshot),
        (Layer::Ethernet, _) => {
            let lanes = vec![Lane { idle: None, ..itself(link) }];
            Ok(Topology { kind: Kind::Itself, lanes, refused: Vec::new() })
        }
        (Layer::Raw, Some("ppp")) => pppoe(link, snapshot),
        _ => Err("no Ethernet header, which XDP needs".to_owned()),
    }
}

/// A device that is its own port.
fn itself(link: &Link) -> Lane {
    Lane {
        port: link.index,
        name: link.name.clone(),
        vlan: 0,
        priorities: 0,
        bridge_port: None,
        pppoe: None,
        idle: idle(link),
    }
}

const fn idle(link: &Link) -> Option<&'static str> {
    if link.up { None } else { Some("it is down") }
}

/// An Ethernet device that something else stands on.
fn ethernet(link: &Link, snapshot: &Snapshot) -> Result<Lane, String> {
    let name = &link.name;
    if link.layer != Layer::Ethernet {
        return Err(format!("{name} has no Ethernet header, which XDP needs"));
    }
    match link.kind.as_deref() {
        Some("vlan") => vlan(link, snapshot),
        Some(kind @ ("bridge" | "bond" | "team")) => {
            Err(format!("{name} is a {kind}, and below that the fast path cannot look from here"))
        }
        _ => Ok(itself(link)),
    }
}

fn vlan(link: &Link, snapshot: &Snapshot) -> Result<Lane, String> {
    let tag = link.stack.vlan.filter(|tag| (1..=4094).contains(&tag.id));
    let tag = tag.ok_or_else(|| format!("{} has no VLAN id", link.name))?;
    if !tag.ordinary {
        return Err(format!("{} is an 802.1ad VLAN, of which XDP knows nothing", link.name));
    }
    let parent = link.stack.parent.and_then(|index| snapshot.link_of(index));
    let parent =
        parent.ok_or_else(|| format!("what {} stands on is in another namespace", link.name))?;
    if parent.stack.vlan.is_some() {
        return Err(format!("{} has two VLAN tags, of which XDP knows one", link.name));
    }
    if let Some(master) = bonded(parent, snapshot) {
        return Err(format!(
            "{} is a port of {master}, which is neither bridge nor VRF",
            parent.name
        ));
    }
    let lane = ethernet(parent, snapshot)?;
    let idle = idle(link).or(lane.idle);
    Ok(Lane { vlan: tag.id, priorities: tag.priorities, idle, ..lane })
}

/// The name of whoever takes all frames of a device, tagged ones too, before VLANs see them.
fn bonded<'a>(link: &Link, snapshot: &'a Snapshot) -> Option<&'a str> {
    let master = snapshot.link_of(link.master?)?;
    let harmless = matches!(master.kind.as_deref(), Some("bridge" | "vrf"));
    (!harmless).then_some(master.name.as_str())
}

fn bridge(link: &Link, snapshot: &Snapshot) -> Result<Topology, String> {
    if link.stack.filters_vlans {
        return Err("the bridge treats frames by their VLAN (vlan_filtering)".to_owned());
    }
    let (mut lanes, mut refused) = (Vec::new(), Vec::new());
    for port in snapshot.links.iter().filter(|port| port.master == Some(link.index)) {
        match ethernet(port, snapshot) {
            Ok(lane) => {
                let idle = idle(link).or_else(|| barred(port)).or(lane.idle);
                lanes.push(Lane { bridge_port: Some(port.index), idle, ..lane });
            }
            Err(why) => refused.push((port.name.clone(), why)),
        }
    }
    Ok(Topology { kind: Kind::Bridge, lanes, refused })
}

/// Why a bridge does not treat everybody behind a port alike.
fn barred(port: &Link) -> Option<&'static str> {
    match port.stack.port {
        None => Some("the kernel does not say how its bridge treats it"),
        Some(port) if port.locked => Some("it is locked, so the bridge asks who may send"),
        Some(port) if port.has_backup => Some("another port takes over when its line goes"),
        Some(port) if !port.learning => Some("the bridge does not learn who is behind it"),
        Some(port) if !port.forwarding => Some("it has no line, or STP blocks it"),
        Some(_) => None,
    }
}

fn pppoe(link: &Link, snapshot: &Snapshot) -> Result<Topology, String> {
    let session = match snapshot.sessions.as_slice() {
        [only] => only,
        [] => return Err("there is no PPPoE session below it (/proc/net/pppoe)".to_owned()),
        _ => return Err("several PPPoE sessions: the kernel does not say which is its".to_owned()),
    };
    if session.transformed {
        let why = "PPP compression or encryption (CCP, MPPE) is in use, which XDP does not know";
        return Err(why.to_owned());
    }
    let ppp = |link: &&Link| link.kind.as_deref() == Some("ppp");
    if snapshot.links.iter().filter(ppp).count() > 1 {
        let why = "several PPP interfaces: the kernel does not say whose the PPPoE session is";
        return Err(why.to_owned());
    }
    let device = &session.device;
    let below = snapshot.link(device).ok_or_else(|| format!("there is no {device} any more"))?;
    if link.mtu + PPPOE_HEADER > below.mtu {
        return Err(format!(
            "its MTU of {} does not fit {device}, so the PPPoE session may be another's",
            link.mtu
        ));
    }
    let master = below.master.and_then(|index| snapshot.link_of(index));
    if let Some(master) = master.filter(|master| master.kind.as_deref() != Some("vrf")) {
        return Err(format!("{device}, which it runs over, is a port of {}", master.name));
    }
    let lane = ethernet(below, snapshot)?;
    let idle = idle(link).or_else(|| idle(below)).or(lane.idle);
    let pppoe =
        Some(Pppoe { id: session.id, device: below.index, own: below.mac, peer: session.peer });
    let lanes = vec![Lane { pppoe, idle, ..lane }];
    Ok(Topology { kind: Kind::Pppoe(device.clone()), lanes, refused: Vec::new() })
}
