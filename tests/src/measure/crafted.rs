//! A VLAN or a PPPoE session that only the fast path knows of, for kernels without such devices.
//!
//! The router's WAN is an Ethernet interface, over which sessions are opened as usual. Then two tables of
//! the data plane are told, in the place of the daemon, what it would tell them of a VLAN or a session:
//! that such frames at the WAN's port are the WAN's, and that its packets leave in such frames. They are
//! pinned, as all of masq's maps are, and open to root; the daemon keeps to the entries that it has
//! written itself. From there on the whole way of a packet in XDP is that of one with encapsulation:
//! parsing, checks, a header that gets longer or shorter, redirection. What the kernel would do with such
//! frames is nothing: who leaves the fast path is lost, and the measurement tells.

use std::path::Path;

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData},
};
use masq_common::{
    abi::maps,
    hop::Generations,
    link::{Arrival, Exit, Leg},
};

use super::{
    line::{Line, MACS},
    link::Link,
};
use crate::{daemon, lab::WAN_IF};

/// A route that nobody uses: with any change of routes, sessions ask for their way anew.
const UNUSED: &str = "192.0.2.0/24";

/// Has masq in the router of `line` take its WAN for one of this kind.
///
/// # Errors
/// If its maps are not pinned, or cannot be written.
pub fn craft(line: &Line, link: Link) -> Result<(), String> {
    let stats = daemon::stats(&line.router);
    let pins = stats["survival"]["pins"].as_str();
    let pins = Path::new(pins.ok_or("the maps of masq are not pinned: it says why at its start")?);
    let [_, _, wan, remote] = MACS;
    let port = line.router.interface_index(WAN_IF);
    let (arrival, mut leg, mut way_out) = link.told(port, wan);
    let mut legs: HashMap<_, Arrival, Leg> = table(pins, maps::LEGS)?;
    if arrival.session != 0 {
        // In this order: discovery has to be heard before its count is read.
        insert(&mut legs, arrival.discovery(), leg)?;
        let generations: Array<_, Generations> = table(pins, maps::GENERATIONS)?;
        let generations = generations.get(&0, 0).map_err(|e| e.to_string())?;
        let discoveries = generations.discoveries();
        (leg.peer, leg.discoveries) = (remote, discoveries);
        (way_out.peer, way_out.source, way_out.discoveries) = (remote, wan, discoveries);
    }
    insert(&mut legs, arrival, leg)?;
    let mut exits: HashMap<_, u32, Exit> = table(pins, maps::EXITS)?;
    insert(&mut exits, port, way_out)?;
    line.router.ip(&format!("route replace blackhole {UNUSED}"));
    Ok(())
}

fn table<T>(pins: &Path, name: &str) -> Result<T, String>
where
    T: TryFrom<Map>,
    T::Error: std::fmt::Display,
{
    let failed = |e: &dyn std::fmt::Display| format!("the pinned map {name}: {e}");
    let data = MapData::from_pin(pins.join("maps").join(name)).map_err(|e| failed(&e))?;
    let map = Map::from_map_data(data).map_err(|e| failed(&e))?;
    T::try_from(map).map_err(|e| failed(&e))
}

fn insert<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: K,
    value: V,
) -> Result<(), String> {
    map.insert(key, value, 0).map_err(|e| format!("cannot write to a map of masq: {e}"))
}
