//! The subcommands other than `setup`, one file each.

pub mod bench;
pub mod build;
pub mod demo;
pub mod dist;
pub mod fuzz;
pub mod lint;
pub mod rfc;
pub mod run;
pub mod test;
pub mod verifier;
pub mod vm;
