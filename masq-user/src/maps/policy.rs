//! What the daemon tells the programs: settings, devices, prefixes; and what lies below the devices
//! ([`super::links`]).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use ipnet::Ipv4Net;
use masq_common::{
    abi::maps,
    be::Addr,
    settings::{Device, Settings, switches},
};

use super::{Links, absent_is_fine, typed};
use crate::prefixes::Prefixes;

/// Everything that the programs are told.
pub struct Policy {
    /// What holds for all interfaces.
    pub settings: SettingsCell,
    /// What the interfaces are.
    pub devices: Devices,
    /// What is true of which addresses.
    pub prefixes: PrefixTable,
    /// What lies below the interfaces.
    pub links: Links,
}

impl Policy {
    /// Takes the maps out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            settings: SettingsCell::new(typed(ebpf, maps::SETTINGS)?),
            devices: Devices(typed(ebpf, maps::DEVICES)?),
            prefixes: PrefixTable(typed(ebpf, maps::PREFIXES)?),
            links: Links::take(ebpf)?,
        })
    }
}

/// The settings map with its single value.
///
/// One switch of it has two masters: sessions are reported if the settings say so, or if somebody
/// listens. Whoever reads and writes settings here need not know of the second, nor of the switch that
/// follows from what is attached.
pub struct SettingsCell {
    map: Array<MapData, Settings>,
    /// What the settings say of [`switches::EVENTS`].
    asked: bool,
    /// Whether somebody listens.
    listened: bool,
    /// Whether the programs in drivers have nothing to do.
    idle: bool,
}

impl SettingsCell {
    const fn new(map: Array<MapData, Settings>) -> Self {
        Self { map, asked: false, listened: false, idle: false }
    }

    /// What the programs act by now; tests may have moved the clock offset in it. Not that somebody
    /// listens.
    pub fn get(&self) -> Result<Settings> {
        let mut settings = self.map.get(&0, 0).context("cannot read the settings")?;
        if self.listened && !self.asked {
            settings.switches &= !switches::EVENTS;
        }
        settings.switches &= !switches::NO_XDP;
        Ok(settings)
    }

    /// Tells the programs.
    pub fn set(&mut self, settings: &Settings) -> Result<()> {
        self.write(settings, self.listened, self.idle)?;
        self.asked = settings.switches & switches::EVENTS != 0;
        Ok(())
    }

    /// Has the programs report sessions while somebody listens.
    pub fn listen(&mut self, listened: bool) -> Result<()> {
        self.write(&self.get()?, listened, self.idle)?;
        self.listened = listened;
        Ok(())
    }

    /// Has the programs in drivers leave every frame to the kernel at once, or not.
    pub fn idle(&mut self, idle: bool) -> Result<()> {
        if self.idle != idle {
            self.write(&self.get()?, self.listened, idle)?;
            self.idle = idle;
        }
        Ok(())
    }

    fn write(&mut self, settings: &Settings, listened: bool, idle: bool) -> Result<()> {
        let mut settings = *settings;
        if listened {
            settings.switches |= switches::EVENTS;
        }
        if idle {
            settings.switches |= switches::NO_XDP;
        }
        self.map.set(0, settings, 0).context("cannot write the settings")
    }
}

/// The device map, by interface index.
pub struct Devices(HashMap<MapData, u32, Device>);

impl Devices {
    /// Tells the programs about an interface.
    pub fn set(&mut self, index: u32, device: &Device) -> Result<()> {
        self.0.insert(index, device, 0).context("cannot write the device table")
    }

    /// All that the programs know.
    pub fn all(&self) -> Result<BTreeMap<u32, Device>> {
        self.0.iter().collect::<Result<_, _>>().context("cannot read the device table")
    }

    /// Lets the programs forget an interface.
    pub fn remove(&mut self, index: u32) -> Result<()> {
        absent_is_fine(self.0.remove(&index)).context("cannot write the device table")
    }
}

/// The prefix trie.
pub struct PrefixTable(LpmTrie<MapData, u32, u32>);

impl PrefixTable {
    /// What is true of an address, as the programs see it; 0 if nothing is.
    pub fn flags(&self, address: Addr) -> Result<u32> {
        match self.0.get(&Key::new(32, address.raw()), 0) {
            Ok(flags) => Ok(flags),
            Err(MapError::KeyNotFound) => Ok(0),
            Err(error) => Err(error).context("cannot read the prefix table"),
        }
    }

    /// All that the programs know.
    pub fn all(&self) -> Result<Prefixes> {
        let mut prefixes = Prefixes::new();
        for entry in self.0.iter() {
            let (key, flags) = entry.context("cannot read the prefix table")?;
            let address = Addr::from_raw(key.data());
            let net = Ipv4Net::new(address.into(), key.prefix_len() as u8)
                .context("the prefix table is damaged")?;
            prefixes.insert(net, flags);
        }
        Ok(prefixes)
    }

    /// Says what is true of a prefix.
    pub fn set(&mut self, net: Ipv4Net, flags: u32) -> Result<()> {
        self.0.insert(&key(net), flags, 0).with_context(|| {
            format!("cannot add {net} to the prefix table; are there thousands of --source?")
        })
    }

    /// Forgets a prefix.
    pub fn remove(&mut self, net: Ipv4Net) -> Result<()> {
        absent_is_fine(self.0.remove(&key(net))).context("cannot write the prefix table")
    }
}

fn key(net: Ipv4Net) -> Key<u32> {
    Key::new(u32::from(net.prefix_len()), Addr::from(net.addr()).raw())
}
