//! What lies below the interfaces, told to the programs by hand; and the programs that hear the kernel's
//! bridge, attached.

use aya::{
    maps::{Array, HashMap, Map},
    programs::{Program, RawTracePoint},
};
use masq_common::{
    abi::{maps, programs},
    hop::Generations,
    link::{Arrival, Exit, Leg, Place, Station, set},
};
use masq_user::kernel_types::Types;

use super::tables::{Tables, typed};

/// The global variable of the programs that says where a bridge's entry has the address.
pub(super) const STATION_ADDRESS: &str = "STATION_ADDRESS";

/// Its value.
pub(super) fn station_address() -> u32 {
    let types = Types::of_the_kernel().expect("a kernel that describes its types");
    let key = types.offset("net_bridge_fdb_entry", "key").expect("a kernel with bridges");
    key + types.offset("net_bridge_fdb_key", "addr").expect("a kernel with bridges")
}

impl Tables {
    /// Says which interface frames like this are for.
    pub fn set_leg(&mut self, arrival: Arrival, leg: Leg) {
        let mut map: HashMap<_, Arrival, Leg> = typed(self.map_mut(maps::LEGS));
        map.insert(arrival, leg, 0).expect("write a leg");
    }

    /// Says how packets leave by an interface.
    pub fn set_exit(&mut self, ifindex: u32, exit: Exit) {
        let mut map: HashMap<_, u32, Exit> = typed(self.map_mut(maps::EXITS));
        map.insert(ifindex, exit, 0).expect("write an exit");
    }

    /// Says which port of a bridge a station is behind, from now on.
    pub fn set_station(&mut self, bridge: u32, mac: [u8; 6], port: u32) {
        let changes = self.generations().stations[usize::from(set(mac))] as u32;
        self.set_place(bridge, mac, Place { port, changes });
    }

    /// Says where a station was at some time.
    pub fn set_place(&mut self, bridge: u32, mac: [u8; 6], place: Place) {
        let mut map: HashMap<_, Station, Place> = typed(self.map_mut(maps::STATIONS));
        map.insert(Station { bridge, mac, zero: 0 }, place, 0).expect("write a station");
    }

    /// Forgets one leg.
    pub fn remove_leg(&mut self, arrival: Arrival) {
        let mut map: HashMap<_, Arrival, Leg> = typed(self.map_mut(maps::LEGS));
        map.remove(&arrival).expect("a leg that is there");
    }

    /// Forgets one exit.
    pub fn remove_exit(&mut self, ifindex: u32) {
        let mut map: HashMap<_, u32, Exit> = typed(self.map_mut(maps::EXITS));
        map.remove(&ifindex).expect("an exit that is there");
    }

    /// Forgets all that lies below the interfaces.
    pub fn forget_links(&mut self) {
        fn clear<K: aya::Pod, V: aya::Pod>(map: &mut Map) {
            let mut map: HashMap<_, K, V> = typed(map);
            let keys: Vec<K> = map.keys().map(|key| key.expect("read a map")).collect();
            for key in keys {
                map.remove(&key).expect("an entry that is there");
            }
        }
        clear::<Arrival, Leg>(self.map_mut(maps::LEGS));
        clear::<u32, Exit>(self.map_mut(maps::EXITS));
        clear::<Station, Place>(self.map_mut(maps::STATIONS));
    }

    /// The counts of changes.
    pub fn generations(&mut self) -> Generations {
        let map: Array<_, Generations> = typed(self.map_mut(maps::GENERATIONS));
        map.get(&0, 0).expect("read the generations")
    }

    /// Has the programs hear what the kernel's bridges learn and forget, as the daemon does.
    pub fn watch_stations(&mut self) {
        let learn = ["br_fdb_update", "br_fdb_add", "br_fdb_external_learn_add"];
        let changed = programs::STATION_CHANGED.map(|name| (name, &learn[..]));
        let gone = programs::STATION_GONE.map(|name| (name, &["fdb_delete"][..]));
        for (name, tracepoints) in changed.into_iter().chain(gone) {
            let program: Option<&mut Program> = self.ebpf.program_mut(name);
            let program: &mut RawTracePoint =
                program.expect("a program for bridges").try_into().expect("a raw tracepoint");
            program.load().unwrap_or_else(|e| panic!("load {name}: {e}"));
            for tracepoint in tracepoints {
                let attached = program.attach(tracepoint);
                attached.unwrap_or_else(|e| panic!("attach {name} to {tracepoint}: {e}"));
            }
        }
    }
}
