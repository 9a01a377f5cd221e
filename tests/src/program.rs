//! The kernel programs without any traffic: packets go in through BPF_PROG_TEST_RUN, verdict and
//! packet come out.
//!
//! The programs ask the kernel for routes, neighbours and sockets, so they run in a namespace that
//! has what the router of the [lab](crate::lab) has: `lan0` and `wan0`, the same addresses,
//! permanent neighbours, a default route. Nothing is attached but what veth needs to know its
//! receive queue to XDP. The maps are filled by hand, as the daemon would ([`Bench::new`]), and
//! sessions with [`Bench::install`].

use std::{collections::BTreeMap, env, fs, net::Ipv4Addr};

use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie::Key},
    programs::{Program, SchedClassifier, TestRun as _, Xdp, XdpMode},
};
use masq_common::{
    abi::{maps, programs},
    be::{Addr, Id},
    flow::{FlowKey, TCP, Tuple},
    mapping::{Mapping, MappingKey, Owner, PortSlot, SlotState, slot_index},
    reason::Reason,
    session::{SessionHalf, SessionPair},
    settings::{Device, Settings, caps, prefix, role},
    tcp,
    time::Tick,
};

use crate::{
    lab::{
        HOST_A, HOST_B, ISP, MAC_HOST_A, MAC_HOST_B, MAC_ISP, MAC_ROUTER_LAN, MAC_ROUTER_WAN,
        ROUTER_LAN, ROUTER_WAN,
    },
    netns::Namespace,
    packet::Endpoint,
};

/// A router inside of the LAN, which forwards for networks behind it.
pub const INNER_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const INNER_ROUTER_MAC: &str = "02:00:00:00:0a:02";

/// Where a packet meets masq, on devices with an Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// XDP on `lan0`.
    LanXdp,
    /// XDP on `wan0`.
    WanXdp,
    /// TC ingress of `lan0`.
    LanIn,
    /// TC ingress of `wan0`.
    WanIn,
    /// TC egress of `wan0`, of a packet that came in through `lan0`.
    WanOut,
    /// TC egress of `wan0`, of a packet that the router has made.
    WanOutOwn,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::LanXdp, Self::WanXdp, Self::LanIn, Self::WanIn, Self::WanOut, Self::WanOutOwn];

    const fn program(self) -> &'static str {
        match self {
            Self::LanXdp | Self::WanXdp => programs::FAST_XDP,
            Self::LanIn => programs::LAN_IN_ETHER,
            Self::WanIn => programs::WAN_IN_ETHER,
            Self::WanOut | Self::WanOutOwn => programs::WAN_OUT_ETHER,
        }
    }

    /// Whether packets come in here.
    pub const fn is_ingress(self) -> bool {
        !matches!(self, Self::WanOut | Self::WanOutOwn)
    }

    /// Whether packets come from the LAN.
    pub const fn is_from_lan(self) -> bool {
        matches!(self, Self::LanXdp | Self::LanIn | Self::WanOut)
    }

    const fn is_xdp(self) -> bool {
        matches!(self, Self::LanXdp | Self::WanXdp)
    }

    /// Destination and source address of the frames that this hook sees.
    pub fn link_addresses(self) -> [[u8; 6]; 2] {
        let (to, from) = match self {
            Self::LanXdp | Self::LanIn => (MAC_ROUTER_LAN, MAC_HOST_A),
            Self::WanXdp | Self::WanIn => (MAC_ROUTER_WAN, MAC_ISP),
            Self::WanOut | Self::WanOutOwn => (MAC_ISP, MAC_ROUTER_WAN),
        };
        [mac(to), mac(from)]
    }
}

/// What a program wants to be done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on: to the next program and then to the kernel, or out.
    Pass,
    /// It is dropped.
    Drop,
    /// It is sent through another interface.
    Redirect,
    /// A number that masq has no reason to return.
    Strange(u32),
}

/// What came out of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What is to be done with the packet.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Every reason that was counted, and how often.
    pub counted: BTreeMap<&'static str, u64>,
}

impl Output {
    /// The packet from the IP header on.
    pub fn packet(&self) -> &[u8] {
        &self.frame[14..]
    }

    /// The reason that a single packet has ended with: what was counted besides events.
    ///
    /// # Panics
    /// If it was not exactly one.
    #[track_caller]
    pub fn reason(&self) -> Reason {
        let ends = Reason::ALL.iter().filter(|reason| {
            reason.class() != masq_common::reason::Class::Event
                && self.counted.contains_key(reason.label())
        });
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends.len(), 1, "a packet ends once: {:?}", self.counted);
        *ends[0]
    }
}

/// The loaded programs, their maps, and the namespace that they run in.
pub struct Bench {
    namespace: Namespace,
    _peer: Namespace,
    ebpf: Ebpf,
    lan: u32,
    wan: u32,
}

impl Bench {
    /// Loads the kernel object and tells it what the daemon would: the devices, the prefixes, the
    /// default settings. Packets from everywhere are translated.
    ///
    /// # Panics
    /// If this process is not root, or the kernel refuses a program.
    pub fn new() -> Self {
        let (namespace, peer) = (Namespace::new("router"), Namespace::new("peer"));
        let [lan, wan] = build_network(&namespace, &peer);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::SESSIONS, 4096)
            .map_max_entries(maps::MAPPINGS, 4096)
            .load(&object())
            .unwrap_or_else(|e| panic!("the kernel refused the maps of masq: {e:?}"));
        load_programs(&mut ebpf);
        let mut bench = Self { namespace, _peer: peer, ebpf, lan, wan };
        bench.attach_xdp();
        bench.set_settings(&Settings::DEFAULT);
        bench.set_wan_address(Addr::from(ROUTER_WAN));
        let lan = Device { mac: mac(MAC_ROUTER_LAN), role: role::LAN, ..bench.device() };
        let index = bench.lan;
        bench.devices().insert(index, lan, 0).expect("write the device table");
        bench.set_prefix([0; 4].into(), 0, prefix::SOURCE);
        bench.set_prefix([192, 168, 1, 0].into(), 24, prefix::SOURCE | prefix::INSIDE);
        let router = prefix::SOURCE | prefix::INSIDE | prefix::ROUTER;
        bench.set_prefix(ROUTER_LAN, 32, router);
        bench
    }

    /// The namespace, for routes and sockets that a test needs besides.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Changes the settings.
    pub fn set_settings(&mut self, settings: &Settings) {
        let mut map: Array<_, Settings> = typed(self.map(maps::SETTINGS));
        map.set(0, settings, 0).expect("write the settings");
    }

    /// Gives the WAN another address, or [`Addr::NONE`].
    pub fn set_wan_address(&mut self, address: Addr) {
        let wan = Device { address, mac: mac(MAC_ROUTER_WAN), role: role::WAN, ..self.device() };
        let index = self.wan;
        self.devices().insert(index, wan, 0).expect("write the device table");
    }

    /// Says what is true of the addresses in a prefix.
    pub fn set_prefix(&mut self, address: Ipv4Addr, length: u32, flags: u32) {
        let mut map: LpmTrie<_, u32, u32> = typed(self.map(maps::PREFIXES));
        let key = Key::new(length, Addr::from(address).raw());
        map.insert(&key, flags, 0).expect("write the prefix table");
    }

    /// Installs a session with its mapping, alive at this moment; a TCP connection is established.
    pub fn install(&mut self, protocol: u8, inside: Endpoint, external: u16, remote: Endpoint) {
        let pair = self.pair(protocol, inside, external, remote);
        self.install_pair(pair);
    }

    /// The session that [`Bench::install`] would install, to be changed before.
    pub fn pair(
        &self,
        protocol: u8,
        inside: Endpoint,
        external: u16,
        remote: Endpoint,
    ) -> SessionPair {
        // The remote end of an ICMP query has no identifier.
        let remote_id = if protocol == masq_common::flow::ICMP { 0 } else { remote.1 };
        let key = Tuple {
            source: inside.0.into(),
            destination: remote.0.into(),
            source_id: Id::new(inside.1),
            destination_id: Id::new(remote_id),
        }
        .key(protocol);
        let (address, id) = (Addr::from(ROUTER_WAN), Id::new(external));
        let mut pair = SessionPair::masquerade(key, address, id, 0, 0, now());
        if protocol == TCP {
            pair.outbound.tcp_seen = tcp::SYN | tcp::ACK;
            pair.inbound.tcp_seen = tcp::SYN | tcp::ACK;
        }
        pair
    }

    /// Installs a session, and makes its external port held by its inside endpoint.
    pub fn install_pair(&mut self, pair: SessionPair) {
        let half = pair.outbound;
        let (inside, external) = (half.from, half.to.source_id);
        let mut ports: Array<_, PortSlot> = typed(self.map(maps::PORTS));
        let slot = slot_index(half.wan, half.protocol, external).expect("a translated protocol");
        let state = SlotState(ports.get(&slot, 0).expect("read a port slot").state);
        let state = match state.is_free() {
            true => state.claimed(),
            false => state.joined(state.generation()).expect("room for one more session"),
        };
        let owner = Owner { address: inside.source, id: inside.source_id };
        let value = PortSlot { state: state.0, owner: owner.pack() };
        ports.set(slot, value, 0).expect("write a port slot");

        let mut mappings: HashMap<_, MappingKey, Mapping> = typed(self.map(maps::MAPPINGS));
        let key = MappingKey {
            address: owner.address,
            id: owner.id,
            protocol: half.protocol,
            wan: half.wan,
        };
        let mapping = Mapping { generation: state.generation(), external, zero: 0 };
        mappings.insert(key, mapping, 0).expect("write a mapping");

        let mut sessions = self.sessions_mut();
        for half in [pair.outbound, pair.inbound] {
            sessions.insert(half.key(), half, 0).expect("write a session");
        }
    }

    /// The half that translates packets of `key`.
    pub fn session(&self, key: &FlowKey) -> Option<SessionHalf> {
        let map = self.ebpf.map(maps::SESSIONS).expect("the session table");
        let map: HashMap<_, FlowKey, SessionHalf> = map.try_into().expect("a hash map");
        map.get(key, 0).ok()
    }

    /// All halves.
    pub fn sessions(&self) -> Vec<SessionHalf> {
        let map = self.ebpf.map(maps::SESSIONS).expect("the session table");
        let map: HashMap<&MapData, FlowKey, SessionHalf> = map.try_into().expect("a hash map");
        map.iter().map(|entry| entry.expect("read the session table").1).collect()
    }

    /// Removes all halves, but not their mappings.
    pub fn forget_sessions(&mut self) {
        let keys: Vec<_> = self.sessions().iter().map(SessionHalf::key).collect();
        let mut sessions = self.sessions_mut();
        for key in keys {
            sessions.remove(&key).expect("remove a session");
        }
    }

    /// Runs a packet through a hook, in an Ethernet frame as it would be seen there.
    pub fn run(&self, hook: Hook, packet: &[u8]) -> Output {
        let [destination, source] = hook.link_addresses();
        self.run_frame(hook, &crate::packet::frame(destination, source, packet))
    }

    /// Runs a frame through a hook.
    pub fn run_frame(&self, hook: Hook, frame: &[u8]) -> Output {
        self.run_super(hook, frame, (0, 0))
    }

    /// Runs a super-packet of segmentation offload through a hook of TC: `gso` is the size of the
    /// segments and their number.
    pub fn run_super(&self, hook: Hook, frame: &[u8], gso: (u32, u32)) -> Output {
        let context = self.context(hook, frame, gso);
        let mut frame_out = vec![0; frame.len() + 256];
        let before = self.counters();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut frame_out),
            ctx_in: Some(bytemuck::cast_slice(&context)),
            ..TestRunOptions::new()
        };
        let program = self.ebpf.program(hook.program()).expect("a program of masq");
        // Routes and sockets are looked up in the namespace of whoever runs the program.
        let result = self.namespace.run(|| match program {
            Program::Xdp(program) => program.test_run(options),
            Program::SchedClassifier(program) => program.test_run(options),
            _ => unreachable!("masq has programs of two kinds"),
        });
        let result =
            result.unwrap_or_else(|e| panic!("run {hook:?} on {} bytes: {e:?}", frame.len()));
        frame_out.truncate(result.data_size_out as usize);
        let verdict = verdict(hook, result.return_value);
        Output { verdict, frame: frame_out, counted: difference(&before, &self.counters()) }
    }

    /// `struct xdp_md` or the beginning of `struct __sk_buff`.
    fn context(&self, hook: Hook, frame: &[u8], gso: (u32, u32)) -> Vec<u32> {
        let device = if matches!(hook, Hook::LanXdp | Hook::LanIn) { self.lan } else { self.wan };
        if hook.is_xdp() {
            return vec![0, frame.len() as u32, 0, device, 0, 0];
        }
        let mut context = vec![0; 48];
        context[9] = match hook {
            Hook::WanOutOwn => 0,
            Hook::WanOut => self.lan,
            _ => device,
        };
        context[10] = device;
        (context[44], context[41]) = gso;
        context
    }

    fn counters(&self) -> Vec<u64> {
        let map = self.ebpf.map(maps::COUNTERS).expect("the counters");
        let map: PerCpuArray<_, u64> = map.try_into().expect("a per-CPU array");
        let read = |reason: &Reason| {
            let values = map.get(&u32::from(*reason as u8), 0).expect("read a counter");
            values.iter().sum()
        };
        Reason::ALL.iter().map(read).collect()
    }

    fn device(&self) -> Device {
        Device { caps: caps::ETHERNET | caps::XDP_TRANSMIT, ..Device::default() }
    }

    fn devices(&mut self) -> HashMap<&mut MapData, u32, Device> {
        typed(self.map(maps::DEVICES))
    }

    fn sessions_mut(&mut self) -> HashMap<&mut MapData, FlowKey, SessionHalf> {
        typed(self.map(maps::SESSIONS))
    }

    fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.ebpf.map_mut(name).unwrap_or_else(|| panic!("the object has no map {name}"))
    }

    /// An XDP program on a veth makes it register its receive queue, which BPF_PROG_TEST_RUN wants
    /// for the interface that a packet comes in by.
    fn attach_xdp(&mut self) {
        let program = self.ebpf.program_mut(programs::FAST_XDP).expect("the program fast_xdp");
        let Program::Xdp(program) = program else { panic!("fast_xdp is an XDP program") };
        self.namespace.run(|| {
            for interface in ["lan0", "wan0"] {
                let attached = program.attach(interface, XdpMode::Driver);
                attached.unwrap_or_else(|e| panic!("attach XDP to {interface}: {e:?}"));
            }
        });
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// The current tick of the data plane's clock.
pub fn now() -> Tick {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    let time = time.expect("read the clock");
    Tick::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// The kernel object: the file in `MASQ_OBJECT`, or the one that masq contains.
fn object() -> Vec<u8> {
    let path = env::var_os("MASQ_OBJECT").expect("the variable MASQ_OBJECT");
    fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

fn build_network(namespace: &Namespace, peer: &Namespace) -> [u32; 2] {
    crate::lab::veth(namespace, "lan0", peer, "lan1");
    crate::lab::veth(namespace, "wan0", peer, "wan1");
    peer.ip("link set lan1 up\nlink set wan1 up");
    namespace.ip(&format!(
        "link set lan0 address {MAC_ROUTER_LAN}\nlink set wan0 address {MAC_ROUTER_WAN}\n\
         addr add {ROUTER_LAN}/24 dev lan0\naddr add {ROUTER_WAN}/24 dev wan0\n\
         link set lan0 up\nlink set wan0 up\nroute add default via {ISP}\n\
         neigh add {HOST_A} lladdr {MAC_HOST_A} dev lan0 nud permanent\n\
         neigh add {HOST_B} lladdr {MAC_HOST_B} dev lan0 nud permanent\n\
         neigh add {INNER_ROUTER} lladdr {INNER_ROUTER_MAC} dev lan0 nud permanent\n\
         neigh add {ISP} lladdr {MAC_ISP} dev wan0 nud permanent"
    ));
    namespace.set_sysctl("net.ipv4.ip_forward", "1");
    ["lan0", "wan0"].map(|name| {
        let index = namespace.run(|| nix::net::if_::if_nametoindex(name));
        index.unwrap_or_else(|e| panic!("the index of {name}: {e}"))
    })
}

fn load_programs(ebpf: &mut Ebpf) {
    for name in Hook::ALL.map(Hook::program) {
        let program = ebpf.program_mut(name);
        let loaded = match program.unwrap_or_else(|| panic!("the object has no program {name}")) {
            Program::Xdp(program) => load_once(program.fd().is_ok(), || Xdp::load(program)),
            Program::SchedClassifier(program) => {
                load_once(program.fd().is_ok(), || SchedClassifier::load(program))
            }
            _ => unreachable!("masq has programs of two kinds"),
        };
        loaded.unwrap_or_else(|e| panic!("the kernel refused the program {name}: {e:?}"));
    }
}

fn load_once<E>(loaded: bool, load: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if loaded { Ok(()) } else { load() }
}

fn typed<'a, T>(map: &'a mut aya::maps::Map) -> T
where
    T: TryFrom<&'a mut aya::maps::Map>,
    T::Error: std::fmt::Debug,
{
    T::try_from(map).expect("a map of the type that masq-common says")
}

fn verdict(hook: Hook, number: u32) -> Verdict {
    // XDP_DROP, XDP_PASS, XDP_REDIRECT; TCX_DROP, TCX_NEXT, TCX_REDIRECT.
    let numbers = if hook.is_xdp() { [1, 2, 4] } else { [2, u32::MAX, 7] };
    match numbers.iter().position(|n| *n == number) {
        Some(0) => Verdict::Drop,
        Some(1) => Verdict::Pass,
        Some(_) => Verdict::Redirect,
        None => Verdict::Strange(number),
    }
}

fn difference(before: &[u64], after: &[u64]) -> BTreeMap<&'static str, u64> {
    let changes = Reason::ALL.iter().zip(before.iter().zip(after));
    let changes = changes.map(|(reason, (before, after))| (reason.label(), after - before));
    changes.filter(|(_, count)| *count > 0).collect()
}

/// The bytes of a MAC address.
///
/// # Panics
/// If the text is none.
pub fn mac(text: &str) -> [u8; 6] {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a MAC address"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}
