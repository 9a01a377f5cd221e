//! What is true of the running instance: for the control socket, for the log, and for the lines
//! on standard output that say whether packets are being translated.

use std::{net::Ipv4Addr, time::Instant};

use crate::{
    claims::Netns,
    control::proto::{InterfaceInfo, SlowPath, Survival},
    netlink::Address,
    survival::estate::Estate,
};

/// State of the instance that more than one service looks at.
#[derive(Debug)]
pub struct Status {
    /// Name of the instance.
    pub instance: String,
    /// Its network namespace.
    pub netns: Netns,
    /// When it was started.
    pub started: Instant,
    /// The interfaces, LANs first, WANs in the order of their indexes.
    pub interfaces: Vec<InterfaceInfo>,
    /// The addresses of the WANs, by index. Set before the programs are told: a session of any
    /// other address is not wanted.
    pub addresses: Vec<Option<Ipv4Addr>>,
    /// The machine's own addresses, on all interfaces.
    pub local: Vec<Address>,
    /// What the slow path has done.
    pub slow_path: SlowPath,
    /// What becomes of the sessions without the daemon.
    pub survival: Survival,
}

impl Status {
    /// An instance that has just been started.
    pub fn new(estate: &Estate) -> Self {
        Self {
            instance: estate.instance.clone(),
            netns: estate.manifest.place.netns,
            started: Instant::now(),
            interfaces: Vec::new(),
            addresses: Vec::new(),
            local: Vec::new(),
            slow_path: SlowPath::default(),
            survival: estate.survival.clone(),
        }
    }
}

/// Whether packets are being translated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// They are, and how.
    Ready(String),
    /// Not yet or not any more, and what is missing.
    Waiting(String),
}

impl Readiness {
    /// Whether it is the same state, whatever the details.
    pub const fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Ready(_), Self::Ready(_)) | (Self::Waiting(_), Self::Waiting(_))
        )
    }
}

/// Packets are translated as soon as one LAN and one WAN with an address are there.
pub fn readiness(interfaces: &[InterfaceInfo]) -> Readiness {
    let works = |interface: &InterfaceInfo| missing(interface).is_none();
    let (wans, lans): (Vec<_>, Vec<_>) = interfaces.iter().partition(|i| i.is_wan());
    let waiting: Vec<_> = interfaces.iter().filter_map(missing).collect();
    if !(lans.into_iter().any(works) && wans.into_iter().any(works)) {
        return Readiness::Waiting(format!("waiting for {}", waiting.join(", ")));
    }
    let working: Vec<_> = interfaces.iter().filter(|i| works(i)).map(describe).collect();
    let mut line = format!("ready: {}", working.join(", "));
    if !waiting.is_empty() {
        line += &format!("; still waiting for {}", waiting.join(", "));
    }
    Readiness::Ready(line)
}

/// What an interface lacks to translate.
fn missing(interface: &InterfaceInfo) -> Option<String> {
    let InterfaceInfo { name, .. } = interface;
    if interface.index.is_none() {
        Some(format!("interface {name}"))
    } else if interface.mode.is_none() {
        Some(format!("a hook on {name}"))
    } else if interface.is_wan() && interface.address.is_none() {
        Some(format!("an address on {name}"))
    } else {
        None
    }
}

fn describe(interface: &InterfaceInfo) -> String {
    let mode = interface.mode.map_or("", |mode| mode.as_str());
    let InterfaceInfo { role, name, .. } = interface;
    match interface.address {
        Some(address) => format!("{role} {name} {address} ({mode})"),
        None => format!("{role} {name} ({mode})"),
    }
}

/// One line for each change between two states.
pub fn changes(before: &[InterfaceInfo], now: &[InterfaceInfo]) -> Vec<String> {
    let unknown = |now: &InterfaceInfo| InterfaceInfo {
        index: None,
        mode: None,
        why: String::new(),
        address: None,
        mss: None,
        ports: Vec::new(),
        ..now.clone()
    };
    now.iter()
        .flat_map(|now| {
            let before = before.iter().find(|before| before.name == now.name);
            change(&before.cloned().unwrap_or_else(|| unknown(now)), now)
        })
        .collect()
}

fn change(before: &InterfaceInfo, now: &InterfaceInfo) -> Vec<String> {
    let mut lines = Vec::new();
    let InterfaceInfo { name, role, why, .. } = now;
    match (before.index, now.index, now.mode) {
        (Some(_), None, _) => lines.push(format!("{name} ({role}) has vanished; waiting for it")),
        (old, new, Some(mode)) if old != new || before.mode.is_none() => {
            lines.push(format!("{name} ({role}): attached with {}: {why}", mode.as_str()));
        }
        (_, Some(_), Some(mode)) if before.why != *why => {
            lines.push(format!("{name} ({role}): now with {}: {why}", mode.as_str()));
        }
        _ => {}
    }
    match (before.address, now.address) {
        (None, Some(new)) => lines.push(format!("{name}: translating to {new}")),
        (Some(old), None) => lines.push(format!("{name} has lost its address {old}")),
        (Some(old), Some(new)) if old != new => {
            lines.push(format!("{name}: translating to {new} instead of {old}"));
        }
        _ => {}
    }
    match (before.mss, now.mss) {
        (old, Some(new)) if old != Some(new) => {
            lines.push(format!("{name}: TCP segments are limited to {new} bytes (--mss-clamp)"));
        }
        (Some(_), None) if now.index.is_some() => {
            lines.push(format!("{name}: TCP segments are not limited any more"))
        }
        _ => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::proto::Mode;

    fn interface(name: &str, role: &str, address: Option<[u8; 4]>) -> InterfaceInfo {
        InterfaceInfo {
            name: name.into(),
            role: role.into(),
            index: Some(2),
            mode: Some(Mode::Tc),
            why: "virtual device (veth)".into(),
            address: address.map(Into::into),
            mss: None,
            ports: Vec::new(),
        }
    }

    fn gone(interface: InterfaceInfo) -> InterfaceInfo {
        InterfaceInfo { index: None, mode: None, address: None, why: String::new(), ..interface }
    }

    #[test]
    fn a_lan_and_a_wan_with_an_address_make_it_ready() {
        let both =
            [interface("eth1", "lan", None), interface("ppp0", "wan", Some([203, 0, 113, 5]))];
        let line = "ready: lan eth1 (tc), wan ppp0 203.0.113.5 (tc)";
        assert_eq!(readiness(&both), Readiness::Ready(line.into()));
    }

    #[test]
    fn without_address_or_interface_it_waits_and_says_for_what() {
        let text = |interfaces: &[InterfaceInfo]| match readiness(interfaces) {
            Readiness::Waiting(text) => text,
            Readiness::Ready(text) => panic!("{text}"),
        };
        let lan = interface("eth1", "lan", None);
        let no_address = [lan.clone(), interface("ppp0", "wan", None)];
        assert_eq!(text(&no_address), "waiting for an address on ppp0");
        let wan = interface("ppp0", "wan", Some([203, 0, 113, 5]));
        assert_eq!(text(&[gone(lan.clone()), wan.clone()]), "waiting for interface eth1");
        // Tests and scripts wait for the word, so it must not be in the other line.
        assert!(!text(&[gone(lan), gone(wan)]).contains("ready"));
    }

    #[test]
    fn one_of_two_wans_is_enough() {
        let three = [
            interface("eth1", "lan", None),
            interface("ppp0", "wan", Some([203, 0, 113, 5])),
            gone(interface("ppp1", "wan", None)),
        ];
        let Readiness::Ready(line) = readiness(&three) else { panic!("not ready") };
        assert!(line.ends_with("; still waiting for interface ppp1"), "{line}");
    }

    #[test]
    fn changes_are_one_line_each_and_nothing_else_is() {
        let old = interface("ppp0", "wan", Some([203, 0, 113, 5]));
        let new = interface("ppp0", "wan", Some([203, 0, 113, 9]));
        let lines = |before: &InterfaceInfo, now: &InterfaceInfo| {
            changes(std::slice::from_ref(before), std::slice::from_ref(now))
        };
        assert!(lines(&old, &old).is_empty());
        assert_eq!(lines(&old, &new), ["ppp0: translating to 203.0.113.9 instead of 203.0.113.5"]);
        let vanished = lines(&old, &gone(old.clone()));
        assert_eq!(
            vanished,
            ["ppp0 (wan) has vanished; waiting for it", "ppp0 has lost its address 203.0.113.5"]
        );
        let back = InterfaceInfo { index: Some(9), ..old.clone() };
        assert_eq!(lines(&gone(old.clone()), &back).len(), 2);
        // A PPPoE session that was dialled again in place, or a port of a bridge that has come.
        let moved = InterfaceInfo { mode: Some(Mode::Xdp), why: "PPPoE".into(), ..old.clone() };
        assert_eq!(lines(&old, &moved), ["ppp0 (wan): now with xdp: PPPoE"]);
    }
}
