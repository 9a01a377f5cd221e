//! The accounts of the inside hosts: what their ended sessions had counted.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
};
use masq_common::{abi::maps::ACCOUNTS, account::Account, be::Addr};

use super::{batch::Batches, convert, take};

/// Accounts that are read at once.
const BATCH: usize = 1024;
/// BPF_NOEXIST: never over what is there.
const NEW: u64 = 1;

/// The accounts.
pub struct Accounts {
    /// Kept open for the programs that are loaded later, which name it by its descriptor.
    map: HashMap<MapData, Addr, Account>,
    fd: OwnedFd,
}

impl Accounts {
    /// Takes the map out of the loaded object, and makes the account that hosts share for which there
    /// is no room, unless there is one.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = take(ebpf, ACCOUNTS)?;
        let Map::HashMap(data) = &map else { bail!("map {ACCOUNTS} is not a hash map") };
        let fd = data.fd().as_fd().try_clone_to_owned().context("cannot duplicate a map")?;
        let mut accounts = Self { map: convert(ACCOUNTS, map)?, fd };
        accounts.open_shared()?;
        Ok(accounts)
    }

    fn open_shared(&mut self) -> Result<()> {
        match self.map.get(&Addr::NONE, 0) {
            Ok(_) => Ok(()),
            Err(MapError::KeyNotFound) => self
                .map
                .insert(Addr::NONE, Account::default(), NEW)
                .context("cannot open an account"),
            Err(error) => Err(error).context("cannot read the accounts"),
        }
    }

    /// Goes through all of them; the one of [`Addr::NONE`] is that of all hosts for which there was no
    /// room.
    pub fn batches(&self) -> Batches<'_, Addr, Account> {
        Batches::new(self.fd.as_fd(), BATCH)
    }
}
