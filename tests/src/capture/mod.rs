//! A capture of everything that crosses one interface, and what must hold of all of it.
//!
//! It runs on the ISP's side of the WAN during a whole test ([`Capture::start`]); at the end
//! [`Record::assert_clean`] demands that the gateway has sent no packet with a private source, no
//! quoted private address in an ICMP error, and no wrong checksum. What a device would complete
//! (partial checksums, super-packets of segmentation offload) is checked as far as the gateway is
//! concerned: the sum of the pseudo-header.

mod injector;
mod socket;

pub use injector::Injector;

use std::{
    fmt::{self, Write as _},
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};

use crate::{checksum::Bad, netns::Namespace, patience::patience};

/// One IPv4 packet of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Whether it was sent by the other end of the line (that is, by the gateway).
    pub received: bool,
    /// Its beginning, from the IP header on.
    pub bytes: Vec<u8>,
    /// Its whole length.
    pub length: usize,
    /// What is wrong with its checksums.
    pub bad: Option<Bad>,
}

impl Captured {
    /// The source address.
    pub fn source(&self) -> Ipv4Addr {
        address(&self.bytes, 12)
    }

    /// The destination address.
    pub fn destination(&self) -> Ipv4Addr {
        address(&self.bytes, 16)
    }

    /// The IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    /// The hop limit.
    pub fn ttl(&self) -> u8 {
        self.bytes[8]
    }

    /// What follows the IP header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[(usize::from(self.bytes[0] & 0xf) * 4).min(self.bytes.len())..]
    }

    /// Source and destination port of TCP or UDP; `None` for all else and for later fragments.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let first = self.bytes[6] & 0x1f == 0 && self.bytes[7] == 0;
        match (self.protocol(), first, self.payload()) {
            (6 | 17, true, [a, b, c, d, ..]) => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            _ => None,
        }
    }

    /// The packet that an ICMP error quotes, from its IP header on.
    pub fn quoted(&self) -> Option<&[u8]> {
        match (self.protocol(), self.payload()) {
            (1, [3 | 4 | 5 | 11 | 12, _, _, _, _, _, _, _, quoted @ ..]) if quoted.len() >= 20 => {
                Some(quoted)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, destination) = (self.source(), self.destination());
        write!(f, "{source} > {destination}, protocol {}, ", self.protocol())?;
        if let Some((from, to)) = self.ports() {
            write!(f, "ports {from} > {to}, ")?;
        }
        write!(f, "{} bytes:", self.length)?;
        self.bytes.chunks(2).try_for_each(|pair| {
            f.write_char(' ')?;
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<u32>>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    /// How often the reader was asked to catch up. The highest number asks it to stop.
    asked: AtomicU64,
    /// Makes the reader look at `asked`.
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Seen {
    packets: Vec<Captured>,
    /// The request after which the socket was found empty.
    caught_up: u64,
}

/// Asks the reader to stop.
const STOP: u64 = u64::MAX;

impl Capture {
    /// Starts to capture on `interface` of `namespace`. Nothing sent from now on is missed.
    ///
    /// # Panics
    /// If there is no such interface.
    pub fn start(namespace: &Namespace, interface: &str) -> Self {
        let socket = namespace.run(|| {
            socket::open(interface)
                .unwrap_or_else(|e| panic!("capture on the interface {interface}: {e}"))
        });
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            changed: Condvar::new(),
            asked: AtomicU64::new(0),
            wake: EventFd::new().expect("make an event descriptor"),
        });
        let for_reader = Arc::clone(&shared);
        let reader = std::thread::spawn(move || read_all(&socket, &for_reader));
        Self { shared, reader: Some(reader) }
    }

    /// Waits until a packet has been seen of which `wanted` is true, and returns it.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Captured) -> bool) -> Captured {
        match self.wait_at_most(patience(), wanted) {
            Some(packet) => packet,
            None => panic!("{what}: not seen on the line. Seen:\n{}", list(&self.packets())),
        }
    }

    /// Waits for such a packet no longer than `limit`.
    pub fn wait_at_most(
        &self,
        limit: Duration,
        wanted: impl Fn(&Captured) -> bool,
    ) -> Option<Captured> {
        self.wait_since(0, limit, wanted)
    }

    /// The same without looking at the first `number` packets.
    pub fn wait_since(
        &self,
        number: usize,
        limit: Duration,
        wanted: impl Fn(&Captured) -> bool,
    ) -> Option<Captured> {
        let seen = self.shared.seen.lock().expect("the capture");
        let find = |seen: &Seen| {
            let new = seen.packets.get(number..).unwrap_or_default();
            new.iter().find(|packet| wanted(packet)).cloned()
        };
        let missing = |seen: &mut Seen| find(seen).is_none();
        let waited = self.shared.changed.wait_timeout_while(seen, limit, missing);
        find(&waited.expect("the capture").0)
    }

    /// Every packet that has crossed the interface until now.
    pub fn packets(&self) -> Vec<Captured> {
        self.packets_since(0)
    }

    /// The same without the first `number` packets.
    pub fn packets_since(&self, number: usize) -> Vec<Captured> {
        let request = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = self.shared.wake.write(1);
        let seen = self.shared.seen.lock().expect("the capture");
        let behind = |seen: &mut Seen| seen.caught_up < request;
        let seen = self.shared.changed.wait_while(seen, behind).expect("the capture");
        seen.packets.get(number..).unwrap_or_default().to_vec()
    }

    /// Stops. Every packet that has crossed the interface until now is in the result.
    pub fn finish(mut self) -> Record {
        let lost = self.join();
        let packets = std::mem::take(&mut self.shared.seen.lock().expect("the capture").packets);
        Record { packets, lost }
    }

    fn join(&mut self) -> u32 {
        self.shared.asked.store(STOP, Ordering::SeqCst);
        let _ = self.shared.wake.write(1);
        self.reader.take().map_or(0, |reader| reader.join().expect("the capture thread"))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.join();
    }
}

/// A finished capture.
#[derive(Debug)]
pub struct Record {
    /// All packets, in order.
    pub packets: Vec<Captured>,
    /// How many packets did not fit the buffer of the capture.
    pub lost: u32,
}

impl Record {
    /// What the gateway has sent that it must not have sent, one line for each packet.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.lost > 0 {
            faults.push(format!("{} packets were lost to the capture", self.lost));
        }
        for packet in self.packets.iter().filter(|packet| packet.received) {
            if is_private(packet.source()) {
                faults.push(format!("private source: {packet}"));
            }
            let quoted = packet.quoted().map(|q| [address(q, 12), address(q, 16)]);
            if quoted.is_some_and(|ends| ends.into_iter().any(is_private)) {
                faults.push(format!("private address in a quoted packet: {packet}"));
            }
            if let Some(Bad { field, found, expected }) = &packet.bad {
                faults.push(format!(
                    "bad {field} checksum, {found:#06x} instead of {expected:#06x}: {packet}"
                ));
            }
        }
        faults
    }

    /// Ends the test if there is any [fault](Record::faults).
    ///
    /// # Panics
    /// If so.
    #[track_caller]
    pub fn assert_clean(&self) {
        let faults = self.faults();
        let shown = faults.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{} faults on the WAN, among them:\n{shown}", faults.len());
    }
}

fn list(packets: &[Captured]) -> String {
    let lines =
        packets.iter().rev().take(20).map(|packet| {
            format!("{} {packet}", if packet.received { "received" } else { "sent" })
        });
    lines.collect::<Vec<_>>().join("\n")
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

/// Whether this is an address of the LANs that tests use.
fn is_private(address: Ipv4Addr) -> bool {
    address.octets()[..2] == [192, 168]
}

/// Reads until told to stop, then what is left; returns how many packets were lost.
fn read_all(socket: &OwnedFd, shared: &Shared) -> u32 {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let asked = shared.asked.load(Ordering::SeqCst);
        let (mut batch, emptied) = read_batch(socket, &mut buffer);
        let mut seen = shared.seen.lock().expect("the capture");
        seen.packets.append(&mut batch);
        if emptied {
            seen.caught_up = asked;
        }
        drop(seen);
        shared.changed.notify_all();
        match (emptied, asked) {
            (false, _) => (),
            (true, STOP) => return socket::lost(socket),
            (true, _) => wait(socket, &shared.wake),
        }
    }
}

/// Takes what is there, up to a limit; whether that was all.
fn read_batch(socket: &OwnedFd, buffer: &mut [u8]) -> (Vec<Captured>, bool) {
    let mut batch = Vec::new();
    while batch.len() < 256 {
        match socket::receive(socket, buffer) {
            Ok(Some(packet)) => batch.push(packet),
            Ok(None) => (),
            Err(_) => return (batch, true),
        }
    }
    (batch, false)
}

/// Waits for packets or for a request.
fn wait(socket: &OwnedFd, wake: &EventFd) {
    let descriptors = [socket.as_fd(), wake.as_fd()];
    let mut waiting = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    let _ = poll(&mut waiting, PollTimeout::NONE);
    if waiting[1].any() == Some(true) {
        let _ = wake.read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lab::{HOST_A, ROUTER_WAN, SERVER_1, veth, wait_for_carrier},
        packet::{self, Packet},
    };

    /// Two namespaces and a line: what the first sends raw is captured at the second.
    fn captured(packets: &[Vec<u8>]) -> Record {
        let (from, to) = (Namespace::new("from"), Namespace::new("to"));
        veth(&from, "wan0", &to, "isp0");
        from.ip("link set wan0 up");
        to.ip("link set isp0 up");
        wait_for_carrier(&from, "wan0");
        wait_for_carrier(&to, "isp0");
        let capture = Capture::start(&to, "isp0");
        from.run(|| {
            let socket = socket::open("wan0").expect("open a packet socket");
            for packet in packets {
                let frame = packet::frame([2; 6], [4; 6], packet);
                nix::unistd::write(&socket, &frame).expect("send a frame");
            }
        });
        let record = capture.finish();
        assert_eq!(record.packets.len(), packets.len());
        record
    }

    /// What the record says of a line on which only this packet was sent.
    fn fault_of(packet: Vec<u8>) -> String {
        let faults = captured(&[packet]).faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].clone()
    }

    fn good() -> Packet {
        Packet::udp((ROUTER_WAN, 40_000), (SERVER_1, 53), b"question")
    }

    #[test]
    fn good_packets_are_clean() {
        let echo = Packet::echo((ROUTER_WAN, 7), SERVER_1, b"ping");
        captured(&[good().bytes(), echo.bytes()]).assert_clean();
    }

    #[test]
    #[should_panic(expected = "private source: 192.168.1.10 > 198.51.100.1")]
    fn a_private_source_is_found() {
        captured(&[Packet::udp((HOST_A, 40_000), (SERVER_1, 53), b"q").bytes()]).assert_clean();
    }

    #[test]
    fn a_bad_checksum_is_found_in_every_layer() {
        for (at, field) in [(10, "ip"), (26, "udp")] {
            let mut packet = good().bytes();
            packet[at] ^= 1;
            assert!(fault_of(packet).starts_with(&format!("bad {field} checksum")));
        }
        let mut error = Packet::icmp(ROUTER_WAN, SERVER_1, (3, 3), 0, &good().bytes()).bytes();
        error[60] ^= 1;
        assert!(fault_of(error).starts_with("bad icmp checksum"));
    }

    #[test]
    fn a_private_address_in_a_quoted_packet_is_found() {
        let quoted = Packet::udp((SERVER_1, 53), (HOST_A, 40_000), b"answer").bytes();
        let error = Packet::icmp(ROUTER_WAN, SERVER_1, (3, 3), 0, &quoted).bytes();
        assert!(fault_of(error).starts_with("private address in a quoted packet"));
    }
}
