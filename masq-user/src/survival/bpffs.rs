//! The file system that keeps kernel objects alive: finding a bpffs, or mounting one.
//!
//! The usual one is at `/sys/fs/bpf`. Where there is none, masq mounts its own in its run directory,
//! and unmounts it when nothing is left in it. Either way it has to be a mount that the next process
//! finds, so a process that was put into a mount namespace of its own (`ip netns exec` does that,
//! with a fresh `/sys`) looks in that of process 1, or, where that is out of reach, of the eldest of
//! its ancestors that is not. Only a directory descriptor comes back from there; paths through it
//! work from anywhere.

use std::{
    fs::{self, DirBuilder, File},
    io, iter,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    mount::{MsFlags, mount, umount},
    sched::{CloneFlags, setns, unshare},
    sys::{
        statfs::{BPF_FS_MAGIC, fstatfs, statfs},
        statvfs::FsFlags,
    },
};

use crate::claims::Claims;

/// Where every other program expects it.
const USUAL: &str = "/sys/fs/bpf";

/// Where masq mounts its own, below [`crate::claims::RUN_DIR`].
const OWN: &str = "/run/masq/bpf";

/// Held while one is looked for, mounted or unmounted.
const LOCK: &str = "bpffs";

/// An open bpffs.
#[derive(Debug)]
pub struct BpfFs {
    /// `None` only while it is being dropped.
    root: Option<OwnedFd>,
    /// Whether it is the one at [`OWN`].
    own: bool,
}

impl BpfFs {
    /// Finds one, or mounts one.
    pub fn open() -> Result<Self> {
        let _alone = Claims::wait_for(LOCK)?;
        match find() {
            Some(found) => Ok(found),
            None => in_outer_mounts(|| find().map_or_else(mount_own, Ok))?,
        }
    }

    /// Finds one.
    pub fn find() -> Option<Self> {
        find().or_else(|| in_outer_mounts(find).ok().flatten())
    }

    /// The directory for everything of masq, as this process reaches it.
    pub fn directory(&self) -> PathBuf {
        let fd = self.root.as_ref().map_or(-1, OwnedFd::as_raw_fd);
        let root = PathBuf::from(format!("/proc/self/fd/{fd}"));
        if self.own { root } else { root.join("masq") }
    }

    /// Whether others can reach it; ours is behind the run directory.
    pub const fn is_shared(&self) -> bool {
        !self.own
    }

    /// The same, as a person knows it.
    pub fn shown(&self) -> PathBuf {
        if self.own { OWN.into() } else { Path::new(USUAL).join("masq") }
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let directory = self.directory();
        // Fails where another instance has its pins, which is right.
        if !self.own {
            let _ = fs::remove_dir(directory);
            return;
        }
        // The kernel puts files of its own into a bpffs; ours are directories.
        let is_ours = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|e| e.path().is_dir());
        let Ok(_alone) = Claims::wait_for(LOCK) else { return };
        if fs::read_dir(&directory).is_ok_and(|mut entries| entries.any(is_ours)) {
            return;
        }
        // A mount with open files in it cannot go; another instance's descriptor keeps it.
        self.root = None;
        let _ = in_outer_mounts(|| umount(OWN).is_ok() && fs::remove_dir(OWN).is_ok());
    }
}

/// A bpffs as somebody sees it who opens nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    /// Where it is.
    pub path: String,
    /// Whether something can be pinned in it.
    pub writable: bool,
}

/// What [`BpfFs::open`] would find. Opens, mounts and removes nothing.
pub fn mounted() -> Option<Mounted> {
    let look = || {
        [OWN, USUAL].into_iter().find_map(|path| {
            let statistics = statfs(path).ok()?;
            (statistics.filesystem_type() == BPF_FS_MAGIC).then(|| Mounted {
                path: path.to_owned(),
                writable: !statistics.flags().contains(FsFlags::ST_RDONLY),
            })
        })
    };
    look().or_else(|| in_outer_mounts(look).ok().flatten())
}

/// One that is mounted already, as this thread sees the machine.
fn find() -> Option<BpfFs> {
    let open = |path: &str| {
        let options = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(path);
        let directory = options.ok()?;
        let statistics = fstatfs(&directory).ok()?;
        (statistics.filesystem_type() == BPF_FS_MAGIC).then(|| OwnedFd::from(directory))
    };
    let own = open(OWN).map(|root| BpfFs { root: Some(root), own: true });
    own.or_else(|| open(USUAL).map(|root| BpfFs { root: Some(root), own: false }))
}

fn mount_own() -> Result<BpfFs> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(OWN)
        .with_context(|| format!("cannot make {OWN}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some("masq"), OWN, Some("bpf"), flags, Some("mode=0700")) {
        let _ = fs::remove_dir(OWN);
        return Err(anyhow!(
            "no bpffs is mounted at {USUAL}, and none can be mounted at {OWN}: {error}"
        ));
    }
    find().ok_or_else(|| anyhow!("the bpffs at {OWN} cannot be opened"))
}

/// Does something as the outermost process sees the file system.
fn in_outer_mounts<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    let number = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
    let own = number(&namespace("self"));
    let outer =
        ancestors().map(|process| namespace(&process)).filter(|path| number(path).is_some());
    let Some(outer) = outer.last().filter(|path| number(path) != own) else { return Ok(act()) };
    let enter = || -> io::Result<()> {
        let namespace = File::open(outer)?;
        // A thread of its own, which shares no working directory with the others.
        unshare(CloneFlags::CLONE_FS)?;
        Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?)
    };
    let thread = || {
        enter()
            .context("no bpffs is mounted here, and other mount namespaces cannot be entered")?;
        Ok(act())
    };
    thread::scope(|scope| scope.spawn(thread).join())
        .unwrap_or_else(|_| Err(anyhow!("a thread has failed")))
}

fn namespace(process: &str) -> PathBuf {
    format!("/proc/{process}/ns/mnt").into()
}

/// Parent, grandparent and so on, up to process 1.
fn ancestors() -> impl Iterator<Item = String> {
    let parent = |process: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        Some(line.trim().to_owned()).filter(|parent| parent != "0")
    };
    iter::successors(parent("self"), move |process| parent(process))
}
