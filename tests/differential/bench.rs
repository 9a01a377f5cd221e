//! A laboratory with one gateway, in which cases run, and what both sides of the gateway see.
//!
//! The hosts are ghosts: addresses that the router sends to, and no stack answers for. So every
//! packet on the lines is one that a case sends or that the gateway or its router sends on.

use masq_tests::{
    capture::{Capture, Captured, Injector},
    daemon::Mode,
    gateway::Gateway,
    lab::{
        HOST_IF, ISP, ISP_IF, Lab, LanKind, Layout, MAC_HOST_A, MAC_HOST_B, MAC_ISP,
        MAC_ROUTER_LAN, MAC_ROUTER_WAN, ROUTER_WAN, WAN_IF,
    },
    netns::Namespace,
    packet::{self, Endpoint, Packet},
    patience::patience,
    program::mac,
};
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::{A, B, Case, FAR, FAR_MTU, Flow, Known, NARROW, NARROW_MTU, NEIGHBOUR, Place},
    normal::{Sent, describe},
};

/// Where the marks go to and come from, see [`Bench::settle`].
const MARKS: Endpoint = (Ipv4Addr::new(198, 51, 100, 200), 9);
/// MAC address of the router's `lan1`.
const MAC_ROUTER_LAN1: &str = "02:00:00:00:01:02";
/// The port of the ghosts that the marks use.
const MARK_PORT: u16 = 64_000;

/// Who translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The kernel's masquerade.
    Kernel,
    /// masq.
    Masq(Mode),
}

impl Who {
    /// Starts it in the router of a laboratory.
    pub fn start(self, lab: &Lab) -> Gateway<'_> {
        match self {
            Self::Kernel => Gateway::reference(lab, &[]),
            // Its own errors to LAN hosts are limited in time, so they are not the same every time.
            Self::Masq(mode) => Gateway::masq(lab, mode, &["--exhaustion-icmp", "none"]),
        }
    }
}

/// What one step of a case has led to: a line for each packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Case and step.
    pub at: String,
    /// The packets that the router has sent, by line.
    pub packets: Vec<String>,
}

/// Runs all cases of all groups in a laboratory of their own.
pub fn run(who: Who, groups: &[(&str, Vec<Case>)]) -> Vec<Outcome> {
    // No switch: what a host gets, the router has sent.
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    make_ghosts(&lab);
    let gateway = who.start(&lab);
    let mut bench = Bench::new(&lab);
    let mut outcomes = Vec::new();
    for (group, cases) in groups {
        cases.iter().for_each(|case| outcomes.extend(bench.run(group, case)));
    }
    gateway.stop();
    outcomes
}

/// Sees to it that the router can send to the ghosts, and that nothing answers.
fn make_ghosts(lab: &Lab) {
    lab.router.ip(&format!(
        "link set lan1 address {MAC_ROUTER_LAN1}\n\
         route add {B}/32 dev lan1\n\
         route add {NARROW}/32 dev lan0 mtu lock {NARROW_MTU}\n\
         route add {FAR}/32 via {ISP} dev {WAN_IF} mtu lock {FAR_MTU}\n\
         neigh add {A} lladdr {MAC_HOST_A} dev lan0 nud permanent\n\
         neigh add {NARROW} lladdr {MAC_HOST_A} dev lan0 nud permanent\n\
         neigh add {B} lladdr {MAC_HOST_B} dev lan1 nud permanent\n\
         neigh add {NEIGHBOUR} lladdr {MAC_ISP} dev {WAN_IF} nud permanent\n\
         neigh replace {ISP} lladdr {MAC_ISP} dev {WAN_IF} nud permanent"
    ));
    lab.isp.ip("route add blackhole 198.51.100.0/24\nroute add blackhole default");
    // No error of the router's is left out, however fast they come.
    lab.router.set_sysctl("net.ipv4.icmp_ratemask", "0");
    // Nor does one come late, about fragments that others are still missing from.
    lab.router.set_sysctl("net.ipv4.ipfrag_time", "3600");
}

struct Bench {
    a: Line,
    b: Line,
    wan: Line,
    /// The external ports of the marks of A and B.
    marks: [Option<u16>; 2],
    marked: u64,
}

/// A line of the router's, seen from its other end.
struct Line {
    injector: Injector,
    capture: Capture,
    /// What is in front of packets that are sent to the router.
    link: [[u8; 6]; 2],
    /// Packets seen before this step.
    seen: usize,
}

impl Line {
    fn new(namespace: &Namespace, interface: &str, router: &str, own: &str) -> Self {
        Self {
            injector: Injector::open(namespace, interface),
            capture: Capture::start(namespace, interface),
            link: [mac(router), mac(own)],
            seen: 0,
        }
    }

    fn send(&self, packet: &[u8]) {
        self.injector.send(&packet::frame(self.link[0], self.link[1], packet));
    }

    /// What the router has sent since the last call, without marks.
    fn news(&mut self) -> Vec<Captured> {
        let packets = self.capture.packets_since(self.seen);
        self.seen += packets.len();
        packets.into_iter().filter(is_news).collect()
    }

    /// Waits until the router has sent so many packets since the last call of [`Line::news`]. If
    /// they do not come, that is a difference for others to find.
    fn await_packets(&self, number: usize) {
        let end = Instant::now() + patience();
        let enough = || self.capture.packets_since(self.seen).iter().filter(|p| is_news(p)).count();
        while enough() < number && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a mark.
    fn await_mark(&self, mark: &[u8]) -> Captured {
        let found = self.capture.wait_since(self.seen, patience(), |packet| {
            packet.received && packet.bytes.get(28..) == Some(mark)
        });
        found.expect("what crosses the gateway all the time crosses it")
    }
}

impl Bench {
    fn new(lab: &Lab) -> Self {
        Self {
            a: Line::new(&lab.a, HOST_IF, MAC_ROUTER_LAN, MAC_HOST_A),
            b: Line::new(&lab.b, HOST_IF, MAC_ROUTER_LAN1, MAC_HOST_B),
            wan: Line::new(&lab.isp, ISP_IF, MAC_ROUTER_WAN, MAC_ISP),
            marks: [None; 2],
            marked: 0,
        }
    }

    fn run(&mut self, group: &str, case: &Case) -> Vec<Outcome> {
        let mut known = Known::default();
        let mut outcomes = Vec::new();
        for step in &case.steps {
            let sent = (step.make)(&known);
            let line = self.line(step.place);
            sent.iter().for_each(|packet| line.send(packet));
            let other = if step.place == Place::Wan { &self.a } else { &self.wan };
            other.await_packets(step.leads_to);
            self.settle();
            let news = [("wan", self.wan.news()), ("a", self.a.news()), ("b", self.b.news())];
            if step.place != Place::Wan {
                sent.iter().for_each(|packet| note(&mut known, packet, &news[0].1));
            }
            let kind = Sent::of(&sent[0]);
            let describe =
                |line: &str, p: &Captured| format!("{line}: {}", describe(p, kind, &known));
            let all =
                news.iter().flat_map(|(line, packets)| packets.iter().map(|p| describe(line, p)));
            let mut packets: Vec<_> = all.collect();
            if step.leads_to > 0 {
                // What comes late comes in any order.
                packets.sort();
            }
            let at = format!("{group}/{}/{}", case.name, step.name);
            outcomes.push(Outcome { at, packets });
        }
        outcomes
    }

    fn line(&self, place: Place) -> &Line {
        match place {
            Place::A => &self.a,
            Place::B => &self.b,
            Place::Wan => &self.wan,
        }
    }

    /// Returns when everything that was sent has come out of the router or will never do: marks
    /// that take the same ways have crossed it in both directions. A mark may be translated by an
    /// earlier hook than a packet that the router has taken from the line together with it; the
    /// second one is taken after both have left.
    fn settle(&mut self) {
        for host in [(Place::A, A), (Place::B, B)].into_iter().enumerate() {
            let (at, (place, ghost)) = host;
            for _ in 0..2 {
                let mark = self.mark();
                let packet = Packet::udp((ghost, MARK_PORT), MARKS, &mark);
                self.line(place).send(&packet.bytes());
                let seen = self.wan.await_mark(&mark).ports();
                self.marks[at] = seen.map(|(external, _)| external);
            }
        }
        for host in [(Place::A, 0), (Place::B, 1)] {
            let external = self.marks[host.1].expect("a mark has left");
            for _ in 0..2 {
                let mark = self.mark();
                self.wan.send(&Packet::udp(MARKS, (ROUTER_WAN, external), &mark).bytes());
                self.line(host.0).await_mark(&mark);
            }
        }
    }

    fn mark(&mut self) -> [u8; 8] {
        self.marked += 1;
        self.marked.to_be_bytes()
    }
}

/// Whether the router has sent it, and it is no mark.
fn is_news(packet: &Captured) -> bool {
    packet.received && packet.source() != MARKS.0 && packet.destination() != MARKS.0
}

/// Notes the external port that a packet from the inside has left with.
fn note(known: &mut Known, packet: &[u8], left: &[Captured]) {
    let Some((protocol, inside, remote)) = ends(packet) else { return };
    for other in left.iter().filter(|other| other.source() == ROUTER_WAN) {
        if let Some((_, external, to)) = ends(&other.bytes).filter(|end| end.0 == protocol)
            && to == remote
        {
            known.note(Flow { protocol, inside, remote, external: external.1 });
        }
    }
}

/// Protocol, source and destination of a packet that opens or continues a flow.
fn ends(packet: &[u8]) -> Option<(u8, Endpoint, Endpoint)> {
    let body = packet.get(usize::from(packet[0] & 0xf) * 4..)?;
    let word = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok().map(Ipv4Addr::from);
    let (source, destination) = match (packet[9], packet[6] & 0x1f | packet[7]) {
        (6 | 17, 0) => (word(0)?, word(2)?),
        (1, 0) if matches!(body.first(), Some(8 | 13 | 15 | 17)) => (word(4)?, 0),
        _ => return None,
    };
    Some((packet[9], (address(12)?, source), (address(16)?, destination)))
}
