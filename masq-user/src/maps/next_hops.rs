//! The table of next hops that sessions remember: how full it is, and what its generations count.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use masq_common::{
    abi::maps,
    hop::{Generations, HOPS},
    link::STATION_SETS,
};

use super::typed;

/// The generations, which also count the entries of the table.
pub struct NextHops(Array<MapData, Generations>);

impl NextHops {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, maps::GENERATIONS).map(Self)
    }

    /// Whether so many entries are in use that further next hops may find none.
    pub fn is_nearly_full(&self) -> Result<bool> {
        Ok(self.generations()?.used > u64::from(HOPS) * 3 / 4)
    }

    /// What legs and exits of PPPoE sessions have to be written with to hold; to be read before the
    /// sessions are.
    pub fn discoveries(&self) -> Result<u32> {
        Ok(self.generations()?.discoveries())
    }

    /// What places of stations have to be written with to hold, for each set of stations; to be read
    /// before the bridges are.
    pub fn stations(&self) -> Result<[u32; STATION_SETS]> {
        Ok(self.generations()?.stations.map(|count| count as u32))
    }

    fn generations(&self) -> Result<Generations> {
        self.0.get(&0, 0).context("cannot read the generations of next hops")
    }
}
