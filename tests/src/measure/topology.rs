//! What lies below the interfaces of the router in a line, and whether this kernel can build it.

use std::path::Path;

use super::{
    line::LAN_IF,
    link::{Link, VLAN},
    pppoe,
};
use crate::{
    lab::{WAN_IF, veth},
    netns::Namespace,
};

/// A device that others can stand on, to see whether they are known.
const PROBE: &str = "probe0";

/// What the LAN or the WAN interface stands on. The other one is an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Topology {
    /// Both are Ethernet interfaces.
    #[default]
    Plain,
    /// The LAN is a bridge with two ports, one of them idle.
    Bridge,
    /// The WAN is a VLAN.
    Vlan,
    /// The WAN is a PPPoE session.
    Pppoe,
}

impl Topology {
    /// In a word.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Bridge => "bridge",
            Self::Vlan => "VLAN",
            Self::Pppoe => "PPPoE",
        }
    }

    /// The device of the router that frames of the LAN come in by.
    pub const fn lan_port(self) -> &'static str {
        match self {
            Self::Bridge => "port0",
            Self::Plain | Self::Vlan | Self::Pppoe => LAN_IF,
        }
    }

    /// The device of the router that frames of the WAN come in by.
    pub const fn wan_port(self) -> &'static str {
        match self {
            Self::Vlan | Self::Pppoe => "line0",
            Self::Plain | Self::Bridge => WAN_IF,
        }
    }

    /// What frames look like at the host and at the remote.
    pub(super) const fn links(self) -> [Link; 2] {
        let wan = match self {
            Self::Plain | Self::Bridge => Link::Ethernet,
            Self::Vlan => Link::Vlan,
            Self::Pppoe => Link::Pppoe,
        };
        [Link::Ethernet, wan]
    }

    /// What this kernel lacks for it; `None` if nothing.
    pub fn lacking(self) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Bridge => lacking_device("type bridge", "bridges (`modprobe bridge`)"),
            Self::Vlan => lacking_device(
                &format!("link {PROBE} type vlan id {VLAN}"),
                "VLANs (`modprobe 8021q`)",
            ),
            // Asking for a socket loads the modules, which make the device.
            Self::Pppoe => {
                let absent =
                    |what| Some(format!("this kernel has no PPPoE (`modprobe pppoe`): {what}"));
                match pppoe::socket() {
                    Err(error) => absent(error.to_string()),
                    Ok(_) if Path::new(pppoe::DEVICE).exists() => None,
                    Ok(_) => absent(format!("there is no {}", pppoe::DEVICE)),
                }
            }
        }
    }
}

/// Tries to make a device.
fn lacking_device(device: &str, what: &str) -> Option<String> {
    let namespace = Namespace::new("probe");
    veth(&namespace, PROBE, &namespace, "probe1");
    let mut command = namespace.command("ip");
    command.args(["link", "add", "name", "probe2"]).args(device.split_whitespace());
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    let error = error.lines().next().unwrap_or_default().trim_start_matches("Error: ");
    let error = error.trim_end_matches('.');
    (!output.status.success()).then(|| format!("this kernel has no {what}: {error}"))
}
