//! Interfaces with something below them, on both sides of the router: what frames of theirs look like,
//! built without the code that is tried, and what the programs are told of them.

use masq_common::{
    be::Addr,
    flow::{ICMP, TCP, UDP},
    link::{Arrival, Exit, Leg, exit},
    settings::{Device, caps, role},
};
use masq_tests::{
    lab::{
        HOST_A, ISP, MAC_HOST_A, MAC_ISP, MAC_ROUTER_LAN, MAC_ROUTER_WAN, ROUTER_WAN, SERVER_1,
        veth,
    },
    netns::Namespace,
    packet::Endpoint,
    program::{Bench, Hook, Output, mac},
};

use crate::OBJECT;

pub const INSIDE: Endpoint = (HOST_A, 40_000);
pub const OUTSIDE: Endpoint = (ROUTER_WAN, 61_001);
pub const REMOTE: Endpoint = (SERVER_1, 53);

/// PPPoE session ids, as they are written.
const SESSIONS: [u16; 2] = [0x0a01, 0x0012];
const VLANS: [u16; 2] = [5, 7];
/// The interfaces above the ports, if the ports are not the interfaces.
const NAMES: [&str; 2] = ["inside", "outside"];
/// Their link-layer addresses.
const MACS: [&str; 2] = ["02:00:00:00:01:aa", "02:00:00:00:02:aa"];
/// Whoever is at the other end of PPPoE sessions.
const PEERS: [&str; 2] = ["02:00:00:00:0a:cc", "02:00:00:00:0b:cc"];
/// Whoever is behind a bridge. The kernel tells of the stations of all bridges of the machine, so these are
/// nobody's in the labs of other suites.
const STATIONS: [&str; 2] = ["02:00:00:00:0a:bb", "02:00:00:00:0b:bb"];
/// Index of a port of a bridge that is no port itself: a VLAN device.
pub const VLAN_PORTS: [u32; 2] = [70_001, 70_002];
/// Priorities of tags: 1 for 0, 3 for 2, 5 for 4, 7 for 6.
pub const PRIORITIES: u32 = 1 | 3 << 6 | 5 << 12 | 7 << 18;

/// What lies between an interface and its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    pub name: &'static str,
    pub vlan: bool,
    pub session: bool,
    pub bridge: bool,
}

pub const LINES: [Line; 6] = [
    Line { name: "Ethernet", vlan: false, session: false, bridge: false },
    Line { name: "VLAN", vlan: true, session: false, bridge: false },
    Line { name: "PPPoE", vlan: false, session: true, bridge: false },
    Line { name: "PPPoE on a VLAN", vlan: true, session: true, bridge: false },
    Line { name: "port of a bridge", vlan: false, session: false, bridge: true },
    Line { name: "VLAN as port of a bridge", vlan: true, session: false, bridge: true },
];

impl Line {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        LINES.into_iter().find(|line| line.name == name).expect("a line of this name")
    }

    fn is_plain(self) -> bool {
        !self.vlan && !self.session && !self.bridge
    }
}

/// One side of the router.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub line: Line,
    /// The port.
    pub port: u32,
    /// The interface: the port itself, or one above it.
    pub ifindex: u32,
    /// Addresses of frames that come in: the router's and that of whoever sends.
    pub macs: [[u8; 6]; 2],
    /// Id of the tag; 0 without.
    pub vlan: u16,
    /// PPPoE session as it is written; 0 without.
    pub session: u16,
}

impl Side {
    /// What frames come in as.
    pub fn arrival(&self) -> Arrival {
        Arrival { port: self.port, vlan: self.vlan, session: self.session.to_be() }
    }

    /// What stands before a packet of this length that comes in.
    pub fn head(&self, length: usize) -> Vec<u8> {
        self.between(self.macs, 0, length)
    }

    /// A frame that comes in with this packet.
    pub fn arriving(&self, packet: &[u8]) -> Vec<u8> {
        [&self.head(packet.len()), packet].concat()
    }

    /// A frame that has to leave with this packet, whose tag has this priority.
    pub fn leaving(&self, packet: &[u8], priority: u16) -> Vec<u8> {
        let [router, other] = self.macs;
        [&self.between([other, router], priority, packet.len()), packet].concat()
    }

    fn between(&self, [to, from]: [[u8; 6]; 2], priority: u16, length: usize) -> Vec<u8> {
        let mut head = [to, from].concat();
        if self.vlan != 0 {
            head.extend([0x8100, priority << 13 | self.vlan].map(u16::to_be_bytes).as_flattened());
        }
        if self.session == 0 {
            head.extend([0x08, 0x00]);
        } else {
            let words = [0x8864, 0x1100, self.session, length as u16 + 2, 0x0021];
            head.extend(words.map(u16::to_be_bytes).as_flattened());
        }
        head
    }
}

/// The programs between two interfaces with something below.
pub struct Router {
    pub bench: Bench,
    /// LAN and WAN.
    pub sides: [Side; 2],
    _peer: Namespace,
}

impl Router {
    /// With a session of each protocol between [`INSIDE`] and [`REMOTE`]; next hops are remembered.
    pub fn new(lines: [Line; 2]) -> Self {
        Self::with(Bench::new(&OBJECT), lines)
    }

    /// The same with these programs.
    pub fn with(mut bench: Bench, lines: [Line; 2]) -> Self {
        let peer = Namespace::new("below");
        for (index, name) in NAMES.into_iter().enumerate() {
            veth(bench.namespace(), name, &peer, name);
            peer.ip(&format!("link set {name} up"));
            bench
                .namespace()
                .ip(&format!("link set {name} address {}\nlink set {name} up", MACS[index]));
        }
        for protocol in [TCP, UDP, ICMP] {
            bench.install(protocol, INSIDE, OUTSIDE.1, REMOTE);
        }
        bench.remember_next_hops();
        let sides = [0, 1].map(|index| side(&bench, index, lines[index]));
        let mut router = Self { bench, sides, _peer: peer };
        router.connect(lines);
        router
    }

    /// Puts these lines below the two interfaces, and tells the programs.
    pub fn connect(&mut self, lines: [Line; 2]) {
        self.bench.forget_links();
        self.sides = [0, 1].map(|index| side(&self.bench, index, lines[index]));
        for (index, side) in self.sides.into_iter().enumerate() {
            self.route(index, &side);
            self.tell(index, &side);
        }
        self.bench.forget_next_hops(false);
    }

    /// Runs a frame that comes in by a side.
    pub fn run(&mut self, index: usize, frame: &[u8]) -> Output {
        self.bench.run_frame(HOOKS[index], frame)
    }

    /// Routes and neighbours: by the interface above the port, if there is one.
    fn route(&self, index: usize, side: &Side) {
        let name = NAMES[index];
        let (to, next, via) = match index {
            0 => (HOST_A, HOST_A, String::new()),
            _ => (SERVER_1, ISP, format!("via {ISP} onlink")),
        };
        let other = side.macs[1].map(|byte| format!("{byte:02x}")).join(":");
        self.bench.namespace().ip(&match side.line.is_plain() {
            true => format!("route flush {to} dev {name}"),
            false => format!(
                "neigh replace {next} lladdr {other} dev {name} nud permanent\n\
                 route replace {to} dev {name} {via}"
            ),
        });
    }

    /// What the daemon would say.
    fn tell(&mut self, index: usize, side: &Side) {
        let (role, address) = match index {
            0 => (role::LAN, Addr::NONE),
            _ => (role::WAN, ROUTER_WAN.into()),
        };
        let own = Device { address, mac: side.macs[0], role, wan: 0, caps: 0, mss: 0 };
        if side.line.is_plain() {
            let caps = caps::ETHERNET | caps::XDP_TRANSMIT | caps::READY;
            self.bench.set_interface(side.port, Device { caps, ..own });
            return;
        }
        let other = Device { role: role::OTHER, caps: caps::READY, ..Device::default() };
        self.bench.set_interface(side.port, other);
        let ready = Device { caps: caps::ETHERNET | caps::READY, ..own };
        self.bench.set_interface(side.ifindex, ready);
        if side.line.session {
            self.hear(index);
        }
        self.renew(index);
        if side.line.bridge {
            self.bench.set_exit(side.ifindex, Exit { kind: exit::BRIDGE, ..Exit::default() });
            let port = self.bridge_port(index);
            self.bench.set_station(side.ifindex, side.macs[1], port);
        }
    }

    /// Writes leg and exit of a side, as things are.
    pub fn renew(&mut self, index: usize) {
        let (leg, key, exit) = (self.leg(index), self.exit_key(index), self.exit(index));
        self.bench.set_leg(self.sides[index].arrival(), leg);
        self.bench.set_exit(key, exit);
    }

    /// Says that discovery frames of a side are heard.
    pub fn hear(&mut self, index: usize) {
        let side = &self.sides[index];
        let leg = Leg { ifindex: side.port, mac: side.macs[0], ..Leg::default() };
        self.bench.set_leg(side.arrival().discovery(), leg);
    }

    /// The leg of a side, as things are.
    pub fn leg(&mut self, index: usize) -> Leg {
        let side = self.sides[index];
        let bridge_port = if side.line.bridge { self.bridge_port(index) } else { 0 };
        let (mut peer, mut discoveries) = ([0; 6], 0);
        if side.line.session {
            (peer, discoveries) = (side.macs[1], self.bench.generations().discoveries());
        }
        Leg { ifindex: side.ifindex, bridge_port, mac: side.macs[0], peer, discoveries }
    }

    /// How packets leave by the port of a side, as things are.
    pub fn exit(&mut self, index: usize) -> Exit {
        let side = self.sides[index];
        let mut exit = Exit {
            port: side.port,
            kind: exit::PORT,
            caps: caps::ETHERNET | caps::XDP_TRANSMIT,
            vlan: side.vlan,
            priorities: PRIORITIES,
            ..Exit::default()
        };
        if side.line.session {
            exit.session = side.session.to_be();
            [exit.source, exit.peer] = side.macs;
            exit.discoveries = self.bench.generations().discoveries();
        }
        exit
    }

    /// What [`exit`](Self::exit) is written for.
    pub fn exit_key(&self, index: usize) -> u32 {
        let side = &self.sides[index];
        if side.line.bridge { self.bridge_port(index) } else { side.ifindex }
    }

    /// The port of the bridge that a side is.
    pub fn bridge_port(&self, index: usize) -> u32 {
        let side = &self.sides[index];
        if side.vlan == 0 { side.port } else { VLAN_PORTS[index] }
    }
}

/// Where frames come in by the LAN and by the WAN.
const HOOKS: [Hook; 2] = [Hook::LanXdp, Hook::WanXdp];

fn side(bench: &Bench, index: usize, line: Line) -> Side {
    let port = bench.ports()[index];
    let plain = [[MAC_ROUTER_LAN, MAC_HOST_A], [MAC_ROUTER_WAN, MAC_ISP]][index];
    let [router, other] = match line {
        line if line.is_plain() => plain,
        // PPPoE has the addresses of the interface below it.
        Line { session: true, .. } => [plain[0], PEERS[index]],
        Line { bridge: true, .. } => [MACS[index], STATIONS[index]],
        _ => [MACS[index], plain[1]],
    };
    Side {
        line,
        port,
        ifindex: match line.is_plain() {
            true => port,
            false => bench.namespace().interface_index(NAMES[index]),
        },
        macs: [mac(router), mac(other)],
        vlan: if line.vlan { VLANS[index] } else { 0 },
        session: if line.session { SESSIONS[index] } else { 0 },
    }
}
