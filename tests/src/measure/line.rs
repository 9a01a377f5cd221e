//! Host, router and remote in a row: as few devices as there can be, so that what is measured is
//! the router.
//!
//! ```text
//!   host eth0 192.168.1.10 ── 192.168.1.1 lan0 router wan0 203.0.113.5 ── 203.0.113.1 eth0 remote
//! ```
//!
//! All neighbours are known beforehand: no ARP disturbs a measurement. Behind the host there are many
//! more, in 10.0.0.0/8, for which it is the next hop; behind the remote there is everything else.

use std::{net::Ipv4Addr, process::Command};

use crate::{
    lab::{HOST_A, HOST_IF, ISP, ROUTER_LAN, ROUTER_WAN, WAN_IF, set_features, veth},
    netns::{Namespace, must_succeed},
};

/// The LAN interface of the router.
pub const LAN_IF: &str = "lan0";
/// Address of the first host; further ones follow it.
pub const HOST: Ipv4Addr = HOST_A;
/// Address of the far end.
pub const REMOTE: Ipv4Addr = ISP;
/// How many host addresses there are.
pub const HOSTS: u32 = 100;

/// The first of the hosts behind the host.
pub const FIRST_INNER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The first of the addresses behind the remote: of the prefix for benchmarks (RFC 2544).
pub const FIRST_FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where hosts are: behind the LAN interface, and behind the host.
pub const SOURCES: [&str; 2] = ["192.168.0.0/16", "10.0.0.0/8"];

/// Link-layer addresses: of the host, of the router towards it and towards the remote, and of the
/// remote.
pub const MACS: [[u8; 6]; 4] = [mac(0x0a), mac(0x01), mac(0x02), mac(0x0b)];

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, last]
}

/// What a line is like. What stands between host, router and remote would be said here too; so far
/// it is always veth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Queues of each interface. With several, each CPU has its own, as with a network card that
    /// spreads flows over CPUs.
    pub queues: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self { queues: 1 }
    }
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
    pub fn new(layout: Layout) -> Self {
        let line = Self {
            host: Namespace::new("host"),
            router: Namespace::new("router"),
            remote: Namespace::new("remote"),
        };
        join(&line.host, HOST_IF, &line.router, LAN_IF, layout);
        join(&line.router, WAN_IF, &line.remote, HOST_IF, layout);
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
             neigh add {REMOTE} lladdr {remote} dev {WAN_IF}\nroute add default via {REMOTE}\n\
             neigh add {HOST} lladdr {host} dev {LAN_IF}\nroute add {} via {HOST}",
            SOURCES[1]
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
        for source in SOURCES {
            self.remote.ip(&format!("route add {source} via {ROUTER_WAN}"));
        }
    }
}

/// Joins two namespaces with interfaces, both down.
fn join(a: &Namespace, name_a: &str, b: &Namespace, name_b: &str, layout: Layout) {
    let queues = layout.queues;
    if queues == 1 {
        return veth(a, name_a, b, name_b);
    }
    let many = format!("numtxqueues {queues} numrxqueues {queues}");
    a.ip(&format!(
        "link add {name_a} {many} type veth peer name {name_b} netns {} {many}",
        b.name()
    ));
    for (namespace, name) in [(a, name_a), (b, name_b)] {
        // Packets of a CPU stay in its queue: what a card's driver does by itself.
        let script: String = (0..queues)
            .map(|queue| {
                format!(
                    "echo {:x} > /sys/class/net/{name}/queues/tx-{queue}/xps_cpus\n",
                    1 << queue
                )
            })
            .collect();
        // Only this way there is a /sys that shows the interfaces of the namespace.
        let shell = ["netns", "exec", namespace.name(), "sh", "-ec", &script];
        must_succeed(Command::new("ip").args(shell));
    }
}

/// The `ip` commands that tell the router that all host addresses are at one link-layer address.
fn neighbours(host: &str) -> String {
    let first = u32::from(HOST) + 1;
    (first..first + HOSTS - 1)
        .map(|address| {
            format!("neigh add {} lladdr {host} dev {LAN_IF}\n", Ipv4Addr::from(address))
        })
        .collect()
}
