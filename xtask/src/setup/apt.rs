//! Installs Debian packages, and knows which of Debian's archives has them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{console, process, toolchain::MINIMUM, workspace};

/// Debian 12 has the compiler and the LLVM that we need among its security updates (browsers are
/// built with them). A minimal installation may not have that archive configured.
const SECURITY_LIST: &str = "/etc/apt/sources.list.d/debian-security.list";

/// Whether packages can be installed here and by us; if not, why.
pub fn usable() -> Result<(), String> {
    if !is_debian() {
        return Err("this system has no apt-get, so nothing can be installed from here".to_owned());
    }
    if !is_root() {
        return Err("installing packages needs root".to_owned());
    }
    Ok(())
}

/// Whether this system has Debian's package manager.
pub fn is_debian() -> bool {
    which::which("apt-get").is_ok() && which::which("dpkg-query").is_ok()
}

/// Whether a package is installed.
pub fn has(package: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

/// Installs packages with a progress line. Refuses to remove any other.
pub fn install(packages: &[&str]) -> Result<()> {
    update()?;
    if let Some(lacking) = first_unavailable(packages)? {
        add_security_archive(lacking)?;
        update()?;
        if let Some(lacking) = first_unavailable(packages)? {
            bail!(
                "Debian's archives configured here have no {lacking}; masq is tried on Debian 12 and 13"
            );
        }
    }
    if packages.contains(&"llvm-22-dev") {
        console::say("LLVM and the compiler are about 200 MB to download, 1.1 GB installed");
    }
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    command.args(packages);
    let log = workspace::log("apt-install");
    process::quietly("apt-get install", command, &log, process::no_remark).context(
        "some packages cannot be installed; Debian's own rustc, clippy and rustup packages exclude \
         rustc-web (use https://rustup.rs instead of them)",
    )?;
    Ok(())
}

fn update() -> Result<()> {
    let log = workspace::log("apt-update");
    process::quietly("apt-get update", apt_get(&["update"]), &log, process::no_remark)?;
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .args(["--option", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    command
}

/// The first package that the configured archives do not have, or not as new as needed.
fn first_unavailable<'a>(packages: &[&'a str]) -> Result<Option<&'a str>> {
    for package in packages {
        match candidate(package)? {
            Some(version) if *package != "rustc-web" || is_recent(&version) => {}
            _ => return Ok(Some(package)),
        }
    }
    Ok(None)
}

fn candidate(package: &str) -> Result<Option<String>> {
    let output = Command::new("apt-cache")
        .env("LC_ALL", "C.UTF-8")
        .args(["policy", package])
        .output()
        .context("cannot start apt-cache")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(version.filter(|version| *version != "(none)").map(str::to_owned))
}

/// Whether a version such as `1.96.0+dfsg1-1~deb12u2` reaches the workspace's minimum.
fn is_recent(version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(['.', '+']).map_while(|part| part.parse().ok()).collect()
    };
    numbers(version) >= numbers(MINIMUM)
}

fn add_security_archive(for_package: &str) -> Result<()> {
    let Some(codename) = codename() else {
        bail!("the configured archives have no {for_package}, and this is no release of Debian");
    };
    if Path::new(SECURITY_LIST).exists() {
        bail!("the configured archives have no {for_package} (see {SECURITY_LIST})");
    }
    console::say(&format!(
        "the configured archives have no {for_package}: adding Debian's security updates \
         ({SECURITY_LIST})"
    ));
    let line = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
         http://deb.debian.org/debian-security {codename}-security main\n"
    );
    fs::write(SECURITY_LIST, line).with_context(|| format!("cannot write {SECURITY_LIST}"))
}

/// The name of this release of Debian; of Debian itself, not of what is derived from it.
fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim_matches('"').to_owned())
    };
    (field("ID=")? == "debian").then(|| field("VERSION_CODENAME="))?
}

/// Whether we are root: who owns what this process shows of itself in /proc.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::is_recent;

    #[test]
    fn debian_versions_compare_as_numbers() {
        assert!(is_recent("1.96.0+dfsg1-1~deb12u2"));
        assert!(is_recent("1.100.0+dfsg1-1"));
        assert!(!is_recent("1.85.0+dfsg3-1~deb12u3"));
        assert!(!is_recent("1.63.0+dfsg1-2"));
    }
}
