//! What belongs to one instance on this machine: its name and its interfaces, as locked files in
//! the run directory. A lock goes with its process, however that ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
            net::UnixDatagram,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    error::{self, Error},
};

/// Sockets and locks of all instances.
pub const RUN_DIR: &str = "/run/masq";

/// Socket option, Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A network namespace, by the number that names it under `/proc/PID/ns`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(transparent)]
pub struct Netns(pub u64);

impl Netns {
    /// The one that this process is in.
    pub fn own() -> Result<Self> {
        Self::of("self")
    }

    /// The number that this process's network namespace has alone, in the whole life of the kernel:
    /// the one under `/proc` is given to another after its end.
    pub fn cookie() -> Result<u64> {
        let socket = UnixDatagram::unbound().context("cannot open a socket")?;
        let mut cookie = 0_u64;
        let mut length = size_of::<u64>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the two pointers are valid for what they point to.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(cookie)
        } else {
            Err(io::Error::last_os_error()).context("cannot tell the network namespace")
        }
    }

    /// Whether it is the one of the machine (or container), that of process 1.
    pub fn is_initial(self) -> bool {
        Self::of("1").is_ok_and(|initial| initial == self)
    }

    /// That of a process, if it can be seen from here.
    pub fn of_process(pid: u32) -> Result<Self> {
        Self::of(&pid.to_string())
    }

    fn of(process: &str) -> Result<Self> {
        let path = format!("/proc/{process}/ns/net");
        let metadata = fs::metadata(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self(metadata.ino()))
    }
}

/// The name of an instance: the user's choice, or its first WAN and, where the same interface
/// names may exist many times, its network namespace.
pub fn instance_name(config: &Config, netns: Netns) -> String {
    if let Some(name) = &config.instance {
        return name.clone();
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let wan: String = config.wans[0].chars().map(|c| if good(c) { c } else { '_' }).collect();
    // A file that begins with a dot would be hidden.
    let wan = wan.trim_start_matches('.');
    if netns.is_initial() { wan.to_owned() } else { format!("{wan}-{}", netns.0) }
}

/// The claims of one instance; given up when dropped.
#[derive(Debug)]
pub struct Claims {
    run_dir: PathBuf,
    locks: Vec<(PathBuf, File)>,
}

impl Claims {
    /// Claims the name and all interfaces, or nothing.
    pub fn take(config: &Config, instance: &str, netns: Netns) -> error::Result<Self> {
        let name = (format!("instance-{instance}"), format!("the instance name {instance}"));
        let interfaces = config
            .interfaces()
            .map(|name| (format!("{}-{name}", netns.0), format!("interface {name}")));
        Self::take_in(Path::new(RUN_DIR), std::iter::once(name).chain(interfaces))
    }

    /// Claims the name of an instance whose daemon has gone.
    pub fn take_name(instance: &str) -> error::Result<Self> {
        let name = (format!("instance-{instance}"), format!("the instance name {instance}"));
        Self::take_in(Path::new(RUN_DIR), std::iter::once(name))
    }

    /// The names that are claimed, with the processes that do: daemons, of which some may have just begun.
    pub fn names() -> Vec<(String, u32)> {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let entries = fs::read_dir(Path::new(RUN_DIR).join("locks"));
        let entries = entries.into_iter().flatten().flatten();
        let holder = |entry: fs::DirEntry| {
            let name = entry.file_name().to_str()?.strip_prefix("instance-")?.to_owned();
            Some((name, holder(&locks, &entry.metadata().ok()?)?))
        };
        entries.filter_map(holder).collect()
    }

    /// Claims besides what is free of these interfaces.
    pub fn take_free<'a>(&mut self, netns: Netns, interfaces: impl Iterator<Item = &'a str>) {
        for name in interfaces {
            let path = self.lock_dir().join(format!("{}-{name}", netns.0));
            if let Ok(Some(file)) = lock(&path, Patience::None) {
                self.locks.push((path, file));
            }
        }
    }

    /// Claims these interfaces besides, or none of them.
    pub fn take_more(&mut self, netns: Netns, interfaces: &[String]) -> error::Result<()> {
        // One that was let go of may be claimed still, for what an earlier daemon has left on it.
        let file = |name: &String| format!("{}-{name}", netns.0);
        let new = interfaces.iter().filter(|name| !self.has(&file(name)));
        let wanted: Vec<_> = new.map(|name| (file(name), format!("interface {name}"))).collect();
        let mut more = Self::take_in(&self.run_dir, wanted.into_iter())?;
        self.locks.append(&mut more.locks);
        Ok(())
    }

    /// Gives up the claims on these interfaces.
    pub fn give_up(&mut self, netns: Netns, interfaces: &[String]) {
        for name in interfaces {
            let path = self.lock_dir().join(format!("{}-{name}", netns.0));
            let given_up = self.locks.extract_if(.., |(claimed, _)| *claimed == path);
            // Removed while it is locked, as when all of them are dropped.
            given_up.for_each(|(path, _lock)| drop(fs::remove_file(path)));
        }
    }

    fn has(&self, file: &str) -> bool {
        let path = self.lock_dir().join(file);
        self.locks.iter().any(|(claimed, _)| *claimed == path)
    }

    /// Removes the lock files of processes that were killed.
    pub fn tidy_up() {
        let mut claims = Self { run_dir: RUN_DIR.into(), locks: Vec::new() };
        for entry in fs::read_dir(claims.lock_dir()).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Ok(Some(file)) = lock(&path, Patience::None) {
                claims.locks.push((path, file));
            }
        }
    }

    /// Waits for something that belongs to no instance and that nobody holds for long.
    pub fn wait_for(what: &str) -> Result<Self> {
        let mut claims = Self { run_dir: RUN_DIR.into(), locks: Vec::new() };
        let path = claims.lock_dir().join(what);
        let file = lock(&path, Patience::Endless)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        claims.locks.extend(file.map(|file| (path, file)));
        Ok(claims)
    }

    fn take_in(
        run_dir: &Path,
        wanted: impl Iterator<Item = (String, String)>,
    ) -> error::Result<Self> {
        let mut claims = Self { run_dir: run_dir.to_owned(), locks: Vec::new() };
        for (file, what) in wanted {
            let path = claims.lock_dir().join(file);
            let lock = lock(&path, Patience::None)
                .with_context(|| format!("cannot lock {}", path.display()))?
                .ok_or_else(|| {
                    Error::Refused(format!(
                        "{what} is taken by another running masq; see `masq instances`, and stop \
                         that one or choose another"
                    ))
                })?;
            claims.locks.push((path, lock));
        }
        Ok(claims)
    }

    fn lock_dir(&self) -> PathBuf {
        self.run_dir.join("locks")
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        // Removed while still locked: whoever has opened the file meanwhile sees that it has gone.
        for (path, _) in &self.locks {
            let _ = fs::remove_file(path);
        }
        // Fails if another instance is there, which is right.
        let _ = fs::remove_dir(self.lock_dir());
        let _ = fs::remove_dir(&self.run_dir);
    }
}

/// Whether to wait for a lock that somebody else has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    Endless,
}

/// Locks a file; `None` if somebody else has it and it is not to be waited for.
fn lock(path: &Path, patience: Patience) -> io::Result<Option<File>> {
    loop {
        let file = match open(path) {
            // Another instance has just removed the directory as it left.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if patience == Patience::Endless {
            file.lock()?;
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The file may have been removed between opening and locking.
        let same = |there: fs::Metadata, ours: fs::Metadata| there.ino() == ours.ino();
        if fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| same(there, ours)))
        {
            return Ok(Some(file));
        }
    }
}

/// The process that has locked a file, as the kernel's list says. To try the lock would be in the way of
/// whoever wants it.
fn holder(locks: &str, file: &fs::Metadata) -> Option<u32> {
    let device = file.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        // Those who wait for it have an arrow here.
        (words.next()? == "FLOCK").then_some(())?;
        let mut words = words.skip(2);
        let pid = words.next()?.parse().ok()?;
        (words.next()? == place).then_some(pid)
    })
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_known_as_long_as_it_has_it() {
        let path = std::env::temp_dir().join(format!("masq-holder-{}", std::process::id()));
        let held = lock(&path, Patience::None).unwrap().unwrap();
        let file = held.metadata().unwrap();
        let locks = || fs::read_to_string("/proc/locks").unwrap();
        assert_eq!(holder(&locks(), &file), Some(std::process::id()));
        let waiting = locks().replace(": FLOCK", ": -> FLOCK");
        assert_eq!(holder(&waiting, &file), None);
        drop(held);
        assert_eq!(holder(&locks(), &file), None);
        fs::remove_file(path).unwrap();
    }

    fn wanted(names: &[&str]) -> impl Iterator<Item = (String, String)> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), format!("interface {name}")))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn a_claim_excludes_others_until_it_is_dropped_and_leaves_nothing() {
        let dir = std::env::temp_dir().join(format!("masq-claims-{}", std::process::id()));
        let first = Claims::take_in(&dir, wanted(&["a", "b"])).unwrap();
        let error = Claims::take_in(&dir, wanted(&["c", "b"])).unwrap_err();
        assert!(error.to_string().contains("interface b is taken"), "{error}");
        let other = Claims::take_in(&dir, wanted(&["c"])).expect("c was given up again");
        drop(first);
        drop(other);
        assert!(!dir.exists());
        drop(Claims::take_in(&dir, wanted(&["b"])).unwrap());
        assert!(!dir.exists());
    }

    #[test]
    fn interfaces_are_claimed_later_and_given_up_alone() {
        let dir = std::env::temp_dir().join(format!("masq-more-claims-{}", std::process::id()));
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let netns = Netns(7);
        let mut first = Claims::take_in(&dir, wanted(&["7-a"])).unwrap();
        let second = Claims::take_in(&dir, wanted(&["7-d"])).unwrap();
        let error = first.take_more(netns, &names(&["b", "d"])).unwrap_err();
        assert!(error.to_string().contains("interface d is taken"), "{error}");
        drop(Claims::take_in(&dir, wanted(&["7-b"])).expect("b was given up again"));
        first.take_more(netns, &names(&["a", "b"])).unwrap();
        assert!(Claims::take_in(&dir, wanted(&["7-b"])).is_err());
        first.give_up(netns, &names(&["a"]));
        drop(Claims::take_in(&dir, wanted(&["7-a"])).expect("a is free"));
        assert!(Claims::take_in(&dir, wanted(&["7-b"])).is_err());
        drop((first, second));
        assert!(!dir.exists());
    }
}
