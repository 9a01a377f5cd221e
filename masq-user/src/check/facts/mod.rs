//! The facts that are judged: read from the kernel and from the tools of the packet filter, kept as
//! plain data. What cannot be read is absent; nothing here says whether a fact is good or bad.

mod devices;
mod firewall;
mod kernel;
mod routes;
mod sockets;
mod sysctls;
mod tools;

use anyhow::Result;
use aya::programs::loaded_programs;
use masq_common::abi::programs;

pub use self::{
    devices::{Device, Qdisc},
    firewall::Firewall,
    kernel::{Bpffs, Kernel},
    routes::Outward,
    sockets::Listener,
    sysctls::{PerInterface, Sysctls},
};
pub use crate::ethtool::Ethtool;
use crate::{
    config::Config,
    netlink::{Netlink, Snapshot},
};

/// What is known about the machine.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// Kernel, privileges, memory.
    pub kernel: Kernel,
    /// Links and addresses, without XDP programs of masq.
    pub snapshot: Snapshot,
    /// More about the links.
    pub devices: Vec<Device>,
    /// Where packets from each LAN go.
    pub outward: Vec<Outward>,
    /// Switches of the kernel's IPv4.
    pub sysctls: Sysctls,
    /// Rules of the packet filter.
    pub firewall: Firewall,
    /// What listens on this machine.
    pub listeners: Vec<Listener>,
}

impl Facts {
    /// Reads everything but what the caller has read already.
    pub async fn gather(
        config: &Config,
        kernel: Kernel,
        netlink: &Netlink,
        snapshot: Snapshot,
    ) -> Result<Self> {
        let devices = devices::gather(config, netlink, &snapshot).await?;
        let sysctls = Sysctls::gather(config);
        let outward = routes::gather(config, netlink, &snapshot).await;
        Ok(Self {
            kernel,
            snapshot,
            devices,
            outward,
            sysctls,
            firewall: Firewall::gather(),
            listeners: sockets::gather(),
        })
    }

    /// More about the link of this name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

/// Those of the XDP programs on these links that are masq's own, whichever instance has attached
/// them.
pub fn own_xdp_programs(snapshot: &Snapshot) -> Vec<u32> {
    if snapshot.links.iter().all(|link| link.xdp.is_none()) {
        return Vec::new();
    }
    loaded_programs()
        .flatten()
        .filter(|program| program.name_as_str() == Some(programs::FAST_XDP))
        .map(|program| program.id())
        .collect()
}
