//! The loaded kernel object and its maps, filled by hand as the daemon would.

use std::{collections::BTreeMap, io, net::Ipv4Addr};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, RingBuf, lpm_trie::Key},
    programs::{Program, ProgramError},
};
use masq_common::{
    abi::{TRACED, maps},
    be::{Addr, Id},
    flow::{FlowKey, ICMP, TCP, Tuple, UDP},
    fragment::{Datagram, Translation},
    hop::{Generations, Hop},
    mapping::{
        Making, Mapping, MappingKey, Owner, PROTOCOLS, PortSlot, SlotState, protocol_index,
        slot_index,
    },
    reason::Reason,
    session::{SessionHalf, SessionPair},
    settings::{Device, Settings, caps, prefix, role},
    slow::Head,
    table, tcp,
    time::Tick,
    trace,
};
use masq_user::next_hops::{self, Offsets};

use crate::{
    lab::{MAC_ROUTER_LAN, MAC_ROUTER_WAN, ROUTER_LAN, ROUTER_WAN},
    packet::{Endpoint, Packet},
    program::{below, counting, mac, table::Table},
};

/// Entries of the session and mapping tables: two for each session.
pub const TABLE_SIZE: u32 = 1024;

/// Programs and maps, loaded into the kernel.
#[derive(Debug)]
pub struct Tables {
    pub(super) ebpf: Ebpf,
    wan: u32,
    caps: u16,
    mss: u16,
    external: Option<Ipv4Addr>,
}

impl Tables {
    /// Loads the maps of the kernel `object`, and tells the programs what the daemon would: the devices with these
    /// indices, the prefixes of the [lab](crate::lab), the default settings. Packets from
    /// everywhere are translated. Programs are loaded when they are used: the verifier takes
    /// seconds for the large ones.
    ///
    /// # Panics
    /// If the kernel refuses a map.
    pub fn load(object: &[u8], lan: u32, wan: u32, ethernet: bool) -> Self {
        Self::load_sized(object, lan, wan, ethernet, TABLE_SIZE)
    }

    /// The same with so many `entries` in the session and the mapping table.
    ///
    /// # Panics
    /// If the kernel refuses a map.
    pub fn load_sized(object: &[u8], lan: u32, wan: u32, ethernet: bool, entries: u32) -> Self {
        Self::load_with(object, lan, wan, ethernet, entries, false)
    }

    /// The same, of programs that record packets if `traced`.
    ///
    /// # Panics
    /// If the kernel refuses a map.
    pub fn load_with(
        object: &[u8],
        lan: u32,
        wan: u32,
        ethernet: bool,
        entries: u32,
        traced: bool,
    ) -> Self {
        let traced = u8::from(traced);
        let offsets = Offsets::of_the_kernel().expect("a kernel that describes its types");
        let mut loader = EbpfLoader::new();
        offsets.tell(&mut loader);
        let station = below::station_address();
        loader.override_global(below::STATION_ADDRESS, &station, true);
        loader.override_global(TRACED, &traced, true);
        let ebpf = loader
            .map_max_entries(maps::SESSIONS, table::entries(entries / 2))
            .map_max_entries(maps::MAPPINGS, entries)
            .load(object)
            .unwrap_or_else(|e| panic!("the kernel refused the maps of masq: {e:?}"));
        let caps = if ethernet { caps::ETHERNET | caps::XDP_TRANSMIT } else { 0 };
        Table::of(ebpf.map(maps::SESSIONS).expect("the session table")).make(entries / 2);
        let mut tables = Self { ebpf, wan, caps, mss: 0, external: None };
        tables.set_settings(&Settings::DEFAULT);
        tables.set_wan_address(ROUTER_WAN.into());
        tables.set_device(lan, Addr::NONE, MAC_ROUTER_LAN, role::LAN);
        tables.set_prefix([0; 4].into(), 0, prefix::SOURCE);
        tables.set_prefix([192, 168, 1, 0].into(), 24, prefix::SOURCE | prefix::INSIDE);
        tables.set_prefix(ROUTER_LAN, 32, prefix::SOURCE | prefix::INSIDE | prefix::ROUTER);
        tables
    }

    /// A program, loaded.
    ///
    /// # Panics
    /// If there is none of this name, or the kernel refuses it.
    pub fn program(&mut self, name: &str) -> &mut Program {
        let program = self.ebpf.program_mut(name);
        let program = program.unwrap_or_else(|| panic!("the object has no program {name}"));
        let mut load = || match program {
            Program::Xdp(program) if program.fd().is_err() => program.load(),
            Program::SchedClassifier(program) if program.fd().is_err() => program.load(),
            _ => Ok(()),
        };
        // The verifier stops with EAGAIN where a signal is waiting for the thread.
        let interrupted = |loaded: &Result<(), ProgramError>| {
            matches!(loaded, Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock)
        };
        let mut loaded = load();
        for _ in 0..10 {
            if !interrupted(&loaded) {
                break;
            }
            loaded = load();
        }
        match loaded {
            Ok(()) => program,
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                let log = verifier_log.to_string();
                let last = log.lines().rev().take(12).collect::<Vec<_>>();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                panic!("the kernel refused the program {name}: {io_error}; it says:\n{last}")
            }
            Err(error) => panic!("cannot load the program {name}: {error}"),
        }
    }

    /// Lets sessions remember their next hops, as the daemon does; [`Bench::remember_next_hops`] does
    /// the rest.
    ///
    /// [`Bench::remember_next_hops`]: crate::program::Bench::remember_next_hops
    pub(super) fn watch_neighbours(&mut self) {
        next_hops::watch_neighbours(&mut self.ebpf, None).expect("watch the kernel's neighbours");
    }

    /// The next hop with this number.
    pub fn next_hop(&mut self, number: u32) -> Hop {
        let map: Array<_, Hop> = typed(self.map_mut(maps::HOPS));
        map.get(&number, 0).expect("read a next hop")
    }

    /// Changes a next hop, which nobody does in earnest.
    pub fn set_next_hop(&mut self, number: u32, hop: Hop) {
        let mut map: Array<_, Hop> = typed(self.map_mut(maps::HOPS));
        map.set(number, hop, 0).expect("write a next hop");
    }

    /// How many next hops were written since the last new epoch.
    pub fn next_hops_used(&mut self) -> u64 {
        let map: Array<_, Generations> = typed(self.map_mut(maps::GENERATIONS));
        map.get(&0, 0).expect("read the generations").used
    }

    /// Changes the settings.
    pub fn set_settings(&mut self, settings: &Settings) {
        let mut map: Array<_, Settings> = typed(self.map_mut(maps::SETTINGS));
        map.set(0, settings, 0).expect("write the settings");
    }

    /// Gives the WAN another address, or [`Addr::NONE`].
    pub fn set_wan_address(&mut self, address: Addr) {
        self.set_device(self.wan, address, MAC_ROUTER_WAN, role::WAN);
        if let Some(old) = self.external.take() {
            self.set_prefix(old, 32, prefix::SOURCE);
        }
        if !address.is_none() {
            let address = Ipv4Addr::from(address);
            // The bits from `WAN_SHIFT` on are the index of the WAN, which is 0.
            self.set_prefix(address, 32, prefix::SOURCE | prefix::EXTERNAL);
            self.external = Some(address);
        }
    }

    /// Says whether the WAN has its egress hook.
    pub fn set_wan_ready(&mut self, ready: bool) {
        self.caps = if ready { self.caps | caps::READY } else { self.caps & !caps::READY };
        let address = self.external.map_or(Addr::NONE, Addr::from);
        self.set_device(self.wan, address, MAC_ROUTER_WAN, role::WAN);
    }

    /// Says how large segments connections over the WAN may announce; 0 for no limit.
    pub fn set_mss(&mut self, size: u16) {
        self.mss = size;
        let address = self.external.map_or(Addr::NONE, Addr::from);
        self.set_device(self.wan, address, MAC_ROUTER_WAN, role::WAN);
    }

    /// Says of the LAN whether the program is in its driver.
    pub fn set_lan_in_driver(&mut self, lan: u32, there: bool) {
        let before = self.caps;
        if !there {
            self.caps &= !caps::XDP_TRANSMIT;
        }
        self.set_device(lan, Addr::NONE, MAC_ROUTER_LAN, role::LAN);
        self.caps = before;
    }

    fn set_device(&mut self, index: u32, address: Addr, mac_address: &str, role: u8) {
        let mac = if self.caps & caps::ETHERNET != 0 { mac(mac_address) } else { [0; 6] };
        let mss = if role == role::WAN { self.mss } else { 0 };
        self.set_interface(index, Device { address, mac, role, wan: 0, caps: self.caps, mss });
    }

    /// Says what an interface is.
    pub fn set_interface(&mut self, index: u32, device: Device) {
        let mut devices: HashMap<_, u32, Device> = typed(self.map_mut(maps::DEVICES));
        devices.insert(index, device, 0).expect("write the device table");
    }

    /// Says what is true of the addresses in a prefix.
    pub fn set_prefix(&mut self, address: Ipv4Addr, length: u32, flags: u32) {
        let mut map: LpmTrie<_, u32, u32> = typed(self.map_mut(maps::PREFIXES));
        let key = Key::new(length, Addr::from(address).raw());
        map.insert(&key, flags, 0).expect("write the prefix table");
    }

    /// Installs a session with its mapping, alive at this moment; a TCP connection is established.
    pub fn install(&mut self, protocol: u8, inside: Endpoint, external: u16, remote: Endpoint) {
        self.install_pair(pair(protocol, inside, external, remote));
    }

    /// Installs a session, and makes its external port held by its inside endpoint.
    pub fn install_pair(&mut self, pair: SessionPair) {
        let half = pair.outbound;
        let owner = Owner { address: half.from.source, id: half.from.source_id };
        let generation = self.hold_port(&half, owner);
        let key = MappingKey {
            address: owner.address,
            id: owner.id,
            protocol: half.protocol,
            wan: half.wan,
        };
        if half.id != owner.id {
            let mapping = Mapping { generation, external: half.id, zero: 0 };
            let mut mappings: HashMap<_, _, _> = typed(self.map_mut(maps::MAPPINGS));
            let new = mappings.get(&key, 0).is_err();
            mappings.insert(key, mapping, 0).expect("write a mapping");
            if new {
                self.list(&key);
            }
        }
        let mut table = self.table();
        table.insert(pair.outbound);
        table.insert(pair.inbound);
    }

    /// Counts one more mapping of the hash.
    fn list(&mut self, key: &MappingKey) {
        let mut words: Array<_, u64> = typed(self.map_mut(maps::ENDPOINTS));
        let index = Making::index(key);
        let word = words.get(&index, 0).expect("read the word of an endpoint");
        words.set(index, word + Making::LISTED, 0).expect("write the word of an endpoint");
    }

    /// Demands that nobody makes a mapping, and that as many are counted as there are in the hash.
    pub fn assert_mappings_are_counted(&self) {
        let map = self.ebpf.map(maps::ENDPOINTS).expect("the words of the endpoints");
        let words: Array<&MapData, u64> = map.try_into().expect("an array");
        let map = self.ebpf.map(maps::MAPPINGS).expect("the mapping table");
        let map: HashMap<&MapData, MappingKey, Mapping> = map.try_into().expect("a hash map");
        let mut expected = vec![0; Making::WORDS as usize];
        for key in map.keys() {
            let key = key.expect("read the mapping table");
            expected[Making::index(&key) as usize] += Making::LISTED;
        }
        let found: Vec<_> = words.iter().map(|word| word.expect("read the words")).collect();
        assert!(found == expected, "mappings are counted that are none, or one is being made");
    }

    /// Makes the external port of a session held by its inside endpoint once more.
    fn hold_port(&mut self, half: &SessionHalf, owner: Owner) -> u32 {
        let slot = slot_index(half.wan, half.protocol, half.id);
        let slot = slot.expect("a protocol that is translated");
        let mut ports: Array<_, PortSlot> = typed(self.map_mut(maps::PORTS));
        let state = SlotState(ports.get(&slot, 0).expect("read a port slot").state);
        let state = match state.is_free() {
            true => state.claimed(),
            false => state.joined(state.generation()).expect("room for one more session"),
        };
        let preserved = if half.id == owner.id { Owner::PRESERVED } else { 0 };
        let value = PortSlot { state: state.0, owner: owner.pack() | preserved };
        ports.set(slot, value, 0).expect("write a port slot");
        if state.sessions() == 1 {
            let index = protocol_index(half.protocol).expect("a protocol that is translated");
            let index = u32::from(half.wan) * PROTOCOLS as u32 + index;
            let mut held: Array<_, u64> = typed(self.map_mut(maps::PORTS_HELD));
            let ports = held.get(&index, 0).expect("read the count of held ports");
            held.set(index, ports + 1, 0).expect("write the count of held ports");
        }
        state.generation()
    }

    /// The half that translates packets of `key`.
    pub fn session(&self, key: &FlowKey) -> Option<SessionHalf> {
        self.sessions().into_iter().find(|half| half.key() == *key)
    }

    /// All halves.
    pub fn sessions(&self) -> Vec<SessionHalf> {
        self.table().halves()
    }

    /// The memory of the session table.
    pub fn table(&self) -> Table {
        Table::of(self.ebpf.map(maps::SESSIONS).expect("the session table"))
    }

    /// The mappings: inside endpoint and external port.
    pub fn mappings(&self) -> Vec<(MappingKey, u16)> {
        let map = self.ebpf.map(maps::MAPPINGS).expect("the mapping table");
        let map: HashMap<&MapData, MappingKey, Mapping> = map.try_into().expect("a hash map");
        let entries = map.iter().map(|entry| entry.expect("read the mapping table"));
        let mut mappings: Vec<_> =
            entries.map(|(key, mapping)| (key, mapping.external.get())).collect();
        mappings.extend(self.preserved());
        mappings
    }

    /// The mappings with the port that the inside endpoint has.
    fn preserved(&self) -> impl Iterator<Item = (MappingKey, u16)> {
        let map = self.ebpf.map(maps::PORTS).expect("the port table");
        let map: Array<&MapData, PortSlot> = map.try_into().expect("an array");
        let slot = move |protocol, id| {
            let index = slot_index(0, protocol, id).expect("a translated protocol");
            map.get(&index, 0).expect("read a port slot")
        };
        // Of a protocol that holds no port, none needs to be read.
        let protocols = [TCP, UDP, ICMP].into_iter().filter(|&p| self.ports_held(p) > 0);
        let ids = protocols.flat_map(|protocol| (0..=u16::MAX).map(move |id| (protocol, id)));
        ids.filter_map(move |(protocol, id)| {
            let PortSlot { state, owner } = slot(protocol, Id::new(id));
            if !SlotState(state).is_held() || owner & Owner::PRESERVED == 0 {
                return None;
            }
            let Owner { address, id: inside } = Owner::unpack(owner);
            assert_eq!(inside.get(), id, "preserved means the same");
            Some((MappingKey { address, id: inside, protocol, wan: 0 }, id))
        })
    }

    /// What is done to the fragments of a datagram.
    pub fn fragment(&mut self, datagram: &Datagram) -> Option<Translation> {
        let map: HashMap<_, Datagram, Translation> = typed(self.map_mut(maps::FRAGMENTS));
        map.get(datagram, 0).ok()
    }

    /// What the programs have given to the daemon since the last call.
    pub fn slow_records(&mut self) -> Vec<(Head, Vec<u8>)> {
        let mut ring: RingBuf<_> = typed(self.map_mut(maps::SLOW));
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            let (head, data) = Head::split(&record).expect("a record of this version");
            records.push((head, data.to_vec()));
        }
        records
    }

    /// Says which packets traced programs record.
    pub fn set_trace_filter(&mut self, filter: &trace::Filter) {
        let mut map: Array<_, trace::Filter> = typed(self.map_mut(maps::TRACE_FILTER));
        map.set(0, filter, 0).expect("write the filter");
    }

    /// What they have recorded since the last call.
    pub fn traced(&mut self) -> Vec<trace::Record> {
        let mut ring: RingBuf<_> = typed(self.map_mut(maps::TRACE));
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(trace::Record::from_bytes(&record).expect("a record of this version"));
        }
        records
    }

    /// Keeps an external port from LAN hosts, as the daemon does.
    pub fn reserve(&mut self, protocol: u8, external: u16) {
        let mut map: Array<_, PortSlot> = typed(self.map_mut(maps::PORTS));
        let index = slot_index(0, protocol, Id::new(external)).expect("a translated protocol");
        let slot = PortSlot { state: SlotState::RESERVED.0, owner: 0 };
        map.set(index, slot, 0).expect("write the port table");
    }

    /// How many sessions hold an external port.
    pub fn holders(&self, protocol: u8, external: u16) -> u32 {
        let map = self.ebpf.map(maps::PORTS).expect("the port table");
        let map: Array<&MapData, PortSlot> = map.try_into().expect("an array");
        let slot = slot_index(0, protocol, Id::new(external)).expect("a translated protocol");
        SlotState(map.get(&slot, 0).expect("read a port slot").state).sessions()
    }

    /// How many ports of a protocol are held, as the daemon is told.
    pub fn ports_held(&self, protocol: u8) -> u64 {
        let map = self.ebpf.map(maps::PORTS_HELD).expect("the counts of held ports");
        let map: Array<&MapData, u64> = map.try_into().expect("an array");
        let index = protocol_index(protocol).expect("a translated protocol");
        map.get(&index, 0).expect("read the count of held ports")
    }

    /// Removes all halves, but not their mappings.
    pub fn forget_sessions(&mut self) {
        let mut table = self.table();
        for half in table.halves() {
            table.remove(&half.key());
        }
    }

    /// Forgets everything about fragmented datagrams: the maps hold nothing, and the daemon was
    /// given nothing.
    pub fn forget_fragments(&mut self) {
        // What stands in the other maps is theirs alone; only the size matters here.
        self.clear::<Translation>(maps::FRAGMENTS);
        self.clear::<[u64; 3]>("EARLY");
        self.clear::<u64>("IDENTITIES");
        self.slow_records();
    }

    fn clear<V: aya::Pod>(&mut self, name: &str) {
        let mut map: HashMap<_, Datagram, V> = typed(self.map_mut(name));
        let keys: Vec<_> = map.keys().filter_map(Result::ok).collect();
        for key in keys {
            // It may have gone by itself: these maps keep no more than the newest.
            let _ = map.remove(&key);
        }
    }

    /// What the programs have counted so far, in the order of [`Reason::ALL`].
    pub fn counters(&self) -> Vec<u64> {
        let map = self.ebpf.map(maps::COUNTERS).expect("the counters");
        let Map::PerCpuArray(map) = map else { panic!("the counters are a per-CPU array") };
        let counters = counting::read(map);
        Reason::ALL.iter().map(|reason| counters[*reason as usize]).collect()
    }

    /// What was counted since [`Tables::counters`] returned `before`: names and numbers.
    pub fn counted_since(&self, before: &[u64]) -> BTreeMap<&'static str, u64> {
        let after = self.counters();
        let changes = Reason::ALL.iter().zip(before.iter().zip(&after));
        let changes = changes.map(|(reason, (before, after))| (reason.label(), after - before));
        changes.filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn map_mut(&mut self, name: &str) -> &mut Map {
        self.ebpf.map_mut(name).unwrap_or_else(|| panic!("the object has no map {name}"))
    }
}

/// The session that [`Tables::install`] installs, to be changed before.
pub fn pair(protocol: u8, inside: Endpoint, external: u16, remote: Endpoint) -> SessionPair {
    // The remote end of an ICMP query has no identifier.
    let remote_id = if protocol == ICMP { 0 } else { remote.1 };
    let key = Tuple {
        source: inside.0.into(),
        destination: remote.0.into(),
        source_id: Id::new(inside.1),
        destination_id: Id::new(remote_id),
    }
    .key(protocol);
    let address = Addr::from(ROUTER_WAN);
    let mut pair = SessionPair::masquerade(key, address, Id::new(external), 0, 0, now());
    if protocol == TCP {
        pair.outbound.tcp_seen = tcp::SYN | tcp::ACK;
        pair.inbound.tcp_seen = tcp::SYN | tcp::ACK;
        pair.outbound.sequence = (Packet::SEQUENCE >> 16) as u16;
        pair.inbound.sequence = (Packet::SEQUENCE >> 16) as u16;
    }
    pair
}

/// The current tick of the data plane's clock.
pub fn now() -> Tick {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    let time = time.expect("read the clock");
    Tick::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

pub(super) fn typed<'a, T>(map: &'a mut Map) -> T
where
    T: TryFrom<&'a mut Map>,
    T::Error: std::fmt::Debug,
{
    T::try_from(map).expect("a map of the type that masq-common says")
}
