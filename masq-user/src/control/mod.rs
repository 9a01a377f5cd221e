//! The control socket: how `masq sessions` and `masq stats` ask a running instance.
//!
//! Each instance listens on `/run/masq/NAME.sock`, open to root only. A connection carries one
//! request, a line of JSON, and its answer, lines of JSON as described in [`proto`].

pub mod client;
pub mod filter;
mod listing;
pub mod proto;
pub mod server;
mod summary;

use std::path::PathBuf;

use crate::claims::RUN_DIR;

/// Ending of the socket files.
const SUFFIX: &str = ".sock";

/// The socket of an instance.
pub fn socket_path(instance: &str) -> PathBuf {
    PathBuf::from(RUN_DIR).join(format!("{instance}{SUFFIX}"))
}
