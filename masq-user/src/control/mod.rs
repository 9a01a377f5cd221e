//! The control socket: how `masq sessions`, `masq stats` and others ask a running instance.
//!
//! Each instance listens on `/run/masq/NAME.sock`, open to root only. A connection carries one
//! request, a line of JSON, and its answer, lines of JSON as described in [`proto`].

pub(crate) mod aside;
pub mod client;
pub mod filter;
pub mod flush;
mod follow;
pub mod hosts;
mod lines;
mod listing;
pub mod proto;
mod pulse;
pub mod ranking;
pub mod record;
mod reloaded;
#[cfg(test)]
pub(crate) mod sample;
pub mod server;
mod session;
pub(crate) mod summary;
mod top;
mod trace;
pub mod traced;
pub(crate) mod turn;

use std::{fs, path::PathBuf};

use crate::claims::{Claims, RUN_DIR};

/// Ending of the socket files.
const SUFFIX: &str = ".sock";

/// The socket of an instance.
pub fn socket_path(instance: &str) -> PathBuf {
    PathBuf::from(RUN_DIR).join(format!("{instance}{SUFFIX}"))
}

/// Removes the sockets of processes that were killed.
pub fn tidy_up() {
    for entry in fs::read_dir(RUN_DIR).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(instance) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else {
            continue;
        };
        // Held until the file is gone, so that it is not the socket of one that has just begun.
        if let Ok(_claim) = Claims::take_name(instance) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
