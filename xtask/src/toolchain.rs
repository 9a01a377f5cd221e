//! Which compiler and linker can produce eBPF on this machine.
//!
//! eBPF is a tier 3 target of Rust: rustup ships no `core` for it. There are two ways to one, and
//! both are looked for, in this order:
//!
//! 1. what the environment says: [`RUSTC_VARIABLE`], [`LINKER_VARIABLE`];
//! 2. a rustup nightly with the `rust-src` component, which compiles `core` itself;
//! 3. Debian's `/usr/bin/rustc` (package `rustc-web`) with the `core` that Debian has compiled.
//!
//! Each needs `bpf-linker`. A pair counts only if the linker reads what the compiler writes: the
//! two contain an LLVM each, and an older one cannot read the bitcode of a newer one.
//!
//! This module looks and reports; `cargo xtask setup` installs.

mod compiler;
mod linker;

use std::{env, fmt, path::PathBuf};

use anyhow::{Result, bail};

pub use compiler::{Compiler, Core, DEBIAN_RUSTC, MINIMUM, TARGET};

/// Names a `rustc` to use instead of searching for one.
pub const RUSTC_VARIABLE: &str = "MASQ_EBPF_RUSTC";
/// Names a `bpf-linker` to use instead of searching for one.
pub const LINKER_VARIABLE: &str = "MASQ_BPF_LINKER";

/// A compiler and a linker that work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler, with a way to a `core` for eBPF.
    pub compiler: Compiler,
    /// The `bpf-linker` program.
    pub linker: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, linked by {}", self.compiler, self.linker.display())
    }
}

/// Why a place that was looked at does not give a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// The compiler is missing, too old, or has no `core` for eBPF.
    Compiler(String),
    /// The compiler would do; there is no `bpf-linker`.
    Linker(String),
    /// Both exist, and the linker cannot read what the compiler writes.
    Mismatch(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler(why) | Self::Linker(why) | Self::Mismatch(why) => f.write_str(why),
        }
    }
}

/// One place that was looked at in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The place, as a user knows it.
    pub place: String,
    /// What it lacks.
    pub lack: Lack,
}

/// Everything the search saw: the first toolchain that works, and what was passed over before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The toolchain to use.
    pub found: Option<Toolchain>,
    /// The places before it, in the order of the search.
    pub rejected: Vec<Rejected>,
}

impl Survey {
    /// The places that were passed over, one a line.
    pub fn explain(&self) -> String {
        self.rejected
            .iter()
            .map(|place| format!("  - {}: {}", place.place, place.lack))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Looks at every place until one works.
pub fn survey() -> Survey {
    let linkers = linker::candidates();
    let mut rejected = Vec::new();
    for place in places() {
        match pair_up(&place, &linkers) {
            Ok(toolchain) => return Survey { found: Some(toolchain), rejected },
            Err(lack) => rejected.push(Rejected { place: place.name, lack }),
        }
    }
    Survey { found: None, rejected }
}

/// The toolchain to use, or one message with what was looked at and what to do next.
pub fn find() -> Result<Toolchain> {
    let survey = survey();
    match survey.found {
        Some(toolchain) => Ok(toolchain),
        None => bail!(
            "no eBPF toolchain on this machine; run `cargo xtask setup`\nlooked at:\n{}",
            survey.explain()
        ),
    }
}

/// Whether any `bpf-linker` is installed, fitting or not.
pub fn has_linker() -> bool {
    linker::candidates().is_ok()
}

/// A `rustc` that may be able to produce eBPF.
struct Place {
    name: String,
    rustc: PathBuf,
}

fn places() -> Vec<Place> {
    if let Some(rustc) = env::var_os(RUSTC_VARIABLE) {
        let rustc = PathBuf::from(rustc);
        return vec![Place { name: format!("{RUSTC_VARIABLE}={}", rustc.display()), rustc }];
    }
    let mut places: Vec<_> = compiler::nightlies()
        .into_iter()
        .map(|(name, rustc)| Place { name: format!("rustup toolchain {name}"), rustc })
        .collect();
    places.push(Place { name: format!("Debian's {DEBIAN_RUSTC}"), rustc: DEBIAN_RUSTC.into() });
    places
}

fn pair_up(place: &Place, linkers: &Result<Vec<PathBuf>, String>) -> Result<Toolchain, Lack> {
    let compiler = Compiler::inspect(&place.rustc).map_err(Lack::Compiler)?;
    let linkers = linkers.as_ref().map_err(|why| Lack::Linker(why.clone()))?;
    let mut failures = Vec::new();
    for linker in linkers {
        match linker::probe(&compiler, linker) {
            Ok(()) => return Ok(Toolchain { compiler, linker: linker.clone() }),
            Err(why) => failures.push(why),
        }
    }
    Err(Lack::Mismatch(failures.join("; ")))
}
