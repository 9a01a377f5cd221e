//! Generator and sink: frames made and counted by kernel programs (`masq-ebpf/src/bin/traffic`).
//!
//! The generator runs through `BPF_PROG_TEST_RUN` with live frames: each run of the program is one
//! frame, sent out of an interface as XDP sends it. The CPU that runs it does it all: it makes a
//! batch, and the softirqs that the batch raises carry it through the router and into the sink
//! before the next batch begins. So nothing is lost unless the router drops it, and the rate at the
//! sink is what one CPU can do for generator, router and sink together.

use std::ops::{Add, Sub};

use aya::{
    Ebpf, TestRun as _, TestRunAttrs, TestRunOptions, include_bytes_aligned,
    maps::{Array, MapData, PerCpuArray, PerCpuValues},
    programs::{Xdp, xdp::XdpMode},
    util::nr_cpus,
};
use nix::net::if_::if_nametoindex;

use super::{
    line::Line,
    link::Link,
    plan::{
        ADDRESSES, ETHERNET, Expectation, Front, Gap, LENGTHS, Plan, Position, Sample,
        TAG_AND_PPPOE, Tally, WORDS,
    },
    stream::{BURST, Direction, Stream},
};
use crate::{lab::HOST_IF, netns::Namespace};

/// The kernel programs of the benchmark.
pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic"));

/// Frames that one batch makes before softirqs run: fewer than a veth queue takes.
const BATCH: u32 = 64;

macro_rules! pod {
    ($($type:ty),+) => {
        $(
            // SAFETY: `repr(C)`, integers only, and no padding between or behind them (checked
            // below), so any bytes are a value and every byte of a value is initialised.
            unsafe impl aya::Pod for $type {}
        )+
    };
}
pod!(Plan, Position, Expectation, Tally, Gap, Sample, Front);
const _: () = {
    const FRONT: usize = 2 * (ADDRESSES + TAG_AND_PPPOE) + 2 * 2;
    assert!(size_of::<Front>() == FRONT);
    assert!(
        size_of::<Plan>() == 2 * WORDS + 2 + 4 * 4 + 2 * 2 + 4 * 7 + 4 * 2 + 2 * LENGTHS + FRONT
    );
    assert!(size_of::<Position>() == 8 + 4 * 6 && size_of::<Gap>() == 16);
    assert!(size_of::<Expectation>() == 16 + FRONT && size_of::<Tally>() == 40);
    assert!(size_of::<Sample>() == 2 * WORDS + 2 * 3 + 4 * 4 + FRONT);
};

impl Sub for Tally {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            new: self.new - earlier.new,
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
            new: self.new + other.new,
            others: self.others + other.others,
            damaged: self.damaged + other.damaged,
        }
    }
}

/// The programs, loaded for one line: a sink at each end, and a generator that can run at either.
#[derive(Debug)]
pub struct Frames {
    object: Ebpf,
    interfaces: [u32; 2],
    translated: bool,
    links: [Link; 2],
    /// Whether they arrive as they were sent, since there is no router.
    as_sent: bool,
    stream: Option<Stream>,
}

impl Frames {
    /// Loads the programs and attaches the sinks to both ends of `line`. `translated` says whether
    /// its router translates.
    ///
    /// # Panics
    /// If the kernel refuses a program.
    pub fn attach(line: &Line, translated: bool) -> Self {
        let mut object = Ebpf::load(OBJECT).expect("load the traffic programs");
        for name in ["generate", "sink"] {
            let program = xdp_mut(&mut object, name);
            program.load().unwrap_or_else(|e| panic!("load the program {name}: {e}"));
        }
        let interfaces = [&line.host, &line.remote]
            .map(|end| end.run(|| if_nametoindex(HOST_IF).expect("the index of an interface")));
        let links = line.layout().topology.links();
        let mut frames =
            Self { object, interfaces, translated, links, as_sent: false, stream: None };
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

    /// From now on, frames at the host and at the remote look like this.
    pub fn set_links(&mut self, links: [Link; 2]) {
        self.links = links;
    }

    /// From now on, frames look like this, and arrive as they were sent: there is no router.
    pub fn set_link_without_router(&mut self, link: Link) {
        (self.links, self.as_sent) = ([link; 2], true);
    }

    /// From now on sends and expects the packets of `stream`; `gaps` if the times between them are
    /// of interest.
    pub fn prepare(&mut self, stream: Stream, gaps: bool) {
        self.prepare_for_cpus(stream, &[], gaps);
    }

    /// The same with the flows divided among these CPUs, each of which has to [send](Self::send).
    pub fn prepare_for_cpus(&mut self, stream: Stream, cpus: &[usize], gaps: bool) {
        let plan = |cpu| {
            let part = cpus.iter().position(|&one| one == cpu);
            let flows = match part {
                Some(part) => stream.flows.part(part as u32, cpus.len() as u32),
                None => stream.flows,
            };
            Stream { flows, ..stream }.plan(self.translated, self.links)
        };
        let plans: Vec<Plan> = (0..possible_cpus()).map(plan).collect();
        let positions = vec![Position::default(); possible_cpus()];
        let mut expectation = stream.expectation(self.translated, gaps, self.links);
        if self.as_sent {
            expectation.front = stream.plan(self.translated, self.links).front;
        }
        self.per_cpu("PLAN", plans);
        self.per_cpu("POSITION", positions);
        let written = "write a map of the traffic programs";
        self.array("EXPECTATION").set(0, expectation, 0).expect(written);
        self.array("GAP").set(0, Gap::default(), 0).expect(written);
        self.stream = Some(stream);
    }

    /// Sends so many frames of the stream that was prepared. Has to be called inside the namespace
    /// of [`Frames::origin`], and without a change of the CPU.
    ///
    /// # Panics
    /// If no stream was prepared, or the kernel refuses.
    pub fn send(&self, frames: u32) {
        let stream = self.stream.expect("a stream was prepared");
        let link = self.links[stream.direction as usize];
        let frame = vec![0; ETHERNET + link.more() + usize::from(stream.size.longest())];
        let interface = self.interfaces[stream.direction as usize];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, queue, egress_ifindex.
        let context: [u32; 6] = [0, frame.len() as u32, 0, interface, 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let program: &Xdp = self
            .object
            .program("generate")
            .and_then(|program| program.try_into().ok())
            .expect("the generator");
        let batch = if stream.pace.is_some() { BURST } else { BATCH };
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
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

    /// What has arrived at all sinks since the programs were loaded.
    pub fn arrived(&self) -> Tally {
        self.tally("ARRIVED")
    }

    /// Nanoseconds of the longest time between two packets since the stream was prepared.
    pub fn longest_gap(&mut self) -> u64 {
        let gap: Gap = self.array("GAP").get(&0, 0).expect("read a map of the traffic programs");
        gap.longest
    }

    /// Forgets the times between packets so far.
    pub fn forget_gaps(&mut self) {
        let written = "write a map of the traffic programs";
        self.array("GAP").set(0, Gap::default(), 0).expect(written);
    }

    fn array<T: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, T> {
        let map = self.object.map_mut(name).unwrap_or_else(|| panic!("a map {name}"));
        Array::try_from(map).unwrap_or_else(|e| panic!("the map {name}: {e}"))
    }

    fn per_cpu<T: aya::Pod>(&mut self, name: &str, values: Vec<T>) {
        let map = self.object.map_mut(name).unwrap_or_else(|| panic!("a map {name}"));
        let mut map: PerCpuArray<_, T> =
            map.try_into().unwrap_or_else(|e| panic!("the map {name}: {e}"));
        let values = PerCpuValues::try_from(values).expect("a value for each CPU");
        map.set(0, values, 0).expect("write a map of the traffic programs");
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

fn possible_cpus() -> usize {
    nr_cpus().expect("the number of CPUs")
}

fn xdp_mut<'object>(object: &'object mut Ebpf, name: &str) -> &'object mut Xdp {
    let program = object.program_mut(name).unwrap_or_else(|| panic!("a program {name}"));
    program.try_into().unwrap_or_else(|e| panic!("the program {name}: {e}"))
}
