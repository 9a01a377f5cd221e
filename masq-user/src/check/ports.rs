//! Judging the external ports: how many there are, and who on the router listens among them.

use std::net::Ipv4Addr;

use masq_common::flow::TCP;

use super::{Finding, facts::Facts};
use crate::config::Config;

/// With fewer ports than this, a handful of hosts is enough to use them up.
const FEW: u32 = 1024;

/// Everything about them.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    vec![listeners(config, facts), number(config)]
}

/// Services of the router within the pool. Their ports are never given away.
fn listeners(config: &Config, facts: &Facts) -> Finding {
    let addresses: Vec<_> = config
        .wans
        .iter()
        .filter_map(|wan| facts.snapshot.external_address(facts.snapshot.link(wan)?.index))
        .collect();
    let settings = &config.settings;
    let open = |address: Ipv4Addr| address.is_unspecified() || addresses.contains(&address);
    let pool = |port: u16| settings.ports.contains(port) || settings.privileged.contains(port);
    let mut ports: Vec<_> = facts
        .listeners
        .iter()
        .filter(|listener| open(listener.address) && pool(listener.port))
        .map(|listener| format!("{}/{}", listener.port, if listener.tcp { "tcp" } else { "udp" }))
        .collect();
    ports.dedup();
    let text = match ports.as_slice() {
        [] => "no service of this router listens on a port that hosts might get".to_owned(),
        ports => format!(
            "{} services of this router listen among the external ports; no host gets these: {}",
            ports.len(),
            shortened(ports)
        ),
    };
    Finding::ok("ports.listeners", text)
}

/// The first few.
fn shortened(ports: &[String]) -> String {
    const SHOWN: usize = 10;
    let first = ports[..ports.len().min(SHOWN)].join(", ");
    if ports.len() > SHOWN { format!("{first}, ...") } else { first }
}

fn number(config: &Config) -> Finding {
    const CHECK: &str = "ports.pool";
    let ports = config.external_ports(TCP);
    if ports < FEW {
        let text = format!(
            "there are {ports} external ports only: once they are in use, hosts share them, or are \
             refused"
        );
        return Finding::note(CHECK, text).advice("choose a larger range with --ports");
    }
    let below = config.settings.privileged.len();
    let text = match below {
        0 => format!("{ports} external ports, none below 1024"),
        _ => format!(
            "{ports} external ports, {below} of them below 1024, for hosts that send from such"
        ),
    };
    Finding::ok(CHECK, text)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity::Note,
            facts::Listener,
            made_up::{complaints, config, facts, only, usual},
        },
        *,
    };

    #[test]
    fn services_within_the_pool_are_counted() {
        let listener =
            |address: [u8; 4], port| Listener { tcp: true, address: address.into(), port };
        let listeners = vec![
            listener([0; 4], 22),
            listener([0; 4], 8080),
            listener([203, 0, 113, 5], 8443),
            listener([127, 0, 0, 1], 5432),
            listener([192, 168, 1, 1], 3000),
        ];
        let facts = Facts { listeners, ..facts() };
        let findings = judge(&usual(), &facts);
        let text = &only(&findings, "ports.listeners").text;
        assert!(text.starts_with("2 services") && text.ends_with(": 8080/tcp, 8443/tcp"), "{text}");
        let findings = judge(&config("--lan lan0 --wan wan0 --ports 9000-60000"), &facts);
        assert!(only(&findings, "ports.listeners").text.starts_with("no service"));
    }

    #[test]
    fn a_small_pool_is_told_of() {
        assert_eq!(complaints(&judge(&usual(), &facts())), []);
        let small = config("--lan lan0 --wan wan0 --ports 2000-2099");
        assert_eq!(complaints(&judge(&small, &facts())), [(Note, "ports.pool")]);
    }
}
