//! TCP connections made by hand: segments with the sequence numbers that a connection has.

use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet, tcp},
};

use crate::{
    case::{A, Case, Change, Known, R1, changed},
    generate::Generator,
};

/// First sequence numbers of client and server.
const START: [u32; 2] = [0x1000_0000, 0xffff_fff0];
/// The window of both, without scaling.
const WINDOW: u16 = 8192;

/// A segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// [`tcp`] flags.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledges: u32,
    /// Options, whole words.
    pub options: Vec<u8>,
    /// The payload.
    pub data: Vec<u8>,
}

impl Segment {
    /// A segment without options and data.
    pub const fn new(flags: u8, sequence: u32, acknowledges: u32) -> Self {
        Self { flags, sequence, acknowledges, options: Vec::new(), data: Vec::new() }
    }

    /// The packet.
    pub fn packet(&self, from: Endpoint, to: Endpoint) -> Packet {
        let words = [self.sequence, self.acknowledges].map(u32::to_be_bytes);
        let offset = (5 + self.options.len() / 4) as u8;
        let header = [
            &from.1.to_be_bytes()[..],
            &to.1.to_be_bytes(),
            words.as_flattened(),
            &[offset << 4, self.flags],
            &WINDOW.to_be_bytes(),
            &[0; 4],
            &self.options,
        ];
        Packet::new(from.0, to.0, 6, &[&header.concat()[..], &self.data].concat())
    }
}

/// A connection between a LAN host and a remote one, and the case that it makes.
pub struct Connection {
    case: Case,
    /// The LAN host's end.
    pub inside: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// What client and server send next.
    next: [u32; 2],
}

/// Which end sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The LAN host.
    Client = 0,
    /// The remote host.
    Server = 1,
}

impl Connection {
    /// Nothing has been sent.
    pub fn new(name: &str, generator: &mut Generator) -> Self {
        let (inside, remote) = ((A, generator.port()), (R1, generator.port()));
        Self { case: Case::new(name), inside, remote, next: START }
    }

    /// The handshake is over.
    pub fn open(name: &str, generator: &mut Generator) -> Self {
        Self::new(name, generator).syn().syn_ack().send("ack", End::Client, tcp::ACK, b"")
    }

    /// The client's SYN.
    pub fn syn(self) -> Self {
        self.send("syn", End::Client, tcp::SYN, b"")
    }

    /// The server's SYN/ACK.
    pub fn syn_ack(self) -> Self {
        self.send("syn/ack", End::Server, tcp::SYN | tcp::ACK, b"")
    }

    /// The next segment of one end: with these flags and data.
    pub fn send(mut self, name: &str, end: End, flags: u8, data: &[u8]) -> Self {
        let segment = self.segment(end, flags, data);
        let phantom = u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        let next = &mut self.next[end as usize];
        *next = next.wrapping_add(data.len() as u32 + phantom);
        self.raw(name, end, segment)
    }

    /// The same, but both numbers are off, and the connection goes on as if it had not been sent.
    pub fn stray(self, name: &str, end: End, flags: u8, by: [u32; 2]) -> Self {
        let mut segment = self.segment(end, flags, b"");
        segment.sequence = segment.sequence.wrapping_add(by[0]);
        segment.acknowledges = segment.acknowledges.wrapping_add(by[1]);
        self.raw(name, end, segment)
    }

    /// What one end would send next.
    pub fn segment(&self, end: End, flags: u8, data: &[u8]) -> Segment {
        let acknowledges = if flags & tcp::ACK != 0 { self.next[1 - end as usize] } else { 0 };
        let sequence = self.next[end as usize];
        Segment { flags, sequence, acknowledges, options: Vec::new(), data: data.to_vec() }
    }

    /// Any segment.
    pub fn raw(self, name: &str, end: End, segment: Segment) -> Self {
        self.changed(name, end, segment, |_| ())
    }

    /// Any segment, changed after its checksum has been computed.
    pub fn changed(mut self, name: &str, end: End, segment: Segment, change: Change) -> Self {
        let (inside, remote) = (self.inside, self.remote);
        let name = format!("{name} {}", if end == End::Client { "out" } else { "in" });
        let changed = move |packet| changed(packet, change);
        self.case = match end {
            End::Client => self.case.a(name, changed(segment.packet(inside, remote))),
            End::Server => self
                .case
                .wan(name, move |k| changed(segment.packet(remote, external(k, inside, remote)))),
        };
        self
    }

    /// Any other step.
    pub fn then(mut self, more: impl FnOnce(Case, Endpoint, Endpoint) -> Case) -> Self {
        self.case = more(self.case, self.inside, self.remote);
        self
    }

    /// Data and its acknowledgement, in both directions: whether the connection works.
    pub fn works(self) -> Self {
        let data = tcp::PSH | tcp::ACK;
        self.send("data", End::Client, data, b"to the server")
            .send("ack", End::Server, tcp::ACK, b"")
            .send("data", End::Server, data, b"to the client")
            .send("ack", End::Client, tcp::ACK, b"")
    }

    /// As if nothing had been sent yet: the same ports once more, with other numbers.
    pub fn again(self) -> Self {
        let next = [0x5000_0000, 0x6000_0000];
        Self { next, ..self }
    }

    /// The case.
    pub fn done(self) -> Case {
        self.case
    }
}

/// Where the remote end sees the LAN host's.
pub fn external(known: &Known, inside: Endpoint, remote: Endpoint) -> Endpoint {
    (ROUTER_WAN, known.external(6, inside, remote))
}
