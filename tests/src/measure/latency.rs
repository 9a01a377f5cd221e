//! Round trips through a router while other packets keep it busy.
//!
//! One thread has both sockets, the host's and the remote's, and waits for packets without ever
//! sleeping: no scheduler wakes anybody up, so what is measured is the way of the packets, through
//! the router in both directions. It has a CPU of its own; the load comes on another one. Both
//! share the router's queues: a packet that finds a burst in front of it waits.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use super::{
    cpu,
    line::{HOST, Line, REMOTE},
    plan::ECHO_PORT,
};

/// Not one of the ports that the generator uses.
const CLIENT_PORT: u16 = 4_000;
/// Time from one question to the next, at least; up to twice as long, so that probes keep no step
/// with the bursts of the load.
const PERIOD: Duration = Duration::from_micros(60);
/// After this a packet counts as lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes of data: what fits into the smallest frame.
const LENGTH: usize = 18;
/// Fewest round trips of which a hundredth says something.
pub const FEWEST: usize = 500;

/// The round trips of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrips {
    /// Half of them were quicker.
    pub median: Duration,
    /// 99 of 100 were quicker.
    pub p99: Duration,
    /// Questions without an answer.
    pub lost: usize,
    /// How many were made.
    pub count: usize,
}

/// A client and a server, joined through the router of a line.
#[derive(Debug)]
pub struct Probe {
    client: UdpSocket,
    server: UdpSocket,
}

impl Probe {
    /// Opens the sockets and sends the first packets in each direction.
    ///
    /// # Errors
    /// If none gets through.
    pub fn new(line: &Line) -> Result<Self, String> {
        let bind = |address: SocketAddr| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            std::io::Result::Ok(socket)
        };
        let failed = |e: std::io::Error| format!("cannot open a socket of the probe: {e}");
        let client = line.host.run(|| bind((HOST, CLIENT_PORT).into())).map_err(failed)?;
        let server = line.remote.run(|| bind((REMOTE, ECHO_PORT).into())).map_err(failed)?;
        let probe = Self { client, server };
        // The first ones take the slow way.
        for _ in 0..20 {
            if probe.round_trip(0).is_none() {
                return Err("the probe's packets do not get through the router".to_owned());
            }
        }
        Ok(probe)
    }

    /// Makes round trips until `is_over`, on the second of this process's CPUs.
    ///
    /// # Errors
    /// If there is only one CPU.
    pub fn measure(&self, is_over: &(dyn Fn() -> bool + Sync)) -> Result<RoundTrips, String> {
        let &[_, other, ..] = cpu::all() else {
            return Err("latency needs two CPUs, one of them for the load".to_owned());
        };
        // A thread of its own, which stays on that CPU to its end.
        let there = || {
            cpu::have(other);
            self.ask(is_over)
        };
        thread::scope(|scope| scope.spawn(there).join().expect("the probe"))
    }

    fn ask(&self, is_over: &(dyn Fn() -> bool + Sync)) -> Result<RoundTrips, String> {
        // The load begins.
        thread::sleep(Duration::from_millis(100));
        let (mut times, mut lost, mut number) = (Vec::new(), 0, 1_u32);
        while !is_over() {
            let begin = Instant::now();
            match self.round_trip(number) {
                Some(time) => times.push(time),
                None => lost += 1,
            }
            // A step near the golden section through one period.
            let more = PERIOD.mul_f64(f64::from(number) * 0.618 % 1.0);
            number += 1;
            while begin.elapsed() < PERIOD + more {
                std::hint::spin_loop();
            }
        }
        times.sort();
        // None at all are zero, and too few for whoever asks.
        let at = |share: f64| {
            times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default()
        };
        Ok(RoundTrips { median: at(0.5), p99: at(0.99), lost, count: times.len() })
    }

    /// One question and its answer; `None` if either is lost.
    fn round_trip(&self, number: u32) -> Option<Duration> {
        let mut question = [0; LENGTH];
        question[..4].copy_from_slice(&number.to_ne_bytes());
        let begin = Instant::now();
        self.client.send_to(&question, (REMOTE, ECHO_PORT)).ok()?;
        let asker = receive(&self.server, &question, begin)?;
        self.server.send_to(&question, asker).ok()?;
        receive(&self.client, &question, begin)?;
        Some(begin.elapsed())
    }
}

/// Waits for a packet with this content; others are late ones.
fn receive(socket: &UdpSocket, wanted: &[u8; LENGTH], begin: Instant) -> Option<SocketAddr> {
    let mut data = [0; LENGTH];
    while begin.elapsed() < PATIENCE {
        match socket.recv_from(&mut data) {
            Ok((_, sender)) if data == *wanted => return Some(sender),
            Ok(_) => (),
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            // An ICMP error about an earlier packet.
            Err(_) => (),
        }
    }
    None
}
