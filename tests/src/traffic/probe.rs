//! Ping and traceroute.

use std::{
    io::{self, ErrorKind, Read},
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use socket2::{Protocol, SockAddr, Socket};

use crate::{netns::Namespace, packet::Packet, patience::patience};

/// First destination port of a traceroute, as the usual programs have it.
const TRACEROUTE_PORT: u16 = 33434;

/// An ICMP message that a host has received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who sent it.
    pub from: Ipv4Addr,
    /// Hop limit on arrival.
    pub ttl: u8,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The second word of the ICMP header.
    pub rest: u32,
    /// What follows the ICMP header.
    pub data: Vec<u8>,
}

/// A raw ICMP socket of one host. It sees all ICMP messages that arrive there.
#[derive(Debug)]
pub struct Icmp {
    socket: Socket,
}

impl Icmp {
    /// Opens the socket.
    pub fn open(namespace: &Namespace) -> Self {
        Self { socket: namespace.raw_socket(Protocol::ICMPV4) }
    }

    /// Sends the ICMP message of `packet`; its source and hop limit are the host's own.
    pub fn send(&self, packet: &Packet, to: Ipv4Addr) -> io::Result<()> {
        let bytes = packet.bytes();
        self.socket.send_to(&bytes[20..], &SockAddr::from(std::net::SocketAddrV4::new(to, 0)))?;
        Ok(())
    }

    /// The next message for which `wanted` returns true. Others are skipped.
    pub fn receive(
        &self,
        limit: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> io::Result<Message> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            let mut buffer = vec![0; 1 << 16];
            let length = (&self.socket).read(&mut buffer)?;
            match parse(&buffer[..length]) {
                Some(message) if wanted(&message) => return Ok(message),
                _ => (),
            }
        }
    }
}

/// Sends one echo request with this identifier, and returns the reply.
pub fn ping(namespace: &Namespace, to: Ipv4Addr, identifier: u16) -> io::Result<Message> {
    let icmp = Icmp::open(namespace);
    let data = b"echo request data of odd length";
    icmp.send(&Packet::echo((Ipv4Addr::UNSPECIFIED, identifier), to, data), to)?;
    let rest = u32::from(identifier) << 16 | 1;
    icmp.receive(patience(), |m| m.kind == 0 && m.from == to && m.rest == rest && m.data == data)
}

/// A hop of a traceroute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Who answered.
    pub from: Ipv4Addr,
    /// Whether it was the destination (port unreachable, not time exceeded).
    pub last: bool,
}

/// Sends UDP probes with hop limits 1, 2, … and returns who answered, up to the destination.
///
/// An answer counts only if it quotes the probe as this host has sent it: its own source address
/// and port, and the destination.
pub fn traceroute(namespace: &Namespace, to: Ipv4Addr) -> io::Result<Vec<Hop>> {
    let icmp = Icmp::open(namespace);
    let probe = namespace.udp_bind(0);
    let own_port = probe.local_addr()?.port();
    let own_address = source_address(namespace, to)?;
    let mut hops = Vec::new();
    for ttl in 1..=16 {
        let port = TRACEROUTE_PORT + ttl as u16;
        probe.set_ttl(ttl)?;
        probe.send_to(b"traceroute", (to, port))?;
        let answer = icmp.receive(patience(), |message| {
            matches!((message.kind, message.code), (11, 0) | (3, 3))
                && quotes(&message.data, (own_address, own_port), (to, port))
        })?;
        let last = answer.kind == 3;
        hops.push(Hop { from: answer.from, last });
        if last {
            break;
        }
    }
    Ok(hops)
}

/// The address that this host sends from towards `to`.
pub fn source_address(namespace: &Namespace, to: Ipv4Addr) -> io::Result<Ipv4Addr> {
    let socket: UdpSocket = namespace.udp_bind(0);
    socket.connect((to, 9))?;
    Ok(*crate::sockets::v4(socket.local_addr()?).ip())
}

/// Whether `quoted` begins with the headers of a packet between these endpoints.
pub fn quotes(quoted: &[u8], from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> bool {
    let Some(header_len) = quoted.first().map(|first| usize::from(first & 0xf) * 4) else {
        return false;
    };
    let ports = [from.1, to.1].map(u16::to_be_bytes);
    let addresses = [from.0.octets(), to.0.octets()];
    quoted.get(12..20) == Some(addresses.as_flattened())
        && quoted.get(header_len..header_len + 4) == Some(ports.as_flattened())
}

fn parse(packet: &[u8]) -> Option<Message> {
    let header_len = usize::from(packet.first()? & 0xf) * 4;
    let from = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?;
    let (head, data) = packet.get(header_len..)?.split_at_checked(8)?;
    Some(Message {
        from: from.into(),
        ttl: packet[8],
        kind: head[0],
        code: head[1],
        rest: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        data: data.to_vec(),
    })
}
