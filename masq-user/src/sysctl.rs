//! Turning on IPv4 forwarding for as long as masq runs, if it was off.
//!
//! Writing `net.ipv4.ip_forward` changes other values too: the kernel sets forwarding of every
//! interface and of the default, and whether redirects are accepted. They are noted before and
//! put back after.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Where the values of this network namespace are.
const IPV4: &str = "/proc/sys/net/ipv4";

/// Forwarding that was turned on here; turned off when dropped.
#[derive(Debug)]
pub struct Forwarding {
    root: PathBuf,
    /// Values that the kernel changes along with the switch, by path.
    along: BTreeMap<PathBuf, String>,
}

impl Forwarding {
    /// Turns forwarding on; `None` if it was on.
    pub fn enable() -> Result<Option<Self>> {
        Self::enable_in(Path::new(IPV4))
    }

    fn enable_in(root: &Path) -> Result<Option<Self>> {
        let switch = root.join("ip_forward");
        let now = fs::read_to_string(&switch)
            .with_context(|| format!("cannot read {}", switch.display()))?;
        if now.trim() != "0" {
            return Ok(None);
        }
        let along = values_along(root).context("cannot read the forwarding of the interfaces")?;
        fs::write(&switch, "1").with_context(|| {
            format!(
                "cannot turn forwarding on; see that {} is writable, or run `sysctl -w \
                 net.ipv4.ip_forward=1` before masq",
                switch.display()
            )
        })?;
        Ok(Some(Self { root: root.to_owned(), along }))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.root.join("ip_forward"), "0") {
            tracing::warn!(%error, "cannot turn forwarding off again");
            return;
        }
        for (path, value) in &self.along {
            // What has not changed is not written, and interfaces may have vanished.
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                let _ = fs::write(path, value);
            }
        }
    }
}

fn values_along(root: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
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

    fn tree(name: &str, forward: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("masq-sysctl-{name}-{}", std::process::id()));
        for (dir, value) in [("all", forward), ("eth0", "1"), ("eth1", "0")] {
            fs::create_dir_all(root.join("conf").join(dir)).unwrap();
            fs::write(root.join("conf").join(dir).join("forwarding"), value).unwrap();
        }
        fs::write(root.join("conf/all/accept_redirects"), "0").unwrap();
        fs::write(root.join("ip_forward"), forward).unwrap();
        root
    }

    #[test]
    fn forwarding_that_was_off_is_off_again_and_takes_nothing_along() {
        let root = tree("off", "0\n");
        let guard = Forwarding::enable_in(&root).unwrap().expect("it was off");
        assert_eq!(fs::read_to_string(root.join("ip_forward")).unwrap(), "1");
        // What the kernel does when it is turned off.
        fs::write(root.join("conf/eth0/forwarding"), "0").unwrap();
        fs::write(root.join("conf/all/accept_redirects"), "1").unwrap();
        drop(guard);
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("ip_forward"), "0");
        assert_eq!(read("conf/eth0/forwarding"), "1");
        assert_eq!(read("conf/eth1/forwarding"), "0");
        assert_eq!(read("conf/all/accept_redirects"), "0");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn forwarding_that_was_on_is_left_alone() {
        let root = tree("on", "1\n");
        assert!(Forwarding::enable_in(&root).unwrap().is_none());
        fs::remove_dir_all(root).unwrap();
    }
}
