//! Bytes a second over TCP, with plain sockets in threads: what two hosts get out of a router.
//!
//! Sender, router and receiver share the CPUs of the machine, so the figure compares routers; it
//! says nothing about a router that has its CPUs to itself.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    contender::{Contender, Running},
    line::{Layout, Line, REMOTE},
    stream::Direction,
};
use crate::daemon::Mode;

/// Who is compared, and whether the hosts leave segmentation and checksums to their interfaces.
///
/// Native XDP on veth needs hosts that compute checksums and segments themselves, which costs them
/// more than the router can save. So the yardsticks are measured with and without these offloads,
/// and each kind of masq is to be compared with the yardsticks of its own kind.
pub const CONTENDERS: [(Contender, bool); 7] = [
    (Contender::Plain, true),
    (Contender::Nftables, true),
    (Contender::Auto, true),
    (Contender::Plain, false),
    (Contender::Nftables, false),
    (Contender::BareXdp, false),
    (Contender::Masq(Mode::Xdp), false),
];

/// A line with a router that runs, for hosts with or without offloads.
#[derive(Debug)]
pub struct Bench {
    // Dropped in this order: the daemon stops while its interfaces exist.
    _running: Running,
    line: Line,
}

impl Bench {
    /// Builds the line and starts `contender` in its router.
    pub fn new(contender: Contender, offloads: bool) -> Self {
        let line = Line::new(Layout::default());
        if !offloads {
            line.without_offloads();
        }
        Self { _running: contender.start(&line, &[]), line }
    }

    /// Bits a second that arrive over `streams` connections at once, which the host opens.
    ///
    /// # Errors
    /// If a connection cannot be made, breaks, or carries nothing.
    pub fn measure(
        &self,
        direction: Direction,
        streams: usize,
        duration: Duration,
    ) -> Result<f64, String> {
        measure(&self.line, direction, streams, duration)
    }
}

/// Bytes of one read or write.
const BLOCK: usize = 128 << 10;
/// Time for the connections to reach their speed, not counted.
const WARM_UP: Duration = Duration::from_millis(300);

fn measure(
    line: &Line,
    direction: Direction,
    streams: usize,
    duration: Duration,
) -> Result<f64, String> {
    let connections = connect(line, streams)?;
    let stop = AtomicBool::new(false);
    let counters: Vec<_> = (0..streams).map(|_| AtomicU64::new(0)).collect();
    let total = || counters.iter().map(|counter| counter.load(Relaxed)).sum::<u64>();
    thread::scope(|scope| {
        for ((host, remote), counter) in connections.iter().zip(&counters) {
            let (from, to) = match direction {
                Direction::Outbound => (host, remote),
                Direction::Inbound => (remote, host),
            };
            let stop = &stop;
            scope.spawn(move || send(from, stop));
            scope.spawn(move || receive(to, counter));
        }
        thread::sleep(WARM_UP);
        let (start, before) = (Instant::now(), total());
        thread::sleep(duration);
        let (time, bytes) = (start.elapsed(), total() - before);
        let each = counters.iter().all(|counter| counter.load(Relaxed) > 0);
        stop.store(true, Relaxed);
        if bytes == 0 || !each {
            return Err(format!("a TCP connection of {streams} carried nothing"));
        }
        Ok(bytes as f64 * 8.0 / time.as_secs_f64())
    })
}

/// Pairs of sockets: the host's end and the remote's.
fn connect(line: &Line, streams: usize) -> Result<Vec<(TcpStream, TcpStream)>, String> {
    let listener = line.remote.tcp_listen(0);
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    (0..streams)
        .map(|_| {
            let host = line.host.tcp_connect((REMOTE, port))?;
            let (remote, _) = listener.accept()?;
            Ok((host, remote))
        })
        .collect::<std::io::Result<_>>()
        .map_err(|e| format!("cannot connect over TCP: {e}"))
}

/// Sends until told to stop, then says so to the receiver.
fn send(mut socket: &TcpStream, stop: &AtomicBool) {
    let block = vec![0x5a; BLOCK];
    // A connection that breaks shows in the counter of its receiver.
    while !stop.load(Relaxed) && socket.write_all(&block).is_ok() {}
    let _ = socket.shutdown(std::net::Shutdown::Write);
}

fn receive(mut socket: &TcpStream, counter: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    loop {
        match socket.read(&mut block) {
            Ok(0) => return,
            Ok(length) => _ = counter.fetch_add(length as u64, Relaxed),
            Err(e) if e.kind() == ErrorKind::Interrupted => (),
            Err(_) => return,
        }
    }
}
