//! The programs as one NAT: packets go in on one side and come out on the other, or do not. Its
//! clock stands still until it is set, however slow the machine is. Routing between the hooks is left out: what the kernel would do to a
//! packet (its TTL, its neighbour) is not seen here.

use std::{
    fs,
    net::Ipv4Addr,
    ops::Deref,
    path::Path,
    sync::{LazyLock, Mutex, Once},
    thread,
    time::Instant,
};

use masq_common::{
    event::CloseCause,
    reason::{Class, Reason},
    settings::{Filtering, Settings},
    tcp::{ACK, SYN},
    time::{TICK_SHIFT, Tick},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, reseal},
    program::{Bench, Hook, Output, Verdict, now},
};
use nix::libc;

/// An endpoint of host A.
pub const A: Endpoint = (HOST_A, 40_000);
/// An endpoint of host B, with the same port.
pub const B: Endpoint = (HOST_B, 40_000);
/// An endpoint of the first server.
pub const S1: Endpoint = (SERVER_1, 53);
/// An endpoint of the second server.
pub const S2: Endpoint = (SERVER_2, 7);

/// The kernel object: compiled by the first test that wants it, or the finished one that the
/// environment names (see `xtask::object`).
static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = xtask::object::build_object("masq-ebpf", folder)
        .unwrap_or_else(|error| panic!("{error:#}"));
    fs::read(&path).expect("the object that was just built")
});

/// NATs that tests have done with. Loading the programs takes seconds, so they are used again: with
/// empty tables, and so much later that whatever else they remember has no meaning any more.
static IDLE: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// Between the last moment of one test and the first one of the next: a day, more than any timer.
const BETWEEN: u64 = 86_400;

/// Less than half a turn of the clock.
const YEAR: u64 = 365 * 86_400;

/// Loaded programs and their clock.
#[derive(Debug)]
struct Loaded {
    bench: Bench,
    /// When the clock was started.
    start: Instant,
    /// What it shows to a test at its beginning, in seconds.
    epoch: u64,
}

/// The NAT.
#[derive(Debug)]
pub struct Nat {
    /// There until dropped.
    loaded: Option<Loaded>,
    settings: Settings,
    /// Seconds since the beginning of the test, and the most that they have been.
    seconds: u64,
    latest: u64,
}

/// A packet that came out translated, or how it has ended otherwise. What is left to the router
/// itself has ended with [`Reason::NoSession`] on the WAN side.
pub type End = Result<Vec<u8>, Reason>;

impl Nat {
    /// With the default settings.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::DEFAULT;
        change(&mut settings);
        let idle = IDLE.lock().expect("the idle NATs").pop();
        let loaded = Some(idle.unwrap_or_else(load));
        Self { loaded, settings, seconds: 0, latest: 0 }
    }

    /// With this filtering of UDP and TCP.
    pub fn filtering(filtering: Filtering) -> Self {
        Self::with(|settings| {
            settings.filtering_tcp = filtering as u8;
            settings.filtering_udp = filtering as u8;
        })
    }

    /// Sets the clock to so many seconds after the beginning.
    pub fn at(&mut self, seconds: u64) {
        self.seconds = seconds;
        self.latest = self.latest.max(seconds);
    }

    /// Changes settings on the way.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
    }

    /// The programs, with the clock set back by what has passed by itself.
    fn bench(&mut self) -> &mut Bench {
        let loaded = self.loaded.as_mut().expect("there until dropped");
        let elapsed = loaded.start.elapsed().as_nanos() as u64;
        let shown = (loaded.epoch + self.seconds) * 1_000_000_000;
        self.settings.clock_offset = shown.wrapping_sub(elapsed);
        loaded.bench.set_settings(&self.settings);
        &mut loaded.bench
    }

    /// Seconds until the ticks of the clock begin at 0 again.
    pub fn until_wrap(&mut self) -> u64 {
        self.bench();
        let shown = Tick((u64::from(now().0) + (self.settings.clock_offset >> TICK_SHIFT)) as u32);
        (u64::from(u32::MAX - shown.0) << TICK_SHIFT) / 1_000_000_000
    }

    /// Runs a packet through one hook.
    pub fn run(&mut self, hook: Hook, packet: &[u8]) -> Output {
        self.bench().run(hook, packet)
    }

    /// Runs a frame through one hook.
    pub fn run_frame(&mut self, hook: Hook, frame: &[u8]) -> Output {
        self.bench().run_frame(hook, frame)
    }

    /// Sends a packet from the LAN: by the fast path, or else as the kernel routes it.
    pub fn out(&mut self, packet: &Packet) -> End {
        self.out_bytes(&packet.bytes())
    }

    /// The same for bytes from the IP header on.
    pub fn out_bytes(&mut self, packet: &[u8]) -> End {
        let output = self.run(Hook::LanIn, packet);
        match output.verdict {
            Verdict::Pass => end(&self.run(Hook::WanOut, packet)),
            _ => end(&output),
        }
    }

    /// Sends a packet from the WAN.
    pub fn back(&mut self, packet: &Packet) -> End {
        self.back_bytes(&packet.bytes())
    }

    /// The same for bytes from the IP header on.
    pub fn back_bytes(&mut self, packet: &[u8]) -> End {
        end(&self.run(Hook::WanIn, packet))
    }

    /// Sends a UDP datagram from inside; returns the external port.
    #[track_caller]
    pub fn udp(&mut self, inside: Endpoint, remote: Endpoint) -> u16 {
        let packet = self.out(&Packet::udp(inside, remote, b"question"));
        let (address, port) = source(&packet.expect("a translated datagram"));
        assert_eq!(address, ROUTER_WAN);
        port
    }

    /// Whether a UDP datagram of `remote` gets through `port` to `inside`.
    #[track_caller]
    pub fn answers(&mut self, remote: Endpoint, port: u16, inside: Endpoint) -> bool {
        let end = self.back(&Packet::udp(remote, (ROUTER_WAN, port), b"answer"));
        match end {
            Ok(packet) => {
                assert_eq!((source(&packet), destination(&packet)), (remote, inside));
                true
            }
            Err(reason) => {
                assert_eq!(reason, Reason::NoSession, "it is the router's");
                false
            }
        }
    }

    /// Sends a TCP segment from inside; returns the external port, if it has left.
    pub fn segment_out(&mut self, inside: Endpoint, remote: Endpoint, flags: u8) -> Option<u16> {
        let end = self.out_bytes(&segment(inside, remote, flags, 0));
        end.ok().map(|packet| source(&packet).1)
    }

    /// Sends a TCP segment from outside to `port`; whether it got in.
    pub fn segment_back(&mut self, remote: Endpoint, port: u16, flags: u8) -> bool {
        self.back_bytes(&segment(remote, (ROUTER_WAN, port), flags, 0)).is_ok()
    }

    /// Opens a TCP connection from inside; returns the external port.
    #[track_caller]
    pub fn connect(&mut self, inside: Endpoint, remote: Endpoint) -> u16 {
        let port = self.segment_out(inside, remote, SYN).expect("the SYN leaves");
        assert!(self.segment_back(remote, port, SYN | ACK), "its answer arrives");
        assert_eq!(self.segment_out(inside, remote, ACK), Some(port));
        port
    }

    /// Removes what has expired, as the daemon does; returns how many sessions that were.
    pub fn sweep(&mut self) -> u32 {
        self.retire(CloseCause::Expired)
    }

    fn retire(&mut self, cause: CloseCause) -> u32 {
        let keys: Vec<_> = self.sessions().iter().map(|half| half.key()).collect();
        self.bench().retire(cause, &keys)
    }
}

/// Loads the programs, all of them now: it takes a moment, and would take it between setting the
/// clock and a packet.
fn load() -> Loaded {
    let mut bench = Bench::new(&OBJECT);
    // IPsec's AH, which cannot be translated.
    let foreign = Packet::new(HOST_A, SERVER_1, 51, &[]).bytes();
    for hook in [Hook::LanXdp, Hook::LanIn, Hook::WanOut, Hook::WanIn] {
        bench.run(hook, &foreign);
    }
    static CLEAN_UP: Once = Once::new();
    CLEAN_UP.call_once(|| {
        // SAFETY: the function is there for the whole life of the program.
        let failed = unsafe { libc::atexit(remove_idle) };
        assert_eq!(failed, 0, "no room for one more function to be called at the end");
    });
    Loaded { bench, start: Instant::now(), epoch: 0 }
}

/// Removes the namespaces of the idle NATs when the program ends: statics are not dropped.
extern "C" fn remove_idle() {
    if let Ok(mut idle) = IDLE.lock() {
        idle.clear();
    }
}

impl Deref for Nat {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.loaded.as_ref().expect("there until dropped").bench
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        // Time stamps that are half a turn of the clock old would look new.
        if thread::panicking() || self.latest > YEAR {
            return;
        }
        self.retire(CloseCause::Flushed);
        let is_empty = self.sessions().is_empty() && self.mappings().is_empty();
        let Some(mut loaded) = self.loaded.take().filter(|_| is_empty) else { return };
        loaded.epoch += self.latest + BETWEEN;
        if let Ok(mut idle) = IDLE.lock() {
            idle.push(loaded);
        }
    }
}

fn end(output: &Output) -> End {
    let reason = output.reason();
    let drops = output.verdict == Verdict::Drop;
    assert_eq!(drops, reason.class() == Class::Dropped, "{reason:?}: {:?}", output.verdict);
    if reason.class() == Class::Translated { Ok(output.packet().to_vec()) } else { Err(reason) }
}

/// A TCP segment without data. All of them have the same sequence and acknowledgement number, which
/// is within the window of both ends, plus `beyond`.
pub fn segment(from: Endpoint, to: Endpoint, flags: u8, beyond: u32) -> Vec<u8> {
    const NUMBER: u32 = 0x1000_0000;
    let mut packet = Packet::tcp(from, to, flags, b"").bytes();
    packet[24..28].copy_from_slice(&NUMBER.wrapping_add(beyond).to_be_bytes());
    packet[28..32].copy_from_slice(&NUMBER.to_be_bytes());
    reseal(&mut packet);
    packet
}

/// Where a packet comes from; of an ICMP query the identifier.
pub fn source(packet: &[u8]) -> Endpoint {
    endpoint(packet, 12, 0)
}

/// Where a packet goes to; of an ICMP query the identifier.
pub fn destination(packet: &[u8]) -> Endpoint {
    endpoint(packet, 16, 2)
}

fn endpoint(packet: &[u8], address: usize, port: usize) -> Endpoint {
    let header = usize::from(packet[0] & 0xf) * 4;
    let port = header + if packet[9] == 1 { 4 } else { port };
    let octets: [u8; 4] = packet[address..address + 4].try_into().expect("four bytes");
    (Ipv4Addr::from(octets), u16::from_be_bytes([packet[port], packet[port + 1]]))
}

/// An ICMP error from `from` to `to` about a packet.
pub fn error(from: Ipv4Addr, to: Ipv4Addr, kind: (u8, u8), about: &[u8]) -> Packet {
    Packet::icmp(from, to, kind, 0, about)
}

/// The packet that an ICMP error quotes.
pub fn quoted(error: &[u8]) -> &[u8] {
    &error[28..]
}
