//! A client that finds out what kind of NAT it is behind (RFC 5780 section 4).
//!
//! That no answer comes is never concluded from a time: the client goes on when the server must
//! have answered, and what it has sent must have arrived or been dropped.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{SocketAddrV4, UdpSocket},
};

use crate::{
    lab::Node,
    netns::random,
    patience::patience,
    sockets::v4,
    traffic::{
        probe,
        stun::wire::{Attribute, Kind, Message, Transaction},
    },
};

/// How far a mapping or a filter looks (RFC 5780 section 4; RFC 4787 sections 4.1 and 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// It is the same for every remote endpoint.
    EndpointIndependent,
    /// It depends on the remote address.
    AddressDependent,
    /// It depends on the remote address and port.
    AddressAndPortDependent,
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

/// What a server has answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Where it came from.
    pub from: SocketAddrV4,
    /// Where the server has seen the request come from (XOR-MAPPED-ADDRESS).
    pub mapped: SocketAddrV4,
    /// The same as it stands in plain in the answer (MAPPED-ADDRESS).
    pub plain: SocketAddrV4,
    /// Where the server has sent the answer from.
    pub origin: SocketAddrV4,
    /// The server's other address and port.
    pub other: SocketAddrV4,
    /// Bytes of padding in it.
    pub padding: usize,
}

/// A socket of a host that asks a server. Use a new one for each question: what it has sent before
/// changes the answers (RFC 5780 section 4.1).
#[derive(Debug)]
pub struct Client<'lab> {
    host: &'lab Node,
    socket: UdpSocket,
    server: SocketAddrV4,
    padding: usize,
}

impl<'lab> Client<'lab> {
    /// A client on `port` of a host; port 0 lets the kernel choose.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn new(host: &'lab Node, port: u16, server: SocketAddrV4) -> Self {
        Self { host, socket: host.udp_bind_to((host.address, port)), server, padding: 0 }
    }

    /// With so many bytes of padding in every request and answer.
    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Its own endpoint, in front of any NAT.
    pub fn local(&self) -> SocketAddrV4 {
        v4(self.socket.local_addr().expect("a bound socket"))
    }

    /// Asks the server's endpoint `to`, and waits for the answer.
    pub fn ask(&self, to: SocketAddrV4) -> io::Result<Answer> {
        self.await_answer(self.request(to, &[])?)
    }

    /// Asks the server that the client was made for.
    pub fn ask_server(&self) -> io::Result<Answer> {
        self.ask(self.server)
    }

    /// What kind of mapping: one socket asks three endpoints of the server (section 4.3).
    pub fn mapping(&self) -> io::Result<Behaviour> {
        let first = self.ask_server()?;
        let second = self.ask(SocketAddrV4::new(*first.other.ip(), self.server.port()))?;
        let third = self.ask(first.other)?;
        Ok(if first.mapped == second.mapped && second.mapped == third.mapped {
            Behaviour::EndpointIndependent
        } else if second.mapped == third.mapped {
            Behaviour::AddressDependent
        } else {
            Behaviour::AddressAndPortDependent
        })
    }

    /// What kind of filtering: the server is asked to answer from where the client has never sent
    /// to (section 4.4).
    pub fn filtering(&self) -> io::Result<Behaviour> {
        self.ask_server()?;
        Ok(if self.is_answered_from(true, true)? {
            Behaviour::EndpointIndependent
        } else if self.is_answered_from(false, true)? {
            Behaviour::AddressDependent
        } else {
            Behaviour::AddressAndPortDependent
        })
    }

    /// Whether an answer from the server's other address, or other port, gets here.
    pub fn is_answered_from(&self, address: bool, port: bool) -> io::Result<bool> {
        let asked = self.request(self.server, &[Attribute::ChangeRequest { address, port }])?;
        // The server answers in order, so it has sent the other answer before this one.
        let here = self.request(self.server, &[])?;
        let (mut arrived, mut other) = (false, None);
        while other.is_none() {
            let (message, from) = self.receive()?;
            arrived |= message.transaction == asked;
            other = answer(&message, from).filter(|_| message.transaction == here);
        }
        let other = other.map_or(self.server, |answer| answer.other);
        let sender = if address { *other.ip() } else { *self.server.ip() };
        self.let_all_arrive(sender)?;
        Ok(arrived || self.has_received(asked)?)
    }

    /// Has the server answer to the port `response` of the external address, and waits for the
    /// answer at `receiver` (section 4.6).
    pub fn ask_for(&self, response: u16, receiver: &Self) -> io::Result<Answer> {
        receiver.await_answer(self.request(self.server, &[Attribute::ResponsePort(response)])?)
    }

    /// Sends a request to the external endpoint of `receiver`, and returns where that has seen it
    /// come from, if it has arrived (section 4.5, hairpinning).
    pub fn hairpin(&self, receiver: &Self) -> io::Result<Option<SocketAddrV4>> {
        let external = receiver.ask_server()?.mapped;
        let sent = self.request(external, &[])?;
        self.let_all_arrive(*external.ip())?;
        receiver.socket.set_nonblocking(true)?;
        let seen = loop {
            match receiver.receive() {
                Ok((message, from)) if message.transaction == sent => break Ok(Some(from)),
                Ok(_) => (),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(None),
                Err(e) => break Err(e),
            }
        };
        receiver.socket.set_nonblocking(false)?;
        seen
    }

    /// Sends a request, and returns its transaction.
    fn request(&self, to: SocketAddrV4, attributes: &[Attribute]) -> io::Result<Transaction> {
        let words = [random(), random()].map(u64::to_be_bytes).concat();
        let transaction = words[..12].try_into().expect("twelve of sixteen bytes");
        let mut attributes = attributes.to_vec();
        attributes.extend((self.padding > 0).then_some(Attribute::Padding(self.padding)));
        let message = Message { kind: Kind::Request, transaction, attributes };
        self.socket.send_to(&message.bytes(), to)?;
        Ok(transaction)
    }

    fn await_answer(&self, transaction: Transaction) -> io::Result<Answer> {
        loop {
            let (message, from) = self.receive()?;
            if message.transaction == transaction {
                let strange = || io::Error::other(format!("a strange answer: {message:?}"));
                return answer(&message, from).ok_or_else(strange);
            }
        }
    }

    fn receive(&self) -> io::Result<(Message, SocketAddrV4)> {
        let mut buffer = vec![0; 1 << 16];
        let (length, from) = self.socket.recv_from(&mut buffer)?;
        let message = Message::parse(&buffer[..length]);
        let strange = || io::Error::other(format!("from {from}, no STUN"));
        Ok((message.ok_or_else(strange)?, v4(from)))
    }

    /// Whether an answer is among what has arrived.
    fn has_received(&self, transaction: Transaction) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let found = loop {
            match self.receive() {
                Ok((message, _)) if message.transaction == transaction => break Ok(true),
                Ok(_) => (),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(e) => break Err(e),
            }
        };
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(patience()))?;
        found
    }

    /// Returns when what the host at `sender` has sent before has arrived or will never do. The
    /// reply to a ping comes the same way, but may be translated by an earlier hook than a datagram
    /// that had been read from the line together with it; the second one is read after both.
    fn let_all_arrive(&self, sender: std::net::Ipv4Addr) -> io::Result<()> {
        for identifier in [1, 2] {
            probe::ping(self.host, sender, identifier)?;
        }
        Ok(())
    }
}

/// What stands in an answer; `None` if something is missing.
fn answer(message: &Message, from: SocketAddrV4) -> Option<Answer> {
    let mut answer =
        Answer { from, mapped: from, plain: from, origin: from, other: from, padding: 0 };
    let mut addresses = 0;
    for attribute in &message.attributes {
        let (field, address) = match attribute {
            Attribute::XorMappedAddress(address) => (&mut answer.mapped, address),
            Attribute::MappedAddress(address) => (&mut answer.plain, address),
            Attribute::ResponseOrigin(address) => (&mut answer.origin, address),
            Attribute::OtherAddress(address) => (&mut answer.other, address),
            Attribute::Padding(length) => {
                answer.padding = *length;
                continue;
            }
            _ => continue,
        };
        *field = *address;
        addresses += 1;
    }
    (message.kind == Kind::Success && addresses == 4).then_some(answer)
}
