//! `cargo xtask demo`: build everything that the demonstration needs, then become it.

use std::{ffi::OsString, process::Command};

use anyhow::{Result, ensure};

use super::build::{self, MASQ};
use crate::{
    console, process,
    setup::{self, Scope},
};

/// The program that builds the network and shows masq at work.
const DEMO: &str = "masq-demo";

/// Hands every argument on. Returns only when something went wrong before the demonstration ran.
pub fn demo(arguments: Vec<OsString>) -> Result<()> {
    become_tool(DEMO, arguments)
}

/// Builds `masq` and a program of the `tests` crate beside it, and becomes that program.
pub fn become_tool(name: &str, arguments: Vec<OsString>) -> Result<()> {
    ensure!(setup::is_root(), "{name} makes namespaces and loads programs: run this task as root");
    setup::setup(Scope::Everything, setup::Intent::Install)?;
    console::heading("Building masq");
    let programs = build::release(&[("masq-user", MASQ), ("masq-tests", name)])?;
    let mut command = Command::new(&programs[1]);
    command.args(arguments);
    Err(process::become_program(command))
}
