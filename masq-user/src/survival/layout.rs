//! Whether the maps of an earlier daemon are the ones that this one's programs want.

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use aya_obj::{EbpfSectionKind, Object};
use masq_common::{abi::maps, table};

use super::pins::Pins;
use crate::config::Config;

/// A map as the kernel object defines it and the configuration sizes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

/// All maps of a kernel object that are worth keeping: not its constants, which belong to the
/// programs, nor `except`.
pub fn definitions(object: &[u8], except: &str) -> Result<Vec<Definition>> {
    let object = Object::parse(object).context("the kernel object is damaged")?;
    let kept = object.maps.iter().filter(|(name, map)| {
        map.section_kind() == EbpfSectionKind::BtfMaps && name.as_str() != except
    });
    let mut definitions: Vec<_> = kept
        .map(|(name, map)| Definition {
            name: name.clone(),
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            entries: map.max_entries(),
            flags: map.map_flags(),
        })
        .collect();
    definitions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(definitions)
}

/// Sizes that are not the object's: they depend on the configuration. Those of sessions and mappings may
/// differ from what is wanted, at the price of another limit.
pub fn sizes(config: &Config) -> [(&'static str, u32); 3] {
    [
        (maps::SESSIONS, config.session_entries()),
        (maps::MAPPINGS, config.mapping_entries()),
        (maps::PORTS, config.port_slots()),
    ]
}

/// Demands that every map is pinned and fits; else says which one does not. Returns for how many
/// sessions the table is.
pub fn check(definitions: &[Definition], config: &Config, pins: &Pins) -> Result<u32, String> {
    let mut sessions = 0;
    for wanted in definitions {
        let name = &wanted.name;
        let info =
            MapInfo::from_pin(pins.map(name)).map_err(|_| format!("map {name} is missing"))?;
        let size = sizes(config).into_iter().find(|(sized, _)| sized == name);
        let entries = size.map_or(wanted.entries, |(_, entries)| entries);
        let there =
            (info.map_type().map_or(0, |kind| kind as u32), info.key_size(), info.value_size());
        if there != (wanted.kind, wanted.key_size, wanted.value_size) {
            return Err(format!("map {name} has another layout"));
        }
        let free = name == maps::SESSIONS || name == maps::MAPPINGS;
        if info.map_flags() != wanted.flags || !free && info.max_entries() != entries {
            return Err(format!("map {name} has another size"));
        }
        if name == maps::SESSIONS {
            sessions = table::sessions(info.max_entries());
        }
    }
    Ok(sessions)
}
