//! The maps of the data plane with types: the only folder that knows how they are read and
//! written.

mod accounts;
pub mod batch;
mod counters;
mod fragments;
mod links;
mod next_hops;
mod policy;
mod ports;
mod sessions;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{Map, MapError},
};

pub use accounts::Accounts;
pub use counters::{Counters, PortsHeld};
pub use fragments::Fragments;
pub use links::{Links, Lower};
pub use next_hops::NextHops;
pub use policy::{Devices, Policy, PrefixTable, SettingsCell};
pub use ports::Ports;
pub use sessions::{SessionBatches, Sessions};

/// Takes one map out of the loaded object.
pub fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).ok_or_else(|| anyhow!("the kernel object has no map {name}"))
}

/// Takes one map out of the loaded object, with its types.
fn typed<T>(ebpf: &mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<Map, Error = MapError>,
{
    convert(name, take(ebpf, name)?)
}

/// Turns an untyped map into a typed one, with its name in the error.
fn convert<T>(name: &str, map: Map) -> Result<T>
where
    T: TryFrom<Map, Error = MapError>,
{
    T::try_from(map).with_context(|| format!("map {name} of the kernel object has another layout"))
}

/// Takes it for done if what was to be removed is not there.
fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other,
    }
}
