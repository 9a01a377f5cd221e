//! The table of next hops that sessions remember: how full it is.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use masq_common::{
    abi::maps,
    hop::{Generations, HOPS},
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
        let generations = self.0.get(&0, 0).context("cannot read the table of next hops")?;
        Ok(generations.used > u64::from(HOPS) * 3 / 4)
    }
}
