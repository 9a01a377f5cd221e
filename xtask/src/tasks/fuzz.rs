//! `cargo xtask fuzz`: the fuzzers, for as long as one likes. What CI runs of them is the suite
//! `fuzz` of `cargo xtask test`, which needs no more than any other suite.
//!
//! The kernel programs are run by that same suite, with time instead of a number of packets. The
//! parsers are run by libFuzzer, which wants a nightly compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::build;
use crate::{
    console, process,
    setup::{self, Intent, Scope, fuzzer},
    workspace,
};

/// The name of what is not a target of libFuzzer.
const KERNEL: &str = "kernel";
/// Where the targets of libFuzzer are.
const USER: &str = "tests/fuzz/user";
/// Tells the suite how long to run.
const SECONDS: &str = "MASQ_FUZZ_SECONDS";

/// Runs the named fuzzers, or all of them, each for so many seconds.
pub fn fuzz(seconds: u64, names: &[String]) -> Result<()> {
    let targets = targets()?;
    let all: Vec<_> = [KERNEL.to_owned()].into_iter().chain(targets).collect();
    for name in names {
        ensure!(all.contains(name), "there is no fuzzer `{name}`; there are: {}", all.join(", "));
    }
    let wanted: Vec<_> =
        all.iter().filter(|name| names.is_empty() || names.contains(name)).collect();
    setup::setup(Scope::Everything, Intent::Install)?;
    let cargo_fuzz = match wanted.iter().any(|name| *name != KERNEL) {
        true => Some(fuzzer::ensure()?),
        false => None,
    };
    for name in wanted {
        console::heading(name);
        match &cargo_fuzz {
            Some(program) if name != KERNEL => parser(program, name, seconds)?,
            _ => kernel(seconds)?,
        }
    }
    Ok(())
}

/// The targets of libFuzzer, which are files.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join(USER).join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<_> =
        paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn kernel(seconds: u64) -> Result<()> {
    ensure!(setup::is_root(), "loading programs into the kernel needs root");
    let mut command = process::cargo(&["test", "--package", "masq-tests", "--test", "fuzz", "--"]);
    command.args(["--nocapture", "mutations_of_the_corpus"]).env(SECONDS, seconds.to_string());
    process::visibly(command)
}

fn parser(cargo_fuzz: &Path, name: &str, seconds: u64) -> Result<()> {
    let (folder, ours) = (workspace::root().join(USER), build::target_folder()?.join("fuzz"));
    // New inputs go into the first folder; of the others libFuzzer only reads.
    let found = ours.join("corpus").join(name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = Command::new(cargo_fuzz);
    fuzzer::on_nightly(&mut command);
    command.current_dir(workspace::root()).args(["fuzz", "run", "--fuzz-dir"]).arg(&folder);
    command.arg("--target-dir").arg(&ours).arg(name).args([found, corpus(&folder, name)]);
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    process::visibly(command)
}

fn corpus(folder: &Path, name: &str) -> PathBuf {
    folder.join("corpus").join(name)
}
