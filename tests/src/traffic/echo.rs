//! A UDP server that sends everything back with a note of where it came from.

use std::{
    io,
    net::{SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{netns::Namespace, sockets::v4};

/// A running server.
#[derive(Debug)]
pub struct Server {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on `port` of all addresses; port 0 lets the kernel choose.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn start(namespace: &Namespace, port: u16) -> Self {
        let socket = namespace.udp_bind(port);
        let port = socket.local_addr().expect("a bound socket").port();
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // An error is a timeout, or an ICMP error about an earlier answer.
                let _ = answer_one(&socket);
            }
        });
        Self { port, stop, thread: Some(thread) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends `data` and returns the endpoint that the server has seen it come from.
///
/// The socket's read timeout is the limit. An answer that does not contain `data` is an error.
pub fn ask(socket: &UdpSocket, server: SocketAddrV4, data: &[u8]) -> io::Result<SocketAddrV4> {
    socket.send_to(data, server)?;
    let mut answer = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut answer)?;
    let answer = &answer[..length];
    let seen = answer.strip_prefix(data).filter(|_| v4(from) == server);
    let seen = seen.and_then(|seen| std::str::from_utf8(seen).ok()?.parse().ok());
    seen.ok_or_else(|| io::Error::other(format!("a strange answer from {from}: {answer:02x?}")))
}

fn answer_one(socket: &UdpSocket) -> io::Result<()> {
    let mut data = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut data)?;
    data.truncate(length);
    data.extend(from.to_string().bytes());
    socket.send_to(&data, from)?;
    Ok(())
}
