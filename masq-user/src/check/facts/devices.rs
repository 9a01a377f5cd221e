//! Facts about network devices beyond what the data plane needs to know of them
//! ([`crate::netlink::Link`]): state, queueing disciplines, drivers.

use std::pin::pin;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use rtnetlink::packet_route::{
    link::{LinkAttribute, LinkFlags, LinkMessage},
    tc::{TcAttribute, TcHandle, TcMessage},
};

use crate::{
    config::Config,
    ethtool::Ethtool,
    netlink::{Netlink, Snapshot},
    plan,
};

/// What is known about one device.
#[derive(Clone, Default, Debug)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether the administrator has turned it on.
    pub up: bool,
    /// Whether there is a line.
    pub carrier: bool,
    /// Queueing disciplines.
    pub qdiscs: Vec<Qdisc>,
    /// What its driver says; absent for devices that masq has nothing to do with.
    pub ethtool: Ethtool,
}

/// One queueing discipline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qdisc {
    /// Its kind: `htb`, `fq_codel`, `ingress`.
    pub kind: String,
    /// Whether it is the one for what arrives.
    pub ingress: bool,
}

/// Reads all devices; the drivers only of those that the configuration names, and of the ports below.
pub(super) async fn gather(
    config: &Config,
    netlink: &Netlink,
    snapshot: &Snapshot,
) -> Result<Vec<Device>> {
    let handle = netlink.handle();
    let mut devices = Vec::new();
    let mut links = pin!(handle.link().get().execute());
    while let Some(message) = links.next().await {
        devices.extend(device(&message.context("cannot list the links")?));
    }
    let mut qdiscs = pin!(handle.qdisc().get().execute());
    while let Some(message) = qdiscs.next().await {
        let message = message.context("cannot list the queueing disciplines")?;
        let index = u32::try_from(message.header.index).unwrap_or(0);
        if let Some(device) = devices.iter_mut().find(|device| device.index == index) {
            device.qdiscs.extend(qdisc(&message));
        }
    }
    let plan = plan::plan(config, snapshot);
    for device in &mut devices {
        let named = config.interfaces().any(|name| name == device.name);
        if named || plan.ports.iter().any(|port| port.name == device.name) {
            device.ethtool = Ethtool::gather(&device.name);
        }
    }
    Ok(devices)
}

fn device(message: &LinkMessage) -> Option<Device> {
    let flags = message.header.flags;
    let mut device = Device {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..Device::default()
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            device.name.clone_from(name);
        }
    }
    (!device.name.is_empty()).then_some(device)
}

fn qdisc(message: &TcMessage) -> Option<Qdisc> {
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.clone()),
        _ => None,
    })?;
    Some(Qdisc { kind, ingress: message.header.parent == TcHandle::INGRESS })
}
