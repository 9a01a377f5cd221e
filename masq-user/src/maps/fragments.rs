//! The fragmented datagrams that are under way. Read only.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use masq_common::{
    abi::maps,
    fragment::{Datagram, Translation},
};

use super::typed;

/// What is done to the fragments of which datagram.
pub struct Fragments(HashMap<MapData, Datagram, Translation>);

impl Fragments {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, maps::FRAGMENTS).map(Self)
    }

    /// What is done to the fragments of a datagram, if its first one has passed not long ago.
    pub fn get(&self, datagram: &Datagram) -> Result<Option<Translation>> {
        match self.0.get(datagram, 0) {
            Ok(translation) => Ok(Some(translation)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("cannot read the table of fragments"),
        }
    }
}
