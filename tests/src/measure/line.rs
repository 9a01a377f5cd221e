//! Host, router and remote in a row: as few devices as there can be, so that what is measured is
//! the router.
//!
//! ```text
//!   host eth0 192.168.1.10 ── 192.168.1.1 lan0 router wan0 203.0.113.5 ── 203.0.113.1 eth0 remote
//! ```
//!
//! Either interface of the router can stand on something else ([`Topology`]); it has the same name and
//! addresses then.
//!
//! All neighbours are known beforehand: no ARP disturbs a measurement. Behind the host there are many
//! more, in 10.0.0.0/8, for which it is the next hop; behind the remote there is everything else.

use std::{net::Ipv4Addr, process::Command};

use super::{link, pppoe::Session, topology::Topology};
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

/// What a line is like. Between host, router and remote it is always veth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Queues of each interface. With several, each CPU has its own, as with a network card that
    /// spreads flows over CPUs.
    pub queues: u32,
    /// What lies below the interfaces of the router.
    pub topology: Topology,
}

impl Default for Layout {
    fn default() -> Self {
        Self { queues: 1, topology: Topology::Plain }
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
    layout: Layout,
    session: Option<Session>,
}

impl Line {
    /// Builds the line. The router does not forward yet.
    ///
    /// # Panics
    /// If this process is not root, or the kernel [lacks](Topology::lacking) something.
    pub fn new(layout: Layout) -> Self {
        let mut line = Self {
            host: Namespace::new("host"),
            router: Namespace::new("router"),
            remote: Namespace::new("remote"),
            layout,
            session: None,
        };
        let topology = layout.topology;
        join(&line.host, HOST_IF, &line.router, topology.lan_port(), layout);
        join(&line.router, topology.wan_port(), &line.remote, HOST_IF, layout);
        let [host, lan, wan, remote] = MACS.map(|mac| mac.map(|b| format!("{b:02x}")).join(":"));
        line.host.ip(&format!(
            "link set {HOST_IF} address {host}\naddr add {HOST}/16 dev {HOST_IF}\n\
             link set {HOST_IF} up\nneigh add {ROUTER_LAN} lladdr {lan} dev {HOST_IF}\n\
             route add default via {ROUTER_LAN}"
        ));
        line.stand_on_more(&wan);
        line.router.ip(&format!(
            "link set {LAN_IF} address {lan}\naddr add {ROUTER_LAN}/16 dev {LAN_IF}\n\
             link set {LAN_IF} up\n\
             neigh add {HOST} lladdr {host} dev {LAN_IF}\nroute add {} via {HOST}",
            SOURCES[1]
        ));
        line.router.ip(&neighbours(&host));
        line.router.ip(&line.wan(&wan, &remote));
        line.remote.ip(&format!(
            "link set {HOST_IF} address {remote}\naddr add {REMOTE}/24 dev {HOST_IF}\n\
             link set {HOST_IF} up\nneigh add {ROUTER_WAN} lladdr {wan} dev {HOST_IF}"
        ));
        line
    }

    /// What it is like.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The devices of the router that frames come in by, of the LAN and of the WAN.
    pub fn ports(&self) -> [&'static str; 2] {
        [self.layout.topology.lan_port(), self.layout.topology.wan_port()]
    }

    /// Makes those interfaces of the router that stand on something else; the port of the WAN has the
    /// address `wan`.
    fn stand_on_more(&mut self, wan: &str) {
        let (lan_port, wan_port) =
            (self.layout.topology.lan_port(), self.layout.topology.wan_port());
        let router = &self.router;
        match self.layout.topology {
            Topology::Plain => {}
            // What it has learned it keeps for an hour: XDP takes all further packets.
            Topology::Bridge => router.ip(&format!(
                "link add {LAN_IF} type bridge ageing_time 360000 mcast_snooping 0\n\
                 link add port1 type veth peer name idle0\nlink set idle0 up\n\
                 link set {lan_port} master {LAN_IF} up\nlink set port1 master {LAN_IF} up"
            )),
            Topology::Vlan => {
                // The sink sees the tags that stand in frames, and not those that go beside them.
                set_features(router, wan_port, "txvlan off");
                router.ip(&format!(
                    "link set {wan_port} address {wan} up\n\
                     link add link {wan_port} name {WAN_IF} type vlan id {}",
                    link::VLAN
                ));
            }
            Topology::Pppoe => {
                router.ip(&format!("link set {wan_port} address {wan} up"));
                let [_, _, _, remote] = MACS;
                let session = router.run(|| Session::open(wan_port, link::SESSION, remote));
                let session = session.unwrap_or_else(|e| panic!("make a PPPoE session: {e}"));
                router.ip(&format!("link set {} name {WAN_IF} mtu 1492", session.interface()));
                self.session = Some(session);
            }
        }
    }

    /// The `ip` commands that give the WAN its addresses and routes.
    fn wan(&self, wan: &str, remote: &str) -> String {
        if self.session.is_some() {
            return format!(
                "addr add {ROUTER_WAN} peer {REMOTE}/32 dev {WAN_IF}\nlink set {WAN_IF} up\n\
                 route add default dev {WAN_IF}"
            );
        }
        format!(
            "link set {WAN_IF} address {wan}\naddr add {ROUTER_WAN}/24 dev {WAN_IF}\n\
             link set {WAN_IF} up\nneigh add {REMOTE} lladdr {remote} dev {WAN_IF}\n\
             route add default via {REMOTE}"
        )
    }

    /// Makes the router take frames that are redirected to it even without an XDP program, as a
    /// network card's driver would: polling, which GRO turns on.
    pub fn poll(&self) {
        for port in self.ports() {
            set_features(&self.router, port, "gro on");
        }
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
