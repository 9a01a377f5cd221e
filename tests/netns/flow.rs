//! Flows that go on while something happens, and tell afterwards what has become of each packet.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use masq_tests::{
    lab::Node, netns::Namespace, patience::stretched, sockets::eventually, traffic::echo,
};

/// Between two packets of a flow, and the silence after which no answer is on its way any more. A machine
/// that cannot keep pace would lose packets by itself: the queue of a veth with XDP holds 256 frames.
const PACE: Duration = Duration::from_millis(2);
const SILENCE: Duration = Duration::from_millis(500);

/// Numbered datagrams to a server that answers each.
#[derive(Debug)]
pub struct Datagrams {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<(BTreeSet<u64>, BTreeSet<String>)>,
    _server: echo::Server,
}

impl Datagrams {
    /// From this port of a host to port 53 of a server.
    pub fn start(host: &Namespace, port: u16, server: &Node) -> Self {
        let running = echo::Server::start(server, 53);
        let remote = SocketAddrV4::new(server.address, 53);
        let socket = host.udp_bind(port);
        socket.set_read_timeout(Some(stretched(SILENCE))).expect("set a timeout");
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sender = {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            let socket = socket.try_clone().expect("duplicate a socket");
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    socket.send_to(format!("{number:016} ").as_bytes(), remote).expect("send");
                    sent.store(number + 1, Ordering::Relaxed);
                    thread::sleep(stretched(PACE));
                }
            })
        };
        let receiver = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || receive(&socket, &stop))
        };
        let flow = Self { stop, sent, sender, receiver, _server: running };
        flow.go_on(20);
        flow
    }

    /// How many have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been sent.
    pub fn go_on(&self, number: u64) {
        let until = self.sent.load(Ordering::Relaxed) + number;
        eventually("datagrams", || (self.sent.load(Ordering::Relaxed) >= until).then_some(()));
    }

    /// Demands that all were answered, however many it were, and that the server has seen one source.
    #[track_caller]
    pub fn assert_all_answered(self) {
        let (sent, answered, sources) = self.finish();
        let lost: Vec<_> = (0..sent).filter(|number| !answered.contains(number)).collect();
        let (first, last) = (lost.first(), lost.last());
        assert!(lost.is_empty(), "{} of {sent} lost, from {first:?} to {last:?}", lost.len());
        assert_eq!(sources.len(), 1, "one source: {sources:?}");
    }

    /// How many were sent, which were answered, and which sources the server has seen.
    pub fn finish(self) -> (u64, BTreeSet<u64>, BTreeSet<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("the sender");
        let (answered, sources) = self.receiver.join().expect("the receiver");
        (self.sent.load(Ordering::Relaxed), answered, sources)
    }
}

/// Receives until nothing has come for a while after the end.
fn receive(socket: &UdpSocket, stop: &AtomicBool) -> (BTreeSet<u64>, BTreeSet<String>) {
    let (mut answered, mut sources) = (BTreeSet::new(), BTreeSet::new());
    let mut answer = [0; 100];
    loop {
        match socket.recv(&mut answer) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&answer[..length]).into_owned();
                let (number, source) = text.split_once(' ').expect("an answer of the server");
                answered.insert(number.parse().expect("a number"));
                sources.insert(source.to_owned());
            }
            Err(_) if stop.load(Ordering::Relaxed) => return (answered, sources),
            Err(_) => {}
        }
    }
}

/// A TCP connection with a line to and fro, again and again.
#[derive(Debug)]
pub struct Connection {
    stop: Arc<AtomicBool>,
    /// Lines that have come back.
    lines: Arc<AtomicU64>,
    client: JoinHandle<()>,
}

impl Connection {
    /// From this port of a host to port 80 of a server.
    pub fn start(host: &Namespace, from: (Ipv4Addr, u16), server: &Node) -> Self {
        let listener = server.tcp_listen(80);
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut line = [0; 32];
            while stream.read_exact(&mut line).is_ok() && stream.write_all(&line).is_ok() {}
        });
        let stream = host.tcp_connect_from(from, (server.address, 80)).expect("connect");
        let stop = Arc::new(AtomicBool::new(false));
        let lines = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&lines));
        let client = thread::spawn(move || talk(stream, &stopped, &counted));
        Self { stop, lines, client }
    }

    /// Demands that it goes on from here, ends it, and demands that every line has come back. What was
    /// lost before may have to be sent again first, which takes its time.
    #[track_caller]
    pub fn assert_whole(self) {
        let before = self.lines.load(Ordering::Relaxed);
        eventually("more lines", || {
            let over = self.client.is_finished();
            (over || self.lines.load(Ordering::Relaxed) > before + 20).then_some(())
        });
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().expect("every line comes back");
    }
}

fn talk(mut stream: TcpStream, stop: &AtomicBool, lines: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let line = format!("{:031}\n", lines.load(Ordering::Relaxed));
        stream.write_all(line.as_bytes()).expect("send");
        let mut back = [0; 32];
        stream.read_exact(&mut back).expect("receive");
        assert_eq!(back, line.as_bytes());
        lines.fetch_add(1, Ordering::Relaxed);
        thread::sleep(stretched(PACE));
    }
}
