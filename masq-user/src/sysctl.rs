//! Turning on IPv4 forwarding for as long as masq runs, if it was off.
//!
//! Writing `net.ipv4.ip_forward` changes other values too: the kernel sets forwarding of every
//! interface and of the default, and whether redirects are accepted. They are noted before and
//! put back after.
//!
//! The note is a file in the run directory, shared by all instances of a network namespace: the
//! last one that stops puts the values back, and so does one that follows on a killed one, be it
//! `masq stop`. Each holds a shared lock on it, so that whoever gets the exclusive one is the last.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::claims::RUN_DIR;

/// Where the values of this network namespace are.
const IPV4: &str = "/proc/sys/net/ipv4";

/// Values that the kernel changes along with the switch, by path.
pub type Along = BTreeMap<PathBuf, String>;

/// Forwarding that was turned on by masq; turned off when the last of these is dropped.
#[derive(Debug)]
pub struct Forwarding {
    switch: PathBuf,
    note: PathBuf,
    file: File,
    along: Along,
}

impl Forwarding {
    /// Turns forwarding on, in the network namespace with this cookie; `None` if it was on, other
    /// than by masq.
    pub fn enable(cookie: u64) -> Result<Option<Self>> {
        let note = Path::new(RUN_DIR).join(format!("forwarding-{cookie}"));
        Self::enable_in(Path::new(IPV4), note)
    }

    fn enable_in(root: &Path, note: PathBuf) -> Result<Option<Self>> {
        let switch = root.join("ip_forward");
        let was_on = fs::read_to_string(&switch)
            .with_context(|| format!("cannot read {}", switch.display()))?
            .trim()
            != "0";
        let noted = match join(&note)? {
            Some(noted) => noted,
            None if was_on => return Ok(None),
            None => {
                let along =
                    values_along(root).context("cannot read the forwarding of the interfaces")?;
                create(&note, along)?
            }
        };
        let (file, along) = noted;
        let forwarding = Self { switch, note, file, along };
        if !was_on {
            fs::write(&forwarding.switch, "1").with_context(|| {
                format!(
                    "cannot turn forwarding on; see that {} is writable, or run `sysctl -w \
                     net.ipv4.ip_forward=1` before masq",
                    forwarding.switch.display()
                )
            })?;
        }
        Ok(Some(forwarding))
    }

    /// What killed instances have noted in the network namespace with this cookie; `None` if they
    /// have not turned it on.
    pub fn left(cookie: u64) -> Result<Option<Self>> {
        let note = Path::new(RUN_DIR).join(format!("forwarding-{cookie}"));
        let noted = join(&note)?;
        let switch = Path::new(IPV4).join("ip_forward");
        Ok(noted.map(|(file, along)| Self { switch, note, file, along }))
    }

    /// Leaves it on, for a data plane that goes on without a daemon. The note stays too: whoever
    /// ends that data plane puts the values back.
    pub fn leave(self) {
        // Whoever ends that data plane may come before this process has ended.
        let _ = self.file.unlock();
        std::mem::forget(self);
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // Another instance needs it still.
        if self.file.try_lock().is_err() {
            return;
        }
        if let Err(error) = fs::write(&self.switch, "0") {
            tracing::warn!(%error, "cannot turn forwarding off again");
        }
        for (path, value) in &self.along {
            // What has not changed is not written, and interfaces may have vanished.
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                let _ = fs::write(path, value);
            }
        }
        let _ = fs::remove_file(&self.note);
    }
}

/// The values in a note.
pub fn read_note(text: &str) -> serde_json::Result<Along> {
    serde_json::from_str(text)
}

/// Takes part in what another instance has noted, if there is a note.
fn join(path: &Path) -> Result<Option<(File, Along)>> {
    loop {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        file.lock_shared().with_context(|| format!("cannot lock {}", path.display()))?;
        // The last instance may have stopped and removed it between opening and locking.
        let ours = file.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == ours) {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let along = read_note(&text)
                .with_context(|| format!("{} is damaged; remove it", path.display()))?;
            return Ok(Some((file, along)));
        }
    }
}

/// Writes the note; if another instance was quicker, takes part in its note.
fn create(path: &Path, along: Along) -> Result<(File, Along)> {
    // Complete and locked before others can see it.
    let draft = path.with_extension(std::process::id().to_string());
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("cannot write {}", draft.display()))?;
    file.write_all(serde_json::to_string(&along)?.as_bytes())
        .with_context(|| format!("cannot write {}", draft.display()))?;
    file.lock_shared()?;
    let noted = loop {
        match fs::hard_link(&draft, path) {
            Ok(()) => break Ok((file, along)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match join(path) {
                Ok(None) => {}
                Ok(Some(noted)) => break Ok(noted),
                Err(error) => break Err(error),
            },
            Err(error) => {
                break Err(error).with_context(|| format!("cannot write {}", path.display()));
            }
        }
    };
    let _ = fs::remove_file(draft);
    noted
}

fn values_along(root: &Path) -> io::Result<Along> {
    let mut values = BTreeMap::new();
    let mut note = |path: PathBuf| {
        if let Ok(value) = fs::read_to_string(&path) {
            values.insert(path, value);
        }
    };
    for entry in fs::read_dir(root.join("conf"))? {
        let dir = entry?.path();
        // `all` is the switch itself under another name.
        if !dir.ends_with("all") {
            note(dir.join("forwarding"));
        }
    }
    note(root.join("conf/all/accept_redirects"));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory like `/proc/sys/net/ipv4`, removed when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, forward: &str) -> Self {
            let root = std::env::temp_dir().join(format!("masq-{name}-{}", std::process::id()));
            for (dir, value) in [("all", forward), ("eth0", "1"), ("eth1", "0")] {
                fs::create_dir_all(root.join("conf").join(dir)).unwrap();
                fs::write(root.join("conf").join(dir).join("forwarding"), value).unwrap();
            }
            fs::write(root.join("conf/all/accept_redirects"), "0").unwrap();
            fs::write(root.join("ip_forward"), forward).unwrap();
            Self(root)
        }

        fn enable(&self) -> Option<Forwarding> {
            Forwarding::enable_in(&self.0, self.0.join("note")).unwrap()
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.0.join(path)).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn forwarding_that_was_off_is_off_again_and_takes_nothing_along() {
        let tree = Tree::new("off", "0\n");
        let guard = tree.enable().expect("it was off");
        assert_eq!(tree.read("ip_forward"), "1");
        // What the kernel does when it is turned off.
        fs::write(tree.0.join("conf/eth0/forwarding"), "0").unwrap();
        fs::write(tree.0.join("conf/all/accept_redirects"), "1").unwrap();
        drop(guard);
        assert_eq!(tree.read("ip_forward"), "0");
        assert_eq!(tree.read("conf/eth0/forwarding"), "1");
        assert_eq!(tree.read("conf/eth1/forwarding"), "0");
        assert_eq!(tree.read("conf/all/accept_redirects"), "0");
        assert!(!tree.0.join("note").exists());
    }

    #[test]
    fn forwarding_that_was_on_is_left_alone() {
        let tree = Tree::new("on", "1\n");
        assert!(tree.enable().is_none());
        assert!(!tree.0.join("note").exists());
    }

    #[test]
    fn the_last_of_two_instances_turns_it_off() {
        let tree = Tree::new("two", "0\n");
        let (first, second) = (tree.enable().unwrap(), tree.enable().expect("masq turned it on"));
        drop(first);
        assert_eq!(tree.read("ip_forward"), "1");
        drop(second);
        assert_eq!(tree.read("ip_forward"), "0");
    }

    #[test]
    fn an_instance_that_follows_on_a_killed_one_cleans_up_for_both() {
        let tree = Tree::new("killed", "0\n");
        let killed = tree.enable().unwrap();
        fs::write(tree.0.join("conf/eth1/forwarding"), "1").unwrap();
        // A killed process loses its locks and runs nothing more.
        killed.file.unlock().unwrap();
        std::mem::forget(killed);
        drop(tree.enable().expect("masq turned it on"));
        assert_eq!(tree.read("ip_forward"), "0");
        assert_eq!(tree.read("conf/eth1/forwarding"), "0");
    }
}
