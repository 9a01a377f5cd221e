//! What has to be true before anything is touched. Each check that fails is one sentence that
//! says what to do.

use std::{fs, path::Path};

use masq_common::settings::MAX_WANS;
use nix::sys::utsname::uname;

use crate::{
    config::Config,
    error::{Error, Result},
    netlink::{Layer, Snapshot},
    plan::{Fast, Plan},
};

/// Version of a kernel, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// The oldest kernel that masq runs on. Older ones lack parts of the verifier and of
/// BPF_PROG_TEST_RUN that masq relies on.
pub const OLDEST: Release = Release::new(6, 1);

impl Release {
    /// Major and minor number.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// From `uname -r`, such as `6.1.0-13-amd64`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self { major: next()?, minor: next()? })
    }
}

/// Privileges, kernel and memory; returns the version of the kernel.
pub fn machine(config: &Config) -> Result<Release> {
    check_privileges(&read("/proc/self/status")?)?;
    let name = uname().map_err(|error| Error::Refused(format!("uname failed: {error}")))?;
    let release = check_kernel(&name.release().to_string_lossy())?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(Error::Refused(
            "the kernel has no type information (/sys/kernel/btf/vmlinux is missing); use a kernel \
             built with CONFIG_DEBUG_INFO_BTF=y, as the ones of Debian, Ubuntu and Fedora are, and \
             see that /sys is mounted"
                .into(),
        ));
    }
    check_memory(config, &read("/proc/meminfo")?)?;
    Ok(release)
}

/// The interfaces that were named, as the machine has them now.
pub fn interfaces(config: &Config, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
    debug_assert!(config.wans.len() <= MAX_WANS as usize);
    let missing: Vec<_> =
        config.interfaces().filter(|name| snapshot.link(name).is_none()).collect();
    if !missing.is_empty() && !config.wait_interfaces {
        let existing = snapshot.links.iter().map(|link| link.name.as_str());
        let existing: Vec<_> = existing.filter(|name| *name != "lo").collect();
        return Err(Error::Refused(format!(
            "there is no interface {}; there {}; correct the name, or add --wait-interfaces to \
             wait for it",
            missing.join(", "),
            match existing.as_slice() {
                [] => "are no interfaces here".to_owned(),
                names => format!("are: {}", names.join(", ")),
            }
        )));
    }
    for name in config.interfaces() {
        if snapshot.link(name).is_some_and(|link| link.layer == Layer::Other) {
            return Err(Error::Refused(format!(
                "{name} carries neither Ethernet frames nor bare IP packets; masq cannot read it"
            )));
        }
    }
    check_ports(config, snapshot)?;
    check_foreign_xdp(snapshot, plan)
}

/// Packets of a bridge's or bond's port belong to the bridge or bond, which has the address. A VRF
/// takes packets over as well, but leaves them their interface.
fn check_ports(config: &Config, snapshot: &Snapshot) -> Result<()> {
    for name in config.interfaces() {
        let index = snapshot.link(name).and_then(|link| link.master);
        let master = snapshot.links.iter().find(|link| Some(link.index) == index);
        if let Some(master) = master.filter(|master| master.kind.as_deref() != Some("vrf")) {
            return Err(Error::Refused(format!(
                "{name} is a port of {master}, which has the packets and the address; name {master} \
                 instead",
                master = master.name
            )));
        }
    }
    Ok(())
}

/// With `--mode xdp`, a program of somebody else is in the way.
fn check_foreign_xdp(snapshot: &Snapshot, plan: &Plan) -> Result<()> {
    for interface in &plan.interfaces {
        let forced = interface.present.as_ref().is_some_and(|now| now.fast == Fast::ForceXdp);
        let program = snapshot.link(&interface.name).and_then(|link| link.xdp);
        if let (true, Some(id)) = (forced, program) {
            return Err(Error::Refused(format!(
                "another XDP program (id {id}) is attached to {name}; remove it with `ip link set \
                 dev {name} xdp off` or its owner, or use --mode tc",
                name = interface.name
            )));
        }
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        Error::Refused(format!("cannot read {path}: {error}; see that /proc is mounted"))
    })
}

/// Looks at the effective capabilities in `/proc/self/status`.
fn check_privileges(status: &str) -> Result<()> {
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let have = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let may_load = have & SYS_ADMIN != 0 || have & (BPF | PERFMON) == BPF | PERFMON;
    if have & NET_ADMIN != 0 && have & NET_RAW != 0 && may_load {
        return Ok(());
    }
    Err(Error::Refused(
        "masq needs root, or the capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and \
         CAP_PERFMON; run it with sudo"
            .into(),
    ))
}

fn check_kernel(release: &str) -> Result<Release> {
    match Release::parse(release) {
        Some(found) if found >= OLDEST => Ok(found),
        _ => Err(Error::Refused(format!(
            "this kernel is {release}; masq needs Linux {}.{} or newer, so boot a newer one",
            OLDEST.major, OLDEST.minor
        ))),
    }
}

/// Refuses tables that could not be filled with all the memory of the machine.
fn check_memory(config: &Config, meminfo: &str) -> Result<()> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let Some(total) = total.map(|kib| kib * 1024) else { return Ok(()) };
    let need = config.memory();
    if need <= total / 10 * 8 {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    Err(Error::Refused(format!(
        "{} sessions can take {} MiB, and the machine has {} MiB; choose a smaller --max-sessions",
        config.max_sessions,
        mib(need),
        mib(total)
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        netlink::Link,
        plan,
    };

    fn config(rest: &str) -> Config {
        let words = format!("masq run {rest}");
        match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
            Command::Run(args) => Config::new(*args).unwrap(),
            _ => unreachable!(),
        }
    }

    fn machine_with(names: &[&str]) -> Snapshot {
        let link = |(index, name): (u32, &&str)| Link {
            index,
            name: (*name).to_owned(),
            layer: Layer::Ethernet,
            mac: [0; 6],
            kind: None,
            hardware: true,
            xdp: None,
            mtu: 1500,
            master: None,
        };
        Snapshot { links: (1..).zip(names).map(link).collect(), addresses: Vec::new() }
    }

    fn checked(rest: &str, snapshot: &Snapshot) -> Result<(), String> {
        let config = config(rest);
        let plan = plan::plan(&config, snapshot);
        interfaces(&config, snapshot, &plan).map_err(|error| error.to_string())
    }

    #[test]
    fn old_kernels_are_refused_by_name() {
        for release in ["5.15.0-91-generic", "6.0.19", "4.9", "nonsense"] {
            let error = check_kernel(release).unwrap_err().to_string();
            assert!(error.contains(release) && error.contains("6.1"), "{error}");
        }
        assert_eq!(check_kernel("6.1.0-13-amd64").unwrap(), Release::new(6, 1));
        assert_eq!(check_kernel("6.18.44-fc").unwrap(), Release::new(6, 18));
        assert_eq!(check_kernel("7.0-rc1").unwrap(), Release::new(7, 0));
    }

    #[test]
    fn privileges_are_root_or_the_four_capabilities() {
        let check = |hex: &str| check_privileges(&format!("Name:\tx\nCapEff:\t{hex}\n"));
        assert!(check("000001ffffffffff").is_ok());
        assert!(check("000000c000003000").is_ok());
        assert!(check("000000c000001000").is_err());
        assert!(check("0000008000003000").is_err());
        assert!(check("0000000000003000").is_err());
        assert!(check("000000c000002000").is_err());
        assert!(check("0000000000000000").unwrap_err().to_string().contains("sudo"));
    }

    #[test]
    fn a_missing_interface_is_named_with_those_that_exist() {
        let machine = machine_with(&["lo", "eth0", "eth1"]);
        let error = checked("--lan eth1 --wan ppp0", &machine).unwrap_err();
        assert!(error.contains("no interface ppp0") && error.contains("eth0, eth1"), "{error}");
        assert!(checked("--lan eth1 --wan ppp0 --wait-interfaces", &machine).is_ok());
        assert!(checked("--lan eth1 --wan eth0", &machine).is_ok());
    }

    #[test]
    fn a_foreign_xdp_program_is_in_the_way_of_forced_xdp_only() {
        let mut machine = machine_with(&["eth0", "eth1"]);
        machine.links[1].xdp = Some(42);
        let error = checked("--lan eth1 --wan eth0 --mode xdp", &machine).unwrap_err();
        assert!(error.contains("42") && error.contains("eth1"), "{error}");
        assert!(checked("--lan eth1 --wan eth0", &machine).is_ok());
        assert!(checked("--lan eth1 --wan eth0 --mode tc", &machine).is_ok());
    }

    #[test]
    fn the_port_of_a_bridge_is_refused_in_favour_of_the_bridge() {
        let mut machine = machine_with(&["eth0", "eth1", "br0"]);
        machine.links[1].master = Some(machine.links[2].index);
        machine.links[2].kind = Some("bridge".to_owned());
        let error = checked("--lan eth1 --wan eth0", &machine).unwrap_err();
        assert!(error.contains("name br0 instead"), "{error}");
        machine.links[2].kind = Some("vrf".to_owned());
        assert!(checked("--lan eth1 --wan eth0", &machine).is_ok());
    }

    #[test]
    fn unreadable_link_layers_are_refused() {
        let mut machine = machine_with(&["eth0", "ib0"]);
        machine.links[1].layer = Layer::Other;
        assert!(checked("--lan ib0 --wan eth0", &machine).unwrap_err().contains("ib0"));
    }

    #[test]
    fn tables_larger_than_memory_are_refused_with_the_number() {
        let meminfo = "MemTotal:        1048576 kB\nMemFree: 1 kB\n";
        let large = config("--lan a --wan b --max-sessions 10000000");
        let error = check_memory(&large, meminfo).unwrap_err().to_string();
        assert!(error.contains("10000000") && error.contains("1024 MiB"), "{error}");
        assert!(check_memory(&config("--lan a --wan b"), meminfo).is_ok());
    }
}
