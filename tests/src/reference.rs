//! The kernel's own masquerade, with the rules that masq replaces: the yardstick of what a LAN
//! host may expect, and of throughput.
//!
//! The namespace tests run against it when the variable `MASQ_TEST_GATEWAY` is `nftables`: a test
//! that fails there is wrong about the world.

use crate::lab::{Lab, WAN_IF};

/// The rules, for `nft -f`: masquerade what comes from `sources`, and forward that and the answers.
pub fn rules(lan: &[&str], wan: &str, sources: &[&str]) -> String {
    let lan = lan.join(", ");
    let sources = sources.join(", ");
    format!(
        "table ip masq {{
            chain post {{
                type nat hook postrouting priority srcnat;
                ip saddr {{ {sources} }} oifname {wan} masquerade
            }}
            chain forward {{
                type filter hook forward priority filter; policy drop;
                ip saddr {{ {sources} }} iifname {{ {lan} }} oifname {wan} accept
                iifname {wan} ct state established,related accept
                iifname {{ {lan} }} oifname {{ {lan} }} accept
            }}
        }}"
    )
}

/// nftables masquerade in the router of a lab, removed when dropped.
#[derive(Debug)]
pub struct Reference<'lab> {
    lab: &'lab Lab,
}

impl<'lab> Reference<'lab> {
    /// Sets up the rules. `sources` are the prefixes that may pass (`--source`); empty means
    /// 192.168.0.0/16.
    ///
    /// # Panics
    /// If `nft` is missing or refuses the rules.
    pub fn start(lab: &'lab Lab, sources: &[&str]) -> Self {
        let sources = if sources.is_empty() { &["192.168.0.0/16"][..] } else { sources };
        let rules = rules(lab.lan_interfaces(), WAN_IF, sources);
        lab.router.feed("nft", &["-f", "-"], &rules);
        lab.router.set_sysctl("net.ipv4.ip_forward", "1");
        Self { lab }
    }
}

impl Drop for Reference<'_> {
    fn drop(&mut self) {
        // While a test fails, the namespace goes away in a moment anyway.
        if !std::thread::panicking() {
            // In this order: without the rules, what is forwarded leaves with a private source.
            self.lab.router.set_sysctl("net.ipv4.ip_forward", "0");
            self.lab.router.feed("nft", &["-f", "-"], "delete table ip masq");
        }
    }
}
