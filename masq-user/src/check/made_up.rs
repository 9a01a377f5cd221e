//! A made-up machine for the tests of the judges: a home router that has nothing to complain about.

use clap::Parser as _;

use super::facts::{Device, Ethtool, Facts, Kernel, Outward, PerInterface, Sysctls};
use crate::{
    cli::{Cli, Command},
    config::Config,
    netlink::{Address, Layer, Link, Snapshot, Stack},
};

use super::{Finding, Severity};

/// What `masq run` makes of these options.
pub(super) fn config(rest: &str) -> Config {
    let words = format!("masq run {rest}");
    match Cli::try_parse_from(words.split_whitespace()).expect(rest).command {
        Command::Run(args) => Config::new(*args).expect(rest),
        _ => unreachable!(),
    }
}

/// Of `--lan lan0 --wan wan0`, as most tests have it.
pub(crate) fn usual() -> Config {
    config("--lan lan0 --wan wan0")
}

/// A virtual Ethernet device.
pub(super) fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        layer: Layer::Ethernet,
        mac: [2, 0, 0, 0, 0, index as u8],
        kind: Some("veth".into()),
        hardware: false,
        xdp: None,
        mtu: 1500,
        master: None,
        up: true,
        qdisc: None,
        stack: Stack::default(),
    }
}

/// An address with its network, as in `192.168.1.1/24`.
pub(super) fn address(index: u32, text: &str) -> Address {
    let net: ipnet::Ipv4Net = text.parse().unwrap();
    Address { index, local: net.addr(), network: net.trunc(), usable: true }
}

/// A device that works.
pub(super) fn device(index: u32, name: &str) -> Device {
    let ethtool = Ethtool { driver: Some("veth".into()), ..Ethtool::default() };
    Device { index, name: name.into(), up: true, carrier: true, ethtool, ..Device::default() }
}

/// Facts of a router with `lan0` (192.168.1.1/24), `wan0` (203.0.113.5/24) and nothing wrong.
pub(super) fn facts() -> Facts {
    let switches = PerInterface {
        rp_filter: 0,
        forwarding: true,
        route_localnet: false,
        send_redirects: false,
    };
    let names = ["lan0", "wan0", "wan1"];
    Facts {
        kernel: kernel(),
        snapshot: Snapshot {
            links: vec![link(1, "lan0"), link(2, "wan0"), link(3, "wan1")],
            addresses: vec![
                address(1, "192.168.1.1/24"),
                address(2, "203.0.113.5/24"),
                address(3, "198.51.100.5/24"),
            ],
            sessions: Vec::new(),
        },
        devices: (1..).zip(names).map(|(index, name)| device(index, name)).collect(),
        outward: vec![Outward { lan: "lan0".into(), by: Some(2) }],
        sysctls: Sysctls {
            ip_forward: Some(true),
            writable: true,
            rp_filter_all: 0,
            interfaces: names.map(|name| (name.to_owned(), switches)).into(),
            be_liberal: None,
        },
        ..Facts::default()
    }
}

/// A kernel that has all.
pub(super) fn kernel() -> Kernel {
    Kernel {
        release: "6.12.1".into(),
        btf: true,
        capabilities: u64::MAX,
        memory: Some(8 << 30),
        available: Some(4 << 30),
        jit: Some(true),
        bpf: true,
        lockdown: Some("none".into()),
        bpffs: Some(super::facts::Bpffs { path: "/sys/fs/bpf".into(), writable: true }),
        options: None,
        cpus: 4,
    }
}

/// What is worse than `Ok`, as pairs of severity and check.
pub(super) fn complaints(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
    let bad = findings.iter().filter(|finding| finding.severity > Severity::Ok);
    bad.map(|finding| (finding.severity, finding.check)).collect()
}

/// The only finding of this check.
#[track_caller]
pub(super) fn only<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let found: Vec<_> = findings.iter().filter(|finding| finding.check == check).collect();
    match found.as_slice() {
        [only] => only,
        other => panic!("{} findings of {check}: {findings:?}", other.len()),
    }
}

#[test]
fn the_made_up_machine_has_nothing_to_complain_about() {
    assert_eq!(complaints(&super::judge(&usual(), &facts())), []);
}
