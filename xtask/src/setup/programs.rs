//! The programs that the demo, the tests and the benchmarks call, those of `cargo xtask vm`, and those of
//! `cargo xtask dist --check`.

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

/// For networks of namespaces.
pub const LABORATORY: [Program; 3] = [
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

/// What tests call besides.
pub const TESTS: [Program; 2] = [
    Program {
        name: "iptables",
        package: "iptables",
        why: "the rules of others, which `masq check` has to understand",
    },
    Program {
        name: "tcpdump",
        package: "tcpdump",
        why: "reads what `masq trace --write` has written",
    },
];

/// For emulated machines with another kernel (`tests/vm`), and a PPPoE session in them.
pub const MACHINE: [Program; 12] = [
    Program {
        name: "qemu-system-x86_64",
        package: "qemu-system-x86",
        why: "emulates a machine for another kernel",
    },
    Program {
        name: "busybox",
        package: "busybox-static",
        why: "the first steps in that machine, before it has a file system",
    },
    Program { name: "modprobe", package: "kmod", why: "what a kernel's modules depend on" },
    Program { name: "cpio", package: "cpio", why: "packs the machine's first file system" },
    Program { name: "xz", package: "xz-utils", why: "unpacks kernels and their modules" },
    Program { name: "zstd", package: "zstd", why: "the same, newer ones" },
    Program { name: "pppd", package: "ppp", why: "makes ppp0, on both sides" },
    Program { name: "pppoe-server", package: "pppoe", why: "the ISP's end of the line" },
    Program { name: "socat", package: "socat", why: "the servers, and flows that stay" },
    Program { name: "nc.openbsd", package: "netcat-openbsd", why: "the clients" },
    Program { name: "ping", package: "iputils-ping", why: "sizes, TTLs and ICMP errors" },
    Program { name: "tcpdump", package: "tcpdump", why: "what the ISP has seen, for a failure" },
];

/// For a machine of namespaces with systemd (`tests/systemd`), and traffic through it.
pub const SERVICE: [Program; 6] = [
    Program { name: "systemctl", package: "systemd", why: "the service's manager, in namespaces" },
    Program { name: "dbus-daemon", package: "dbus", why: "what systemd is asked by" },
    Program { name: "socat", package: "socat", why: "the servers, and flows that stay" },
    Program { name: "nc.openbsd", package: "netcat-openbsd", why: "the clients" },
    Program { name: "ping", package: "iputils-ping", why: "whether no packet is lost" },
    Program { name: "sysctl", package: "procps", why: "whether all settings are put back" },
];

/// Those of `programs` that are not installed.
pub fn missing(programs: &'static [Program]) -> impl Iterator<Item = &'static Program> {
    programs.iter().filter(|program| find(program.name).is_none())
}

/// One line for each.
pub fn report(programs: &[Program]) {
    for program in programs {
        let line = format!("{:<19} {}", program.name, program.why);
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
