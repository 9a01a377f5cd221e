//! What the programs count: packets and events by reason, held ports.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
};
use masq_common::{
    abi::maps,
    mapping::{PROTOCOLS, protocol_index},
    reason::Reason,
};

use super::typed;

/// Counters by reason, one set a CPU.
pub struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, maps::COUNTERS).map(Self)
    }

    /// One counter, summed over all CPUs.
    pub fn get(&self, reason: Reason) -> Result<u64> {
        let values = self.0.get(&u32::from(reason as u8), 0).context("cannot read the counters")?;
        Ok(values.iter().copied().fold(0, u64::wrapping_add))
    }

    /// How many of something exist: those opened less those closed. The two are read one after
    /// the other, so that a close in between must not make it negative.
    pub fn live(&self, opened: Reason, closed: Reason) -> Result<u64> {
        let closed = self.get(closed)?;
        Ok(self.get(opened)?.saturating_sub(closed))
    }
}

/// Held ports by WAN and protocol.
pub struct PortsHeld(Array<MapData, u64>);

impl PortsHeld {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, maps::PORTS_HELD).map(Self)
    }

    /// Number of ports of a WAN that are held, for an IP protocol with ports.
    pub fn get(&self, wan: u8, protocol: u8) -> Result<u64> {
        let position = protocol_index(protocol).context("a protocol without ports")?;
        let index = u32::from(wan) * PROTOCOLS as u32 + position;
        self.0.get(&index, 0).context("cannot read the port counts")
    }
}
