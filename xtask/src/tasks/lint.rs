//! `cargo xtask lint`: formatting, and clippy without mercy.
//!
//! The kernel crate is linted for the target that it runs on. clippy reads the compiler's `core`
//! and so must be of the same release: it is called through the compiler that builds the object.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{build, dist::program};
use crate::{
    console, object, process,
    setup::{self, Scope},
    toolchain, workspace,
};

/// One check.
pub struct Check {
    /// What it looks at.
    pub title: &'static str,
    /// The file for its output.
    pub log: &'static str,
    /// What to run.
    pub command: Command,
}

/// Runs every check, also after one has failed.
pub fn lint() -> Result<()> {
    setup::ensure(Scope::Lint)?;
    let mut result = Ok(());
    for check in checks()? {
        let log = workspace::log(check.log);
        let outcome = process::quietly(check.title, check.command, &log, process::no_remark);
        result = result.and(outcome.map(|_| ()));
    }
    result
}

/// The checks in the order of their cost. The machine must be set up.
pub fn checks() -> Result<Vec<Check>> {
    // Of no interest but for its failure when Cargo.lock does not fit the manifests.
    let lock = process::cargo(&["tree", "--locked", "--depth=0"]);
    let format = process::cargo(&["fmt", "--all", "--check"]);
    let mut host = process::cargo(&["clippy", "--workspace", "--all-targets"]);
    host.args(["--exclude", object::PACKAGE, "--", "--deny=warnings"]);
    let mut checks = vec![
        Check { title: "Cargo.lock is up to date", log: "lint-lock", command: lock },
        Check { title: "format", log: "lint-format", command: format },
        Check { title: "clippy, kernel programs", log: "lint-kernel", command: kernel()? },
        Check { title: "clippy, host crates", log: "lint-host", command: host },
    ];
    // What is published is linked against another library than what the tests run: types of it differ.
    let target = program::target();
    if program::has_library(&target)? {
        let mut published = process::cargo(&["check", "--locked", "--package", "masq-user"]);
        published.args(["--target", &target]);
        let title = "the static program compiles";
        checks.push(Check { title, log: "lint-static", command: published });
    } else {
        console::say(&format!("the static program is not looked at: rustup target add {target}"));
    }
    Ok(checks)
}

fn kernel() -> Result<Command> {
    let toolchain = toolchain::find()?;
    let clippy = toolchain.compiler.clippy().with_context(|| {
        format!("{} has no clippy: run `cargo xtask setup`", toolchain.compiler)
    })?;
    let mut command =
        object::cargo(&toolchain, "check", &object::workshop(&build::target_folder()?));
    // What `cargo clippy` does, without its search for a clippy of the running toolchain.
    command
        .arg("--bins")
        .env("RUSTC_WORKSPACE_WRAPPER", clippy)
        .env("SYSROOT", &toolchain.compiler.sysroot)
        .env("CLIPPY_ARGS", "--deny=warnings__CLIPPY_HACKERY__");
    Ok(command)
}
