//! The pinned objects of one instance: `maps/NAME` and `links/HOOK-INDEX` in a directory that is
//! open to root only. Programs need no pin: a link keeps its program.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, Result, bail};
use aya::programs::links::{FdLink, PinnedLink};
use nix::unistd::geteuid;

use super::{bpf, bpffs::BpfFs};
use crate::attach::Hook;

/// Ending of the directory of a data plane that is to be replaced. No name of an instance has it.
const OLD: &str = "~";

/// The pins of an instance.
#[derive(Debug)]
pub struct Pins {
    fs: Rc<BpfFs>,
    /// Name of the directory in the bpffs.
    name: String,
    /// Links that this process uses; the others are an earlier one's.
    kept: RefCell<BTreeSet<String>>,
}

impl Pins {
    /// Those of an instance, whether there are any or not.
    pub fn of(fs: &Rc<BpfFs>, instance: &str) -> Self {
        // A bpffs refuses names with a dot.
        let name = instance.replace('.', ":");
        Self { fs: Rc::clone(fs), name, kept: RefCell::default() }
    }

    /// Those that [`Pins::put_aside`] has put aside.
    pub fn old(fs: &Rc<BpfFs>, instance: &str) -> Self {
        let pins = Self::of(fs, instance);
        Self { name: pins.name + OLD, ..Self::of(fs, instance) }
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        self.directory().exists()
    }

    /// Whether the file system is masq's own, which it unmounts when nothing is left in it.
    pub fn are_on_own_mount(&self) -> bool {
        !self.fs.is_shared()
    }

    /// Makes the directories.
    pub fn create(&self) -> Result<()> {
        let make =
            |directory: PathBuf| DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let made = make(self.maps_directory()).and_then(|()| make(self.links_directory()));
        made.with_context(|| format!("cannot write to {}", self.fs.shown().display()))?;
        self.check_owner()
    }

    /// Demands that nobody else can put anything in our place: everybody may make directories in the
    /// usual bpffs.
    pub fn check_owner(&self) -> Result<()> {
        let shared = self.fs.is_shared().then(|| self.fs.directory());
        for directory in shared.into_iter().chain([self.directory()]) {
            // Not what a link leads to, which somebody else may have put there.
            let Ok(metadata) = fs::symlink_metadata(directory) else { continue };
            let foreign = metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0;
            if !metadata.is_dir() || foreign {
                bail!(
                    "{} or what is in it belongs to others; remove it",
                    self.fs.shown().display()
                );
            }
        }
        Ok(())
    }

    /// Makes room for new pins, which are not there yet, of those that are. If these are of a start that
    /// was killed on its way, and what it had put aside still translates, they are removed. Whether they
    /// are what is put aside now.
    pub fn put_aside(&self, unfinished: bool) -> Result<bool> {
        let old = self.aside();
        if unfinished && old.have_wan_out() {
            self.remove();
            return Ok(false);
        }
        old.remove();
        fs::rename(self.directory(), old.directory())
            .with_context(|| format!("cannot rename {}", self.shown().display()))?;
        Ok(true)
    }

    /// Whether a link keeps packets with inside sources from leaving: the last that is taken off.
    fn have_wan_out(&self) -> bool {
        self.links().iter().any(|name| hook(name) == Some(Hook::WanOut))
    }

    /// Takes what [`Pins::put_aside`] has put aside for the instance's own again, once there are no
    /// others; whether there was anything.
    pub fn put_back(&self) -> bool {
        let (from, to) = (self.aside().directory(), self.directory());
        fs::rename(&from, &to).is_ok()
    }

    /// Whether there is what [`Pins::put_aside`] has put aside.
    pub fn have_put_aside(&self) -> bool {
        self.aside().exist()
    }

    /// What [`Pins::put_aside`] has put aside.
    pub fn aside(&self) -> Self {
        Self::old(&self.fs, &self.name)
    }

    /// The directory, as a person knows it.
    pub fn shown(&self) -> PathBuf {
        self.fs.shown().join(&self.name)
    }

    /// Where a map is pinned, or would be.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps_directory().join(name)
    }

    /// Whether there is such a pinned link.
    pub fn has_link(&self, name: &str) -> bool {
        self.links_directory().join(name).exists()
    }

    /// A pinned link, to be used on; `None` if there is no such one.
    pub fn link(&self, name: &str) -> Option<FdLink> {
        let link = PinnedLink::from_pin(self.links_directory().join(name)).ok()?;
        self.kept.borrow_mut().insert(name.to_owned());
        Some(link.into())
    }

    /// Pins a link, in place of an earlier one of this name, which ends with that.
    pub fn keep(&self, name: &str, link: FdLink) -> Result<FdLink> {
        let path = self.links_directory().join(name);
        let draft = self.links_directory().join(format!("{name}{OLD}"));
        let _ = fs::remove_file(&draft);
        let pinned = link.pin(&draft).with_context(|| format!("cannot pin the link {name}"))?;
        fs::rename(&draft, &path).with_context(|| format!("cannot pin the link {name}"))?;
        self.kept.borrow_mut().insert(name.to_owned());
        Ok(pinned.into())
    }

    /// Takes a link off its hook and removes it. One that is not there is no failure.
    pub fn drop_link(&self, name: &str) {
        let path = self.links_directory().join(name);
        match bpf::detach(&path) {
            // Not there, or no link at all.
            Err(error @ bpf::Failure::NotFound(_)) => {
                tracing::debug!(name, %error, "no pinned link");
                return;
            }
            // Its interface has gone, or it ends with its last reference.
            Err(error) => tracing::debug!(name, %error, "link not detached"),
            Ok(()) => {}
        }
        let _ = fs::remove_file(path);
        self.kept.borrow_mut().remove(name);
    }

    /// Takes the links off that an earlier process has pinned and this one does not use.
    pub fn drop_others(&self) {
        let kept = self.kept.borrow().clone();
        self.links()
            .iter()
            .filter(|name| !kept.contains(*name))
            .for_each(|name| self.drop_link(name));
    }

    /// The programs in drivers, by id.
    pub fn xdp_programs(&self) -> Vec<u32> {
        let links = self.links();
        let fast = links.iter().filter(|name| hook(name) == Some(Hook::Fast));
        let link = |name| PinnedLink::from_pin(self.links_directory().join(name)).ok();
        let program = |link: PinnedLink| Some(FdLink::from(link).info().ok()?.program_id());
        fast.filter_map(link).filter_map(program).collect()
    }

    /// Takes all links off and removes all pins.
    pub fn remove(&self) {
        self.links().iter().for_each(|name| self.drop_link(name));
        let _ = fs::remove_dir_all(self.directory());
    }

    /// All links, in the order in which they are taken off: WAN egress last, and what is no hook
    /// first.
    fn links(&self) -> Vec<String> {
        let mut names = entries(&self.links_directory());
        names.sort_by_key(|name| {
            std::cmp::Reverse(hook(name).map_or(Hook::ALL.len(), |hook| hook as usize))
        });
        names
    }

    fn maps_directory(&self) -> PathBuf {
        self.directory().join("maps")
    }

    fn links_directory(&self) -> PathBuf {
        self.directory().join("links")
    }

    fn directory(&self) -> PathBuf {
        self.fs.directory().join(&self.name)
    }
}

/// Name of the pin of a hook's link on an interface.
pub fn link_name(hook: Hook, index: u32) -> String {
    format!("{}-{index}", hook.as_str())
}

/// The hook that a pin's name tells.
fn hook(name: &str) -> Option<Hook> {
    let (prefix, _) = name.rsplit_once('-')?;
    Hook::ALL.into_iter().find(|hook| hook.as_str() == prefix)
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pin_tells_its_hook() {
        for hook in Hook::ALL {
            assert_eq!(super::hook(&link_name(hook, 17)), Some(hook));
        }
        assert_eq!(hook("trace-hops"), None);
        assert_eq!(hook("fast"), None);
    }
}
