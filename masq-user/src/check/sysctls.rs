//! Judging the switches of the kernel's IPv4.

use super::{Finding, facts::Facts};
use crate::config::Config;

/// Everything about them.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<_> = forwarding(facts).into_iter().collect();
    for name in config.interfaces() {
        findings.extend(interface(config, facts, name));
    }
    findings
}

fn forwarding(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "sysctls.ip_forward";
    Some(match (facts.sysctls.ip_forward?, facts.sysctls.writable) {
        (true, _) => Finding::ok(CHECK, "the kernel forwards packets (net.ipv4.ip_forward)"),
        (false, true) => Finding::ok(
            CHECK,
            "the kernel does not forward packets; masq has it do so while it runs \
             (net.ipv4.ip_forward)",
        ),
        (false, false) => Finding::fatal(
            CHECK,
            "the kernel does not forward packets, and masq cannot turn that on \
             (/proc/sys is read-only here)",
        )
        .advice("turn it on where it can be written, as on the host of this container")
        .command("sysctl -w net.ipv4.ip_forward=1"),
    })
}

fn interface(config: &Config, facts: &Facts, name: &str) -> Vec<Finding> {
    let Some(switches) = facts.sysctls.interfaces.get(name) else { return Vec::new() };
    let is_wan = config.wans.iter().any(|wan| wan == name);
    let mut findings = Vec::new();
    // While forwarding is off altogether, turning it on turns it on everywhere.
    if !switches.forwarding && facts.sysctls.ip_forward == Some(true) {
        let text = format!("forwarding is off for {name}: the kernel drops first packets from it");
        findings.push(Finding::warning("sysctls.forwarding", text).command(set(
            name,
            "forwarding",
            1,
        )));
    }
    let strict = switches.rp_filter.max(facts.sysctls.rp_filter_all) == 1;
    if is_wan && strict && config.wans.len() > 1 {
        let text = format!(
            "{name} filters strictly by the reverse path (rp_filter): with several WANs, the kernel \
             drops what arrives by another one than its answers would leave by"
        );
        findings.push(Finding::warning("sysctls.rp_filter", text).command(set(
            name,
            "rp_filter",
            2,
        )));
    }
    if is_wan && switches.route_localnet {
        let text = format!(
            "route_localnet is on for {name}: neighbours on that line reach services of this router \
             that listen on 127.0.0.1 only"
        );
        let mended = Finding::warning("sysctls.route_localnet", text);
        let mended = mended.command("sysctl -w net.ipv4.conf.all.route_localnet=0");
        findings.push(mended.command(set(name, "route_localnet", 0)));
    }
    if !is_wan && switches.send_redirects && shares_a_line(config, facts, name) {
        let text = format!(
            "{name} sends ICMP redirects, and the way out leads through it: hosts may go past masq"
        );
        let mended = Finding::warning("sysctls.send_redirects", text);
        let mended = mended.command("sysctl -w net.ipv4.conf.all.send_redirects=0");
        findings.push(mended.command(set(name, "send_redirects", 0)));
    }
    findings.into_iter().map(|finding| finding.of(name)).collect()
}

/// Whether packets from a LAN leave by the LAN: the kernel sends redirects for no others.
fn shares_a_line(config: &Config, facts: &Facts, lan: &str) -> bool {
    let index = facts.snapshot.link(lan).map(|link| link.index);
    let way = facts.outward.iter().find(|way| way.lan == lan);
    config.lans.iter().any(|name| name == lan)
        && way.is_some_and(|w| w.by.is_some() && w.by == index)
}

/// The command that sets a switch. Names with a dot (VLANs) have to be written with slashes.
fn set(name: &str, switch: &str, value: u8) -> String {
    if name.contains('.') {
        format!("sysctl -w net/ipv4/conf/{name}/{switch}={value}")
    } else {
        format!("sysctl -w net.ipv4.conf.{name}.{switch}={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity::{Fatal, Warning},
            facts::PerInterface,
            made_up::{complaints, config, facts, only, usual},
        },
        *,
    };

    fn with(name: &str, change: impl FnOnce(&mut PerInterface)) -> Facts {
        let mut facts = facts();
        change(facts.sysctls.interfaces.get_mut(name).unwrap());
        facts
    }

    #[test]
    fn forwarding_is_turned_on_where_that_is_possible() {
        let mut facts = facts();
        facts.sysctls.ip_forward = Some(false);
        assert_eq!(complaints(&judge(&usual(), &facts)), []);
        facts.sysctls.writable = false;
        assert_eq!(complaints(&judge(&usual(), &facts)), [(Fatal, "sysctls.ip_forward")]);
    }

    #[test]
    fn forwarding_of_one_interface_may_be_off() {
        let mut facts = with("lan0", |switches| switches.forwarding = false);
        let findings = judge(&usual(), &facts);
        let finding = only(&findings, "sysctls.forwarding");
        assert_eq!(finding.commands, ["sysctl -w net.ipv4.conf.lan0.forwarding=1"]);
        facts.sysctls.ip_forward = Some(false);
        assert_eq!(complaints(&judge(&usual(), &facts)), []);
    }

    #[test]
    fn the_reverse_path_matters_with_several_wans() {
        let facts = with("wan0", |switches| switches.rp_filter = 1);
        assert_eq!(complaints(&judge(&usual(), &facts)), []);
        let two = config("--lan lan0 --wan wan0 --wan wan1");
        assert_eq!(complaints(&judge(&two, &facts)), [(Warning, "sysctls.rp_filter")]);
        let loose = with("wan0", |switches| switches.rp_filter = 2);
        assert_eq!(complaints(&judge(&two, &loose)), []);
    }

    #[test]
    fn local_addresses_are_for_no_neighbours() {
        let facts = with("wan0", |switches| switches.route_localnet = true);
        assert_eq!(complaints(&judge(&usual(), &facts)), [(Warning, "sysctls.route_localnet")]);
        let facts = with("lan0", |switches| switches.route_localnet = true);
        assert_eq!(complaints(&judge(&usual(), &facts)), []);
    }

    #[test]
    fn redirects_matter_if_the_way_out_is_the_way_in() {
        let mut facts = with("lan0", |switches| switches.send_redirects = true);
        assert_eq!(complaints(&judge(&usual(), &facts)), []);
        facts.outward[0].by = Some(1);
        assert_eq!(complaints(&judge(&usual(), &facts)), [(Warning, "sysctls.send_redirects")]);
    }

    #[test]
    fn names_with_dots_are_written_with_slashes() {
        assert_eq!(set("eth0.7", "rp_filter", 2), "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2");
    }
}
