//! Whether what was made is good: the Debian package is installed, used, updated and removed in a folder
//! of its own and, by [`super::service`], under systemd, the archive compared with it, and the installed
//! program put to its main job.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Made, service,
    staging::{self, Folder},
};
use crate::{
    console, process,
    setup::{self, Scope},
    workspace,
};

/// Every file that the package may bring, and must.
const FILES: &str = "\
etc/masq/masq.toml
usr/bin/masq
usr/lib/systemd/system/masq.service
usr/lib/systemd/system/masq@.service
usr/share/bash-completion/completions/masq
usr/share/doc/masq/ARCHITECTURE.md
usr/share/doc/masq/CHANGELOG.md
usr/share/doc/masq/README.md
usr/share/doc/masq/alerts.yml
usr/share/doc/masq/changelog.gz
usr/share/doc/masq/copyright
usr/share/doc/masq/dashboard.json
usr/share/doc/masq/operations.md
usr/share/doc/masq/third-party.gz
usr/share/fish/vendor_completions.d/masq.fish
usr/share/zsh/vendor-completions/_masq
";

/// Where the manual pages are, of which there is one for each command.
const PAGES: &str = "usr/share/man/man1/";

/// What stays between removal and purge.
const CONFIGURATION: &str = "etc/masq/masq.toml";

/// How much to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Thoroughness {
    /// What takes no more than a minute or two.
    Quick,
    /// All that can be tried here, down to the traffic of the main job.
    Full,
}

/// Tries what was made.
pub fn check(made: &Made, thoroughness: Thoroughness) -> Result<()> {
    ensure!(setup::is_root(), "files of a package belong to root: run this task as root");
    console::heading("Trying the archive");
    archive(made)?;
    console::heading("Trying the package");
    let machine = Machine::new(made)?;
    machine.package_comes_and_goes(made)?;
    service::check(made)?;
    if thoroughness == Thoroughness::Quick {
        return Ok(());
    }
    setup::setup(Scope::Everything, setup::Intent::Install)?;
    machine.install(made)?;
    console::heading("Trying the installed program");
    for (suite, filter) in
        [("cli", ""), ("netns", "service::"), ("netns", "restart::"), ("netns", "tcp::")]
    {
        let mut test = process::cargo(&["test", "--package", "masq-tests", "--test", suite]);
        test.args(["--", filter]).env("MASQ_BIN", machine.path("usr/bin/masq"));
        let title = format!("suite {suite} {filter}");
        let log = workspace::log(&format!("dist-{suite}"));
        process::quietly(title.trim_end(), test, &log, process::no_remark)?;
    }
    Ok(())
}

/// The checksums are right, and the program in the archive runs.
fn archive(made: &Made) -> Result<()> {
    let folder = made.archive.parent().context("the archive lies nowhere")?;
    let mut sums = Command::new("sha256sum");
    staging::output(sums.args(["--check", "--strict"]).arg(&made.sums).current_dir(folder))?;
    let unpacked = Folder::new(folder, "unpacked")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]).arg(&made.archive);
    staging::output(tar.arg("--directory").arg(unpacked.path()))?;
    runs(&unpacked.path().join("masq"))?;
    for file in ["man/man1/masq-run.1", "masq@.service", "masq.toml", "licences/third-party.txt"] {
        ensure!(unpacked.path().join(file).is_file(), "the archive has no {file}");
    }
    console::good("the archive has what it should, and its masq runs");
    Ok(())
}

fn runs(program: &Path) -> Result<()> {
    let version = staging::output(Command::new(program).arg("--version"))?;
    ensure!(version.starts_with("masq "), "{} --version prints `{version}`", program.display());
    Ok(())
}

/// A folder that `dpkg` takes for a machine.
struct Machine(Folder);

impl Machine {
    fn new(made: &Made) -> Result<Self> {
        let parent = made.package.parent().context("the package lies nowhere")?;
        let folder = Folder::new(parent, "machine")?;
        for name in ["info", "updates", "triggers"] {
            fs::create_dir_all(folder.path().join("var/lib/dpkg").join(name))?;
        }
        fs::write(folder.path().join("var/lib/dpkg/status"), "")?;
        Ok(Self(folder))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// The package's scripts run outside of the folder, and are told where it is.
    fn dpkg(&self, arguments: &[&OsStr]) -> Result<String> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.0.path().display()))
            .args(["--force-script-chrootless", "--force-not-root"])
            .arg(format!("--log={}", self.path("var/lib/dpkg/log").display()))
            .args(arguments)
            .env("LC_ALL", "C.UTF-8");
        staging::output(&mut dpkg)
    }

    fn install(&self, made: &Made) -> Result<()> {
        self.dpkg(&["--install".as_ref(), made.package.as_os_str()]).map(|_| ())
    }

    /// All files that are there now, without those of `dpkg` itself.
    fn files(&self) -> Result<BTreeSet<String>> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let relative = path.strip_prefix(self.0.path())?.to_string_lossy().into_owned();
                if path.is_dir() && relative != "var" {
                    folders.push(path);
                } else if relative != "var" {
                    files.insert(relative);
                }
            }
        }
        Ok(files)
    }

    /// Installs, updates, removes and purges the package, looking at the files after each.
    fn package_comes_and_goes(&self, made: &Made) -> Result<()> {
        self.install(made)?;
        let files = self.files()?;
        self.is_complete(&files)?;
        let broken = self.dpkg(&["--verify".as_ref(), "masq".as_ref()])?;
        ensure!(broken.is_empty(), "files differ from their checksums:\n{broken}");
        runs(&self.path("usr/bin/masq"))?;
        console::good(&format!("installed: {} files", files.len()));

        self.units()?;

        let own = "# the administrator's own\n";
        fs::write(self.path(CONFIGURATION), own)?;
        self.install(made)?;
        let kept = fs::read_to_string(self.path(CONFIGURATION))?;
        ensure!(kept == own, "another installation has overwritten the configuration");
        self.dpkg(&["--remove".as_ref(), "masq".as_ref()])?;
        let rest: Vec<_> = self.files()?.into_iter().collect();
        ensure!(rest == [CONFIGURATION], "after the removal there are {rest:?}");
        console::good("removed: only the configuration stays, as the administrator has left it");

        // Of an instance beside the first, and of services that are to start by themselves.
        fs::write(self.path("etc/masq/second.toml"), own)?;
        let wants = self.path("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        fs::write(wants.join("masq@second.service"), "")?;
        self.dpkg(&["--purge".as_ref(), "masq".as_ref()])?;
        let rest = self.files()?;
        ensure!(rest.is_empty(), "after the purge there are {rest:?}");
        ensure!(!self.path("etc/masq").exists(), "after the purge there is etc/masq");
        console::good("purged: nothing stays");
        Ok(())
    }

    fn is_complete(&self, files: &BTreeSet<String>) -> Result<()> {
        let (pages, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|path| path.starts_with(PAGES));
        let expected: Vec<_> = FILES.lines().collect();
        ensure!(others == expected, "the package brings {others:#?} and not {expected:#?}");
        for page in ["masq", "masq-run", "masq-sessions", "masq-stop"] {
            let path = format!("{PAGES}{page}.1.gz");
            ensure!(pages.contains(&&path), "the package has no {path}");
        }
        for path in files {
            let mode = fs::metadata(self.path(path))?.permissions().mode() & 0o7777;
            let wanted = if path == "usr/bin/masq" { 0o755 } else { 0o644 };
            ensure!(mode == wanted, "{path} has mode {mode:o} and not {wanted:o}");
        }
        Ok(())
    }

    /// What systemd says of the units, where there is one to ask.
    fn units(&self) -> Result<()> {
        if which::which("systemd-analyze").is_err() {
            console::say("there is no systemd-analyze here, so nobody has read the units");
            return Ok(());
        }
        let folder = self.path("var/units");
        fs::create_dir_all(&folder)?;
        for (name, instance) in
            [("masq.service", "masq.service"), ("masq@.service", "masq@second.service")]
        {
            let unit = fs::read_to_string(self.path("usr/lib/systemd/system").join(name))?;
            // The program that is meant lies in this folder.
            let program = self.path("usr/bin/masq").display().to_string();
            let unit = unit.replace("/usr/bin/masq", &program);
            let file = folder.join(instance);
            fs::write(&file, unit)?;
            let mut verify = Command::new("systemd-analyze");
            verify.args(["verify", "--man=no", "--generators=no"]).arg(&file);
            let output = verify.output().context("cannot start systemd-analyze")?;
            // It also remarks on the units of this machine.
            let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
            let about_it = |line: &&str| line.contains(instance) || line.contains(&program);
            let ours: Vec<_> = remarks.lines().filter(about_it).collect();
            if !ours.is_empty() {
                bail!("systemd finds fault with {name}:\n{}", ours.join("\n"));
            }
        }
        console::good("systemd finds no fault with the units");
        Ok(())
    }
}
