//! Sockets of a namespace: made inside it, used from any thread.
//!
//! Addresses are given as `(SERVER_1, 80)` or as a `SocketAddrV4`.
//!
//! Every socket has a limit of [`patience`] on each blocking call, so that a packet that never
//! arrives ends a test with an error and not with a hang.

use std::{
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::{netns::Namespace, patience::patience};

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within [`patience`].
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience();
    loop {
        match ask() {
            Some(answer) => return answer,
            None if Instant::now() > end => panic!("{what}: not within {:?}", patience()),
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Has a port refuse connections from now on.
///
/// Closing the socket is not enough for that: a process that another thread is just starting has a
/// copy of every file until it runs its program, and as long as it has, the socket listens.
///
/// # Panics
/// If the socket does not listen.
pub fn stop_listening(listener: &TcpListener) {
    SockRef::from(listener).shutdown(Shutdown::Read).expect("stop listening");
}

impl Namespace {
    /// Listens for TCP on `port` of every address; port 0 lets the kernel choose.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn tcp_listen(&self, port: u16) -> TcpListener {
        let socket = self.tcp_socket((Ipv4Addr::UNSPECIFIED, port));
        socket.listen(1024).unwrap_or_else(|e| panic!("listen on TCP port {port}: {e}"));
        socket.into()
    }

    /// Connects to `remote` from a port of the kernel's choice.
    pub fn tcp_connect(&self, remote: impl Into<SocketAddr>) -> std::io::Result<TcpStream> {
        self.tcp_connect_from((Ipv4Addr::UNSPECIFIED, 0), remote)
    }

    /// Connects to `remote` from the given local address and port.
    pub fn tcp_connect_from(
        &self,
        local: impl Into<SocketAddr>,
        remote: impl Into<SocketAddr>,
    ) -> std::io::Result<TcpStream> {
        let socket = self.tcp_socket(local);
        socket.connect_timeout(&SockAddr::from(remote.into()), patience())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(stream)
    }

    /// A UDP socket on `port` of every address; port 0 lets the kernel choose.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn udp_bind(&self, port: u16) -> UdpSocket {
        self.udp_bind_to((Ipv4Addr::UNSPECIFIED, port))
    }

    /// A UDP socket with the given local address and port.
    ///
    /// # Panics
    /// If it is taken, or no address of this namespace.
    #[track_caller]
    pub fn udp_bind_to(&self, local: impl Into<SocketAddr>) -> UdpSocket {
        let local = local.into();
        let socket = self
            .run(|| UdpSocket::bind(local))
            .unwrap_or_else(|e| panic!("bind UDP {local} in {}: {e}", self.name()));
        socket.set_read_timeout(Some(patience())).expect("set a timeout");
        socket
    }

    /// A raw socket for `protocol`. It sends the payload of IP packets, and receives whole ones.
    pub fn raw_socket(&self, protocol: Protocol) -> Socket {
        let socket = self
            .run(|| Socket::new(Domain::IPV4, Type::RAW, Some(protocol)))
            .unwrap_or_else(|e| panic!("open a raw socket in {}: {e}", self.name()));
        socket.set_read_timeout(Some(patience())).expect("set a timeout");
        socket
    }

    /// Sends an IPv4 packet made by hand, with any source address, the way the routes say. The
    /// kernel fills in the checksum of the IP header.
    ///
    /// # Panics
    /// If there is no route.
    #[track_caller]
    pub fn send_packet(&self, packet: &[u8]) {
        let socket = self.raw_socket(Protocol::from(nix::libc::IPPROTO_RAW));
        let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
        let sent = socket.send_to(packet, &SockAddr::from(SocketAddrV4::new(to, 0)));
        sent.unwrap_or_else(|e| panic!("send a packet to {to} from {}: {e}", self.name()));
    }

    /// A TCP socket bound to `local`, for callers that want to set options before they connect.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn tcp_socket(&self, local: impl Into<SocketAddr>) -> Socket {
        let local = local.into();
        let socket = self
            .run(|| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)))
            .expect("open a TCP socket");
        socket.set_reuse_address(true).expect("set SO_REUSEADDR");
        socket
            .bind(&SockAddr::from(local))
            .unwrap_or_else(|e| panic!("bind TCP {local} in {}: {e}", self.name()));
        socket
    }
}

/// The IPv4 socket address in a general one.
///
/// # Panics
/// If it is not IPv4; nothing here speaks IPv6.
pub fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not an IPv4 address"),
    }
}
