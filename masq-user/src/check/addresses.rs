//! Judging addresses and routes: what the WANs are seen as, whether LANs and WANs can be told apart,
//! and whether the LAN's packets leave by a WAN at all.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Finding, facts::Facts};
use crate::{
    config::Config,
    netlink::{Address, Snapshot},
};

/// Carrier-grade NAT (RFC 6598).
const SHARED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);

/// Everything about addresses and routes.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wan in &config.wans {
        findings.extend(external(wan, &facts.snapshot));
    }
    findings.extend(overlaps(config, &facts.snapshot));
    findings.extend(ways_out(config, facts));
    findings
}

/// The address that a WAN translates to.
fn external(wan: &str, snapshot: &Snapshot) -> Option<Finding> {
    const NONE: &str = "addresses.none";
    const NAT: &str = "addresses.double_nat";
    let index = snapshot.link(wan)?.index;
    let double = "this router is behind another NAT: everything works that hosts of the LAN begin; \
                  nobody outside reaches a port of theirs";
    let finding = match snapshot.external_address(index) {
        Some(address) if address.is_link_local() => {
            let text = format!(
                "{wan} has the address {address}, which it has given itself: no DHCP server has \
                 answered, and nothing outside can answer to it"
            );
            Finding::warning("addresses.link_local", text).advice("look at the line and at DHCP")
        }
        Some(address) if SHARED.contains(&address) => {
            let text = format!("{wan} has the address {address} of a carrier-grade NAT; {double}");
            Finding::note(NAT, text).advice(
                "ask the provider for a public address (or use IPv6) if hosts have to be reached",
            )
        }
        Some(address) if address.is_private() => {
            let text = format!("{wan} has the private address {address}; {double}");
            Finding::note(NAT, text).advice(
                "if hosts have to be reached, forward the ports at the other router too, or make it \
                 a bridge (modem mode)",
            )
        }
        Some(address) => Finding::ok(NAT, format!("{wan} has the public address {address}")),
        None => {
            match snapshot.addresses_of(index).next() {
                Some(Address { local, .. }) => {
                    let text = format!(
                        "{wan} has only the address {local}, which is for the link alone (scope link or \
                     host): masq waits for another, and nothing from the LAN leaves until then"
                    );
                    Finding::warning(NONE, text)
                        .advice(format!("add one with `ip addr add ... dev {wan}`"))
                }
                None => {
                    let text = format!(
                        "{wan} has no IPv4 address: masq waits for one, and nothing from the LAN leaves \
                     by it until then"
                    );
                    Finding::warning(NONE, text).advice("start DHCP or PPP on it, or name the interface that has the address, as ppp0")
                }
            }
        }
    };
    Some(finding.of(wan))
}

/// An interface with one of its networks.
type Place<'a> = (&'a str, Ipv4Net);

/// The networks on interfaces. One address alone (/32) is no network: addresses without one are
/// usual on point-to-point links, and on routers with one LAN on several interfaces.
fn networks<'a>(names: &'a [String], snapshot: &Snapshot) -> Vec<Place<'a>> {
    let of = |name: &'a String| {
        let link = snapshot.link(name)?;
        Some(
            snapshot
                .addresses_of(link.index)
                .map(|a| (name.as_str(), a.network))
                .collect::<Vec<_>>(),
        )
    };
    let all = names.iter().filter_map(of).flatten();
    all.filter(|(_, network)| network.prefix_len() < 32).collect()
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn overlaps(config: &Config, snapshot: &Snapshot) -> Vec<Finding> {
    const CHECK: &str = "addresses.overlap";
    let (lans, wans) = (networks(&config.lans, snapshot), networks(&config.wans, snapshot));
    let mut findings = Vec::new();
    for &(lan, inside) in &lans {
        for &(wan, outside) in wans.iter().filter(|(_, outside)| overlap(inside, *outside)) {
            let text = format!(
                "the network {inside} of {lan} and {outside} of {wan} overlap: hosts of the LAN do \
                 not reach those of the WAN with such addresses, perhaps not even the next router"
            );
            findings
                .push(Finding::warning(CHECK, text).of(lan).advice("give the LAN another prefix"));
        }
    }
    for (position, &(lan, network)) in lans.iter().enumerate() {
        let later = lans[position + 1..].iter();
        for &(other, its) in later.filter(|(other, its)| *other != lan && overlap(network, *its)) {
            let text = format!(
                "the network {network} of {lan} and {its} of {other} overlap: the router finds hosts \
                 of one of them only"
            );
            let advice = "give each LAN a prefix of its own, or make a bridge of the two";
            findings.push(Finding::warning(CHECK, text).of(other).advice(advice));
        }
    }
    findings
}

/// Whether what hosts of each LAN send to the Internet leaves by a WAN.
fn ways_out(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "addresses.route";
    let name = |index: u32| {
        let link = facts.snapshot.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    };
    let wans = config.wans.join(" or ");
    let finding = |lan: &str, by: Option<u32>| match by.map(name) {
        Some(by) if config.wans.contains(&by) => {
            Finding::ok(CHECK, format!("packets from {lan} to the Internet leave by {by}"))
        }
        Some(by) => {
            let text = format!(
                "packets from {lan} to the Internet leave by {by}, which is not a WAN of masq: they \
                 are not translated"
            );
            let advice = format!("let the default route lead to {wans}, or name {by} as --wan");
            Finding::warning(CHECK, text).advice(advice)
        }
        None => {
            let text = format!("there is no route for packets from {lan} to the Internet");
            Finding::warning(CHECK, text)
                .advice("set a default route")
                .command(format!("ip route add default via GATEWAY dev {}", config.wans[0]))
        }
    };
    facts.outward.iter().map(|way| finding(&way.lan, way.by).of(&way.lan)).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity::{Note, Warning},
            facts::Outward,
            made_up::{address, complaints, config, facts, only, usual},
        },
        *,
    };

    fn with_wan(text: &str) -> Facts {
        let mut facts = facts();
        facts.snapshot.addresses[1] = address(2, text);
        facts
    }

    #[test]
    fn private_and_shared_addresses_mean_another_nat() {
        for text in ["100.64.0.1/24", "100.127.255.1/24", "10.0.0.2/24", "172.16.0.2/24"] {
            let findings = judge(&usual(), &with_wan(text));
            assert_eq!(complaints(&findings), [(Note, "addresses.double_nat")], "{text}");
        }
        for text in ["100.128.0.1/24", "172.32.0.1/24", "203.0.113.5/32"] {
            assert_eq!(complaints(&judge(&usual(), &with_wan(text))), [], "{text}");
        }
        let findings = judge(&usual(), &with_wan("100.64.0.1/24"));
        assert!(only(&findings, "addresses.double_nat").text.contains("carrier-grade"));
    }

    #[test]
    fn a_wan_needs_an_address_that_somebody_has_given_it() {
        let findings = judge(&usual(), &with_wan("169.254.3.4/16"));
        assert_eq!(complaints(&findings), [(Warning, "addresses.link_local")]);
        let mut facts = facts();
        facts.snapshot.addresses[1].usable = false;
        let findings = judge(&usual(), &facts);
        assert!(only(&findings, "addresses.none").text.contains("203.0.113.5"));
        facts.snapshot.addresses.remove(1);
        assert_eq!(complaints(&judge(&usual(), &facts)), [(Warning, "addresses.none")]);
    }

    #[test]
    fn networks_that_overlap_are_named() {
        for text in ["192.168.1.7/24", "192.168.7.1/16", "192.168.1.250/29"] {
            let findings = judge(&usual(), &with_wan(text));
            let finding = only(&findings, "addresses.overlap");
            assert!(finding.text.contains("192.168.1.0/24") && finding.text.contains("wan0"));
        }
        let mut facts = facts();
        facts.snapshot.addresses[2] = address(3, "192.168.1.129/25");
        let two = config("--lan lan0 --lan wan1 --wan wan0");
        assert_eq!(complaints(&judge(&two, &facts)), [(Warning, "addresses.overlap")]);
        // One address alone is no network.
        facts.snapshot.addresses[2] = address(3, "192.168.1.1/32");
        assert_eq!(complaints(&judge(&two, &facts)), []);
    }

    #[test]
    fn packets_have_to_leave_by_a_wan() {
        let with = |by| {
            let outward = vec![Outward { lan: "lan0".into(), by }];
            let findings = judge(&usual(), &Facts { outward, ..facts() });
            only(&findings, "addresses.route").clone()
        };
        let other = with(Some(3));
        assert!(other.severity == Warning && other.text.contains("wan1"), "{other:?}");
        let none = with(None);
        assert!(none.severity == Warning && none.text.contains("no route"), "{none:?}");
        assert_eq!(with(Some(2)).severity, super::super::Severity::Ok);
    }
}
