//! What this daemon leaves to the next one: its pins and its manifest, kept true while it runs and
//! removed when it stops for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use anyhow::Result;

use super::{Heritage, leftover::Leftover, manifest::Manifest, pins::Pins};
use crate::{attach::Off, config::Config, control::proto::Survival};

/// What outlives the daemon, if anything does.
#[derive(Debug)]
pub struct Estate {
    /// Name of the instance.
    pub instance: String,
    /// What is written down.
    pub manifest: Manifest,
    /// Where the data plane is pinned; `None` if it ends with the daemon.
    pub pins: Option<Rc<Pins>>,
    /// What has to be removed once the new programs are there.
    pub leftovers: Vec<Leftover>,
    /// Interfaces whose clsact qdisc an earlier daemon has added; `None` if that is not known.
    pub known_qdiscs: Option<Vec<String>>,
    /// What users are told.
    pub survival: Survival,
}

/// What a daemon has on the machine besides pins, and the next one has to know of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Belongings {
    /// Interfaces whose clsact qdisc is ours to remove.
    pub qdiscs: Vec<String>,
    /// What is turned off at devices because of us.
    pub tags: BTreeSet<Off>,
    /// See [`Manifest::dialled`].
    pub dialled: BTreeMap<String, u32>,
}

impl Estate {
    /// Of a daemon that wants `wanted` and has found `heritage`. What cannot be taken over is put
    /// aside here.
    pub fn new(instance: String, wanted: Manifest, heritage: Heritage) -> Result<Self> {
        let known_qdiscs = heritage.own_qdiscs();
        // Until they are on again, whoever comes after us has to know.
        let tags = heritage.own_tags(wanted.place);
        let Heritage { pins, adopted, refused, mut leftovers } = heritage;
        let found_any = adopted.is_some() || refused.is_some();
        let mut survival = Survival { adopted: adopted.is_some(), ..Survival::default() };
        let clsact = known_qdiscs.clone().unwrap_or_default();
        let mut manifest = match adopted {
            // What cannot be changed under living sessions.
            Some(found) => Manifest {
                ready: true,
                reserved: found.reserved,
                host_mappings: found.host_mappings.min(wanted.host_mappings),
                clsact,
                tags,
                dialled: found.dialled,
                ..wanted
            },
            None => Manifest { clsact, tags, ..wanted },
        };
        let pins = pins.and_then(|pins| {
            manifest.pins = pins.shown().display().to_string();
            if let Some((why, found)) = refused {
                tracing::warn!("cold start, the sessions of the earlier masq end: {why}");
                make_room(&pins, found, &mut manifest, &instance, &mut leftovers)?;
            }
            pins.create()?;
            Ok(Rc::new(pins))
        });
        let pins = match pins {
            Ok(pins) => {
                survival.pins = Some(manifest.pins.clone());
                Some(pins)
            }
            // The programs of what is there go on, with maps that nobody else would know.
            Err(error) if found_any => return Err(error),
            Err(error) => {
                survival.why = format!("{error:#}");
                tracing::warn!("sessions end with this process: {}", survival.why);
                Manifest::remove(&instance);
                None
            }
        };
        let estate = Self { instance, manifest, pins, leftovers, known_qdiscs, survival };
        estate.write()?;
        Ok(estate)
    }

    /// Notes that the tables are filled in, and that nothing else translates in the place of this: from
    /// now on, whoever finds it goes on with it.
    pub fn is_ready(&mut self) -> Result<()> {
        self.manifest.ready = true;
        self.manifest.aside = None;
        self.write()
    }

    /// Whether an earlier data plane of this instance still translates in the place of this one.
    pub fn replaces(&self) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.have_put_aside())
    }

    /// Notes what a reload has changed.
    pub fn follows(&mut self, config: &Config) {
        self.manifest.lans.clone_from(&config.lans);
        // Mappings that were made without a limit are not counted.
        let limit = &mut self.manifest.host_mappings;
        *limit = config.settings.host.mappings.min(*limit);
        if let Err(error) = self.write() {
            tracing::warn!("{error:#}");
        }
    }

    /// Notes what is there because of us.
    pub fn owns(&mut self, belongings: Belongings) {
        let Manifest { clsact, tags, dialled, .. } = &mut self.manifest;
        let noted = Belongings {
            qdiscs: std::mem::take(clsact),
            tags: std::mem::take(tags),
            dialled: std::mem::take(dialled),
        };
        let differs = noted != belongings;
        Belongings { qdiscs: *clsact, tags: *tags, dialled: *dialled } = belongings;
        if differs && let Err(error) = self.write() {
            tracing::warn!("{error:#}");
        }
    }

    /// Whether another instance in the same network namespace translates, with or without a daemon.
    pub fn has_neighbours(&self) -> bool {
        Manifest::all_of(self.manifest.place.cookie).any(|name| name != self.instance)
    }

    /// Removes it, once nothing is attached any more. If it was to replace an earlier one that is there
    /// still, that is the instance's again: another start may go on with it.
    pub fn remove(self) {
        let put_back = self.pins.as_ref().is_some_and(|pins| {
            pins.remove();
            pins.put_back()
        });
        match self.manifest.aside {
            Some(manifest) if put_back => {
                if let Err(error) = manifest.write(&self.instance) {
                    tracing::warn!("{error:#}");
                }
            }
            _ => Manifest::remove(&self.instance),
        }
    }

    fn write(&self) -> Result<()> {
        if self.pins.is_some() { self.manifest.write(&self.instance) } else { Ok(()) }
    }
}

/// Puts aside what is in the way of a new data plane, of which `found` was written down. Before that,
/// `manifest` is: who finds the one and not the other takes it for a start that was not finished.
fn make_room(
    pins: &Pins,
    found: Option<Manifest>,
    manifest: &mut Manifest,
    instance: &str,
    leftovers: &mut Vec<Leftover>,
) -> Result<()> {
    let unfinished = !found.as_ref().is_some_and(|found| found.ready);
    // For as long as it is not known which of the two is put aside: the one that translated before.
    let aside = found.as_ref().and_then(|found| found.aside.clone()).filter(|_| unfinished);
    manifest.aside = aside.or_else(|| found.clone().map(Box::new));
    manifest.write(instance)?;
    match pins.put_aside(unfinished) {
        // What an unfinished start was to replace is among the leftovers already.
        Ok(false) => {}
        Ok(true) => {
            let found = found.map(|found| Manifest { aside: None, ..found });
            manifest.aside = found.clone().map(Box::new);
            leftovers.push(Leftover::aside(instance, found, pins.aside()));
        }
        Err(error) => {
            if let Some(found) = found {
                found.write(instance)?;
            }
            return Err(error);
        }
    }
    Ok(())
}
