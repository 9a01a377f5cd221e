//! A STUN server with two addresses and two ports (RFC 5780 section 6).

use std::{
    io,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    lab::Node,
    sockets::v4,
    traffic::stun::wire::{Attribute, Kind, Message},
};

/// The two ports of the server.
pub const PORTS: [u16; 2] = [3478, 3479];

/// A running server, stopped when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The sockets by address and port, so that the other address or port is one index further.
type Sockets = [[UdpSocket; 2]; 2];

impl Server {
    /// Starts the server on the addresses of two hosts.
    ///
    /// # Panics
    /// If a port is taken.
    #[track_caller]
    pub fn start(nodes: [&Node; 2]) -> Self {
        let sockets = nodes.map(|node| PORTS.map(|port| node.udp_bind_to((node.address, port))));
        for socket in sockets.as_flattened() {
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        }
        let (sockets, stop) = (Arc::new(sockets), Arc::new(AtomicBool::new(false)));
        let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let threads = places.map(|place| {
            let (sockets, stop) = (Arc::clone(&sockets), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // An error is a timeout.
                    let _ = serve_one(&sockets, place);
                }
            })
        });
        Self { stop, threads: threads.into() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_one(sockets: &Sockets, place: (usize, usize)) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) = sockets[place.0][place.1].recv_from(&mut buffer)?;
    let request = Message::parse(&buffer[..length]).filter(|m| m.kind == Kind::Request);
    let Some(request) = request else { return Ok(()) };
    let (change_address, change_port) = change(&request);
    let origin = (place.0 ^ usize::from(change_address), place.1 ^ usize::from(change_port));
    let local = |(address, port): (usize, usize)| -> io::Result<SocketAddrV4> {
        Ok(v4(sockets[address][port].local_addr()?))
    };
    let seen =
        Seen { from: v4(from), origin: local(origin)?, other: local((place.0 ^ 1, place.1 ^ 1))? };
    let (to, answer) = answer(&request, &seen);
    sockets[origin.0][origin.1].send_to(&answer.bytes(), SocketAddr::from(to))?;
    Ok(())
}

/// What a request asks to be changed: the address, the port.
fn change(request: &Message) -> (bool, bool) {
    let changes = request.find(|attribute| match attribute {
        Attribute::ChangeRequest { address, port } => Some((*address, *port)),
        _ => None,
    });
    changes.unwrap_or_default()
}

/// The ends of an exchange.
struct Seen {
    /// Where the request came from.
    from: SocketAddrV4,
    /// Where the answer will come from.
    origin: SocketAddrV4,
    /// The server's other address and port, as seen from where the request went to.
    other: SocketAddrV4,
}

/// The answer to a request, and where it goes.
fn answer(request: &Message, seen: &Seen) -> (SocketAddrV4, Message) {
    let reply = |kind, attributes| Message { kind, transaction: request.transaction, attributes };
    let unknown: Vec<_> = request.attributes.iter().filter_map(Attribute::unknown).collect();
    if !unknown.is_empty() {
        let why = vec![Attribute::ErrorCode(420), Attribute::UnknownAttributes(unknown)];
        return (seen.from, reply(Kind::Error, why));
    }
    let port = request.find(|attribute| match attribute {
        Attribute::ResponsePort(port) => Some(*port),
        _ => None,
    });
    let padding = request.find(|attribute| match attribute {
        Attribute::Padding(length) => Some(*length),
        _ => None,
    });
    if port.is_some() && padding.is_some() {
        // Anybody could have large answers sent to a stranger's port.
        return (seen.from, reply(Kind::Error, vec![Attribute::ErrorCode(400)]));
    }
    let mut attributes = vec![
        Attribute::MappedAddress(seen.from),
        Attribute::XorMappedAddress(seen.from),
        Attribute::ResponseOrigin(seen.origin),
        Attribute::OtherAddress(seen.other),
    ];
    attributes.extend(padding.map(Attribute::Padding));
    let to = SocketAddrV4::new(*seen.from.ip(), port.unwrap_or(seen.from.port()));
    (to, reply(Kind::Success, attributes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 5), 40_000);
    const SEEN: Seen = Seen {
        from: CLIENT,
        origin: SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 3478),
        other: SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 3479),
    };

    fn answered(attributes: &[Attribute]) -> (SocketAddrV4, Message) {
        let attributes = attributes.to_vec();
        answer(&Message { kind: Kind::Request, transaction: [7; 12], attributes }, &SEEN)
    }

    #[test]
    fn an_answer_tells_all_four_endpoints() {
        let (to, message) = answered(&[]);
        assert_eq!((to, message.kind, message.transaction), (CLIENT, Kind::Success, [7; 12]));
        let expected = [
            Attribute::MappedAddress(CLIENT),
            Attribute::XorMappedAddress(CLIENT),
            Attribute::ResponseOrigin(SEEN.origin),
            Attribute::OtherAddress(SEEN.other),
        ];
        assert_eq!(message.attributes, expected);
    }

    #[test]
    fn the_port_of_the_answer_can_be_chosen() {
        assert_eq!(answered(&[Attribute::ResponsePort(9)]).0, SocketAddrV4::new(*CLIENT.ip(), 9));
    }

    #[test]
    fn padding_is_answered_with_padding_but_never_to_another_port() {
        let (_, message) = answered(&[Attribute::Padding(2000)]);
        assert_eq!(message.attributes.last(), Some(&Attribute::Padding(2000)));
        let (to, message) = answered(&[Attribute::Padding(2000), Attribute::ResponsePort(9)]);
        assert_eq!((to, message.kind), (CLIENT, Kind::Error));
        assert_eq!(message.attributes, [Attribute::ErrorCode(400)]);
    }

    #[test]
    fn an_unknown_attribute_that_must_be_understood_is_refused() {
        let (_, message) = answered(&[Attribute::Other(0x0008), Attribute::Other(0x8022)]);
        let expected = [Attribute::ErrorCode(420), Attribute::UnknownAttributes(vec![0x0008])];
        assert_eq!((message.kind, &message.attributes[..]), (Kind::Error, &expected[..]));
    }
}
