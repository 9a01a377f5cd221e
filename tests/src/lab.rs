//! The network that everything is tried in: two LAN hosts, a router, an ISP and two servers.
//!
//! ```text
//!   a  192.168.1.10 ─┐                                                   ┌─ server1 198.51.100.1
//!                    ├─ lan0 router wan0 ──── 203.0.113.1  isp ( ─ core)─┤
//!   b  192.168.1.11 ─┘  .1.1      203.0.113.5                            └─ server2 198.51.100.2
//! ```
//!
//! Each name is a namespace of its own; the LAN is a switch (a bridge in one more namespace). The
//! ISP has no route to the LAN: what leaves the router with a private source gets no answer.
//! [`Layout`] has the variants. A lab knows nothing of masq: start a gateway in
//! `lab.router`.

mod layout;

use std::{net::Ipv4Addr, ops::Deref, sync::Mutex};

pub use self::layout::{LanKind, Layout, WanKind};

use crate::{
    netns::{Namespace, must_succeed},
    sockets::eventually,
    tun::TunLine,
};

/// LAN host A.
pub const HOST_A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// LAN host B.
pub const HOST_B: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
/// The router on the LAN.
pub const ROUTER_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The router on the WAN: the external address.
pub const ROUTER_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// The first hop behind the router.
pub const ISP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The first server.
pub const SERVER_1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The second server.
pub const SERVER_2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The hop in front of the servers.
const LAST_HOP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);

/// The WAN interface of the router.
pub const WAN_IF: &str = "wan0";
/// The other end of the WAN interface, in the namespace of the ISP: where to capture.
pub const ISP_IF: &str = "isp0";
/// The interface of a LAN host or a server.
pub const HOST_IF: &str = "eth0";

/// MAC address of the router's `lan0`.
pub const MAC_ROUTER_LAN: &str = "02:00:00:00:01:01";
/// MAC address of the router's `wan0`.
pub const MAC_ROUTER_WAN: &str = "02:00:00:00:02:01";
/// MAC address of LAN host A.
pub const MAC_HOST_A: &str = "02:00:00:00:0a:0a";
/// MAC address of LAN host B.
pub const MAC_HOST_B: &str = "02:00:00:00:0a:0b";
/// MAC address of the ISP's `isp0`.
pub const MAC_ISP: &str = "02:00:00:00:0b:01";

/// A LAN host or a server: a namespace with one address.
#[derive(Debug)]
pub struct Node {
    /// Its network namespace.
    pub namespace: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// The network. See the module text.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order: first the line, which has devices open.
    line: Mutex<Option<TunLine>>,
    /// LAN host A.
    pub a: Node,
    /// LAN host B.
    pub b: Node,
    /// The router, without a gateway.
    pub router: Namespace,
    /// The first hop behind the router.
    pub isp: Namespace,
    /// The first server.
    pub server1: Node,
    /// The second server.
    pub server2: Node,
    switch: Option<Namespace>,
    core: Option<Namespace>,
    layout: Layout,
}

impl Lab {
    /// Builds the network.
    ///
    /// # Panics
    /// If this process is not root, or the kernel lacks a device type.
    pub fn new(layout: Layout) -> Self {
        let node = |role, address| Node { namespace: Namespace::new(role), address };
        let lab = Self {
            line: Mutex::default(),
            a: node("a", HOST_A),
            b: node("b", HOST_B),
            router: Namespace::new("router"),
            isp: Namespace::new("isp"),
            server1: node("server1", SERVER_1),
            server2: node("server2", SERVER_2),
            switch: matches!(layout.lan, LanKind::Switch | LanKind::Vlan | LanKind::BridgeOfVlans)
                .then(|| Namespace::new("switch")),
            core: layout.hop_mtu.is_some().then(|| Namespace::new("core")),
            layout,
        };
        for namespace in lab.namespaces() {
            // Tests provoke many ICMP errors in a short time.
            namespace.set_sysctl("net.ipv4.icmp_ratelimit", "0");
            // Strict filtering would hide what the gateway has to do about forged sources.
            namespace.set_sysctl("net.ipv4.conf.all.rp_filter", "0");
            namespace.set_sysctl("net.ipv4.conf.default.rp_filter", "0");
        }
        lab.build_lan();
        lab.restore_wan();
        lab.connect_wan();
        lab.build_internet();
        lab.settle();
        lab
    }

    /// Waits until the router's lines are up.
    fn settle(&self) {
        let interfaces = self.lan_interfaces().iter().chain([&WAN_IF]);
        interfaces.for_each(|interface| wait_for_carrier(&self.router, interface));
    }

    /// The LAN interfaces of the router, as `masq run --lan` wants them.
    pub fn lan_interfaces(&self) -> &'static [&'static str] {
        match self.layout.lan {
            LanKind::Switch | LanKind::Bridge | LanKind::Vlan | LanKind::BridgeOfVlans => &["lan0"],
            LanKind::InterfacePerHost => &["lan0", "lan1"],
        }
    }

    /// The devices of the router that frames of the LAN really come in by.
    pub fn lan_ports(&self) -> &'static [&'static str] {
        match self.layout.lan {
            LanKind::Switch => &["lan0"],
            LanKind::Bridge => &["port0", "port1"],
            LanKind::InterfacePerHost => &["lan0", "lan1"],
            LanKind::Vlan | LanKind::BridgeOfVlans => &["trunk0"],
        }
    }

    /// The device of the router that frames of the WAN really come in by.
    pub fn wan_port(&self) -> &'static str {
        self.layout.wan.line().0
    }

    /// The variant that this network is of.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Every namespace, for settings that all need.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        [&*self.a, &*self.b, &self.router, &self.isp, &*self.server1, &*self.server2]
            .into_iter()
            .chain(self.switch.as_ref())
            .chain(self.core.as_ref())
    }

    /// Makes the neighbours of the router fit for native XDP on veth, which knows neither partial
    /// checksums nor segmentation: senders compute whole checksums, and the far ends of the
    /// router's interfaces poll (GRO on), or else frames that XDP redirects to them are lost. Nor does
    /// XDP see a tag that a sender has left to its device.
    pub fn prepare_for_xdp(&self) {
        for node in [&self.a, &self.b, &self.server1, &self.server2] {
            set_features(node, HOST_IF, "tx off gro on");
        }
        match (&self.switch, self.layout.lan) {
            (Some(switch), LanKind::Switch) => set_features(switch, "up0", "tx off gro on"),
            (Some(switch), _) => set_features(switch, "up0", "tx off gro on txvlan off"),
            (None, LanKind::Bridge) => {
                set_features(&self.router, "port0", "tx off");
                set_features(&self.router, "port1", "tx off");
            }
            (None, _) => (),
        }
        match self.layout.wan {
            WanKind::Ethernet => set_features(&self.isp, ISP_IF, "tx off gro on"),
            WanKind::Vlan => {
                set_features(&self.isp, self.layout.wan.line().1, "tx off gro on txvlan off");
            }
            WanKind::Tun => {}
        }
    }

    /// Makes the router forward without any translation, and the ISP know the way back: the
    /// yardstick of throughput measurements.
    pub fn forward_plainly(&self) {
        self.router.set_sysctl("net.ipv4.ip_forward", "1");
        self.isp.ip(&format!("route replace 192.168.0.0/16 via {ROUTER_WAN} dev {ISP_IF} onlink"));
    }

    /// Undoes [`Lab::forward_plainly`].
    pub fn stop_forwarding(&self) {
        self.router.set_sysctl("net.ipv4.ip_forward", "0");
        self.isp.ip("route del 192.168.0.0/16");
    }

    /// Takes all addresses from the WAN interface and gives it this one, with a new default route.
    pub fn set_wan_address(&self, address: Ipv4Addr) {
        self.router.ip(&format!("addr flush dev {WAN_IF}"));
        self.router.ip(&self.wan_configuration(address));
    }

    /// Takes the WAN interface away, as when a PPP line breaks down.
    pub fn remove_wan(&self) {
        match self.layout.wan {
            WanKind::Ethernet | WanKind::Vlan => {
                self.router.ip(&format!("link del {}", self.layout.wan.line().0));
            }
            WanKind::Tun => *self.line.lock().expect("the line") = None,
        }
    }

    /// Makes the WAN line anew after [`Lab::remove_wan`]. The ISP's end is up; the router's end is
    /// still hidden at the ISP, until [`Lab::connect_wan`].
    pub fn restore_wan(&self) {
        match self.layout.wan {
            WanKind::Ethernet => {
                veth(&self.isp, WAN_IF, &self.isp, ISP_IF);
                self.isp.ip(&format!(
                    "link set {WAN_IF} address {MAC_ROUTER_WAN}\nlink set {ISP_IF} address {MAC_ISP}"
                ));
            }
            WanKind::Tun => {
                let line = TunLine::new(&self.isp, WAN_IF, &self.isp, ISP_IF);
                *self.line.lock().expect("the line") = Some(line);
            }
            WanKind::Vlan => {
                let (near, far) = self.layout.wan.line();
                veth(&self.isp, near, &self.isp, far);
                self.isp.ip(&format!(
                    "link set {near} address {MAC_ROUTER_WAN}\nlink set {far} address {MAC_ISP} up\n\
                     link add link {far} name {ISP_IF} type vlan id 7"
                ));
            }
        }
        let mtu = self.layout.wan_mtu.unwrap_or(1500);
        if self.layout.wan != WanKind::Vlan {
            self.isp.ip(&format!("link set {WAN_IF} mtu {mtu}"));
        }
        self.isp.ip(&format!(
            "link set {ISP_IF} mtu {mtu}\naddr add {ISP}/24 dev {ISP_IF}\nlink set {ISP_IF} up"
        ));
    }

    /// Gives the router its WAN interface, up, with address and default route, all at once.
    pub fn connect_wan(&self) {
        let (near, _) = self.layout.wan.line();
        self.isp.ip(&format!("link set {near} netns {}", self.router.name()));
        if self.layout.wan == WanKind::Vlan {
            let mtu = self.layout.wan_mtu.unwrap_or(1500);
            self.router.ip(&format!(
                "link set {near} up\nlink add link {near} name {WAN_IF} type vlan id 7\n\
                 link set {WAN_IF} mtu {mtu}"
            ));
        }
        let configuration = self.wan_configuration(ROUTER_WAN);
        self.router.ip(&format!("link set {WAN_IF} up\n{configuration}"));
    }

    fn build_lan(&self) {
        let (a, b, router) = (&self.a, &self.b, &self.router);
        match (self.layout.lan, &self.switch) {
            (LanKind::Vlan | LanKind::BridgeOfVlans, Some(switch)) => self.build_trunk(switch),
            (LanKind::Switch, Some(switch)) => {
                veth(a, HOST_IF, switch, "port0");
                veth(b, HOST_IF, switch, "port1");
                veth(router, "lan0", switch, "up0");
                switch.ip(&bridge("br0", &["port0", "port1", "up0"]));
            }
            (LanKind::Bridge, _) => {
                veth(a, HOST_IF, router, "port0");
                veth(b, HOST_IF, router, "port1");
                router.ip(&bridge("lan0", &["port0", "port1"]));
            }
            _ => {
                veth(a, HOST_IF, router, "lan0");
                veth(b, HOST_IF, router, "lan1");
                router.ip(&format!(
                    "addr add {ROUTER_LAN}/32 dev lan1\nlink set lan1 up\n\
                     route add {HOST_B}/32 dev lan1"
                ));
            }
        }
        router.ip(&format!(
            "link set lan0 address {MAC_ROUTER_LAN}\naddr add {ROUTER_LAN}/24 dev lan0\n\
             link set lan0 up"
        ));
        for (host, mac) in [(a, MAC_HOST_A), (b, MAC_HOST_B)] {
            host.ip(&format!(
                "link set {HOST_IF} address {mac}\naddr add {}/24 dev {HOST_IF}\n\
                 link set {HOST_IF} up\nroute add default via {ROUTER_LAN}",
                host.address
            ));
        }
    }

    /// A switch whose line to the router carries VLANs.
    fn build_trunk(&self, switch: &Namespace) {
        let (a, b, router) = (&self.a, &self.b, &self.router);
        veth(a, HOST_IF, switch, "port0");
        veth(b, HOST_IF, switch, "port1");
        veth(router, "trunk0", switch, "up0");
        router.ip("link set trunk0 up");
        switch.ip("link set up0 up\nlink add link up0 name up0.10 type vlan id 10");
        if self.layout.lan == LanKind::Vlan {
            switch.ip(&bridge("br0", &["port0", "port1", "up0.10"]));
            router.ip("link add link trunk0 name lan0 type vlan id 10");
            return;
        }
        switch.ip("link add link up0 name up0.20 type vlan id 20");
        switch.ip(&bridge("br10", &["port0", "up0.10"]));
        switch.ip(&bridge("br20", &["port1", "up0.20"]));
        router.ip("link add link trunk0 name trunk0.10 type vlan id 10\n\
             link add link trunk0 name trunk0.20 type vlan id 20");
        router.ip(&bridge("lan0", &["trunk0.10", "trunk0.20"]));
    }

    /// The `ip` commands that give the WAN interface an address and the default route.
    fn wan_configuration(&self, address: Ipv4Addr) -> String {
        match self.layout.wan {
            WanKind::Ethernet | WanKind::Vlan => format!(
                "addr add {address}/24 dev {WAN_IF}\nroute replace default via {ISP} dev {WAN_IF}"
            ),
            // As pppd does it: a point-to-point address and a default route to the device.
            WanKind::Tun => format!(
                "addr add {address} peer {ISP}/32 dev {WAN_IF}\nroute replace default dev {WAN_IF}"
            ),
        }
    }

    fn build_internet(&self) {
        self.isp.set_sysctl("net.ipv4.ip_forward", "1");
        let last = self.core.as_ref().unwrap_or(&self.isp);
        if let (Some(core), Some(mtu)) = (&self.core, self.layout.hop_mtu) {
            veth(&self.isp, "core0", core, "isp1");
            core.set_sysctl("net.ipv4.ip_forward", "1");
            self.isp.ip(&format!(
                "link set core0 mtu {mtu}\naddr add 192.0.2.1/30 dev core0\nlink set core0 up\n\
                 route add 198.51.100.0/24 via 192.0.2.2"
            ));
            core.ip(&format!(
                "link set isp1 mtu {mtu}\naddr add 192.0.2.2/30 dev isp1\nlink set isp1 up\n\
                 route add default via 192.0.2.1"
            ));
        }
        for (server, port) in [(&self.server1, "s1"), (&self.server2, "s2")] {
            veth(server, HOST_IF, last, port);
            last.ip(&format!(
                "addr add {LAST_HOP}/32 dev {port}\nlink set {port} up\n\
                 route add {}/32 dev {port}",
                server.address
            ));
            server.ip(&format!(
                "addr add {}/32 dev {HOST_IF}\nlink set {HOST_IF} up\n\
                 route add {LAST_HOP} dev {HOST_IF}\nroute add default via {LAST_HOP}",
                server.address
            ));
        }
    }
}

/// Joins a new interface `name_a` in `a` with a new interface `name_b` in `b`, both down.
pub fn veth(a: &Namespace, name_a: &str, b: &Namespace, name_b: &str) {
    a.ip(&format!("link add {name_a} type veth peer name {name_b} netns {}", b.name()));
}

/// Waits until the kernel has noticed that a line is up: it does so a moment after both ends are, on
/// a busy machine much later. Until then nothing is sent, and routes and bridges do not know it.
pub fn wait_for_carrier(namespace: &Namespace, interface: &str) {
    eventually(&format!("carrier of {interface}"), || {
        let link = namespace.output("ip", &["-brief", "link", "show", interface]);
        // A TUN device does not say more than "unknown".
        let state = link.split_whitespace().nth(1);
        matches!(state, Some("UP" | "UNKNOWN")).then_some(())
    });
}

/// Sets device features as `ethtool -K` names them, for example `tx off gro on`.
pub fn set_features(namespace: &Namespace, interface: &str, features: &str) {
    let mut ethtool = namespace.command("ethtool");
    ethtool.args(["-K", interface]).args(features.split_whitespace());
    must_succeed(&mut ethtool);
}

/// The `ip` commands that make a bridge of existing interfaces.
fn bridge(name: &str, ports: &[&str]) -> String {
    let mut commands = format!("link add {name} type bridge\nlink set {name} up\n");
    for port in ports {
        commands += &format!("link set {port} master {name} up\n");
    }
    commands
}
