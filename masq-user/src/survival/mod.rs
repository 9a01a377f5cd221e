//! The data plane outlives its daemon: maps and links are pinned in a bpffs, so that packets are
//! translated on after a crash, a kill or an upgrade, until the next daemon takes it over or
//! `masq stop` removes it.
//!
//! This folder knows where the pins are ([`bpffs`], [`pins`]), what is written down about them
//! ([`manifest`]), and decides at the start of a daemon whether it may take over what it finds
//! ([`inherit`]). Taking over itself happens where maps are loaded ([`crate::plane`]) and programs
//! attached ([`crate::reconcile`]).

pub mod bpffs;
pub mod estate;
pub mod leftover;
pub mod manifest;
pub mod pins;

mod bpf;
mod layout;

use std::{collections::BTreeSet, rc::Rc};

use anyhow::Result;
use masq_common::abi;

pub use self::layout::{Definition, definitions, sizes};
use self::{
    bpffs::BpfFs,
    leftover::Leftover,
    manifest::{Manifest, Place},
    pins::Pins,
};
use crate::{
    attach::Off,
    config::Config,
    control::proto::{Instance, InterfaceInfo, Survival},
};

/// What a daemon finds when it starts.
#[derive(Debug)]
pub struct Heritage {
    /// Where the data plane is pinned, or is to be; or why it cannot be.
    pub pins: Result<Pins>,
    /// The manifest of the data plane in `pins`, if that is to be taken over.
    pub adopted: Option<Manifest>,
    /// Why the one in `pins` is not to be taken over, and its manifest, if there is one.
    pub refused: Option<(String, Option<Manifest>)>,
    /// What has to be removed once the new programs are there.
    pub leftovers: Vec<Leftover>,
}

impl Heritage {
    /// Interfaces that an earlier daemon of this instance has had.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let refused = self.refused.iter().filter_map(|(_, manifest)| manifest.as_ref());
        self.adopted.iter().chain(refused).flat_map(Manifest::interfaces)
    }

    /// Interfaces whose clsact qdisc an earlier daemon has added; `None` if nothing is written down.
    pub fn own_qdiscs(&self) -> Option<Vec<String>> {
        let aside = self.leftovers.iter().filter_map(|leftover| leftover.manifest.as_ref());
        let refused = self.refused.as_ref().and_then(|(_, manifest)| manifest.as_ref());
        let manifests: Vec<_> = self.adopted.iter().chain(refused).chain(aside).collect();
        let all = manifests.iter().flat_map(|manifest| manifest.clsact.iter().cloned()).collect();
        (!manifests.is_empty()).then_some(all)
    }

    /// What earlier daemons have turned off at devices in `place`, so that VLAN tags stay in the frames.
    pub fn own_tags(&self, place: Place) -> BTreeSet<Off> {
        let refused = self.refused.as_ref().and_then(|(_, manifest)| manifest.as_ref());
        let here = self.adopted.iter().chain(refused).filter(|found| found.place == place);
        here.flat_map(|manifest| manifest.tags.iter().cloned()).collect()
    }

    /// Programs in drivers that are none of somebody else, by id.
    pub fn xdp_programs(&self) -> Vec<u32> {
        let ours = self.pins.iter().flat_map(Pins::xdp_programs);
        ours.chain(self.leftovers.iter().flat_map(Leftover::xdp_programs)).collect()
    }
}

/// Looks for what earlier daemons have left, for an instance whose name and interfaces are claimed.
/// What `wanted` says is compared with what is there; `config` is made to fit tables that are taken
/// over. Nothing is changed yet.
pub fn inherit(
    config: &mut Config,
    instance: &str,
    wanted: &Manifest,
    definitions: &[Definition],
) -> Result<Heritage> {
    let fs = BpfFs::open().map(Rc::new);
    let leftovers = others(fs.as_ref().ok(), instance, wanted);
    let none = |pins, leftovers| Heritage { pins, adopted: None, refused: None, leftovers };
    let fs = match fs {
        Ok(fs) => fs,
        Err(error) => return Ok(none(Err(error), leftovers)),
    };
    let pins = Pins::of(&fs, instance);
    if let Err(error) = pins.check_owner() {
        return Ok(none(Err(error), leftovers));
    }
    let mut heritage = none(Ok(pins), leftovers);
    let (old, pins) = (Pins::old(&fs, instance), Pins::of(&fs, instance));
    let mut written = Manifest::read(instance);
    let aside = written.as_ref().ok().and_then(|found| found.as_ref()?.aside.clone());
    if !pins.exist() {
        // A start that failed was killed before it could do that.
        if !pins.put_back() {
            return Ok(heritage);
        }
        if let Some(aside) = aside {
            written = Ok(Some(*aside));
        }
    } else if old.exist() {
        let aside = aside.map(|aside| *aside);
        heritage.leftovers.push(Leftover::aside(instance, aside, old));
    }
    let (manifest, why) = match written {
        Ok(Some(manifest)) => {
            let checked =
                suits(&manifest, wanted).and_then(|()| layout::check(definitions, config, &pins));
            match checked {
                Ok(sessions) => {
                    adjust(config, wanted, &manifest, sessions);
                    return Ok(Heritage { adopted: Some(manifest), ..heritage });
                }
                Err(why) => (Some(manifest), why),
            }
        }
        Ok(None) => (None, "nothing is written down about it".to_owned()),
        Err(error) => (None, format!("{error:#}")),
    };
    Ok(Heritage { refused: Some((why, manifest)), ..heritage })
}

/// The instances that are written down, as if they had no daemon: whether they have one is not asked.
/// Of their interfaces no more than the names is told.
pub fn alone() -> Vec<Instance> {
    let instance = |(name, manifest): (String, Manifest)| {
        let interface = |name: &String, role: &str| InterfaceInfo {
            name: name.clone(),
            role: role.to_owned(),
            index: None,
            mode: None,
            why: String::new(),
            address: None,
            mss: None,
            ports: Vec::new(),
        };
        let lans = manifest.lans.iter().map(|name| interface(name, "lan"));
        let wans = manifest.wans.iter().map(|name| interface(name, "wan"));
        Instance {
            instance: name,
            pid: None,
            busy: false,
            netns: manifest.place.netns.0,
            uptime_secs: 0,
            version: manifest.version.clone(),
            interfaces: lans.chain(wans).collect(),
            survival: Survival { pins: Some(manifest.pins), ..Survival::default() },
        }
    };
    Manifest::others("").map(instance).collect()
}

/// What other instances have left on our interfaces.
fn others(fs: Option<&Rc<BpfFs>>, instance: &str, wanted: &Manifest) -> Vec<Leftover> {
    let mut found = Vec::new();
    for (name, other) in Manifest::others(instance) {
        let shares = wanted.interfaces().any(|ours| other.interfaces().any(|its| its == ours));
        if other.place.cookie != wanted.place.cookie || !shares {
            continue;
        }
        if let Some(leftover) = Leftover::claim(fs, &name) {
            tracing::warn!(
                "instance {name} has ended without `masq stop` and holds the same interfaces: its \
                 sessions end (`--instance {name}` would have gone on with them)"
            );
            found.push(leftover);
        }
    }
    found
}

/// Whether a data plane may be taken over, as far as is written down; else why not.
fn suits(found: &Manifest, wanted: &Manifest) -> Result<(), String> {
    if found.abi != abi::VERSION {
        return Err(format!(
            "its tables have layout {}, masq {} has {}",
            found.abi,
            env!("CARGO_PKG_VERSION"),
            abi::VERSION
        ));
    }
    if !found.ready {
        return Err("its start was not finished".to_owned());
    }
    if found.place.cookie != wanted.place.cookie {
        return Err("it was for another network namespace".to_owned());
    }
    if found.wans != wanted.wans {
        return Err(format!("its WAN interfaces were {}", found.wans.join(", ")));
    }
    if found.tc != wanted.tc {
        return Err("its programs are attached in another way".to_owned());
    }
    Ok(())
}

/// Makes the configuration fit tables that are taken over, and says so: what cannot be changed under
/// living sessions waits for the next cold start.
fn adjust(config: &mut Config, wanted: &Manifest, found: &Manifest, sessions: u32) {
    let later = "until a start after `masq stop`";
    if config.max_sessions != sessions {
        tracing::warn!("the session table keeps its size of {sessions} {later}");
        config.max_sessions = sessions;
    }
    let limit = &mut config.settings.host.mappings;
    if found.host_mappings == 0 && *limit != 0 {
        tracing::warn!("--host-mappings has no effect {later}: those that exist are not counted");
        *limit = 0;
    }
    if found.reserved != wanted.reserved {
        tracing::warn!("the reserved ports stay as they were {later}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attach::TcKind, claims::Netns};

    fn manifest() -> Manifest {
        Manifest {
            ready: true,
            abi: abi::VERSION,
            version: "0.1.0".into(),
            object: "0".into(),
            place: Place { netns: Netns(1), cookie: 2 },
            lans: vec!["lan0".into()],
            wans: vec!["wan0".into()],
            tc: TcKind::Tcx,
            clsact: Vec::new(),
            tags: [(2, "rx-vlan-hw-parse".to_owned())].into(),
            dialled: [("ppp0".to_owned(), 2)].into(),
            host_mappings: 0,
            reserved: Vec::new(),
            pins: String::new(),
            aside: None,
        }
    }

    #[test]
    fn a_data_plane_suits_if_layout_namespace_and_wans_are_the_same() {
        let wanted = manifest();
        let lans = vec!["lan0".into(), "lan1".into()];
        let newer = Manifest { version: "9".into(), object: "9".into(), lans, ..manifest() };
        assert_eq!(suits(&newer, &wanted), Ok(()));
        let wans = vec!["ppp0".into()];
        for (other, says) in [
            (Manifest { abi: abi::VERSION + 1, ..manifest() }, "layout"),
            (Manifest { ready: false, ..manifest() }, "finished"),
            (Manifest { place: Place { netns: Netns(1), cookie: 3 }, ..manifest() }, "namespace"),
            (Manifest { wans, ..manifest() }, "ppp0"),
            (Manifest { tc: TcKind::Clsact, ..manifest() }, "attached"),
        ] {
            let why = suits(&other, &wanted).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn what_a_refused_data_plane_has_turned_off_is_known_in_its_namespace() {
        let heritage = |refused| Heritage {
            pins: Err(anyhow::anyhow!("none")),
            adopted: None,
            refused: Some(("why".to_owned(), refused)),
            leftovers: Vec::new(),
        };
        let found = manifest();
        let tags = found.tags.clone();
        assert_eq!(heritage(Some(found)).own_tags(manifest().place), tags);
        assert!(heritage(None).own_tags(manifest().place).is_empty());
        let elsewhere = Place { netns: Netns(1), cookie: 3 };
        assert!(heritage(Some(manifest())).own_tags(elsewhere).is_empty());
    }

    #[test]
    fn what_is_written_down_can_be_read_again() {
        let manifest = manifest();
        let text = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        assert!(Manifest::parse(&text[..text.len() / 2]).is_err());
    }
}
