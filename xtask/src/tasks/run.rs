//! `cargo xtask run`: build, then become `masq run`.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use super::build::{self, MASQ};
use crate::{
    process,
    setup::{self, Scope},
};

/// Hands every argument on. Returns only when something went wrong before `masq` ran.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let programs = build::release(&[("masq-user", MASQ)])?;
    let mut command = Command::new(&programs[0]);
    command.arg("run").args(arguments);
    Err(process::become_program(command))
}
