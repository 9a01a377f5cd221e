//! A data plane whose daemon has gone and that is not to be taken over: removing it, in the order
//! in which a daemon that stops does.

use std::{fs, rc::Rc};

use anyhow::Result;
use aya::{
    Pod,
    maps::{HashMap, Map, MapData},
};
use masq_common::{
    abi::maps,
    link::Exit,
    settings::{Device, caps},
};

use super::{bpffs::BpfFs, manifest::Manifest, pins::Pins};
use crate::{
    attach::{self, TcKind},
    claims::{Claims, Netns},
    control::socket_path,
    netlink::{Netlink, remove_clsact},
};

/// What a daemon has left.
#[derive(Debug)]
pub struct Leftover {
    /// Name of the instance.
    pub instance: String,
    /// What it has written down, if that can be read.
    pub manifest: Option<Manifest>,
    pins: Vec<Pins>,
    /// So that nobody else takes it meanwhile; `None` if the caller has that claim.
    claim: Option<Claims>,
}

impl Leftover {
    /// What an instance has left whose name is claimed; `None` if nothing.
    pub fn find(bpffs: Option<&Rc<BpfFs>>, instance: &str) -> Option<Self> {
        let (manifest, unreadable) = match Manifest::read(instance) {
            Ok(manifest) => (manifest, false),
            Err(error) => {
                tracing::debug!("{error:#}");
                (None, true)
            }
        };
        let pins: Vec<_> = bpffs
            .into_iter()
            .flat_map(|fs| [Pins::old(fs, instance), Pins::of(fs, instance)])
            .filter(|pins| pins.exist() && is_ours(pins))
            .collect();
        let any = unreadable || manifest.is_some() || !pins.is_empty();
        any.then(|| Self { instance: instance.to_owned(), manifest, pins, claim: None })
    }

    /// The same, of an instance whose name nobody has claimed; `None` also if somebody has.
    pub fn claim(bpffs: Option<&Rc<BpfFs>>, instance: &str) -> Option<Self> {
        let mut claim = Claims::take_name(instance).ok()?;
        let leftover = Self::find(bpffs, instance)?;
        if let Some(manifest) = &leftover.manifest {
            claim.take_free(manifest.place.netns, manifest.interfaces());
        }
        Some(Self { claim: Some(claim), ..leftover })
    }

    /// What is put aside of an instance whose new data plane is being set up under the same name.
    pub fn aside(instance: &str, manifest: Option<Manifest>, old: Pins) -> Self {
        Self { instance: instance.to_owned(), manifest, pins: vec![old], claim: None }
    }

    /// The programs in drivers, by id.
    pub fn xdp_programs(&self) -> Vec<u32> {
        self.pins.iter().flat_map(Pins::xdp_programs).collect()
    }

    /// Removes it all. Filters and qdiscs of the interfaces `replaced` have already been replaced by
    /// those of another instance. Filters in another network namespace stay: they are out of reach.
    pub async fn remove(self, netlink: &Netlink, replaced: &[String]) -> Result<()> {
        for pins in &self.pins {
            stop_transmitting(pins);
            pins.remove();
        }
        if let Some(manifest) = &self.manifest
            && manifest.place.cookie == Netns::cookie()?
        {
            attach::put_tags_back(&manifest.tags);
        }
        if let Some(manifest) = &self.manifest
            && manifest.tc == TcKind::Clsact
            && manifest.place.cookie == Netns::cookie()?
        {
            let snapshot = netlink.snapshot().await?;
            let links = manifest.interfaces().filter_map(|name| snapshot.link(name));
            for link in links.filter(|link| !replaced.contains(&link.name)) {
                attach::remove_filters(&link.name, None);
                if manifest.clsact.contains(&link.name)
                    && let Err(error) = remove_clsact(netlink.handle(), link.index).await
                {
                    // Gone, as after a redial while no daemon ran.
                    tracing::debug!("clsact of {} not removed: {error}", link.name);
                }
            }
        }
        // The claim on the name goes last. If it is the caller's, so is the manifest by now.
        if self.claim.is_some() {
            let _ = fs::remove_file(socket_path(&self.instance));
            Manifest::remove(&self.instance);
        }
        Ok(())
    }
}

/// Whether pins are ours to remove. In a bpffs that everybody may write to, anything can be there.
fn is_ours(pins: &Pins) -> bool {
    pins.check_owner().inspect_err(|error| tracing::warn!("left alone: {error:#}")).is_ok()
}

/// Lets nobody redirect to a device whose driver is about to be reset.
fn stop_transmitting(pins: &Pins) {
    if let Some(mut devices) = table::<u32, Device>(pins, maps::DEVICES) {
        let all: Vec<_> = devices.iter().filter_map(Result::ok).collect();
        for (index, device) in all {
            let off = Device { caps: device.caps & !caps::XDP_TRANSMIT, ..device };
            let _ = devices.insert(index, off, 0);
        }
    }
    if let Some(mut exits) = table::<u32, Exit>(pins, maps::EXITS) {
        let all: Vec<_> = exits.keys().filter_map(Result::ok).collect();
        all.iter().for_each(|index| _ = exits.remove(index));
    }
}

fn table<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Option<HashMap<MapData, K, V>> {
    let map = Map::from_map_data(MapData::from_pin(pins.map(name)).ok()?).ok()?;
    HashMap::try_from(map).ok()
}
