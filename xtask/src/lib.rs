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

pub mod object;
pub mod toolchain;
pub mod workspace;
