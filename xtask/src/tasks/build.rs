//! `cargo xtask build`: the release build, and where its programs are. Others start here.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    console, process,
    setup::{self, Scope},
};

/// The program that gets installed.
pub const MASQ: &str = "masq";

/// Builds `masq` and says where it is.
pub fn build() -> Result<()> {
    setup::ensure(Scope::Build)?;
    let programs = release(&[("masq-user", MASQ)])?;
    console::good(&programs[0].display().to_string());
    Ok(())
}

/// Builds binaries, each given as package and name, in the release profile; cargo shows its own
/// progress. Returns their paths in the same order.
pub fn release(binaries: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    let mut command = process::cargo(&["build", "--release"]);
    for (package, binary) in binaries {
        command.args(["--package", package, "--bin", binary]);
    }
    process::visibly(command)?;
    let folder = target_folder()?.join("release");
    Ok(binaries.iter().map(|(_, binary)| folder.join(binary)).collect())
}

/// Builds a test program of a package as `cargo test` does, without running it; cargo shows its own
/// progress.
pub fn test_program(package: &str, test: &str) -> Result<PathBuf> {
    let mut command = process::cargo(&["test", "--no-run", "--message-format=json"]);
    command.args(["--package", package, "--test", test]).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    anyhow::ensure!(output.status.success(), "the test program {test} does not compile");
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.find(|message| {
        message["target"]["name"] == test && message["profile"]["test"] == Value::Bool(true)
    });
    let program = built.and_then(|message| message["executable"].as_str().map(PathBuf::from));
    program.with_context(|| format!("cargo does not say where the test program {test} is"))
}

/// Where cargo puts what it builds.
pub fn target_folder() -> Result<PathBuf> {
    let folder = metadata()?["target_directory"].as_str().map(PathBuf::from);
    folder.context("`cargo metadata` names no target directory")
}

/// What cargo knows of the workspace.
pub fn metadata() -> Result<Value> {
    let output = process::cargo(&["metadata", "--format-version=1", "--no-deps"])
        .output()
        .context("cannot start cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "`cargo metadata` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("cannot read the answer of `cargo metadata`")
}
