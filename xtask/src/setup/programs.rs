//! The programs that the demo, the tests and the benchmarks call.

use std::{env, path::PathBuf};

use crate::console;

/// A program and the Debian package that has it.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The package.
    pub package: &'static str,
    /// Who needs it, and what for.
    pub why: &'static str,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "ip",
        package: "iproute2",
        why: "the demo and the tests build networks out of namespaces",
    },
    Program {
        name: "nft",
        package: "nftables",
        why: "the kernel's own masquerade, to compare with",
    },
    Program {
        name: "ethtool",
        package: "ethtool",
        why: "switches offloads of veth devices for native XDP",
    },
];

/// Those that are not installed.
pub fn missing() -> Vec<&'static Program> {
    PROGRAMS.iter().filter(|program| find(program.name).is_none()).collect()
}

/// One line for each.
pub fn report() {
    for program in &PROGRAMS {
        let line = format!("{:<8} {}", program.name, program.why);
        match find(program.name) {
            Some(_) => console::good(&line),
            None => console::bad(&format!("{line} (package {})", program.package)),
        }
    }
}

/// On PATH, or where the administrator's programs are: not every root has those on PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let folders = env::join_paths(folders).ok()?;
    which::which_in(name, Some(folders), "/").ok()
}
