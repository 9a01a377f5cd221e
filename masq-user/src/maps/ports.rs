//! The port table, as far as the daemon writes it: ports that are kept from LAN hosts.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use masq_common::{
    abi::maps,
    be::Id,
    flow::{TCP, UDP},
    mapping::{PortSlot, SlotState, slot_index},
};

/// The port table. Written before the programs are attached only: afterwards it is theirs.
pub struct Ports<'a>(Array<&'a mut MapData, PortSlot>);

impl<'a> Ports<'a> {
    /// Borrows the map of the loaded object. It stays there: programs that are loaded later refer to
    /// it by its file descriptor.
    pub fn of(ebpf: &'a mut Ebpf) -> Result<Self> {
        let map = ebpf.map_mut(maps::PORTS).context("the kernel object has no map PORTS")?;
        Ok(Self(map.try_into().context("map PORTS is no array")?))
    }

    /// Keeps a TCP and UDP port of a WAN from LAN hosts for ever.
    pub fn reserve(&mut self, wan: u8, port: u16) -> Result<()> {
        let slot = PortSlot { state: SlotState::RESERVED.0, owner: 0 };
        for protocol in [TCP, UDP] {
            let index =
                slot_index(wan, protocol, Id::new(port)).context("a protocol with ports")?;
            self.0.set(index, slot, 0).context("cannot write the port table")?;
        }
        Ok(())
    }
}
