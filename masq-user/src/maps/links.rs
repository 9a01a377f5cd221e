//! What the daemon tells the programs of what lies below the interfaces: legs, exits, stations.

use std::{collections::HashMap, hash::Hash};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{HashMap as Table, MapData},
};
use masq_common::{
    abi::maps,
    link::{Arrival, Exit, Leg, Place, Station},
};

use super::{absent_is_fine, typed};

/// One of the tables.
pub struct Lower<K, V> {
    map: Table<MapData, K, V>,
    what: &'static str,
}

/// All of them.
pub struct Links {
    /// Which interface a frame is for.
    pub legs: Lower<Arrival, Leg>,
    /// How frames of an interface, or of a bridge's port, leave.
    pub exits: Lower<u32, Exit>,
    /// Behind which port of a bridge somebody is.
    pub stations: Lower<Station, Place>,
}

impl Links {
    /// Takes the maps out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            legs: Lower { map: typed(ebpf, maps::LEGS)?, what: "legs" },
            exits: Lower { map: typed(ebpf, maps::EXITS)?, what: "exits" },
            stations: Lower { map: typed(ebpf, maps::STATIONS)?, what: "stations" },
        })
    }
}

impl<K: Pod + Eq + Hash, V: Pod> Lower<K, V> {
    /// Tells the programs.
    pub fn set(&mut self, key: K, value: V) -> Result<()> {
        self.map
            .insert(key, value, 0)
            .with_context(|| format!("cannot write the table of {}, which may be full", self.what))
    }

    /// Lets the programs forget.
    pub fn remove(&mut self, key: &K) -> Result<()> {
        absent_is_fine(self.map.remove(key))
            .with_context(|| format!("cannot write the table of {}", self.what))
    }

    /// All that the programs know.
    pub fn all(&self) -> Result<HashMap<K, V>> {
        let all = self.map.iter().collect::<Result<_, _>>();
        all.with_context(|| format!("cannot read the table of {}", self.what))
    }
}
