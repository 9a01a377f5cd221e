//! `cargo xtask dist`: what is published of a version: a static program with its manual pages,
//! completion scripts and units, as an archive and as a Debian package, and their checksums.
//!
//! The same commit gives the same files, byte for byte, as far as the same tools and crates are used:
//! nothing in them says when or where they were made. SOURCE_DATE_EPOCH is the time of the commit
//! unless it is set.

pub mod check;
mod debian;
mod licences;
mod parts;
pub mod program;
mod service;
mod staging;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{check::Thoroughness, parts::Parts};
use super::build;
use crate::{
    console, process,
    setup::{self, Scope},
    workspace,
};

/// What is known of a version before anything is made of it.
pub struct Version {
    /// As in `Cargo.toml`.
    pub number: String,
    /// What every file is dated, in seconds since 1970.
    pub epoch: u64,
}

impl Version {
    fn of_the_checkout() -> Result<Self> {
        let metadata = build::metadata()?;
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let masq = packages.into_iter().find(|package| package["name"] == "masq-user");
        let number = masq.and_then(|package| package["version"].as_str());
        let number = number.context("`cargo metadata` knows no masq-user")?.to_owned();
        Ok(Self { number, epoch: epoch()? })
    }
}

/// What was made.
pub struct Made {
    /// The archive for any Linux.
    pub archive: PathBuf,
    /// The Debian package.
    pub package: PathBuf,
    /// The checksums of both.
    pub sums: PathBuf,
}

/// Makes everything and, if asked to, tries it.
pub fn dist(
    check: Option<Thoroughness>,
    program: Option<PathBuf>,
    folder: Option<PathBuf>,
) -> Result<()> {
    let program = match program {
        Some(program) => program,
        None => {
            setup::ensure(Scope::Build)?;
            console::heading("Building a static masq");
            program::build()?
        }
    };
    let folder = match folder {
        Some(folder) => std::path::absolute(folder).context("cannot tell the folder")?,
        None => build::target_folder()?.join("dist"),
    };
    let made = make(&program, &folder)?;
    for file in [&made.archive, &made.package, &made.sums] {
        console::good(&file.display().to_string());
    }
    match check {
        Some(check) => check::check(&made, check),
        None => Ok(()),
    }
}

/// Makes everything around a program that is built already.
fn make(program: &Path, folder: &Path) -> Result<Made> {
    let version = Version::of_the_checkout()?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    console::heading("Packing");
    let parts = Parts::gather(program)?;
    let archive = archive(&parts, &version, folder)?;
    let package = debian::package(&parts, &version, folder)?;
    let sums = sums([&archive, &package], folder)?;
    Ok(Made { archive, package, sums })
}

/// The archive: one folder, for people to copy from.
fn archive(parts: &Parts, version: &Version, folder: &Path) -> Result<PathBuf> {
    let name = format!("masq-{}-{}-linux", version.number, env::consts::ARCH);
    let staged = staging::Folder::new(folder, &name)?;
    staged.fill(&parts.for_archive()?)?;
    let archive = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--sort=name", "--owner=0", "--group=0"])
        .args(["--numeric-owner", "--use-compress-program=gzip -9n"])
        .arg(format!("--mtime=@{}", version.epoch))
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(folder)
        .arg(&name);
    process::quietly("archive", tar, &workspace::log("dist-archive"), process::no_remark)?;
    Ok(archive)
}

/// The checksums, for `sha256sum --check`.
fn sums(files: [&Path; 2], folder: &Path) -> Result<PathBuf> {
    let names = files.map(|path| path.file_name().unwrap_or_default());
    let sums = staging::output(Command::new("sha256sum").args(names).current_dir(folder))?;
    let file = folder.join("SHA256SUMS");
    fs::write(&file, sums).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The time of everything: SOURCE_DATE_EPOCH, or the time of the commit.
fn epoch() -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    if let Ok(text) = env::var(VARIABLE) {
        return text.parse().with_context(|| format!("{VARIABLE} is `{text}`, and no number"));
    }
    let mut git = Command::new("git");
    git.current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]);
    match git.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.trim().parse().context("git gave no time")
        }
        _ => bail!("this is no git checkout, so say in {VARIABLE} when this version was made"),
    }
}

/// The name of this machine's architecture in Debian.
fn debian_architecture() -> Result<&'static str> {
    ensure!(env::consts::ARCH == "x86_64", "masq is for x86-64 only");
    Ok("amd64")
}
