//! What translates in the router of a lab: masq, or the kernel's masquerade as reference.
//!
//! The variable `MASQ_TEST_GATEWAY` decides: `masq` (also when it is not set) or `nftables`.

use std::env;

use crate::{
    daemon::{Masq, Mode},
    lab::Lab,
    reference::Reference,
};

/// Which gateway to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The program under test.
    Masq,
    /// The kernel's masquerade, see [`Reference`].
    Nftables,
}

impl Kind {
    /// The choice in `MASQ_TEST_GATEWAY`.
    ///
    /// # Panics
    /// If it names no gateway.
    pub fn from_environment() -> Self {
        match env::var("MASQ_TEST_GATEWAY").as_deref() {
            Err(_) | Ok("masq") => Self::Masq,
            Ok("nftables") => Self::Nftables,
            Ok(other) => panic!("MASQ_TEST_GATEWAY is {other}; it may be masq or nftables"),
        }
    }
}

/// A running gateway, stopped when dropped.
#[derive(Debug)]
pub enum Gateway<'lab> {
    /// masq.
    Masq(Masq),
    /// The kernel.
    Reference(Reference<'lab>),
}

impl<'lab> Gateway<'lab> {
    /// Starts masq in the router of `lab`, ready to translate.
    pub fn masq(lab: &'lab Lab, mode: Mode, arguments: &[&str]) -> Self {
        if mode == Mode::Xdp {
            lab.prepare_for_xdp();
        }
        Self::Masq(Masq::start(lab, ["--mode", mode.as_str()].iter().chain(arguments)))
    }

    /// Starts the kernel's masquerade; `sources` as for `--source`.
    pub fn reference(lab: &'lab Lab, sources: &[&str]) -> Self {
        Self::Reference(Reference::start(lab, sources))
    }

    /// The daemon.
    ///
    /// # Panics
    /// If this is the reference.
    pub fn daemon(&self) -> &Masq {
        match self {
            Self::Masq(masq) => masq,
            Self::Reference(_) => panic!("the reference has no daemon"),
        }
    }

    /// Stops it, and demands that it ends well and has met no error.
    ///
    /// # Panics
    /// If not so.
    pub fn stop(self) {
        if let Self::Masq(masq) = self {
            let log = masq.stop();
            assert!(!log.contains(" ERROR "), "masq has met an error:\n{log}");
        }
    }
}
