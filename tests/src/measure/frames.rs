//! Generator and sink: frames made and counted by kernel programs (`masq-ebpf/src/bin/traffic`).
//!
//! The generator runs through `BPF_PROG_TEST_RUN` with live frames: each run of the program is one
//! frame, sent out of an interface as XDP sends it. One CPU does it all: it makes a batch, and the
//! softirqs that the batch raises carry it through the router and into the sink before the next
//! batch begins. So nothing is lost unless the router drops it, and the rate at the sink is what
//! one CPU can do for generator, router and sink together.

use std::{
    net::Ipv4Addr,
    num::NonZero,
    ops::{Add, Sub},
};

use aya::{
    Ebpf, TestRun as _, TestRunAttrs, TestRunOptions, include_bytes_aligned,
    maps::{Array, MapData, PerCpuArray},
    programs::{Xdp, xdp::XdpMode},
};
use nix::net::if_::if_nametoindex;

use super::line::{HOST, HOSTS, Line, MACS, REMOTE};
use crate::{
    lab::{HOST_IF, ROUTER_WAN},
    netns::Namespace,
};

// One declaration of the layouts for both sides of the kernel boundary.
#[path = "../../../masq-ebpf/src/bin/traffic/plan.rs"]
mod plan;
use plan::{ETHERNET, Expectation, LENGTHS, Plan, Position, SMALLEST, WORDS, word};
pub use plan::{LOOK_EVERY, Tally};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic"));

/// Frames that one batch makes before softirqs run: fewer than a veth queue takes.
const BATCH: u32 = 64;
/// First source port of a host, and how many it uses.
const FIRST_PORT: u16 = 5_000;
const PORTS: u16 = 60_000;
/// The port that all flows go to: discard, where nobody listens.
const REMOTE_PORT: u16 = 9;

macro_rules! pod {
    ($($type:ty),+) => {
        $(
            // SAFETY: `repr(C)`, integers only, and no padding between or behind them (checked
            // below), so any bytes are a value and every byte of a value is initialised.
            unsafe impl aya::Pod for $type {}
        )+
    };
}
pod!(Plan, Position, Expectation, Tally);
const _: () = assert!(size_of::<Plan>() == 2 * WORDS + 2 + 4 * 3 + 4 + 4 * 2 + 2 * LENGTHS);
const _: () = assert!(size_of::<Expectation>() == 12 && size_of::<Tally>() == 32);

impl Sub for Tally {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            others: self.others - earlier.others,
            damaged: self.damaged - earlier.damaged,
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            others: self.others + other.others,
            damaged: self.damaged + other.damaged,
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the host to the remote.
    Outbound,
    /// From the remote to the host: answers to flows that were opened outbound.
    Inbound,
}

/// How long the packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Frames of 64 bytes, checksum included.
    Smallest,
    /// Seven packets of 46 bytes, four of 576 and one of 1500.
    Imix,
}

impl Size {
    fn lengths(self) -> [u16; LENGTHS] {
        match self {
            Self::Smallest => [SMALLEST; LENGTHS],
            Self::Imix => [46, 576, 46, 46, 576, 46, 1500, 46, 576, 46, 576, 46],
        }
    }
}

/// A stream of packets over a number of flows, each in its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Which way they go.
    pub direction: Direction,
    /// Number of flows: UDP, each from an address and port of its own.
    pub flows: NonZero<u32>,
    /// How long the packets are.
    pub size: Size,
    /// Whether the router translates: it decides what is sent inbound and expected outbound.
    pub translated: bool,
}

/// Most flows that a stream can have.
pub const MAX_FLOWS: u32 = HOSTS * PORTS as u32;
/// Most flows whose answers can be generated: the source port is known only while it is kept.
pub const MAX_INBOUND_FLOWS: u32 = PORTS as u32;

impl Stream {
    /// The address that stands for all hosts in the packets of the generator.
    fn first_address(&self) -> Ipv4Addr {
        match (self.direction, self.translated) {
            (Direction::Inbound, true) => ROUTER_WAN,
            _ => HOST,
        }
    }

    fn plan(&self) -> Plan {
        let flows = self.flows.get();
        assert!(flows <= MAX_FLOWS, "at most {MAX_FLOWS} flows");
        let [host, lan, wan, remote] = MACS;
        let (end, macs) = match self.direction {
            Direction::Outbound => (0, [lan, host]),
            Direction::Inbound => (1, [wan, remote]),
        };
        let mut headers = [0; WORDS];
        let mut put = |at: usize, bytes: &[u8]| {
            for (word, pair) in headers[at..].iter_mut().zip(bytes.chunks_exact(2)) {
                *word = u16::from_ne_bytes([pair[0], pair[1]]);
            }
        };
        put(0, macs.as_flattened());
        put(6, &[0x08, 0x00, 0x45, 0x00]);
        put(10, &[0x40, 0x00, 64, 17]);
        put(word::ADDRESSES + 2 * (1 - end), &REMOTE.octets());
        put(word::PORTS + 1 - end, &REMOTE_PORT.to_be_bytes());
        let sum = |words: &[u16]| words.iter().map(|&word| u32::from(word)).sum::<u32>();
        Plan {
            headers,
            end: end as u16,
            flows,
            stride: stride(flows),
            first_address: self.first_address().into(),
            first_port: FIRST_PORT,
            ports: PORTS,
            ip_sum: sum(&headers[7..word::PORTS]),
            udp_sum: sum(&headers[word::ADDRESSES..]) + u32::from(17_u16.to_be()),
            lengths: self.size.lengths(),
        }
    }

    fn expectation(&self) -> Expectation {
        let raw = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
        let one_host = self.flows.get() <= u32::from(PORTS);
        let host = if one_host { raw(HOST) } else { 0 };
        let port = REMOTE_PORT.to_be();
        match self.direction {
            Direction::Outbound => {
                let source = if self.translated { raw(ROUTER_WAN) } else { host };
                Expectation { addresses: [source, raw(REMOTE)], ports: [0, port] }
            }
            Direction::Inbound => Expectation { addresses: [raw(REMOTE), host], ports: [port, 0] },
        }
    }
}

/// A step through `flows` flows that meets each of them and jumps as far as possible: near the
/// golden section, with no divisor in common.
fn stride(flows: u32) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (f64::from(flows) * 0.618).round() as u32;
    if flows == 1 { 0 } else { (golden.max(1)..flows).find(|&s| gcd(s, flows) == 1).unwrap_or(1) }
}

/// The programs, loaded for one line: a sink at each end, and a generator that can run at either.
#[derive(Debug)]
pub struct Frames {
    object: Ebpf,
    interfaces: [u32; 2],
    stream: Option<Stream>,
}

impl Frames {
    /// Loads the programs and attaches the sinks to both ends of `line`.
    ///
    /// # Panics
    /// If the kernel refuses a program.
    pub fn attach(line: &Line) -> Self {
        let mut object = Ebpf::load(OBJECT).expect("load the traffic programs");
        for name in ["generate", "sink"] {
            let program = xdp_mut(&mut object, name);
            program.load().unwrap_or_else(|e| panic!("load the program {name}: {e}"));
        }
        let interfaces = [&line.host, &line.remote]
            .map(|end| end.run(|| if_nametoindex(HOST_IF).expect("the index of an interface")));
        let mut frames = Self { object, interfaces, stream: None };
        frames.attach_sink(&line.host, HOST_IF);
        frames.attach_sink(&line.remote, HOST_IF);
        frames
    }

    /// Attaches a sink to one more interface.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn attach_sink(&mut self, namespace: &Namespace, interface: &str) {
        let sink = xdp_mut(&mut self.object, "sink");
        namespace.run(|| {
            sink.attach(interface, XdpMode::Driver)
                .unwrap_or_else(|e| panic!("attach the sink to {interface} in native XDP: {e}"));
        });
    }

    /// From now on sends and expects the packets of `stream`.
    pub fn prepare(&mut self, stream: Stream) {
        let written = "write a map of the traffic programs";
        self.array("PLAN").set(0, stream.plan(), 0).expect(written);
        self.array("EXPECTATION").set(0, stream.expectation(), 0).expect(written);
        self.array("POSITION").set(0, Position::default(), 0).expect(written);
        self.stream = Some(stream);
    }

    /// Sends so many frames of the stream that was prepared. Has to be called inside the namespace
    /// of [`Frames::origin`].
    ///
    /// # Panics
    /// If no stream was prepared, or the kernel refuses.
    pub fn send(&self, frames: u32) {
        let stream = self.stream.expect("a stream was prepared");
        let longest = stream.size.lengths().into_iter().max().unwrap_or(SMALLEST);
        let frame = vec![0; ETHERNET + usize::from(longest)];
        let interface = self.interfaces[stream.direction as usize];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, queue, egress_ifindex.
        let context: [u32; 6] = [0, frame.len() as u32, 0, interface, 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let program: &Xdp = self
            .object
            .program("generate")
            .and_then(|program| program.try_into().ok())
            .expect("the generator");
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        program.test_run(options).unwrap_or_else(|e| panic!("run the generator: {e}"));
    }

    /// Where the stream that was prepared begins.
    pub fn origin<'line>(&self, line: &'line Line) -> &'line Namespace {
        match self.stream.expect("a stream was prepared").direction {
            Direction::Outbound => &line.host,
            Direction::Inbound => &line.remote,
        }
    }

    /// What has been sent since the programs were loaded.
    pub fn sent(&self) -> Tally {
        self.tally("SENT")
    }

    /// What has arrived at both ends since the programs were loaded.
    pub fn arrived(&self) -> Tally {
        self.tally("ARRIVED")
    }

    fn array<T: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, T> {
        let map = self.object.map_mut(name).unwrap_or_else(|| panic!("a map {name}"));
        Array::try_from(map).unwrap_or_else(|e| panic!("the map {name}: {e}"))
    }

    fn tally(&self, name: &str) -> Tally {
        let map = self.object.map(name).unwrap_or_else(|| panic!("a map {name}"));
        let map: PerCpuArray<_, Tally> =
            map.try_into().unwrap_or_else(|e| panic!("the map {name}: {e}"));
        let values = map.get(&0, 0).unwrap_or_else(|e| panic!("read the map {name}: {e}"));
        values.iter().fold(Tally::default(), |all, &one| all + one)
    }
}

/// The bare forwarding in XDP, attached to both interfaces of a router until it is dropped.
#[derive(Debug)]
pub struct BareForwarding {
    _object: Ebpf,
}

impl BareForwarding {
    /// Loads and attaches it.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn attach(router: &Namespace, interfaces: &[&str]) -> Self {
        let mut object = Ebpf::load(OBJECT).expect("load the traffic programs");
        let program = xdp_mut(&mut object, "forward");
        program.load().unwrap_or_else(|e| panic!("load the program forward: {e}"));
        router.run(|| {
            for interface in interfaces {
                program
                    .attach(interface, XdpMode::Driver)
                    .unwrap_or_else(|e| panic!("attach to {interface} in native XDP: {e}"));
            }
        });
        Self { _object: object }
    }
}

fn xdp_mut<'object>(object: &'object mut Ebpf, name: &str) -> &'object mut Xdp {
    let program = object.program_mut(name).unwrap_or_else(|| panic!("a program {name}"));
    program.try_into().unwrap_or_else(|e| panic!("the program {name}: {e}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_stride_meets_every_flow() {
        for flows in [1, 2, 3, 7, 100, 4096, 50_000] {
            let step = stride(flows);
            let met: HashSet<u64> =
                (0..flows).map(|n| u64::from(n) * u64::from(step) % u64::from(flows)).collect();
            assert_eq!(met.len(), flows as usize, "{flows} flows");
        }
    }
}
