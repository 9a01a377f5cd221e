//! What libFuzzer needs besides: cargo-fuzz, a nightly compiler (for its sanitizers), and a C++
//! compiler, which builds libFuzzer itself. Only `cargo xtask fuzz` asks for it.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use super::apt;
use crate::{console, process, workspace};

const PROGRAM: &str = "cargo-fuzz";
/// The release that the project is tested with.
const RELEASE: &str = "0.13.2";

/// Installs what is missing; returns where cargo-fuzz is.
pub fn ensure() -> Result<PathBuf> {
    let mut version = Command::new("cargo");
    on_nightly(&mut version);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        bail!("libFuzzer's sanitizers need a nightly compiler: `rustup toolchain install nightly`");
    }
    if which::which("c++").is_err() {
        if let Err(why) = apt::usable() {
            bail!("a C++ compiler is missing (package g++), which builds libFuzzer: {why}");
        }
        console::say("g++ builds libFuzzer");
        apt::install(&["g++"])?;
    }
    let ours = workspace::tools().join("bin").join(PROGRAM);
    if let Some(found) = which::which(PROGRAM).ok().or_else(|| ours.is_file().then(|| ours.clone()))
    {
        return Ok(found);
    }
    console::say("cargo-fuzz builds the targets for libFuzzer and runs them");
    let mut command = process::cargo(&["install", PROGRAM, "--locked"]);
    command.arg(format!("--version={RELEASE}")).arg("--root").arg(workspace::tools());
    let log = workspace::log(PROGRAM);
    process::quietly("cargo install cargo-fuzz", command, &log, process::no_remark)?;
    Ok(ours)
}

/// Makes `command`, and every cargo that it calls, use the nightly toolchain.
pub fn on_nightly(command: &mut Command) {
    for (name, _) in env::vars_os() {
        // What the cargo that runs us says of itself and of our package.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") && text != "CARGO_HOME" || text.starts_with("RUSTC") {
            command.env_remove(&name);
        }
    }
    command.env("RUSTUP_TOOLCHAIN", "nightly");
}
