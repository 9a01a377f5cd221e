//! Host, router and remote in a row: as few devices as there can be, so that what is measured is
//! the router.
//!
//! ```text
//!   host eth0 192.168.1.10 ── 192.168.1.1 lan0 router wan0 203.0.113.5 ── 203.0.113.1 eth0 remote
//! ```
//!
//! All neighbours are known beforehand: no ARP disturbs a measurement.

use std::net::Ipv4Addr;

use crate::{
    lab::{HOST_A, HOST_IF, ISP, ROUTER_LAN, ROUTER_WAN, WAN_IF, set_features, veth},
    netns::Namespace,
};

/// The LAN interface of the router.
pub const LAN_IF: &str = "lan0";
/// Address of the first host; further ones follow it.
pub const HOST: Ipv4Addr = HOST_A;
/// Address of the far end.
pub const REMOTE: Ipv4Addr = ISP;
/// How many host addresses there are.
pub const HOSTS: u32 = 100;

/// Link-layer addresses: of the host, of the router towards it and towards the remote, and of the
/// remote.
pub const MACS: [[u8; 6]; 4] = [mac(0x0a), mac(0x01), mac(0x02), mac(0x0b)];

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, last]
}

/// The three namespaces.
#[derive(Debug)]
pub struct Line {
    /// The inside.
    pub host: Namespace,
    /// What is measured.
    pub router: Namespace,
    /// The outside.
    pub remote: Namespace,
}

impl Line {
    /// Builds the line. The router does not forward yet.
    ///
    /// # Panics
    /// If this process is not root.
    pub fn new() -> Self {
        let line = Self {
            host: Namespace::new("host"),
            router: Namespace::new("router"),
            remote: Namespace::new("remote"),
        };
        veth(&line.host, HOST_IF, &line.router, LAN_IF);
        veth(&line.router, WAN_IF, &line.remote, HOST_IF);
        let [host, lan, wan, remote] = MACS.map(|mac| mac.map(|b| format!("{b:02x}")).join(":"));
        line.host.ip(&format!(
            "link set {HOST_IF} address {host}\naddr add {HOST}/16 dev {HOST_IF}\n\
             link set {HOST_IF} up\nneigh add {ROUTER_LAN} lladdr {lan} dev {HOST_IF}\n\
             route add default via {ROUTER_LAN}"
        ));
        line.router.ip(&format!(
            "link set {LAN_IF} address {lan}\naddr add {ROUTER_LAN}/16 dev {LAN_IF}\n\
             link set {LAN_IF} up\nlink set {WAN_IF} address {wan}\n\
             addr add {ROUTER_WAN}/24 dev {WAN_IF}\nlink set {WAN_IF} up\n\
             neigh add {REMOTE} lladdr {remote} dev {WAN_IF}\nroute add default via {REMOTE}"
        ));
        line.router.ip(&neighbours(&host));
        line.remote.ip(&format!(
            "link set {HOST_IF} address {remote}\naddr add {REMOTE}/24 dev {HOST_IF}\n\
             link set {HOST_IF} up\nneigh add {ROUTER_WAN} lladdr {wan} dev {HOST_IF}"
        ));
        line
    }

    /// Makes the router take frames that are redirected to it even without an XDP program, as a
    /// network card's driver would: polling, which GRO turns on.
    pub fn poll(&self) {
        set_features(&self.router, LAN_IF, "gro on");
        set_features(&self.router, WAN_IF, "gro on");
    }

    /// Makes sockets of the ends fit for native XDP on veth in the router: whole checksums, and
    /// receivers that poll. Segmentation goes with the checksums.
    pub fn without_offloads(&self) {
        for end in [&self.host, &self.remote] {
            set_features(end, HOST_IF, "tx off gro on");
        }
    }

    /// Gives the remote a route to the hosts, for a router that does not translate.
    pub fn route_back(&self) {
        self.remote.ip(&format!("route add 192.168.0.0/16 via {ROUTER_WAN}"));
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

/// The `ip` commands that tell the router that all host addresses are at one link-layer address.
fn neighbours(host: &str) -> String {
    let first = u32::from(HOST);
    (first..first + HOSTS)
        .map(|address| {
            format!("neigh add {} lladdr {host} dev {LAN_IF}\n", Ipv4Addr::from(address))
        })
        .collect()
}
