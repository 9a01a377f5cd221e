//! Switches of the kernel's IPv4 in this network namespace.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::Path,
};

use crate::config::Config;

const IPV4: &str = "/proc/sys/net/ipv4";

/// What is known of the switches.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<bool>,
    /// Whether that can be changed.
    pub writable: bool,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: u32,
    /// Those of each interface that was named and exists.
    pub interfaces: BTreeMap<String, PerInterface>,
    /// `net.netfilter.nf_conntrack_tcp_be_liberal`; absent without connection tracking.
    pub be_liberal: Option<bool>,
}

/// The switches of one interface (`net.ipv4.conf.IF`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerInterface {
    /// `rp_filter`: 1 strict, 2 loose.
    pub rp_filter: u32,
    /// `forwarding`.
    pub forwarding: bool,
    /// `route_localnet`.
    pub route_localnet: bool,
    /// `send_redirects`, of the interface or of all.
    pub send_redirects: bool,
}

impl Sysctls {
    pub(super) fn gather(config: &Config) -> Self {
        Self::gather_in(Path::new(IPV4), config)
    }

    fn gather_in(root: &Path, config: &Config) -> Self {
        let value = |path: &str| fs::read_to_string(root.join(path)).ok()?.trim().parse().ok();
        let value = |path: &str| -> Option<u32> { value(path) };
        let all = |name: &str| value(&format!("conf/all/{name}"));
        let interface = |name: &String| {
            let own = |switch: &str| value(&format!("conf/{name}/{switch}"));
            let switches = PerInterface {
                rp_filter: own("rp_filter")?,
                forwarding: own("forwarding")? != 0,
                route_localnet: own("route_localnet") == Some(1)
                    || all("route_localnet") == Some(1),
                send_redirects: own("send_redirects") == Some(1)
                    || all("send_redirects") == Some(1),
            };
            Some((name.clone(), switches))
        };
        Self {
            ip_forward: value("ip_forward").map(|value| value != 0),
            // Opening changes nothing, and tells more than access(2), which leaves out capabilities
            // that a service has without being root.
            writable: OpenOptions::new().write(true).open(root.join("ip_forward")).is_ok(),
            rp_filter_all: all("rp_filter").unwrap_or(0),
            interfaces: config.lans.iter().chain(&config.wans).filter_map(interface).collect(),
            be_liberal: value("../netfilter/nf_conntrack_tcp_be_liberal").map(|value| value != 0),
        }
    }
}
