//! Programs for devices with an Ethernet header, run through BPF_PROG_TEST_RUN.
//!
//! The programs ask the kernel for routes, neighbours and sockets, so they run in a namespace that
//! has what the router of the [lab](crate::lab) has: `lan0` and `wan0`, the same addresses,
//! permanent neighbours, a default route. Nothing is attached but what veth needs to know its
//! receive queue to XDP.

use std::{
    net::Ipv4Addr,
    ops::{Deref, DerefMut},
    sync::Barrier,
    thread,
};

use aya::{
    TestRunOptions,
    programs::{Program, ProgramFd, TestRun as _, XdpMode},
};
use masq_common::{
    abi::programs,
    event::{CloseCause, RetireRequest},
    flow::FlowKey,
    settings::{Settings, switches},
    trace::Filter,
};

use super::{Hook, Output, TABLE_SIZE, Tables, Verdict};
use crate::{
    lab::{
        HOST_A, HOST_B, ISP, MAC_HOST_A, MAC_HOST_B, MAC_ISP, MAC_ROUTER_LAN, MAC_ROUTER_WAN,
        ROUTER_LAN, ROUTER_WAN, veth,
    },
    netns::Namespace,
    packet::frame,
};

/// A router inside of the LAN, which forwards for networks behind it.
pub const INNER_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
/// Its MAC address.
pub const MAC_INNER_ROUTER: &str = "02:00:00:00:0a:02";

/// Words of `struct __sk_buff` that are set here, by their position.
mod skb {
    pub const INGRESS_IFINDEX: usize = 9;
    pub const IFINDEX: usize = 10;
    /// Two words of the control block: what WAN egress knows the fast path's work by.
    pub const PASS: usize = 15;
    pub const GSO_SEGS: usize = 41;
    pub const GSO_SIZE: usize = 44;
    /// Words up to the last one that is set.
    pub const LENGTH: usize = 45;
}

/// The loaded programs, their [`Tables`], and the namespace that they run in.
#[derive(Debug)]
pub struct Bench {
    tables: Tables,
    namespace: Namespace,
    _peer: Namespace,
    lan: u32,
    wan: u32,
}

impl Bench {
    /// Builds the namespace and loads the maps of the kernel `object`; programs are loaded when they are first run.
    ///
    /// # Panics
    /// If this process is not root, or the kernel refuses a map.
    pub fn new(object: &[u8]) -> Self {
        Self::with_sessions(object, TABLE_SIZE)
    }

    /// The same with so many entries in the session table, two for each session.
    ///
    /// # Panics
    /// As [`Bench::new`].
    pub fn with_sessions(object: &[u8], entries: u32) -> Self {
        Self::build(object, entries, false)
    }

    /// With programs that record packets, all of them as yet.
    ///
    /// # Panics
    /// As [`Bench::new`].
    pub fn traced(object: &[u8]) -> Self {
        let mut bench = Self::build(object, TABLE_SIZE, true);
        bench.tables.set_trace_filter(&Filter::ALL);
        bench
    }

    fn build(object: &[u8], entries: u32, traced: bool) -> Self {
        let (namespace, peer) = (Namespace::new("router"), Namespace::new("peer"));
        let [lan, wan] = build_network(&namespace, &peer);
        let tables = Tables::load_with(object, lan, wan, true, entries, traced);
        let mut bench = Self { tables, namespace, _peer: peer, lan, wan };
        bench.attach_xdp();
        bench
    }

    /// Lets sessions remember their next hops, which the daemon does wherever the kernel can.
    pub fn remember_next_hops(&mut self) {
        self.tables.watch_neighbours();
        self.forget_next_hops(false);
        let mut settings = Settings::DEFAULT;
        settings.switches |= switches::NEXT_HOPS;
        self.tables.set_settings(&settings);
    }

    /// Has all sessions ask for their next hops anew, and begins a new epoch of the table if asked
    /// to.
    pub fn forget_next_hops(&mut self, epoch: bool) {
        let Program::Xdp(program) = &*self.tables.program(programs::FORGET) else {
            panic!("forget is an XDP program")
        };
        let mut data = [0; 14];
        data[0] = u8::from(epoch);
        let run = || {
            let options = TestRunOptions { data_in: Some(&data), ..TestRunOptions::new() };
            program.test_run(options).expect("run the program forget").return_value
        };
        assert_eq!(self.namespace.run(run), 1, "the changes of routes cannot be read");
    }

    /// The indices of the ports `lan0` and `wan0`.
    pub fn ports(&self) -> [u32; 2] {
        [self.lan, self.wan]
    }

    /// The namespace, for routes and sockets that a test needs besides.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs a packet through a hook, in an Ethernet frame as it would be seen there.
    pub fn run(&mut self, hook: Hook, packet: &[u8]) -> Output {
        let [destination, source] = hook.link_addresses();
        self.run_frame(hook, &frame(destination, source, packet))
    }

    /// Runs a frame through a hook.
    pub fn run_frame(&mut self, hook: Hook, frame: &[u8]) -> Output {
        self.run_super(hook, frame, 0, 0)
    }

    /// Runs a super-packet of segmentation offload through a hook of TC, which a device would cut
    /// into `segments` segments of `size` bytes.
    pub fn run_super(&mut self, hook: Hook, frame: &[u8], size: u32, segments: u32) -> Output {
        let mut context = self.context(hook, frame);
        if size != 0 {
            context[skb::GSO_SIZE] = size;
            context[skb::GSO_SEGS] = segments;
        }
        let before = self.counters();
        let program: &Program = self.tables.program(hook.program());
        // Routes and sockets are looked up in the namespace of whoever runs the program.
        let (verdict, frame) = self.namespace.run(|| test_run(program, hook, frame, &context));
        Output { verdict, frame, counted: self.counted_since(&before) }
    }

    /// Runs a packet with this pass through a hook of TC; returns the pass that it has afterwards, too.
    pub fn run_with_pass(
        &mut self,
        hook: Hook,
        packet: &[u8],
        pass: [u32; 2],
    ) -> (Output, [u32; 2]) {
        let [destination, source] = hook.link_addresses();
        let frame = frame(destination, source, packet);
        let mut context = self.context(hook, &frame);
        context[skb::PASS..][..2].copy_from_slice(&pass);
        // The whole of `struct __sk_buff`, of whichever kernel.
        let (mut frame_out, mut context_out) = (vec![0; frame.len() + 256], vec![0_u32; 128]);
        let before = self.counters();
        let Program::SchedClassifier(program) = &*self.tables.program(hook.program()) else {
            panic!("packets have a pass at TC hooks")
        };
        let options = TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut frame_out),
            ctx_in: Some(bytemuck::cast_slice(&context)),
            ctx_out: Some(bytemuck::cast_slice_mut(&mut context_out)),
            ..TestRunOptions::new()
        };
        let result = self.namespace.run(|| program.test_run(options)).expect("run a program");
        frame_out.truncate(result.data_size_out as usize);
        let verdict = Verdict::of(hook, result.return_value);
        let output = Output { verdict, frame: frame_out, counted: self.counted_since(&before) };
        (output, [context_out[skb::PASS], context_out[skb::PASS + 1]])
    }

    /// Runs a frame through a hook on a thread that has [entered](Namespace::enter) the namespace,
    /// and counts nothing: what fuzzing can afford. Returns verdict and frame.
    pub fn run_here(&mut self, hook: Hook, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let context = self.context(hook, frame);
        test_run(self.tables.program(hook.program()), hook, frame, &context)
    }

    /// Runs lists of packets through a hook, each list on a thread of its own and all at the same
    /// time; returns the verdicts and packets (from the IP header on) in the same order.
    pub fn race(&mut self, hook: Hook, lists: &[Vec<Vec<u8>>]) -> Vec<Vec<(Verdict, Vec<u8>)>> {
        let [destination, source] = hook.link_addresses();
        let context = self.context(hook, &[]);
        let Program::SchedClassifier(program) = &*self.tables.program(hook.program()) else {
            panic!("a race is run at a TC hook")
        };
        let start = Barrier::new(lists.len());
        let run = |packet: &Vec<u8>| {
            let frame = frame(destination, source, packet);
            let mut frame_out = vec![0; frame.len()];
            let options = TestRunOptions {
                data_in: Some(&frame),
                data_out: Some(&mut frame_out),
                ctx_in: Some(bytemuck::cast_slice(&context)),
                ..TestRunOptions::new()
            };
            let result = program.test_run(options).expect("run a program");
            (Verdict::of(hook, result.return_value), frame_out.split_off(14))
        };
        let race = |list: &Vec<Vec<u8>>| {
            self.namespace.run(|| {
                start.wait();
                list.iter().map(run).collect()
            })
        };
        thread::scope(|scope| {
            let threads: Vec<_> =
                lists.iter().map(|list| scope.spawn(move || race(list))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a runner")).collect()
        })
    }

    /// Removes the sessions that one of these keys belongs to, as the daemon does; returns how
    /// many that were.
    pub fn retire(&mut self, cause: CloseCause, keys: &[FlowKey]) -> u32 {
        let program = self.tables.program(programs::RETIRE);
        let Program::Xdp(program) = program else { panic!("retire is an XDP program") };
        let run = |keys: &[FlowKey]| {
            let head =
                RetireRequest { count: keys.len() as u32, cause: cause as u8, zero: [0; 11] };
            let request = [bytemuck::bytes_of(&head), bytemuck::cast_slice(keys)].concat();
            let options = TestRunOptions { data_in: Some(&request), ..TestRunOptions::new() };
            program.test_run(options).expect("run the program retire").return_value
        };
        keys.chunks(RetireRequest::MAX_KEYS).map(run).sum()
    }

    /// The program of a hook, for others that call it.
    pub fn fd(&mut self, hook: Hook) -> ProgramFd {
        let fd = match self.tables.program(hook.program()) {
            Program::Xdp(program) => program.fd(),
            Program::SchedClassifier(program) => program.fd(),
            _ => unreachable!("masq has programs of two kinds"),
        };
        fd.and_then(|fd| Ok(fd.try_clone()?)).expect("a loaded program")
    }

    /// `struct xdp_md`, or the beginning of `struct __sk_buff`.
    pub fn context(&self, hook: Hook, frame: &[u8]) -> Vec<u32> {
        let device = if matches!(hook, Hook::LanXdp | Hook::LanIn) { self.lan } else { self.wan };
        if hook.is_xdp() {
            // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
            return vec![0, frame.len() as u32, 0, device, 0, 0];
        }
        let mut context = vec![0; skb::LENGTH];
        context[skb::IFINDEX] = device;
        context[skb::INGRESS_IFINDEX] = match hook {
            Hook::WanOutOwn => 0,
            Hook::WanOut => self.lan,
            _ => device,
        };
        context
    }

    /// An XDP program on a veth makes it register its receive queue, which BPF_PROG_TEST_RUN wants
    /// for the interface that a packet comes in by.
    fn attach_xdp(&mut self) {
        let Program::Xdp(program) = self.tables.program(programs::FAST_XDP) else {
            panic!("fast_xdp is an XDP program")
        };
        self.namespace.run(|| {
            for interface in ["lan0", "wan0"] {
                let attached = program.attach(interface, XdpMode::Driver);
                attached.unwrap_or_else(|e| panic!("attach XDP to {interface}: {e:?}"));
            }
        });
    }
}

impl Deref for Bench {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }
}

impl Verdict {
    fn of(hook: Hook, number: u32) -> Self {
        // XDP_DROP, XDP_PASS, XDP_REDIRECT; TCX_DROP, TCX_NEXT, TCX_REDIRECT.
        let numbers = if hook.is_xdp() { [1, 2, 4] } else { [2, u32::MAX, 7] };
        match numbers.iter().position(|n| *n == number) {
            Some(0) => Self::Drop,
            Some(1) => Self::Pass,
            Some(_) => Self::Redirect,
            None => Self::Strange(number),
        }
    }
}

/// Runs a frame through the program of a hook.
fn test_run(program: &Program, hook: Hook, frame: &[u8], context: &[u32]) -> (Verdict, Vec<u8>) {
    let mut frame_out = vec![0; frame.len() + 256];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut frame_out),
        ctx_in: Some(bytemuck::cast_slice(context)),
        ..TestRunOptions::new()
    };
    let result = match program {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        _ => unreachable!("masq has programs of two kinds"),
    };
    let result = result.unwrap_or_else(|e| panic!("run {hook:?} on {} bytes: {e:?}", frame.len()));
    frame_out.truncate(result.data_size_out as usize);
    (Verdict::of(hook, result.return_value), frame_out)
}

fn build_network(namespace: &Namespace, peer: &Namespace) -> [u32; 2] {
    veth(namespace, "lan0", peer, "lan1");
    veth(namespace, "wan0", peer, "wan1");
    peer.ip("link set lan1 up\nlink set wan1 up");
    namespace.ip(&format!(
        "link set lan0 address {MAC_ROUTER_LAN}\nlink set wan0 address {MAC_ROUTER_WAN}\n\
         addr add {ROUTER_LAN}/24 dev lan0\naddr add {ROUTER_WAN}/24 dev wan0\n\
         link set lan0 up\nlink set wan0 up\nroute add default via {ISP}\n\
         neigh add {HOST_A} lladdr {MAC_HOST_A} dev lan0 nud permanent\n\
         neigh add {HOST_B} lladdr {MAC_HOST_B} dev lan0 nud permanent\n\
         neigh add {INNER_ROUTER} lladdr {MAC_INNER_ROUTER} dev lan0 nud permanent\n\
         neigh add {ISP} lladdr {MAC_ISP} dev wan0 nud permanent"
    ));
    namespace.set_sysctl("net.ipv4.ip_forward", "1");
    ["lan0", "wan0"].map(|name| namespace.interface_index(name))
}
