//! The session table: single halves by key, all of them in batches. Read only; sessions are
//! removed by [`crate::plane::Plane::retire`].

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
};
use masq_common::{abi::maps::SESSIONS, flow::FlowKey, session::SessionHalf};

use super::{batch::Batches, convert, take};

/// The session table.
pub struct Sessions {
    map: HashMap<MapData, FlowKey, SessionHalf>,
    fd: OwnedFd,
}

impl Sessions {
    /// Takes the map out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = take(ebpf, SESSIONS)?;
        let Map::HashMap(data) = &map else { bail!("map {SESSIONS} is not a hash map") };
        let fd = data.fd().as_fd().try_clone_to_owned().context("cannot duplicate a map")?;
        Ok(Self { map: convert(SESSIONS, map)?, fd })
    }

    /// What the kernel numbers the table by.
    pub fn id(&self) -> Result<u32> {
        let again = self.fd.try_clone().context("cannot duplicate a descriptor")?;
        let info = MapData::from_fd(again).and_then(|map| map.info());
        Ok(info.context("cannot ask about the session table")?.id())
    }

    /// The half that translates packets of `key`.
    pub fn get(&self, key: &FlowKey) -> Result<Option<SessionHalf>> {
        match self.map.get(key, 0) {
            Ok(half) => Ok(Some(half)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("cannot read the session table"),
        }
    }

    /// Goes through all halves, `size` at once.
    pub fn batches(&self, size: usize) -> SessionBatches<'_> {
        SessionBatches(Batches::new(self.fd.as_fd(), size))
    }
}

/// A walk through the session table.
pub struct SessionBatches<'a>(Batches<'a, FlowKey, SessionHalf>);

impl SessionBatches<'_> {
    /// The next halves; `None` at the end. An entry that is just being given to another session
    /// is left out.
    pub fn next_batch(&mut self) -> io::Result<Option<impl Iterator<Item = &SessionHalf>>> {
        let batch = self.0.next_batch()?;
        Ok(batch.map(|(keys, halves)| {
            keys.iter().zip(halves).filter(|(key, half)| half.belongs_to(key)).map(|(_, half)| half)
        }))
    }
}
