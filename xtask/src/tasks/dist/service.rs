//! The package and its units under a real systemd: in a machine of namespaces, of which `tests/systemd`
//! has the scripts. They make the checks; this calls them behind a progress line.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use super::{Made, staging::Folder};
use crate::{
    console, process,
    setup::{self, Scope},
    tasks::{build, vm::outcome::Outcome},
    workspace,
};

/// Seconds after which it is ended. On a machine that does nothing else it takes one.
const LIMIT: &str = "600";

/// The folder for results, and the package in it, as the machine sees them.
const PACKAGE: &str = "/run/machine/masq.deb";

/// Installs the package there, and has its service started, reloaded, restarted, killed, upgraded,
/// stopped and purged, with traffic going through.
pub fn check(made: &Made) -> Result<()> {
    setup::ensure(Scope::Service)?;
    console::heading("Trying the service under systemd");
    let folder = Folder::new(&build::target_folder()?.join("xtask"), "service")?;
    fs::copy(&made.package, folder.path().join("masq.deb"))
        .with_context(|| format!("cannot copy {}", made.package.display()))?;
    let scripts = workspace::root().join("tests/systemd");
    let mut machine = Command::new(scripts.join("machine.sh"));
    machine.current_dir(workspace::root()).arg(LIMIT).arg(folder.path());
    machine.arg(scripts.join("main.sh")).arg(PACKAGE);
    let log = workspace::log("dist-service");
    let outcome = process::quietly("service", machine, &log, Outcome::remark);
    // The machine is gone with the folder, and with it what could say more about a failure.
    let journal = folder.path().join("journal.log");
    if outcome.is_err() && journal.is_file() {
        let kept = workspace::log("dist-service-journal");
        fs::copy(&journal, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        console::say(&format!("the machine's journal: {}", kept.display()));
    }
    outcome.map(|_| ())
}
