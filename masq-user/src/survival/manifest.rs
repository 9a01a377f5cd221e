//! What is written down about a data plane that outlives its daemon: what the next one has to know
//! before it takes it over or removes it. A file of JSON in the run directory, beside the socket,
//! because a bpffs holds nothing but kernel objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use masq_common::{abi, ports::Pool};
use serde::{Deserialize, Serialize};

use crate::{
    attach::{Off, TcKind},
    claims::{Netns, RUN_DIR},
    config::Config,
};

/// Ending of the files.
const SUFFIX: &str = ".json";

/// The data plane of an instance.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Whether all tables are there and filled in as they have to be.
    pub ready: bool,
    /// [`abi::VERSION`] of the daemon that has set it up.
    pub abi: u32,
    /// Version of that daemon.
    pub version: String,
    /// Tells kernel objects apart; for people who look for a fault.
    pub object: String,
    /// The network namespace.
    #[serde(flatten)]
    pub place: Place,
    /// LAN interfaces.
    pub lans: Vec<String>,
    /// WAN interfaces; their position is their index in the tables.
    pub wans: Vec<String>,
    /// How the TC programs are attached.
    pub tc: TcKind,
    /// Where the maps and links are; for people.
    pub pins: String,
    /// Interfaces whose clsact qdisc masq has added.
    #[serde(default)]
    pub clsact: Vec<String>,
    /// What masq has turned off at devices so that VLAN tags stay in the frames: index and feature.
    #[serde(default)]
    pub tags: BTreeSet<Off>,
    /// The ports below the PPPoE sessions that its interfaces had last, by interface.
    #[serde(default)]
    pub dialled: BTreeMap<String, u32>,
    /// `--host-mappings`; 0 means that mappings are not counted.
    #[serde(default)]
    pub host_mappings: u32,
    /// Ports that are kept from LAN hosts.
    #[serde(default)]
    pub reserved: Vec<(u16, u16)>,
    /// What was written down about the data plane that this one is to replace, for as long as that is
    /// what translates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Box<Self>>,
}

/// A network namespace.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number, which another one may get after its end.
    pub netns: Netns,
    /// Its cookie, which no other one ever has.
    pub cookie: u64,
}

impl Manifest {
    /// Of the data plane that `config` asks for, before there is any of it.
    pub fn new(
        config: &Config,
        place: Place,
        tc: TcKind,
        reserved: &[Pool],
        object: String,
    ) -> Self {
        Self {
            ready: false,
            abi: abi::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            object,
            place,
            lans: config.lans.clone(),
            wans: config.wans.clone(),
            tc,
            pins: String::new(),
            clsact: Vec::new(),
            tags: BTreeSet::new(),
            dialled: BTreeMap::new(),
            host_mappings: config.settings.host.mappings,
            reserved: reserved.iter().map(|pool| (pool.low, pool.high)).collect(),
            aside: None,
        }
    }

    /// All its interfaces, and those of what it is to replace.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let aside = self.aside.iter().flat_map(|aside| [aside.lans.iter(), aside.wans.iter()]);
        [self.lans.iter(), self.wans.iter()].into_iter().chain(aside).flatten().map(String::as_str)
    }

    /// Reads that of an instance; `None` if there is none.
    pub fn read(instance: &str) -> Result<Option<Self>> {
        let path = path(instance);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let manifest = Self::parse(&text);
        manifest.map(Some).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Reads the text of a manifest.
    pub fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Writes that of an instance; whoever reads it meanwhile sees the old one or the new one.
    pub fn write(&self, instance: &str) -> Result<()> {
        let path = path(instance);
        let draft = path.with_extension("json~");
        let write = || -> io::Result<()> {
            let mut options = fs::OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            let mut file = options.open(&draft)?;
            file.write_all(serde_json::to_string(self)?.as_bytes())?;
            fs::rename(&draft, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes that of an instance.
    pub fn remove(instance: &str) {
        let _ = fs::remove_file(path(instance));
    }

    /// Those of all instances but one, as far as they can be read.
    pub fn others(instance: &str) -> impl Iterator<Item = (String, Self)> {
        let others = Self::all().into_iter().filter(move |name| name != instance);
        others.filter_map(|name| Some((name.clone(), Self::read(&name).ok()??)))
    }

    /// The names of those in the network namespace with this cookie.
    pub fn all_of(cookie: u64) -> impl Iterator<Item = String> {
        let here = move |name: &String| {
            Self::read(name).is_ok_and(|found| found.is_some_and(|m| m.place.cookie == cookie))
        };
        Self::all().into_iter().filter(here)
    }

    /// The names of all instances that have one.
    pub fn all() -> Vec<String> {
        let entries = fs::read_dir(RUN_DIR).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(SUFFIX)?.to_owned())).collect();
        names.sort_unstable();
        names
    }
}

fn path(instance: &str) -> PathBuf {
    Path::new(RUN_DIR).join(format!("{instance}{SUFFIX}"))
}
