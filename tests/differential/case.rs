//! What is sent: cases of several steps, each a burst of packets from one place, and what must be
//! known of a running gateway to make the packets of the later steps.

use std::{fmt, net::Ipv4Addr};

use masq_tests::packet::{Endpoint, Packet};

/// The ghost behind host A: no stack answers for it.
pub const A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 77);
/// The ghost behind host B.
pub const B: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 78);
/// Another ghost behind host A, with a narrow hop in between.
pub const NARROW: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 79);
/// What that hop takes.
pub const NARROW_MTU: usize = 1300;
/// A ghost on the Internet.
pub const R1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 201);
/// Another ghost on the Internet.
pub const R2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 202);
/// One more, with a narrow way to it.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 203);
/// What the way takes.
pub const FAR_MTU: usize = 1400;
/// A ghost beside the router on the WAN.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// The router in front of the ghosts, which sends their ICMP errors.
pub const HOP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 199);

/// Where packets are put onto a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// As if host A had sent them.
    A,
    /// As if host B had sent them.
    B,
    /// As if the ISP had sent them.
    Wan,
}

/// Makes the packets of a step.
type Make = Box<dyn Fn(&Known) -> Vec<Vec<u8>> + Send + Sync>;

/// A burst of packets from one place.
pub struct Step {
    /// What it is, for people and for the list of differences.
    pub name: String,
    /// Where they are sent from.
    pub place: Place,
    /// The packets, from the IP header on.
    pub make: Make,
    /// How many packets come out on the other side at least, if some may come late.
    pub leads_to: usize,
}

/// Steps that belong together, in order. Cases share no ports, so no case disturbs another.
pub struct Case {
    /// What it is.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Case {
    /// A case without steps.
    pub fn new(name: impl fmt::Display) -> Self {
        Self { name: name.to_string(), steps: Vec::new() }
    }

    /// A packet from host A.
    pub fn a(self, name: impl fmt::Display, packet: impl Into<Raw>) -> Self {
        self.constant(name, Place::A, packet.into())
    }

    /// A packet from host B.
    pub fn b(self, name: impl fmt::Display, packet: impl Into<Raw>) -> Self {
        self.constant(name, Place::B, packet.into())
    }

    /// A packet from the Internet that does not depend on what the gateway has chosen.
    pub fn stranger(self, name: impl fmt::Display, packet: impl Into<Raw>) -> Self {
        self.constant(name, Place::Wan, packet.into())
    }

    /// A packet from the Internet to where the gateway has mapped something.
    pub fn wan<P: Into<Raw>>(
        self,
        name: impl fmt::Display,
        make: impl Fn(&Known) -> P + Send + Sync + 'static,
    ) -> Self {
        self.step(name, Place::Wan, move |known| vec![make(known).into().0])
    }

    /// Any step.
    pub fn step(
        mut self,
        name: impl fmt::Display,
        place: Place,
        make: impl Fn(&Known) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.steps.push(Step { name: name.to_string(), place, make: Box::new(make), leads_to: 0 });
        self
    }

    /// Of the last step, at least so many packets come out on the other side, perhaps late.
    pub fn leads_to(mut self, packets: usize) -> Self {
        self.steps.last_mut().expect("a step").leads_to = packets;
        self
    }

    /// Several packets at once, from one place.
    pub fn burst(self, name: impl fmt::Display, place: Place, packets: Vec<Vec<u8>>) -> Self {
        self.step(name, place, move |_| packets.clone())
    }

    fn constant(self, name: impl fmt::Display, place: Place, packet: Raw) -> Self {
        self.burst(name, place, vec![packet.0])
    }
}

/// Makes something of a packet that it should not be.
pub type Change = fn(&mut Vec<u8>);

/// A packet that was changed when it was ready: with its checksums as they were.
pub fn changed(packet: Packet, change: Change) -> Vec<u8> {
    let mut bytes = packet.bytes();
    change(&mut bytes);
    bytes
}

/// A packet from the IP header on.
pub struct Raw(pub Vec<u8>);

impl From<Packet> for Raw {
    fn from(packet: Packet) -> Self {
        Self(packet.bytes())
    }
}

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A flow that a gateway has translated: the port, or ICMP identifier, that it has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// The IP protocol.
    pub protocol: u8,
    /// The LAN host's end.
    pub inside: Endpoint,
    /// The other end; port 0 for ICMP.
    pub remote: Endpoint,
    /// The port at the external address.
    pub external: u16,
}

/// The flows of one case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    flows: Vec<Flow>,
}

impl Known {
    /// Notes a flow, unless it is known.
    pub fn note(&mut self, flow: Flow) {
        if !self.flows.contains(&flow) {
            self.flows.push(flow);
        }
    }

    /// The external port of a flow; if the gateway has translated no such one, that of another flow
    /// from the same endpoint, or else the inside port, which nothing is mapped to.
    pub fn external(&self, protocol: u8, inside: Endpoint, remote: Endpoint) -> u16 {
        let of_endpoint = |flow: &&Flow| (flow.protocol, flow.inside) == (protocol, inside);
        let mut flows = self.flows.iter().filter(of_endpoint);
        let exact = flows.clone().find(|flow| flow.remote == remote);
        exact.or_else(|| flows.next()).map_or(inside.1, |flow| flow.external)
    }

    /// What an external port stands for, in packets from or to `remote`: the inside endpoint, and
    /// how many other ports that endpoint has had before this one.
    pub fn owner(
        &self,
        protocol: u8,
        external: u16,
        remote: Endpoint,
    ) -> Option<(Endpoint, usize)> {
        let here = |flow: &&Flow| (flow.protocol, flow.external) == (protocol, external);
        let mut flows = self.flows.iter().filter(here);
        let exact = flows.clone().find(|flow| flow.remote == remote);
        let flow = exact.or_else(|| flows.next())?;
        let mut ports = Vec::new();
        for other in &self.flows {
            let same = (other.protocol, other.inside) == (protocol, flow.inside);
            if same && !ports.contains(&other.external) {
                ports.push(other.external);
            }
        }
        Some((flow.inside, ports.iter().position(|port| *port == external)?))
    }
}
