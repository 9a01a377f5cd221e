//! `cargo xtask bench`: build everything that the measurements need, then become them.

use std::ffi::OsString;

use anyhow::Result;

/// The program that measures.
const BENCH: &str = "masq-bench";

/// Hands every argument on. Returns only when something went wrong before the measurements ran.
pub fn bench(arguments: Vec<OsString>) -> Result<()> {
    super::demo::become_tool(BENCH, arguments)
}
