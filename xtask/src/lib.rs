//! What the tasks of this checkout and the build scripts share.
//!
//! `masq-user/build.rs` uses [`object`] to compile and embed the kernel programs; the `cargo xtask`
//! command line (feature `cli`) uses all of it. Nothing in here is part of the installed program.
//!
//! Reading order:
//!
//! 1. [`workspace`]: where the checkout is.
//! 2. [`toolchain`]: which compiler and linker can produce eBPF on this machine.
//! 3. [`object`]: compile one kernel object with them.
//! 4. `console`, `process`: what a task says while it works; how it runs other programs.
//! 5. `setup`: what is missing on this machine, and how it gets there.
//! 6. `tasks`: one file for each remaining subcommand.
//! 7. `cli`: the subcommands themselves.

pub mod object;
pub mod toolchain;
pub mod workspace;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod console;
#[cfg(feature = "cli")]
mod process;
#[cfg(feature = "cli")]
mod setup;
#[cfg(feature = "cli")]
mod tasks;
