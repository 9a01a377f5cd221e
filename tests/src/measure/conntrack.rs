//! The limits of the kernel's connection tracking, which are the machine's and not a namespace's:
//! raised for large tables, and put back.

use std::{fs, path::Path};

use crate::{netns::Namespace, reference};

/// Most connections.
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// Buckets of the hash.
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// The limits as they were, which dropping this brings back.
#[derive(Debug)]
pub struct Limits {
    max: Option<String>,
    buckets: Option<String>,
}

impl Limits {
    /// Those that hold now. Loads the kernel's modules, if that is necessary and possible.
    pub fn now() -> Self {
        if !Path::new(MAX).exists() && nix::unistd::geteuid().is_root() {
            // Rules that need connection tracking bring it along.
            let namespace = Namespace::new("tracking");
            namespace.feed("nft", &["-f", "-"], &reference::rules(&["lo"], "lo", &["127.0.0.0/8"]));
        }
        let read = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self { max: read(MAX), buckets: read(BUCKETS) }
    }

    /// Makes room for so many connections, with a bucket for each, as the kernel has it by
    /// default; never less room than there was.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn raise(connections: u32) -> Result<Self, String> {
        let before = Self::now();
        let wanted = connections.next_power_of_two();
        for (path, current) in [(BUCKETS, &before.buckets), (MAX, &before.max)] {
            let Some(current) = current.as_ref().and_then(|text| text.parse::<u32>().ok()) else {
                return Err(format!("cannot read {path}: is there no connection tracking?"));
            };
            if current < wanted {
                write(path, &wanted.to_string())?;
            }
        }
        Ok(before)
    }

    /// The most connections that the machine tracks.
    pub fn most(&self) -> Option<u32> {
        self.max.as_ref()?.parse().ok()
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        let now = |path| fs::read_to_string(path).unwrap_or_default();
        for (path, before) in [(MAX, &self.max), (BUCKETS, &self.buckets)] {
            if let Some(before) = before.as_ref().filter(|before| **before != now(path).trim())
                && let Err(error) = write(path, before)
            {
                eprintln!("{error}");
            }
        }
    }
}

fn write(path: impl AsRef<Path>, value: &str) -> Result<(), String> {
    let path = path.as_ref();
    fs::write(path, value).map_err(|e| format!("cannot write {value} to {}: {e}", path.display()))
}
