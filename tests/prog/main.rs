//! The kernel programs, packet by packet, through BPF_PROG_TEST_RUN.

mod below;
mod fast;
mod fragments;
mod homes;
mod icmp;
mod limits;
mod malformed;
mod mss;
mod next_hops;
mod protocols;
mod race;
mod retire;
mod table;
mod tcp;
mod trace;
mod vectors;
mod wan_in;
mod wan_out;

use std::{fs, path::Path, sync::LazyLock};

/// The kernel object: compiled by the first test that wants it, or the finished one that the
/// environment names (see `xtask::object`).
static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = xtask::object::build_object("masq-ebpf", folder)
        .unwrap_or_else(|error| panic!("{error:#}"));
    fs::read(&path).expect("the object that was just built")
});
