//! The Debian package, made with `dpkg-deb`, which every Debian has: there is nothing to compile and
//! no dependency to find out, since the program is static.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    Version, debian_architecture,
    parts::{self, DOCUMENTS, Parts},
    staging::{self, Entry, Folder},
};
use crate::{process, workspace};

const DESCRIPTION: &str = "\
Description: masquerading gateway in eBPF
 masq lets hosts with private addresses reach the Internet through the one,
 changing address of a WAN interface (IP masquerade, NAPT44). Established
 flows take one hash lookup and go past the rest of the network stack; first
 packets take the kernel's own way. Sessions outlive the daemon.
 .
 It needs Linux 6.1 or newer with BTF.
";

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// What the administrator may change and a newer version must not overwrite.
const CONFIGURATION: &str = "/etc/masq/masq.toml\n";

/// Makes it and returns its path.
pub fn package(parts: &Parts, version: &Version, folder: &Path) -> Result<PathBuf> {
    let architecture = debian_architecture()?;
    let maintainer = maintainer();
    let staged = Folder::new(folder, "debian")?;
    let mut entries = parts.for_debian();
    for document in DOCUMENTS {
        let name = document.rsplit('/').next().unwrap_or(document);
        let path = format!("usr/share/doc/masq/{name}");
        entries.push(Entry::new(path, parts::read(document)?));
    }
    let copyright = parts::read("packaging/debian/copyright")?;
    entries.push(Entry::new("usr/share/doc/masq/copyright", copyright));
    let changelog = changelog(version, &maintainer)?;
    entries.push(Entry::new("usr/share/doc/masq/changelog", changelog));
    staged.fill(&entries)?;
    let paths = entries.iter().map(|entry| entry.path.as_str());
    staged.compress(paths.clone().filter(|path| parts::compressed(path)))?;

    let size: usize = entries.iter().map(|entry| entry.content.len().div_ceil(1024)).sum();
    let control = format!(
        "Package: masq\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {maintainer}\n\
         Installed-Size: {size}\nSection: net\nPriority: optional\n{DESCRIPTION}",
        version.number
    );
    let final_path = |path: &str| {
        if parts::compressed(path) { format!("{path}.gz") } else { path.to_owned() }
    };
    let mut listed: Vec<_> = paths.map(final_path).collect();
    listed.sort();
    let sums = staging::output(Command::new("md5sum").args(listed).current_dir(staged.path()))?;
    staged.fill(&control_files(control, sums)?)?;

    let file = folder.join(format!("masq_{}_{architecture}.deb", version.number));
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(staged.path())
        .arg(&file)
        .env("SOURCE_DATE_EPOCH", version.epoch.to_string());
    let log = workspace::log("dist-package");
    process::quietly("Debian package", build, &log, process::no_remark)?;
    Ok(file)
}

/// What `dpkg` reads of the package.
fn control_files(control: String, sums: String) -> Result<Vec<Entry>> {
    let mut entries = vec![
        Entry::new("DEBIAN/control", control),
        Entry::new("DEBIAN/md5sums", sums),
        Entry::new("DEBIAN/conffiles", CONFIGURATION),
    ];
    for name in SCRIPTS {
        let script = parts::read(&format!("packaging/debian/{name}"))?;
        entries.push(Entry::executable(format!("DEBIAN/{name}"), script));
    }
    Ok(entries)
}

/// Who made the package: the variables that Debian's own tools read.
fn maintainer() -> String {
    let or = |variable, default: &str| env::var(variable).unwrap_or_else(|_| default.to_owned());
    format!(
        "{} <{}>",
        or("DEBFULLNAME", "The masq contributors"),
        or("DEBEMAIL", "masq@masq.invalid")
    )
}

/// The changelog in the form that Debian's tools read; what people read is CHANGELOG.md beside it.
fn changelog(version: &Version, maintainer: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--rfc-email"]);
    date.arg(format!("--date=@{}", version.epoch));
    let date = staging::output(&mut date).context("cannot tell the date")?;
    let mut text = String::new();
    writeln!(text, "masq ({}) unstable; urgency=medium\n", version.number)?;
    writeln!(text, "  * What changed is told in CHANGELOG.md.\n")?;
    writeln!(text, " -- {maintainer}  {}", date.trim())?;
    Ok(text)
}
