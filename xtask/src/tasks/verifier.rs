//! `cargo xtask verifier`: what the kernel's verifier says of each program, against the baseline.
//!
//! The measurement itself needs the loader and is the suite `verifier` of the `tests` crate; this
//! runs it so that its table is seen, and lets it write a new baseline.

use anyhow::{Result, ensure};

use crate::{
    process,
    setup::{self, Scope},
};

/// Tells the suite to write the baseline instead of comparing with it.
const UPDATE: &str = "MASQ_UPDATE_BASELINE";

/// Compares, or with `update` records.
pub fn verifier(update: bool) -> Result<()> {
    ensure!(setup::is_root(), "loading programs into the kernel needs root");
    setup::ensure(Scope::Build)?;
    let mut command =
        process::cargo(&["test", "--package", "masq-tests", "--test", "verifier", "--"]);
    command.args(["--nocapture", "--test-threads=1"]);
    if update {
        command.env(UPDATE, "1");
    }
    process::visibly(command)
}
