//! Traced programs: the kernel object once more, with the maps of the programs that are at work.

use std::{os::fd::AsFd as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Map, MapData, MapInfo, RingBuf},
    programs::{SchedClassifier, Xdp},
};
use masq_common::{
    abi::{TRACED, maps, programs},
    trace::{Filter, Record},
};

use crate::{
    config::Config,
    next_hops::Offsets,
    plane::{self, OBJECT, Plane},
    survival::{self, pins::Pins},
};

/// All that is needed to load traced programs on a thread of its own: the verifier takes seconds.
pub struct Recipe {
    pins: Vec<(String, PathBuf)>,
    sizes: Vec<(&'static str, u32)>,
    classifiers: Vec<String>,
    offsets: bool,
}

/// Traced programs, and what they record.
pub struct Recording {
    /// The programs, with all their maps: those that are loaded later are told the descriptors that the
    /// maps have had here from the beginning.
    pub ebpf: Ebpf,
    /// What they write.
    pub ring: RingBuf<MapData>,
}

/// What the kernel puts before each record of a ring buffer, in bytes.
const RING_HEAD: usize = 8;

impl Recipe {
    /// The same programs as those of `plane`, whose maps are pinned in `pins`.
    ///
    /// # Errors
    /// If those pins are somebody else's by now: programs with other maps would translate otherwise.
    pub fn new(plane: &Plane, config: &Config, pins: &Pins) -> Result<Self> {
        let pins = plane::paths(pins)?;
        // By a descriptor that is here: the kernel opens maps by number for CAP_SYS_ADMIN only.
        let ours = plane.sessions.id();
        for (name, path) in &pins {
            let pinned = MapInfo::from_pin(path).with_context(|| {
                format!("the table {name} is pinned no more; `masq run` after `masq stop` helps")
            })?;
            if name == maps::SESSIONS && pinned.id() != ours {
                bail!("the pinned tables are not those that are in use");
            }
        }
        Ok(Self {
            pins,
            sizes: survival::sizes(config).to_vec(),
            classifiers: plane.classifiers(),
            offsets: plane.asks_always.is_none(),
        })
    }

    /// Loads the programs, which record nothing yet. `check` is asked before each of them; if it fails,
    /// so does this. Takes seconds: to be done [aside](crate::control::aside).
    ///
    /// # Errors
    /// If the kernel refuses, and those of `check`.
    pub fn load(&self, check: impl Fn() -> Result<()>) -> Result<Recording> {
        let offsets = if self.offsets { Some(Offsets::of_the_kernel()?) } else { None };
        // Not the developers' log as well: both together may be too much for the verifier.
        let mut loader = plane::loader(&0, offsets.as_ref(), &self.sizes, &self.pins);
        loader.override_global(TRACED, &1_u8, true);
        let mut ebpf = loader.load(OBJECT).context("the kernel refused the tracing programs")?;
        // What a killed daemon has left switched on, and what its programs have written.
        plane::record(&mut ebpf, &Filter::OFF)?;
        let ring = emptied_ring(&ebpf)?;
        check()?;
        let program: &mut Xdp = plane::program(&mut ebpf, programs::FAST_XDP)?;
        plane::load(programs::FAST_XDP, || program.load())?;
        for name in &self.classifiers {
            check()?;
            let program: &mut SchedClassifier = plane::program(&mut ebpf, name)?;
            plane::load(name, || program.load())?;
        }
        Ok(Recording { ebpf, ring })
    }
}

/// What the programs write, by a descriptor of its own.
fn emptied_ring(ebpf: &Ebpf) -> Result<RingBuf<MapData>> {
    let Some(Map::RingBuf(map)) = ebpf.map(maps::TRACE) else {
        bail!("the kernel object has no ring buffer {}", maps::TRACE);
    };
    let size = map.info().context("cannot ask about a map")?.max_entries() as usize;
    let again = map.fd().as_fd().try_clone_to_owned().context("cannot duplicate a descriptor")?;
    let mut ring = RingBuf::try_from(Map::RingBuf(MapData::from_fd(again)?))?;
    // Nobody writes any more. If somebody does all the same, it is not waited for.
    for _ in 0..size / (size_of::<Record>() + RING_HEAD) {
        if ring.next().is_none() {
            break;
        }
    }
    Ok(ring)
}
